// A table that becomes a list of cards on a phone: each cell carries its column's name.

import { h } from "../dom.js";

/**
 * columns: [{ title, cell(row), end, main, number, bare }]; `main` is the row's heading, `bare` needs no name on a
 * phone. `caption` is for those who listen.
 * The result has `rows(list)`, which appends.
 */
export function table(caption, columns, rows = []) {
  const body = h("tbody");
  const add = (list) => body.append(...list.map((row) => line(columns, row)));
  const element = h(
    "div",
    { class: "table-box" },
    h(
      "table",
      { class: "table" },
      h("caption", { class: "visually-hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(({ title, end }) => h("th", { scope: "col", class: end ? "end" : null }, title)),
        ),
      ),
      body,
    ),
  );
  add(rows);
  return { element, body, rows: add };
}

const line = (columns, row) =>
  h(
    "tr",
    {},
    columns.map(({ title, cell, end, main, number, bare }) =>
      h(
        main ? "th" : "td",
        {
          scope: main ? "row" : null,
          class: [end && "end", number && "number"].filter(Boolean).join(" ") || null,
          "data-label": main || bare || !title ? null : title,
        },
        h("div", {}, cell(row)),
      ),
    ),
  );
