/** Listens to the ledger and keeps the screen as a manager would see it. */

import { card, visibleCalls } from "/page/cards.js";
import { duration, element } from "/page/dom.js";
import { request, row } from "/page/history.js";
import { textsIn, translate } from "/page/texts.js";

const HISTORY_ROWS = 100;
const POPUPS = 200;
const REQUESTS = 30;
const ACCOUNTS_EVERY_MS = 5000;

const at = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.hash.slice(1));
let accounts = [];
let popups = [];
let rows = [];
let requests = [];
let clockAhead = 0;
let stream = null;
let streamOf = null;
let connected = null;
let refreshing = null;
let seenRows = null;
let drawnCards = "";

const language = () => (chosen.get("lang") === "en" ? "en" : "ru");
const locale = () => (language() === "en" ? "en-GB" : "ru-RU");
const texts = () => textsIn(language());
const now = () => Date.now() / 1000 + clockAhead;
const account = () => accounts.find((each) => each.name === chosen.get("account")) ?? accounts[0];
const manager = () => account()?.users.find((user) => String(user.id) === chosen.get("manager"));

async function read(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function loadAccounts() {
  try {
    accounts = (await read("/_sim/accounts")).accounts;
  } catch {
    return;
  }
  showChoices();
  if (account()?.name !== streamOf) listen();
  if (!account()) draw();
}

/** Changes in quick succession are read once. */
function refreshSoon() {
  refreshing ??= setTimeout(async () => {
    refreshing = null;
    await refresh().catch(() => {});
  }, 40);
}

async function refresh() {
  const name = account()?.name;
  if (!name) return;
  const of = `account=${encodeURIComponent(name)}`;
  const [shown, held, told] = await Promise.all([
    read(`/_sim/popups?${of}&limit=${POPUPS}`),
    read(`/_sim/ledger/calls?${of}&limit=${HISTORY_ROWS}`),
    read(`/_sim/ledger?${of}&limit=${REQUESTS}`),
  ]);
  if (name !== account()?.name) return;
  clockAhead = shown.now - Date.now() / 1000;
  [popups, rows, requests] = [shown.popups, held.calls, told.entries];
  draw();
}

function listen() {
  stream?.close();
  streamOf = account()?.name ?? null;
  [popups, rows, requests, seenRows] = [[], [], [], null];
  if (!streamOf) return;
  stream = new EventSource(`/_sim/stream?account=${encodeURIComponent(streamOf)}`);
  stream.addEventListener("open", () => {
    connected = true;
    refreshSoon();
    drawConnection();
  });
  stream.addEventListener("error", () => {
    connected = false;
    drawConnection();
  });
  stream.addEventListener("request", refreshSoon);
}

function showChoices() {
  fill(
    at("account"),
    accounts.map((each) => [each.name, each.name]),
    account()?.name,
  );
  const people = (account()?.users ?? []).map((user) => [
    String(user.id),
    user.code ? `${user.name} · ${user.code}` : user.name,
  ]);
  fill(at("manager"), [["", texts().everyone], ...people], String(manager()?.id ?? ""));
}

function fill(select, options, value) {
  const wanted = JSON.stringify(options);
  if (select.dataset.options !== wanted) {
    select.replaceChildren(...options.map(([key, text]) => element("option", { value: key, text })));
    select.dataset.options = wanted;
  }
  select.value = value ?? "";
  select.disabled = options.length < 2;
}

function draw() {
  drawCards();
  drawHistory();
  at("log").replaceChildren(...[...requests].reverse().map((entry) => request(entry, locale(), texts())));
  at("log-count").textContent = requests.length ? String(requests.length) : "";
  drawConnection();
}

function drawCards() {
  const list = at("cards");
  const calls = visibleCalls(popups, now(), manager()?.id);
  say(at("cards-empty"), calls.length ? "" : accounts.length ? texts().quiet : texts().noAccounts);
  const drawing = JSON.stringify([calls, language(), Boolean(caller())]);
  if (drawing === drawnCards || keepsFocus(list)) return;
  drawnCards = drawing;
  const known = new Set([...list.children].map((each) => each.dataset.key));
  const fresh = calls.map((call) => card(call, now(), texts(), caller()));
  const popped = fresh.filter((each) => !known.has(each.dataset.key));
  for (const each of popped) each.classList.add("card-new");
  list.replaceChildren(...fresh);
  if (popped.length) at("announcement").textContent = popped.map((each) => each.innerText).join(". ");
}

function drawHistory() {
  const newest = [...rows]
    .filter((held) => !manager() || held.call.userId === manager().id || held.call.code === manager().code)
    .sort((one, other) => other.call.date.localeCompare(one.call.date) || other.applied_at - one.applied_at);
  const built = newest.map((held) => row(held, locale(), texts(), caller()));
  const ids = newest.map((held) => held.external_id);
  built.forEach((each) => each.classList.toggle("row-new", seenRows !== null && !seenRows.has(each.dataset.key)));
  if (!keepsFocus(at("history"))) at("history").replaceChildren(...built);
  if (requests.length || rows.length) seenRows = new Set([...(seenRows ?? []), ...ids]);
  at("history-frame").hidden = newest.length === 0;
  at("history-count").textContent = newest.length ? String(newest.length) : "";
  say(at("history-empty"), newest.length || !accounts.length ? "" : texts().noHistory);
}

function drawConnection() {
  const state = at("link-state");
  state.dataset.state = connected === null ? "" : connected ? "good" : "bad";
  state.textContent = connected === null ? "" : connected ? texts().connected : texts().disconnected;
}

/** Drawing anew would take the focus from who is about to press a number. */
const keepsFocus = (list) => list.contains(document.activeElement) && document.activeElement.matches(":focus-visible");

function say(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

/** Who sits at the screen calls by clicking a number; nobody in particular cannot. */
function caller() {
  const user = manager();
  const able = account()?.modules.some((module) => module.active && module.integrations.telephony?.makeCallUrl);
  return user && able ? (number) => call(user, number) : null;
}

async function call(user, number) {
  document.activeElement?.blur();
  const body = JSON.stringify({ account: account().name, user_id: user.id, phone: number });
  const answer = await fetch("/_sim/click", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  const told = await answer.json();
  const failure = told.error?.message ?? told.error;
  toast(failure ? texts().clickFailed(failure) : texts().clicked(told.status));
}

function toast(text) {
  const place = at("toast");
  say(place, text);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => say(place, ""), 5000);
}

function choose(name, value) {
  if (value) chosen.set(name, value);
  else chosen.delete(name);
  if (name === "account") chosen.delete("manager");
  history.replaceState(null, "", `#${chosen}`);
}

function speak() {
  document.documentElement.lang = language();
  document.title = texts().title;
  translate(document, texts());
  const button = at("language");
  button.textContent = language() === "en" ? "RU" : "EN";
  button.lang = language() === "en" ? "ru" : "en";
  button.setAttribute("aria-label", texts().otherLanguage);
  showChoices();
  draw();
}

at("account").addEventListener("change", (event) => {
  choose("account", event.target.value);
  showChoices();
  listen();
  draw();
});
at("manager").addEventListener("change", (event) => {
  choose("manager", event.target.value);
  draw();
});
at("language").addEventListener("click", () => {
  choose("lang", language() === "en" ? "ru" : "en");
  speak();
});
setInterval(() => {
  for (const timer of document.querySelectorAll("[data-since]")) {
    timer.textContent = duration(now() - Number(timer.dataset.since));
  }
  if (document.querySelector(".card-over")) drawCards();
}, 500);
setInterval(loadAccounts, ACCOUNTS_EVERY_MS);

speak();
loadAccounts();
