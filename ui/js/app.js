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
  t = await words("shell");
  api.onSessionOver(signInAgain);
  api.onSlow(() => toast(t("slow")));
  const { link, code } = cameByLink();
  let refused = code && (await sentenceOf(code));
  let other = null;
  if (link) {
    try {
      await session.signIn(link);
    } catch (problem) {
      other = problem.details?.other ?? null;
      if (other) session.note.write();
      else refused = problem.message;
    }
  }
  try {
    if (!session.session()) await session.restore();
  } catch (problem) {
    return unreachable(problem);
  }
  if (!session.session()) return showSignIn(refused);
  enter();
  if (refused) toast(refused);
  if (other) await askToLeave(link, other);
  return undefined;
}

/**
 * How the page was opened by an account link. `link`: what to sign in with, the token itself where files are only
 * served. `code`: why the gateway refused the link.
 */
function cameByLink() {
  const { query } = router.place();
  const { accountLink } = window;
  delete window.accountLink;
  if (query.has("entered")) session.note.write(); // a gateway of the version before has let in by itself
  if (["opened", "entered", "refused"].some((name) => query.has(name)))
    history.replaceState(null, "", location.pathname);
  if (accountLink)
    return { link: JSON.parse(JSON.stringify(accountLink, (_, value) => value ?? undefined)), code: null };
  return { link: query.has("opened") ? { opened: true } : null, code: query.get("refused") };
}

async function sentenceOf(code) {
  const said = await words("errors");
  return said.has(`codes.${code}`) ? said(`codes.${code}`) : said("codes.link_invalid");
}

/** A link of another enterprise was opened, perhaps by a page that wants somebody to work there unawares. */
async function askToLeave(link, other) {
  const mine = session.session();
  const numbers = { mine: mine.enterprise_number, other: other.enterprise_number };
  const called = ({ enterprise_number: number, enterprise_name: name }) =>
    name ? t("other.named", { number, name }) : number;
  const isLeaving = await confirm(t("other.title"), {
    text: t("other.text", { mine: called(mine), other: called(other) }),
    points: [t("other.ends", numbers), t("other.beware")],
    yes: t("other.go", numbers),
    no: t("other.stay", numbers),
    danger: false,
  });
  try {
    if (!isLeaving) return await session.declineLink();
    await session.signIn({ ...link, leave: mine.enterprise_number });
  } catch (problem) {
    return toast(problem.message);
  }
  return location.reload(); // nothing of this page is the other enterprise's
}

function unreachable(problem) {
  const again = button(t("again"), () => location.reload(), { kind: "plain", small: true });
  fill(
    document.getElementById("app"),
    h("main", { class: "opening" }, h("h1", {}, t("product")), trouble(problem, t, again)),
  );
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

/** `before`: what is remembered of the visit that somebody comes back to. */
async function show(before = null) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { path, query } = router.place();
  const name = path[0] ?? "overview";
  const owner = INNER[name] ?? name;
  router.unguard();
  drawn.mark(owner);
  if (!SCREENS.includes(owner)) return place("nowhere", nowhere(), { signal, before, title: t("nowhere.title") });
  const slow = setTimeout(() => fill(drawn.main, skeleton(t("loading"), { tall: true })), 150);
  let title = t(`nav.${owner}`);
  let content;
  try {
    const [screen, ours] = await Promise.all([import(`./screens/${name}.js`), words(name)]);
    title = ours("title");
    content = await screen.show({ t: ours, common: t, path: path.slice(1), query, signal, before });
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof api.Problem)) console.error(error);
    const again = button(t("again"), () => show(before), { kind: "plain", small: true });
    const problem = error instanceof api.Problem ? error : { message: t("broken") };
    content = [heading(title), trouble(problem, t, again)];
  } finally {
    clearTimeout(slow);
  }
  return place(name, content, { signal, before, title });
}

function place(name, content, { signal, before, title }) {
  if (signal.aborted) return;
  fill(drawn.main, h("div", { class: "screen", data: { screen: name } }, content));
  const { enterprise_name: ours } = session.session();
  document.title = ours ? `${ours} RetailCRM` : t("product");
  // The browser itself speaks of a page that has just been opened.
  if (!isFirst) {
    const left =
      before?.focus &&
      [...drawn.main.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === before.focus);
    (left || drawn.main.querySelector("h1"))?.focus({ preventScroll: true });
    scrollTo(0, before?.scroll ?? 0);
    announce(title);
  }
  isFirst = false;
}

const nowhere = () => [
  heading(t("nowhere.title"), t("nowhere.text")),
  h("a", { href: router.to("overview") }, t("nav.overview")),
];

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
