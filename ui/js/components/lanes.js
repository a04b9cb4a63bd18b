// Who waited, rang and talked from when to when: a lane for each, time to the right.

import { h, s } from "../dom.js";
import { duration, phone } from "../format.js";

const LANE = 52;
const BAR = { wait: 8, ring: 8, dial: 8, hold: 12, talk: 20 };
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const KINDS = ["wait", "ring", "dial", "talk", "hold"];

/** A figure of the story's `lanes` and `transfers`; `t` has the words of messages/…/story.js. */
export function lanes(story, t) {
  const bars = story.lanes.flatMap((lane) => lane.bars);
  if (!bars.length) return h("p", { class: "muted" }, t("no_picture"));
  const ends = story.ends_at ?? Math.max(...bars.map((bar) => bar.until ?? bar.since)) * 1.1;
  const total = Math.max(ends, ...bars.map((bar) => bar.until ?? 0), 1);
  const x = (at) => `${Math.min(100, Math.max(0, (at / total) * 100)).toFixed(2)}%`;
  const height = story.lanes.length * LANE;
  const row = new Map(story.lanes.map((lane, index) => [lane.number, index]));
  const ticks = scale(total);
  const drawn = s(
    "svg",
    { class: "lanes", width: "100%", height: height + 28, "aria-hidden": "true" },
    ticks.map((at) => [
      s("line", { class: "lane-tick", x1: x(at), x2: x(at), y1: 0, y2: height }),
      s("text", { class: "lane-time", x: x(at), y: height + 18, "text-anchor": anchor(at, total) }, duration(at)),
    ]),
    story.lanes.map((lane, index) => [
      s("text", { class: "lane-name", x: 0, y: index * LANE + 16 }, name(lane, t)),
      lane.bars.map((bar) => {
        const until = bar.until ?? total;
        const thick = BAR[bar.kind];
        return s(
          "rect",
          {
            class: `bar ${bar.kind}`,
            x: x(bar.since),
            y: index * LANE + 34 - thick / 2,
            width: x(Math.max(until - bar.since, total / 250)),
            height: thick,
            rx: 4,
          },
          s("title", {}, words(bar, t)),
        );
      }),
    ]),
    story.transfers.map(({ at, from, to }) => {
      const [a, b] = [row.get(from), row.get(to)];
      if (a === undefined || b === undefined) return null;
      return s(
        "g",
        { class: "lane-transfer" },
        s("line", { x1: x(at), x2: x(at), y1: a * LANE + 34, y2: b * LANE + 34 }),
        s("circle", { cx: x(at), cy: b * LANE + 34, r: 4 }),
      );
    }),
  );
  const used = KINDS.filter((kind) => bars.some((bar) => bar.kind === kind));
  return h(
    "figure",
    { class: "stack tight" },
    drawn,
    h(
      "ul",
      { class: "legend small muted", "aria-hidden": "true" },
      used.map((kind) =>
        h(
          "li",
          {},
          s(
            "svg",
            { width: 20, height: 20 },
            s("rect", { class: `bar ${kind}`, x: 0, y: 10 - BAR[kind] / 2, width: 20, height: BAR[kind], rx: 3 }),
          ),
          t(`legend.${kind}`),
        ),
      ),
      story.transfers.length > 0 &&
        h(
          "li",
          {},
          s("svg", { width: 20, height: 20 }, s("line", { class: "lane-transfer", x1: 10, x2: 10, y1: 1, y2: 19 })),
          t("legend.transfer"),
        ),
    ),
    h(
      "figcaption",
      { class: "visually-hidden" },
      h(
        "ul",
        {},
        story.lanes.map((lane) => h("li", {}, `${name(lane, t)}: ${lane.bars.map((bar) => words(bar, t)).join(", ")}`)),
        story.transfers.map(({ at, from, to }) => h("li", {}, t("transfer", { from, to, at: duration(at) }))),
      ),
    ),
  );
}

function name(lane, t) {
  if (lane.role === "customer") return [t("customer"), phone(lane.number)].filter(Boolean).join(" · ");
  return lane.name ? `${lane.name} · ${lane.number}` : phone(lane.number);
}

const words = (bar, t) =>
  t(`bar.${bar.kind}`, { since: duration(bar.since), until: bar.until === null ? t("goes_on") : duration(bar.until) });

function scale(total) {
  const step = STEPS.find((each) => total / each <= 5) ?? Math.ceil(total / 5 / 3600) * 3600;
  return Array.from({ length: Math.floor(total / step) + 1 }, (_, index) => index * step);
}

const anchor = (at, total) => (at === 0 ? "start" : at / total > 0.94 ? "end" : "middle");
