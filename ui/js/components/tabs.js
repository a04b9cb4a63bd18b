// A few views of one thing. As links where the view stands in the address, as buttons where it does not.

import { h } from "../dom.js";

/** items: [{ text, href, current }] */
export const linkTabs = (label, items) =>
  h(
    "nav",
    { class: "tabs", "aria-label": label },
    items.map(({ text, href, current }) => h("a", { href, "aria-current": current ? "true" : null }, text)),
  );

/** choices: [[value, text], …]; `choose(value)` is called when another one is pressed. */
export function toggle(label, choices, value, choose) {
  const buttons = choices.map(([key, text]) =>
    h("button", { type: "button", "aria-pressed": String(key === value), on: { click: () => press(key) } }, text),
  );
  function press(key) {
    buttons.forEach((each, index) => each.setAttribute("aria-pressed", String(choices[index][0] === key)));
    choose(key);
  }
  return h("div", { class: "tabs", role: "group", "aria-label": label }, buttons);
}
