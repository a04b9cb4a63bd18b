// Drawn here, 20 by 20, in the colour of the text beside them.

import { s } from "./dom.js";

const PATHS = {
  overview: "M3 10.5 10 4l7 6.5M5 9v7.5h3.5v-4h3v4H15V9",
  calls:
    "M6.2 3.5 8.2 7 6.8 8.8c1 2 2.4 3.4 4.4 4.4L13 11.8l3.5 2v2.2c0 .8-.7 1.5-1.5 1.5C8.9 17 3 11.1 2.5 5c0-.8.7-1.5 1.5-1.5z",
  callbacks:
    "M11 13.5 13 11.8l3.5 2v2.2c0 .8-.7 1.5-1.5 1.5C8.9 17 3 11.1 2.5 5c0-.8.7-1.5 1.5-1.5h2.2L8.2 7 6.8 8.8M17 3.5l-5 5M12 4.5v4h4",
  report: "M3.5 17V9.5M8 17V4M12.5 17v-6M17 17V7",
  managers:
    "M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6M2 16.5c.4-3 2.6-5 5.5-5s5.1 2 5.5 5M13 3.8a3 3 0 0 1 0 5.4M15 12c1.7.8 2.7 2.4 3 4.5",
  lines: "M3 6h9M3 10h14M3 14h6M15 4v4M12 12v4",
  host: "M3 4h14v5H3zM3 11h14v5H3zM6 6.5v.1M6 13.5v.1M9.5 6.5H14M9.5 13.5H14",
  connection: "M8 12 12 8M8.5 5.5 10 4a4.2 4.2 0 0 1 6 6l-1.5 1.5M11.5 14.5 10 16a4.2 4.2 0 0 1-6-6l1.5-1.5",
  settings: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  log: "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
  try: "M5 4.5v11l10-5.5z",
  menu: "M3 6h14M3 10h14M3 14h14",
  close: "m5 5 10 10M15 5 5 15",
  ok: "m4.5 10.5 3.5 3.5 7.5-8",
  warning: "M10 3 2.5 16h15zM10 8v3.5M10 13.5v.5",
  failed: "m6 6 8 8M14 6l-8 8",
  info: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15M10 9v5M10 6v.5",
  waiting: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15M10 5.5V10l3 2",
  sun: "M10 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6M10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.5 1.5M14.2 14.2l1.5 1.5M4.3 15.7l1.5-1.5M14.2 5.8l1.5-1.5",
  moon: "M16.5 12A7 7 0 1 1 8 3.5a5.5 5.5 0 0 0 8.5 8.5",
  auto: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15M10 2.5v15M10 6h5.5M10 10h7.5M10 14h5.5",
  out: "M8 3.5H4.5v13H8M12 6.5l3.5 3.5-3.5 3.5M15 10H8",
  incoming: "M15 5 5 15M5 8v7h7",
  outgoing: "M5 15 15 5M8 5h7v7",
  internal: "M3 7h12l-3-3M17 13H5l3 3",
  download: "M10 3v10M6 9.5l4 4 4-4M4 16.5h12",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11M13 13l4 4",
  next: "m8 5 5 5-5 5",
  back: "m12 5-5 5 5 5",
  down: "m5 8 5 5 5-5",
  again: "M16 10a6 6 0 1 1-1.8-4.3M16 3v3.5h-3.5",
  undo: "M4 8h8.5a4 4 0 0 1 0 8H8M7 4.5 3.5 8 7 11.5",
  phone: "M6.5 2.5h7v15h-7zM9 15h2",
  key: "M7 13a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M10.5 9.5H17.5M15 9.5v3",
};

/** `label`: what it says to who does not see it; without one it is decoration. */
export function icon(name, { size = 20, label = null } = {}) {
  return s(
    "svg",
    {
      viewBox: "0 0 20 20",
      width: size,
      height: size,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": "1.6",
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }),
    },
    s("path", { d: PATHS[name] ?? PATHS.info }),
  );
}
