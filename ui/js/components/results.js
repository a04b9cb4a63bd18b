// What is found by a choice: the newest choice wins; further pages come below.

import { button } from "./button.js";
import { trouble } from "./notice.js";
import { skeleton } from "./skeleton.js";
import { announce, fill, h } from "../dom.js";

const SLOW_MS = 200;

/**
 * A place for what is found: `find()` asks, `draw(found)` puts it into `element`.
 * `load()` throws what goes wrong; `renew()` shows it, and meanwhile that something is coming.
 * `turn()` counts the choices: whoever asks aside compares.
 */
export function results({ find, draw, common, wide = false }) {
  const element = h("div", { class: `stack ${wide ? "wide" : ""}` });
  let turn = 0;
  async function load() {
    const mine = (turn += 1);
    const found = await find();
    if (mine === turn) draw(found);
  }
  async function renew() {
    const mine = turn + 1;
    const slow = setTimeout(() => mine === turn && fill(element, skeleton(common("loading"))), SLOW_MS);
    try {
      await load();
    } catch (problem) {
      if (problem.name === "AbortError" || mine !== turn) return;
      fill(element, trouble(problem, common, button(common("again"), renew, { kind: "plain", small: true })));
    } finally {
      clearTimeout(slow);
    }
  }
  return { element, load, renew, turn: () => turn };
}

const [FIRST_ROWS, MOST_AT_ONCE, MOST_AGAIN] = [50, 200, 1000];

/**
 * The first page, and as much of the further ones as somebody had on the screen: `ask({ limit, after })` answers with
 * { [name]: rows, next }; `rows`: how many there were.
 */
export async function pages(ask, name, rows = 0) {
  const wanted = Math.min(rows, MOST_AGAIN);
  const page = await ask({ limit: Math.min(Math.max(wanted, FIRST_ROWS), MOST_AT_ONCE) });
  while (page.next && page[name].length < wanted) {
    const further = await ask({ limit: MOST_AT_ONCE, after: page.next });
    page[name].push(...further[name]);
    page.next = further.next;
  }
  return page;
}

/**
 * What stands below a list: how much of it is shown, and a button for the next page while there is one.
 * page: { count, next }; `add(next)` asks for the page after and appends it: { count, next } of that one.
 */
export function more({ count, next }, add, { t, common }) {
  const shown = h("p", { class: "muted small", tabindex: -1 });
  const wrong = h("div");
  const ask = button(
    t("more"),
    async () => {
      fill(wrong);
      try {
        const page = await add(next);
        count += page.count;
        next = page.next;
        say();
        announce(shown.textContent);
        if (!next) shown.focus({ preventScroll: true }); // the button that was pressed is gone
      } catch (problem) {
        if (problem.name !== "AbortError") fill(wrong, trouble(problem, common));
      }
    },
    { kind: "plain", busy: common("loading") },
  );
  const say = () => {
    shown.textContent = t(next ? "found" : "all", { count });
    ask.hidden = !next;
  };
  say();
  return h("div", { class: "stack tight" }, h("div", { class: "row" }, ask, shown), wrong);
}
