// A button that shows that it works, and cannot be pressed twice meanwhile.

import { h } from "../dom.js";
import { icon } from "../icons.js";

/**
 * kind: "" (the main one), "plain", "quiet", "danger"; `small`; `act`: what it does, may be async. While that lasts the
 * button says `busy` and ignores presses. `label` names a button that is an icon only. Errors are the caller's.
 * @param {{ kind?: string, small?: boolean, icon?: string | null, busy?: string | null, label?: string | null,
 *   type?: string, [attribute: string]: any }} [options]
 */
export function button(
  text,
  act,
  { kind = "", small = false, icon: drawn = null, busy = null, label = null, type = "button", ...more } = {},
) {
  const words = h("span", {}, text);
  const mark = drawn && icon(drawn, { size: small ? 16 : 18 });
  const names = ["button", kind, small && "small", !text && "icon"].filter(Boolean).join(" ");
  const made = h(
    "button",
    { type, class: names, "aria-label": label, title: text ? null : label, ...more },
    mark,
    text && words,
  );
  if (act) made.addEventListener("click", (event) => working(made, () => act(event), busy));
  return made;
}

/** Marks the button busy until `act` has ended; a press meanwhile does nothing. */
export async function working(made, act, busy = null) {
  if (made.getAttribute("aria-disabled") === "true") return undefined;
  const words = made.querySelector("span");
  const before = words?.textContent;
  const spinner = h("span", { class: "spinner", "aria-hidden": "true" });
  const slow = setTimeout(() => {
    made.prepend(spinner);
    if (words && busy) words.textContent = busy;
  }, 120); // what is done at once does not flicker
  made.setAttribute("aria-disabled", "true");
  try {
    return await act();
  } finally {
    clearTimeout(slow);
    spinner.remove();
    if (words?.textContent === busy) words.textContent = before;
    made.removeAttribute("aria-disabled");
  }
}

/**
 * A link that looks like a button.
 * @param {{ kind?: string, small?: boolean, icon?: string | null, [attribute: string]: any }} [options]
 */
export const linkButton = (text, href, { kind = "", small = false, icon: drawn = null, ...more } = {}) =>
  h(
    "a",
    { class: ["button", kind, small && "small"].filter(Boolean).join(" "), href, ...more },
    drawn && icon(drawn, { size: small ? 16 : 18 }),
    text,
  );
