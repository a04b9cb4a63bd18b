// The report that an owner opens in the morning: a day, a week or a month, beside the one before.

import * as api from "../api.js";
import { bars } from "../components/bars.js";
import { button, linkButton } from "../components/button.js";
import { empty } from "../components/empty.js";
import { heading } from "../components/heading.js";
import { results as found } from "../components/results.js";
import { table } from "../components/table.js";
import { toggle } from "../components/tabs.js";
import { announce, fill, h } from "../dom.js";
import { duration, number } from "../format.js";
import { currentLanguage } from "../i18n.js";
import { note, to } from "../router.js";
import { of } from "../session.js";

const SPANS = ["day", "week", "month"];
const KEYS = [
  ["answered", "good"],
  ["reached", "accent"],
  ["missed", "bad"],
];

export async function show({ t, common, query, signal }) {
  const chosen = { span: query.get("span") ?? "day", date: query.get("date") ?? "" };
  const csv = linkButton(t("csv"), "#", { kind: "plain", icon: "download", download: "report.csv" });
  const period = h("h2", { class: "grow", "aria-live": "polite" });
  const results = found({ find, draw, common, wide: true });
  const [back, ahead] = [
    [-1, "back", "earlier"],
    [1, "next", "later"],
  ].map(([by, icon, name]) => button("", () => move(by), { kind: "plain", small: true, icon, label: t(name) }));
  let shown;
  await results.load();
  const spans = toggle(
    t("span"),
    SPANS.map((name) => [name, t(`spans.${name}`)]),
    chosen.span,
    (span) => choose({ span }),
  );
  return [
    heading(t("title"), t("lead"), [csv]),
    h(
      "div",
      { class: "stack wide" },
      h("div", { class: "row between" }, spans, h("div", { class: "row" }, back, ahead)),
      period,
      results.element,
    ),
  ];

  function find() {
    csv.href = api.href(of("report"), { ...chosen, format: "csv", language: currentLanguage() });
    return api.get(of("report"), chosen, { signal });
  }

  function choose(changed) {
    Object.assign(chosen, changed);
    note(chosen);
    return results.renew();
  }

  function move(by) {
    return choose({ date: by < 0 ? shifted(shown.since, -1) : shown.until });
  }

  function draw(report) {
    shown = report;
    ahead.hidden = report.until > report.today;
    period.textContent = named(report);
    announce(period.textContent);
    const { total } = report;
    if (!total.incoming && !total.outgoing)
      return fill(results.element, h("section", { class: "card" }, empty("quiet", t("empty.title"), t("empty.text"))));
    return fill(
      results.element,
      totals(report),
      h("section", { class: "card stack" }, h("h2", {}, t(`by.${report.step}`)), picture(report), details(report)),
      owners(report.owners),
    );
  }

  function totals({ total, before, span }) {
    const past = before.total;
    const share = ({ answered, incoming }) => (incoming ? answered / incoming : null);
    const percent = (value) => (value === null ? "—" : number(value, { style: "percent", maximumFractionDigits: 0 }));
    const wait = ({ wait_seconds: waited }) => (waited === null ? "—" : duration(waited));
    return h(
      "dl",
      { class: "report-totals" },
      [
        ["incoming", number(total.incoming), number(past.incoming)],
        ["missed", number(total.missed), number(past.missed)],
        ["share", percent(share(total)), percent(share(past))],
        ["wait", wait(total), wait(past)],
        ["outgoing", number(total.outgoing), number(past.outgoing)],
        ["talk", duration(total.talk_seconds), duration(past.talk_seconds)],
      ].map(([name, now, then]) =>
        h(
          "div",
          { class: "card" },
          h("dt", {}, t(`totals.${name}`)),
          h("dd", { class: "tally-total number" }, now),
          h("dd", { class: "small muted" }, t(`before.${span}`, { value: then })),
        ),
      ),
    );
  }

  function picture({ parts, step, since, until, total }) {
    const known = new Map(parts.map((part) => [part.at, part]));
    const drawn = (step === "hour" ? hours(since) : days(since, until)).map((at) => {
      const part = known.get(at) ?? { answered: 0, reached: 0, missed: 0 };
      return {
        name: step === "hour" ? at.slice(11, 13) : String(Number(at.slice(8, 10))),
        long: partName(at, step),
        values: KEYS.map(([name]) => part[name]),
      };
    });
    return bars(
      drawn,
      KEYS.map(([name, tone]) => ({ name: t(`keys.${name}`), tone })),
      {
        summary: t("summary", {
          answered: number(total.answered),
          missed: number(total.missed),
          reached: number(total.reached),
        }),
        number,
        every: step === "hour" ? 4 : drawn.length > 7 ? 5 : 1,
      },
    );
  }

  function details({ parts, step }) {
    return h(
      "details",
      {},
      h("summary", {}, t("as_table")),
      table(
        t(`by.${step}`),
        [{ title: t(`step.${step}`), main: true, cell: (part) => partName(part.at, step) }, ...figures()],
        parts,
      ).element,
    );
  }

  function owners(rows) {
    return h(
      "section",
      { class: "stack tight" },
      h("h2", {}, t("owners")),
      table(
        t("owners"),
        [
          {
            title: t("owner"),
            main: true,
            cell: (row) =>
              row.owner_extension
                ? h(
                    "a",
                    { href: to("calls", { extension: row.owner_extension }) },
                    row.owner_name ? `${row.owner_name} (${row.owner_extension})` : row.owner_extension,
                  )
                : t("nobody"),
          },
          ...figures(),
          { title: t("totals.talk"), number: true, cell: (row) => duration(row.talk_seconds) },
          {
            title: t("totals.wait"),
            number: true,
            cell: (row) => (row.wait_seconds === null ? "—" : duration(row.wait_seconds)),
          },
        ],
        rows,
      ).element,
    );
  }

  function figures() {
    return ["incoming", "answered", "missed", "outgoing", "reached"].map((name) => ({
      title: t(`figures.${name}`),
      number: true,
      cell: (row) => number(row[name]),
    }));
  }

  function named({ span, since, until }) {
    if (span === "day") return dated(since, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
    if (span === "month") return dated(since, { month: "long", year: "numeric" });
    return `${dated(since, { day: "numeric", month: "long" })} — ${dated(shifted(until, -1), { day: "numeric", month: "long", year: "numeric" })}`;
  }
}

const partName = (at, step) =>
  step === "hour"
    ? `${at.slice(11, 16)}–${String(Number(at.slice(11, 13)) + 1).padStart(2, "0")}:00`
    : dated(at.slice(0, 10), { weekday: "short", day: "numeric", month: "long" });

const hours = (since) => Array.from({ length: 24 }, (_, hour) => `${since}T${String(hour).padStart(2, "0")}:00:00`);

function days(since, until) {
  const list = [];
  for (let date = since; date < until; date = shifted(date, 1)) list.push(`${date}T00:00:00`);
  return list;
}

// Days of the calendar, of no zone.
const dated = (date, options) =>
  new Intl.DateTimeFormat(currentLanguage(), { timeZone: "UTC", ...options }).format(new Date(`${date}T00:00:00Z`));
const shifted = (date, by) => new Date(Date.parse(`${date}T00:00:00Z`) + by * 86_400_000).toISOString().slice(0, 10);
