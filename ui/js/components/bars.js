// Calls by hour or day: a bar for each, what was answered below, what was missed above; a table says the same in words.

import { h, s } from "../dom.js";

const HEIGHT = 120;
const STEP = 24;
const SPACE = 5;

/**
 * parts: [{ name, long, values: [number, …] }] in the order of time; keys: [{ name, tone }] in the order of the values,
 * drawn from below. `summary` says the picture in a sentence; `every`: of how many parts one is named below.
 */
export function bars(parts, keys, { summary, number, every = 1 }) {
  const most = Math.max(1, ...parts.map(({ values }) => sum(values)));
  const width = parts.length * STEP;
  const columns = parts.map(({ long, values }, index) => {
    let top = HEIGHT;
    const told = keys.map(({ name }, key) => `${name}: ${number(values[key])}`).join(", ");
    return s(
      "g",
      {},
      s("title", {}, `${long} — ${told}`),
      values.map((value, key) => {
        const height = (value / most) * HEIGHT;
        top -= height;
        return s("rect", {
          class: `bar-${keys[key].tone}`,
          x: index * STEP + SPACE,
          y: top,
          width: STEP - 2 * SPACE,
          height,
        });
      }),
    );
  });
  return h(
    "figure",
    { class: "delay" },
    h(
      "div",
      { class: "delay-plot" },
      h(
        "div",
        { class: "delay-scale small muted number", "aria-hidden": "true" },
        h("span", {}, number(most)),
        h("span", {}, "0"),
      ),
      s(
        "svg",
        { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": summary },
        [0, 1].map((part) =>
          s("line", {
            class: "delay-line",
            x1: 0,
            x2: width,
            y1: HEIGHT * part,
            y2: HEIGHT * part,
            "vector-effect": "non-scaling-stroke",
          }),
        ),
        columns,
      ),
      h(
        "div",
        { class: "bar-names small muted number", "aria-hidden": "true" },
        parts.map(({ name }, index) => h("span", {}, index % every === 0 ? name : "")),
      ),
    ),
    h(
      "ul",
      { class: "delay-key small muted", "aria-hidden": "true" },
      keys.map(({ name, tone }) =>
        h(
          "li",
          {},
          s("svg", { width: 12, height: 12 }, s("rect", { class: `bar-${tone}`, width: 12, height: 12 })),
          name,
        ),
      ),
    ),
    h("figcaption", {}, summary),
  );
}

const sum = (values) => values.reduce((all, value) => all + value, 0);
