// Is it working? In words, in numbers of today, and what needs a hand.

import * as api from "../api.js";
import { button, linkButton } from "../components/button.js";
import { crm } from "../components/crm.js";
import { delays } from "../components/delays.js";
import { empty } from "../components/empty.js";
import { heading } from "../components/heading.js";
import { keyed } from "../components/keyed.js";
import { notice } from "../components/notice.js";
import { toast } from "../components/toast.js";
import { h, s } from "../dom.js";
import { ago, day, moment, number, time } from "../format.js";
import { go, to } from "../router.js";
import { of } from "../session.js";

const REFRESH_SECONDS = 15;
const SEVERE = new Set([
  "not_configured",
  "misconfigured",
  "disabled",
  "key_refused",
  "account_refused",
  "module_inactive",
  "history_failed",
  "host_without_effect",
  "clicks_stopped",
]);

export async function show({ t, signal }) {
  const body = h("div", { class: "stack wide" });
  const list = h("div", { class: "stack tight" });
  const say = await crm();
  const load = async () => draw(body, list, await api.get(of("stats"), {}, { signal }), { t, say }, load);
  await load();
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      await load();
    } catch {} // the next time, perhaps; what is shown was true a moment ago
  }, REFRESH_SECONDS * 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return [heading(t("title"), day(Date.now())), body];
}

/** In place, so that whoever reads or is about to press something is not disturbed. */
function draw(body, list, stats, { t, say }, reload) {
  keyed(list, attention(stats, { t, say }, reload));
  const { connection, last_event_at: last, attention: items, today: counted, delays: steps } = stats;
  keyed(body, [
    {
      key: "state",
      of: [connection, [last, connection.shown_at, connection.stored_at].map((at) => at && ago(at)), items.length > 0],
      make: () => state(stats, t),
    },
    { key: "attention", of: null, make: () => list },
    { key: "today", of: counted, make: () => today(stats, t) },
    { key: "delay", of: steps, make: () => delay(stats, t) },
  ]);
}

function state({ connection, last_event_at: last, attention: items }, t) {
  const name = headline(connection, items);
  const tone = { connected: "good", connected_with_worries: "warn", untried: "warn", disabled: "warn" }[name] ?? "bad";
  return h(
    "section",
    { class: `card state ${tone}` },
    pulse(tone),
    h(
      "div",
      { class: "stack tight grow" },
      h("h2", {}, t(`state.${name}`)),
      h(
        "p",
        { class: "muted" },
        t(`state_text.${connection.state === "connected" ? arrived(connection) : name}`, {
          shown: connection.shown_at && ago(connection.shown_at),
          stored: connection.stored_at && ago(connection.stored_at),
        }),
      ),
      h(
        "p",
        { class: "small muted" },
        [connection.domain?.replace(/^https:\/\//, ""), last ? t("last_event", { ago: ago(last) }) : t("no_event_yet")]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
  );
}

/** "Works" is said only of what has been seen to work. */
function headline({ state: name, shown_at: shown, stored_at: stored }, items) {
  if (name !== "connected") return name;
  if (items.length) return "connected_with_worries";
  return shown || stored ? "connected" : "untried";
}

/** What has really reached RetailCRM. */
function arrived({ shown_at: shown, stored_at: stored }) {
  if (shown && stored) return "arrived";
  return shown ? "only_shown" : stored ? "only_stored" : "untried";
}

/** A handset between two waves; the waves are broken when something is wrong. */
const pulse = (tone) =>
  s(
    "svg",
    {
      viewBox: "0 0 96 96",
      width: 88,
      height: 88,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 4,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": "true",
      class: "pulse",
    },
    s("circle", { cx: 48, cy: 48, r: 44, fill: "currentColor", stroke: "none", opacity: 0.12 }),
    s("circle", { cx: 48, cy: 48, r: 30, opacity: 0.5, "stroke-dasharray": tone === "good" ? null : "14 12" }),
    s("path", { d: { good: "m35 49 9 9 18-20", warn: "M48 34v18M48 61v1", bad: "m38 38 20 20M58 38 38 58" }[tone] }),
  );

/** Entries for `keyed`: a heading, and a notice for each item. */
function attention({ attention: items }, { t, say }, reload) {
  if (!items.length) return [];
  const keys = items.map((item) =>
    [item.code, item.kind, item.value, item.command, item.source, item.name].filter(Boolean).join(" "),
  );
  return [
    { key: "", of: items.length, make: () => h("h2", {}, t("attention", { count: items.length })) },
    ...items.map((item, index) => ({ key: keys[index], of: item, make: () => worry(item, { t, say }, reload) })),
  ];
}

function worry(item, { t, say }, reload) {
  const facts = {
    ...item,
    since: item.since && moment(item.since),
    lines: item.lines?.join(", "),
    kind: null,
    count: item.events,
  };
  const code = codeOf(item);
  return notice(SEVERE.has(item.code) ? "bad" : "warn", t(`items.${code}.title`, facts), {
    text: [say(item.trouble).text, t(`items.${code}.text`, facts)].filter(Boolean).join(" "),
    quote: item.words ? t("words", { words: item.words }) : say(item.trouble).quote,
    list: item.because && because(item.because, t),
    actions: [
      item.code === "host_without_effect" &&
        item.unique_id &&
        linkButton(t("open.call"), to(["call", item.unique_id]), { kind: "plain", small: true }),
      item.code === "history_failed" &&
        linkButton(t("open.calls"), to("calls", { state: "failed" }), { kind: "plain", small: true }),
      item.action && remedy(item, t, reload),
    ].filter(Boolean),
  });
}

/** Of some items there are several kinds, each with words of its own. */
function codeOf({ code, kind, command, source }) {
  if (code === "unknown_to_crm") return `unknown_${kind}`;
  if (code === "command_failed") return `failed_${command}`;
  return code === "host_without_effect" ? `silent_${source}` : code;
}

/** Why events led to nothing, each reason with a way to the first call of it. */
const because = (reasons, t) =>
  h(
    "ul",
    { class: "bullets" },
    reasons.map(({ reason, events, unique_id: id, at }) =>
      h(
        "li",
        {},
        t(`led.${reason}`, { events }),
        " ",
        id
          ? h("a", { href: to(["call", id]) }, t("first", { at: moment(at) }))
          : h("span", { class: "muted" }, t("first", { at: moment(at) })),
      ),
    ),
  );

function remedy({ code, action }, t, reload) {
  const options = { kind: "plain", small: true };
  if (action.kind === "open") return linkButton(t(`open.${action.screen}`), to(action.screen), options);
  return button(
    t(`act.${code === "disabled" ? "switch_on" : action.kind}`),
    async () => {
      try {
        await ACTS[action.kind](action);
      } catch (problem) {
        return toast(problem.message);
      }
      if (["register", "deactivate"].includes(action.kind)) return go("connection", { follow: 1 });
      toast(t(`acted.${action.kind}`));
      return reload();
    },
    options,
  );
}

const ACTS = {
  register: () => api.post(of("register")),
  deactivate: () => api.remove(of("register")),
  sync: () => api.post(of("sync-extensions")),
  replay: ({ since }) => api.post(of("replay"), { since }),
};

function today({ today: { calls, popups, history } }, t) {
  const total = (calls.in ?? 0) + (calls.out ?? 0) + (calls.internal ?? 0);
  if (!total && !popups.delivered && !history.delivered) {
    return h(
      "section",
      { class: "card" },
      empty(
        "quiet",
        t("quiet.title"),
        t("quiet.text"),
        linkButton(t("open.try"), to("try"), { kind: "plain", icon: "try" }),
      ),
    );
  }
  const results = ({ delivered, waiting, failed }) => [
    [t("delivered"), delivered, "good"],
    [t("waiting"), waiting, ""],
    [t("failed"), failed, failed ? "bad" : ""],
  ];
  return h(
    "section",
    { "aria-label": t("today") },
    h(
      "div",
      { class: "cards" },
      tally(
        t("calls"),
        total,
        [
          [t("in"), calls.in ?? 0, ""],
          [t("out"), calls.out ?? 0, ""],
          [t("internal"), calls.internal ?? 0, ""],
        ],
        to("calls"),
      ),
      tally(t("popups"), popups.delivered, results(popups), popups.failed ? to("calls", { state: "failed" }) : null),
      tally(
        t("history"),
        history.delivered,
        results(history),
        history.failed ? to("calls", { state: "failed" }) : null,
      ),
    ),
  );
}

const tally = (title, total, rows, link) =>
  h(
    "div",
    { class: "card tally" },
    h("h2", {}, link ? h("a", { href: link }, title) : title),
    h("p", { class: "tally-total number" }, number(total)),
    h(
      "dl",
      { class: "tally-rows" },
      rows.map(([name, count, tone]) =>
        h("div", { class: tone }, h("dt", {}, name), h("dd", { class: "number" }, number(count))),
      ),
    ),
  );

function delay({ delays: steps }, t) {
  const seen = steps.filter((step) => step.count);
  const title = h("header", {}, h("h2", {}, t("delay.title")), h("p", { class: "muted small" }, t("delay.text")));
  if (!seen.length) return h("section", { class: "card" }, title, h("p", { class: "muted" }, t("delay.none")));
  const worst = Math.max(...seen.map((step) => step.worst_ms));
  const middle = seen.map((step) => step.p50_ms).sort((a, b) => a - b)[Math.floor(seen.length / 2)];
  const count = seen.reduce((sum, step) => sum + step.count, 0);
  const ms = (value) =>
    number(value / 1000, {
      style: "unit",
      unit: "second",
      unitDisplay: "short",
      maximumFractionDigits: value < 1000 ? 2 : 1,
    });
  const summary = t("delay.summary", { middle: ms(middle), worst: ms(worst), popups: t("delay.popups", { count }) });
  return h("section", { class: "card" }, title, delays(steps, { summary, ms, time, t }));
}
