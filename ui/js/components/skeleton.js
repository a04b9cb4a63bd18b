// Where something will stand in a moment.

import { h } from "../dom.js";

/** `label` says it to those who listen. */
export const skeleton = (label, { lines = 4, tall = false } = {}) =>
  h(
    "div",
    { class: "skeleton", role: "status" },
    h("span", { class: "visually-hidden" }, label),
    tall && h("div", { class: "bone tall" }),
    Array.from({ length: lines }, (_, index) => h("div", { class: `bone ${index % 3 === 2 ? "half" : ""}` })),
  );
