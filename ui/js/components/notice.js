// A sentence that matters, with what can be done about it.

import { h } from "../dom.js";
import { icon } from "../icons.js";

const ICONS = { good: "ok", warn: "warning", bad: "failed", "": "info" };

/** tone: "", "good", "warn", "bad"; `quote`: somebody else's words; `actions`: buttons; `alert`: said at once. */
export function notice(tone, title, { text = null, quote = null, actions = [], alert = false } = {}) {
  return h(
    "div",
    { class: `notice ${tone}`, role: alert ? "alert" : null },
    icon(ICONS[tone]),
    h("div", { class: "notice-words" }, h("strong", {}, title), text && h("p", {}, text), quote && h("p", { class: "quote" }, quote)),
    actions.length ? h("div", { class: "notice-actions" }, actions) : null,
  );
}

/** What to show for an error; `again` tries once more. */
export const trouble = (problem, t, again = null) =>
  notice("bad", problem.message, { alert: true, actions: again ? [again] : [] });
