// Work in steps, each ticked as it comes.

import { fill, h } from "../dom.js";
import { icon } from "../icons.js";

const ICONS = { ok: "ok", done: "ok", warning: "warning", failed: "failed", waiting: "waiting" };

/** steps: [{ state: ok | warning | failed | waiting | busy, title, text }]. `words` names the states for listeners. */
export function steps(list, words) {
  const element = h("ol", { class: "steps" });
  const show = (items) =>
    fill(
      element,
      items.map(({ state, title, text }) => {
        const name = state === "done" ? "ok" : state;
        const mark = name === "busy" ? h("span", { class: "spinner" }) : icon(ICONS[name], { size: 16 });
        return h(
          "li",
          { class: `step ${name}` },
          h("span", { class: "step-mark" }, mark, h("span", { class: "visually-hidden" }, words[name])),
          h("div", { class: "step-words" }, h("strong", {}, title), text && h("span", { class: "small muted" }, text)),
        );
      }),
    );
  show(list);
  return { element, show };
}
