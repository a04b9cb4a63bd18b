// The delay of the last hour: a bar for each five minutes, the usual in it, a cap for the worst.

import { h, s } from "../dom.js";

const HEIGHT = 120;
const STEP = 24;

/** steps: [{ at, count, p50_ms, worst_ms }]; `summary` says the picture in a sentence. */
export function delays(steps, { summary, ms, time, t }) {
  const most = ceiling(Math.max(...steps.map((step) => step.worst_ms ?? 0)));
  const y = (value) => HEIGHT - (value / most) * HEIGHT;
  const bars = steps.map((step, index) => {
    const x = index * STEP;
    if (!step.count) return s("rect", { class: "delay-none", x: x + 6, y: HEIGHT - 2, width: STEP - 12, height: 2 });
    const popups = t("delay.popups", { count: step.count });
    return s(
      "g",
      {},
      s("title", {}, `${time(step.at)}: ${ms(step.p50_ms)}, ${t("delay.worst")} ${ms(step.worst_ms)}, ${popups}`),
      s("rect", {
        class: "delay-worst",
        x: x + 6,
        y: y(step.worst_ms),
        width: STEP - 12,
        height: HEIGHT - y(step.worst_ms),
      }),
      s("rect", {
        class: "delay-usual",
        x: x + 6,
        y: y(step.p50_ms),
        width: STEP - 12,
        height: HEIGHT - y(step.p50_ms),
      }),
    );
  });
  const width = steps.length * STEP;
  return h(
    "figure",
    { class: "delay" },
    h(
      "div",
      { class: "delay-plot" },
      h(
        "div",
        { class: "delay-scale small muted number", "aria-hidden": "true" },
        h("span", {}, ms(most)),
        h("span", {}, ms(most / 2)),
        h("span", {}, "0"),
      ),
      s(
        "svg",
        { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": summary },
        [0, 0.5, 1].map((part) =>
          s("line", {
            class: "delay-line",
            x1: 0,
            x2: width,
            y1: HEIGHT * part,
            y2: HEIGHT * part,
            "vector-effect": "non-scaling-stroke",
          }),
        ),
        bars,
      ),
      h(
        "div",
        { class: "delay-times small muted number", "aria-hidden": "true" },
        h("span", {}, time(steps[0].at)),
        h("span", {}, time(steps[Math.floor(steps.length / 2)].at)),
        h("span", {}, t("delay.now")),
      ),
    ),
    h(
      "ul",
      { class: "delay-key small muted", "aria-hidden": "true" },
      ["usual", "worst"].map((name) =>
        h(
          "li",
          {},
          s("svg", { width: 12, height: 12 }, s("rect", { class: `delay-${name}`, width: 12, height: 12 })),
          t(`delay.${name}`),
        ),
      ),
    ),
    h("figcaption", {}, summary),
  );
}

/** A round number above: 1, 2 or 5 times a power of ten, not under half a second. */
function ceiling(value) {
  const size = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.max(
    500,
    [1, 2, 5, 10].map((each) => each * size).find((each) => each >= value),
  );
}
