// Nothing here yet: a picture, why, and what to do.

import { h, s } from "../dom.js";

const PICTURES = {
  // a handset in its waves
  quiet: () => [
    s("path", {
      d: "M38 62c-2-2-2-5 0-7l5-5c2-2 5-2 7 0l6 6c2 2 2 4 1 6 4 7 9 12 16 16 2-1 4-1 6 1l6 6c2 2 2 5 0 7l-5 5c-2 2-5 2-7 0-10-6-29-25-35-35z",
    }),
    s("path", { d: "M76 52a18 18 0 0 1 14 14M78 38a32 32 0 0 1 26 26", opacity: ".45" }),
  ],
  // sheets under a magnifier
  search: () => [
    s("path", { d: "M36 34h46v16M36 34v62h30M46 48h24M46 60h16", opacity: ".45" }),
    s("circle", { cx: "84", cy: "76", r: "18" }),
    s("path", { d: "m97 89 14 14" }),
  ],
  // a plug before its socket
  unplugged: () => [
    s("path", { d: "M28 70h20M48 56v28h8a14 14 0 0 0 0-28zM70 64h8M70 76h8" }),
    s("path", { d: "M112 70H98M98 54v32h-4a16 16 0 0 1 0-32z", opacity: ".45" }),
  ],
  // everything is done
  calm: () => [s("circle", { cx: "70", cy: "70", r: "34", opacity: ".45" }), s("path", { d: "m54 71 11 11 22-24" })],
  people: () => [
    s("circle", { cx: "56", cy: "56", r: "14" }),
    s("path", { d: "M30 100c2-16 12-24 26-24s24 8 26 24" }),
    s("path", { d: "M84 43a14 14 0 0 1 0 26M92 77c11 3 17 11 18 23", opacity: ".45" }),
  ],
};

/** picture: quiet | search | unplugged | calm | people */
export const empty = (picture, title, text = null, ...actions) =>
  h(
    "div",
    { class: "empty" },
    s(
      "svg",
      {
        viewBox: "0 0 140 140",
        width: 132,
        height: 132,
        fill: "none",
        stroke: "currentColor",
        "stroke-width": 3,
        "stroke-linecap": "round",
        "stroke-linejoin": "round",
        "aria-hidden": "true",
      },
      s("circle", { cx: "70", cy: "70", r: "66", fill: "currentColor", stroke: "none", opacity: ".08" }),
      PICTURES[picture](),
    ),
    h("h2", {}, title),
    text && h("p", { class: "muted" }, text),
    actions.length ? h("div", { class: "row" }, actions) : null,
  );
