// The page: signs in, draws the frame, shows the screen that the address names.

import * as api from "./api.js";
import { button } from "./components/button.js";
import { confirm } from "./components/dialog.js";
import { heading } from "./components/heading.js";
import { trouble } from "./components/notice.js";
import { skeleton } from "./components/skeleton.js";
import { toast } from "./components/toast.js";
import { announce, fill, h } from "./dom.js";
import { setLanguage, words } from "./i18n.js";
import * as router from "./router.js";
import * as session from "./session.js";
import { frame, SCREENS } from "./shell.js";

/** Names in the address that are not in the navigation, and what they belong to. */
const INNER = { call: "calls" };

let t;
let drawn = null;
let leave = new AbortController();
let isFirst = true;

async function begin() {
  const link = window.accountLink;
  delete window.accountLink;
  t = await words("shell");
  const refused = await cameByLink();
  api.onSessionOver(signInAgain);
  try {
    if (link) await session.signIn(JSON.parse(JSON.stringify(link, (_, value) => value ?? undefined)));
    else await session.restore();
  } catch (problem) {
    if (!link) return unreachable(problem);
    return showSignIn(problem.message);
  }
  if (!session.session()) return showSignIn(refused);
  enter();
  if (refused) toast(refused);
  return undefined;
}

/** The gateway says in the address how it took an account link: entered, or refused and why. The sentence, then. */
async function cameByLink() {
  const { query } = router.place();
  const refused = query.get("refused");
  if (query.has("entered")) session.note.write();
  if (query.has("entered") || refused) history.replaceState(null, "", location.pathname);
  if (!refused) return null;
  const said = await words("errors");
  return said.has(`codes.${refused}`) ? said(`codes.${refused}`) : said("codes.link_invalid");
}

function unreachable(problem) {
  const again = button(t("again"), () => location.reload(), { kind: "plain", small: true });
  fill(document.getElementById("app"), h("main", { class: "opening" }, h("h1", {}, t("product")), trouble(problem, t, again)));
}

async function showSignIn(problem = null) {
  const screen = await import("./screens/sign-in.js");
  document.title = t("product");
  await screen.show({ problem, changeLanguage: async (chosen) => (await changeWords(chosen), showSignIn(problem)) });
  enter();
}

let asking = null;
function signInAgain() {
  asking ??= import("./screens/sign-in.js")
    .then((screen) => screen.again(session.session()))
    .finally(() => (asking = null));
  return asking;
}

let started = false;
function enter() {
  draw();
  if (started) return show();
  started = true;
  return router.start(show, () =>
    confirm(t("unsaved.title"), { text: t("unsaved.text"), yes: t("unsaved.leave"), no: t("unsaved.stay") }),
  );
}

function draw() {
  drawn = frame(t, { language: changeLanguage, signOut });
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { path, query } = router.place();
  const name = path[0] ?? "overview";
  const owner = INNER[name] ?? name;
  router.unguard();
  drawn.mark(owner);
  if (!SCREENS.includes(owner)) return place("nowhere", t("nowhere.title"), nowhere(), signal);
  const slow = setTimeout(() => fill(drawn.main, skeleton(t("loading"), { tall: true })), 150);
  let title = t(`nav.${owner}`);
  let content;
  try {
    const [screen, ours] = await Promise.all([import(`./screens/${name}.js`), words(name)]);
    title = ours("title");
    content = await screen.show({ t: ours, common: t, path: path.slice(1), query, signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof api.Problem)) console.error(error);
    const again = button(t("again"), show, { kind: "plain", small: true });
    const problem = error instanceof api.Problem ? error : { message: t("broken") };
    content = [heading(title), trouble(problem, t, again)];
  } finally {
    clearTimeout(slow);
  }
  return place(name, title, content, signal);
}

function place(name, title, content, signal) {
  if (signal.aborted) return;
  fill(drawn.main, h("div", { class: "screen", data: { screen: name } }, content));
  document.title = `${title} · ${t("product")}`;
  // The browser itself speaks of a page that has just been opened.
  if (!isFirst) {
    scrollTo(0, 0);
    drawn.main.querySelector("h1")?.focus({ preventScroll: true });
    announce(title);
  }
  isFirst = false;
}

const nowhere = () => [heading(t("nowhere.title"), t("nowhere.text")), h("a", { href: router.to("overview") }, t("nav.overview"))];

async function changeWords(chosen) {
  setLanguage(chosen);
  t = await words("shell");
}

async function changeLanguage(chosen) {
  if (!(await router.mayLeave())) return;
  await changeWords(chosen);
  draw();
  await show();
}

async function signOut() {
  if (!(await router.mayLeave())) return undefined;
  try {
    await session.signOut();
  } catch (problem) {
    if (problem.code !== "session_required") return toast(problem.message);
    session.note.remove();
  }
  router.unguard();
  leave.abort();
  history.replaceState(null, "", location.pathname);
  return location.reload();
}

begin();
