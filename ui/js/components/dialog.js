// Questions over the page. Escape and "cancel" both mean no.

import { h, uid } from "../dom.js";
import { button } from "./button.js";

/**
 * Opens a modal dialog; `build(close)` makes its content below the title. Resolves with what `close(value)` is given.
 */
export function open(title, build, { dismissable = true } = {}) {
  return new Promise((resolve) => {
    const id = uid("title");
    const back = /** @type {HTMLElement | null} */ (document.activeElement);
    let answer = null;
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": id });
    const close = (value = null) => {
      answer = value;
      dialog.close();
    };
    dialog.append(h("div", { class: "dialog-body" }, h("h2", { id }, title), build(close)));
    dialog.addEventListener("cancel", (event) => {
      if (!dismissable) event.preventDefault();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (back?.isConnected) back.focus();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks before something is done; true when it may be. `points`: what it will change, one sentence each. */
export const confirm = (title, { points = [], text = null, yes, no, danger = true }) =>
  open(title, (close) => [
    text && h("p", {}, text),
    points.length
      ? h(
          "ul",
          { class: "bullets" },
          points.map((point) => h("li", {}, point)),
        )
      : null,
    h(
      "div",
      { class: "dialog-actions" },
      button(no, () => close(false), { kind: "plain", autofocus: true }),
      button(yes, () => close(true), { kind: danger ? "danger" : "" }),
    ),
  ]).then(Boolean);
