// A sentence that matters, with what can be done about it.

import { fill, h } from "../dom.js";
import { icon } from "../icons.js";

const ICONS = { good: "ok", warn: "warning", bad: "failed", "": "info" };

/**
 * tone: "", "good", "warn", "bad"; `quote`: somebody else's words; `list`: a list below; `actions`: buttons; `alert`:
 * said at once.
 */
export function notice(tone, title, { text = null, quote = null, list = null, actions = [], alert = false } = {}) {
  return h(
    "div",
    { class: `notice ${tone}`, role: alert ? "alert" : null },
    icon(ICONS[tone]),
    h(
      "div",
      { class: "notice-words" },
      h("strong", {}, title),
      text && h("p", {}, text),
      quote && h("p", { class: "quote" }, quote),
      list,
    ),
    actions.length ? h("div", { class: "notice-actions" }, actions) : null,
  );
}

/**
 * A place for a sentence that stays by what it is about: `say(sentence, action)`, and `say(null)` when it is settled.
 */
export function remark() {
  const element = h("div", { class: "row remark" });
  const say = (sentence, action = null) =>
    fill(
      element,
      sentence && [
        h("p", { class: "problem", role: "alert" }, icon("warning", { size: 16 }), h("span", {}, sentence)),
        action,
      ],
    );
  return { element, say };
}

/** What to show for an error; `again` tries once more. */
export const trouble = (problem, t, again = null) =>
  notice("bad", problem.message, { alert: true, actions: again ? [again] : [] });
