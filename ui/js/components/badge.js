// A state in a word, with a colour and a mark: never the colour alone.

import { h } from "../dom.js";
import { icon } from "../icons.js";

const ICONS = { good: "ok", warn: "warning", bad: "failed" };

/** tone: "", "good", "warn", "bad", "accent" */
export const badge = (tone, text) =>
  h("span", { class: `badge ${tone}` }, ICONS[tone] && icon(ICONS[tone], { size: 14 }), text);
