// The top of a screen: what it is, a sentence, and what can be done with all of it.

import { h } from "../dom.js";

export const heading = (title, lead = null, actions = []) =>
  h(
    "div",
    { class: "head" },
    h("div", { class: "head-words" }, h("h1", { tabindex: -1 }, title), lead && h("p", { class: "muted" }, lead)),
    actions.length ? h("div", { class: "row" }, actions) : null,
  );
