// What has just been done, said for a while, and perhaps undone.

import { announce, h } from "../dom.js";
import { button } from "./button.js";

const SECONDS = 8;

/**
 * `undo`: { text, act, gone }, `gone` is called once the offer ends. Stays while it is pointed at or holds the focus.
 */
export function toast(text, undo = null) {
  const made = h("div", { class: "toast" }, h("span", {}, text));
  let timer;
  const end = () => {
    clearTimeout(timer);
    made.remove();
    undo?.gone?.();
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(end, SECONDS * 1000);
  };
  if (undo) {
    made.append(
      button(
        undo.text,
        async () => {
          await undo.act();
          end();
        },
        { icon: "undo" },
      ),
    );
  }
  made.addEventListener("pointerenter", () => clearTimeout(timer));
  made.addEventListener("focusin", () => clearTimeout(timer));
  made.addEventListener("pointerleave", wait);
  made.addEventListener("focusout", wait);
  document.getElementById("toasts").append(made);
  announce(text);
  wait();
  return end;
}
