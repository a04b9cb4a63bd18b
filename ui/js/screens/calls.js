// Calls, the latest first, each in a sentence; new ones come by themselves.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, linkButton } from "../components/button.js";
import { empty } from "../components/empty.js";
import { selectField, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { keyed } from "../components/keyed.js";
import { more, pages, results as found } from "../components/results.js";
import { why } from "../components/why.js";
import { announce, fill, h } from "../dom.js";
import { day, duration, fromLocal, phone, time, toLocal } from "../format.js";
import { currentLanguage } from "../i18n.js";
import { icon } from "../icons.js";
import { go, note, to, visit } from "../router.js";
import { of } from "../session.js";

const NAMES = ["phone", "kind", "result", "extension", "state", "reason", "since", "until"];
const FURTHER = ["extension", "state", "reason", "since", "until"];
const REASONS = [
  "no_mapping",
  "no_phone",
  "expired",
  "unknown_to_crm",
  "no_owner",
  "owner_refused",
  "authentication",
  "account_refused",
  "permanent",
  "unavailable",
  "in_doubt",
  "corrected_after_upload",
  "unknown_line",
];
// Days from today: the first, and the one after the last; none: up to now.
const PERIODS = { today: [0, null], yesterday: [-1, 0], week: [-6, null] };
const DAY_MS = 24 * 3600 * 1000;
const FURTHER_ROWS = 100;
const REFRESH_SECONDS = 4;
const TYPING_MS = 350;

export async function show({ t, common, query, signal, before }) {
  const chosen = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  const [{ internal_phones: phones }, say] = await Promise.all([api.get(of("internal-phones"), {}, { signal }), why()]);
  const csv = linkButton(t("csv"), "#", { kind: "plain", icon: "download", download: "calls.csv" });
  const fields = filters();
  const results = found({ find, draw: take, common });
  const fresh = h("div");
  const days = h("div", { class: "stack" });
  const lists = new Map(); // by day
  let shown = []; // as they are on the screen
  let rows = before?.rows; // that somebody had on the screen when they left it
  await results.load();
  const timer = setInterval(refresh, REFRESH_SECONDS * 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return [heading(t("title"), t("lead"), [csv]), h("div", { class: "stack wide" }, search(), fresh, results.element)];

  function filters() {
    const choices = (name, any = t("any")) => [
      ["", any],
      ...Object.keys(words(name)).map((key) => [key, t(`${name}s.${key}`)]),
    ];
    const owner = ({ extension, first_name: first, last_name: last }) =>
      [extension, [first, last].filter(Boolean).join(" ")].filter(Boolean).join(" · ");
    const made = {
      phone: textField(t("phone"), {
        type: "search",
        value: chosen.phone,
        inputmode: "tel",
        autocomplete: "off",
        maxlength: 100,
      }),
      kind: selectField(t("kind"), choices("kind"), { value: chosen.kind }),
      result: selectField(t("result"), choices("result"), { value: chosen.result }),
      period: selectField(
        t("period"),
        [["", t("periods.all")], ...[...Object.keys(PERIODS), "own"].map((name) => [name, t(`periods.${name}`)])],
        { value: period() },
      ),
      extension: selectField(
        t("extension"),
        [["", t("anyone")], ...phones.map((each) => [each.extension, owner(each)])],
        { value: chosen.extension },
      ),
      state: selectField(t("state"), choices("state"), { value: chosen.state }),
      reason: selectField(t("reason"), [["", t("any")], ...REASONS.map((code) => [code, plain(say, code)])], {
        value: chosen.reason,
      }),
      since: textField(t("since"), { type: "datetime-local", value: toLocal(chosen.since) }),
      until: textField(t("until"), { type: "datetime-local", value: toLocal(chosen.until) }),
    };
    for (const name of NAMES) {
      const value = () =>
        ["since", "until"].includes(name) ? (fromLocal(made[name].value()) ?? "") : made[name].value().trim();
      made[name].input.addEventListener("change", () => {
        if (value() === chosen[name]) return undefined;
        const done = choose({ [name]: value() });
        made.period.set(period());
        return done;
      });
    }
    made.period.input.addEventListener("change", () => {
      const name = made.period.value();
      if (name === "own") {
        made.since.element.closest("details").open = true;
        return made.since.input.focus();
      }
      const range = bounds(name);
      made.since.set(toLocal(range.since));
      made.until.set(toLocal(range.until));
      return choose(range);
    });
    let typing;
    made.phone.input.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(
        () => made.phone.value().trim() !== chosen.phone && choose({ phone: made.phone.value().trim() }),
        TYPING_MS,
      );
    });
    return made;
  }

  function period() {
    const isChosen = (name) => bounds(name).since === chosen.since && bounds(name).until === chosen.until;
    return Object.keys(PERIODS).find(isChosen) ?? (chosen.since || chosen.until ? "own" : "");
  }

  function search() {
    const further = FURTHER.some((name) => chosen[name]);
    return h(
      "div",
      { class: "stack tight", role: "search", "aria-label": t("filters") },
      h(
        "div",
        { class: "filters" },
        ["phone", "period", "kind", "result"].map((name) => fields[name].element),
      ),
      h(
        "details",
        { class: "further", open: further },
        h("summary", {}, t("more_filters")),
        h(
          "div",
          { class: "filters" },
          FURTHER.map((name) => fields[name].element),
        ),
      ),
    );
  }

  function asked(further = {}) {
    return { ...chosen, phone: /\d/.test(chosen.phone) ? chosen.phone : "", ...further };
  }

  function choose(changed) {
    if (signal.aborted) return undefined; // a field that is taken away with its screen says "change" once more
    Object.assign(chosen, changed);
    note(chosen);
    return results.renew();
  }

  function find() {
    csv.href = api.href(of("calls"), asked({ format: "csv", language: currentLanguage() }));
    return pages((further) => api.get(of("calls"), asked(further), { signal }), "calls", rows);
  }

  function take(page) {
    rows = 0;
    shown = page.calls;
    fill(fresh);
    draw(page);
    announce(t("found", { count: page.calls.length }));
  }

  async function refresh() {
    if (document.hidden || chosen.until) return;
    const turn = results.turn();
    let page;
    try {
      page = await api.get(of("calls"), asked(), { signal });
    } catch {
      return; // the next time, perhaps; what is shown was true a moment ago
    }
    if (turn !== results.turn()) return;
    const known = new Set(shown.map((call) => call.id));
    const news = page.calls.filter((call) => !known.has(call.id)).length;
    // What somebody reads, or is about to press, must not move away: what is new is announced, the rest kept true.
    if (shown.length > page.calls.length || results.element.contains(document.activeElement)) {
      const latest = new Map(page.calls.map((call) => [call.id, call]));
      shown = shown.map((call) => latest.get(call.id) ?? call);
      if (shown.length) drawDays();
      if (news)
        fill(
          fresh,
          button(t("news", { count: news }), () => choose({}), { kind: "plain", icon: "again" }),
        );
      return;
    }
    shown = page.calls;
    draw(page);
    if (news) announce(t("news", { count: news }));
  }

  function draw(page) {
    if (!shown.length) return keyed(results.element, [{ key: "nothing", of: null, make: nothing }]);
    drawDays();
    return keyed(results.element, [
      { key: "days", of: null, make: () => days },
      { key: "foot", of: [results.turn(), shown.length, page.next], make: () => foot(page) },
    ]);
  }

  function nothing() {
    const isFiltered = Object.values(chosen).some(Boolean);
    const said = isFiltered
      ? empty(
          "search",
          t("nothing.title"),
          t("nothing.text"),
          button(t("reset"), () => go("calls"), { kind: "plain" }),
        )
      : empty(
          "quiet",
          t("empty.title"),
          t("empty.text"),
          linkButton(t("empty.try"), to("try"), { kind: "plain", icon: "try" }),
        );
    return h("section", { class: "card" }, said);
  }

  function foot({ next }) {
    return more(
      { count: shown.length, next },
      async (after) => {
        const page = await api.get(of("calls"), asked({ after, limit: FURTHER_ROWS }), { signal });
        shown = [...shown, ...page.calls];
        drawDays();
        return { count: page.calls.length, next: page.next };
      },
      { t, common },
    );
  }

  function drawDays() {
    visit().rows = shown.length;
    const byDay = new Map();
    for (const call of shown) {
      const name = day(call.started_at);
      byDay.set(name, [...(byDay.get(name) ?? []), call]);
    }
    for (const [name, calls] of byDay) {
      if (!lists.has(name)) lists.set(name, h("ol", { class: "call-list" }));
      keyed(
        lists.get(name),
        calls.map((call) => ({ key: call.id, of: call, make: () => line(call) })),
      );
    }
    keyed(
      days,
      [...byDay.keys()].map((name) => ({ key: name, of: null, make: () => section(name) })),
    );
  }

  function section(name) {
    return h("section", { class: "stack tight" }, h("h2", { class: "call-day" }, name), lists.get(name));
  }

  function line(call) {
    const tone = !call.is_over ? "going" : call.result === "answered" ? "good" : call.kind === "in" ? "bad" : "";
    const mark = { in: "incoming", out: "outgoing" }[call.kind] ?? "internal";
    const place = call.line_name ?? call.line_id;
    return h(
      "li",
      { class: `call-line ${tone}` },
      h("span", { class: "call-mark" }, icon(mark, { label: t(`kind_word.${call.kind}`) })),
      h(
        "div",
        { class: "call-words" },
        h(
          "h3",
          {},
          h("a", { class: "number", href: to(["call", call.unique_id]), "aria-label": spoken(call) }, named(call)),
        ),
        h("p", { class: "muted" }, sentence(call, t)),
        place && h("p", { class: "small muted" }, place),
      ),
      h("div", { class: "call-states" }, state("popup", call), state("upload", call)),
      h("time", { class: "call-time number", datetime: call.started_at }, time(call.started_at)),
    );
  }

  function named({ customer, kind }) {
    return phone(customer) || t({ internal: "inside", unknown: "channels" }[kind] ?? "hidden");
  }

  /** For those who hear the link without what stands around it. */
  function spoken(call) {
    return [named(call), t(`kind_word.${call.kind}`), time(call.started_at)].join(", ");
  }

  function state(effect, call) {
    const { state: name, reason } = call[effect];
    if (name === "open" || (name === "none" && call.kind !== "in" && call.kind !== "out")) return null;
    const tone =
      { delivered: "good", failed: "bad", waiting: call.is_over || effect === "popup" ? "warn" : "" }[name] ?? "";
    const said = name !== "delivered" && reason ? say.reason(reason) : null;
    return h(
      "div",
      { class: "call-state" },
      badge(tone, t(`${effect}.${name}`)),
      said && h("span", { class: "small muted" }, said),
    );
  }
}

/** { since, until } of a period that ends today or yesterday, in the enterprise's zone; empty: no bound. */
function bounds(name) {
  const today = Date.parse(`${toLocal(new Date().toISOString()).slice(0, 10)}T00:00:00Z`);
  const [since, until] = PERIODS[name] ?? [null, null];
  const midnight = (days) =>
    days === null ? "" : fromLocal(`${new Date(today + days * DAY_MS).toISOString().slice(0, 10)}T00:00`);
  return { since: midnight(since), until: midnight(until) };
}

/** The keys of a group of messages that stand in the address, in their order. */
const words = (name) =>
  ({
    kind: { in: 1, out: 1, internal: 1, unknown: 1 },
    result: { answered: 1, "no answer": 1, "not allowed": 1, unknown: 1 },
    state: { failed: 1, not_shown: 1, expired: 1, in_doubt: 1, retry: 1, delivered: 1 },
  })[name];

const plain = (say, code) => {
  const found = say.reason(code);
  return found === code ? say.decision({ code, params: { numbers: ["…"], extensions: ["…"] } }) : found;
};

/** What happened, as a person would say it. */
export function sentence(call, t) {
  const owner =
    call.owner_extension && (call.owner_name ? `${call.owner_name} (${call.owner_extension})` : call.owner_extension);
  const talk = call.talk_seconds === null ? null : duration(call.talk_seconds);
  const waited = call.waiting_seconds === null ? null : t("says.waited", { waiting: duration(call.waiting_seconds) });
  const first = () => {
    if (!call.is_over) return t("says.going");
    if (call.kind === "internal") return t("says.internal");
    if (call.decisions.some(({ code }) => code === "only_channels")) return t("says.channels");
    if (call.result === "answered") {
      if (talk === null) return t("says.answered");
      return owner
        ? t(call.kind === "out" ? "says.answered_out" : "says.answered_in", { owner, talk })
        : t("says.answered_nobody", { talk });
    }
    if (call.result === "not allowed") return t("says.not_allowed");
    if (call.kind === "out") return owner ? t("says.unreached", { owner }) : t("says.unreached_nobody");
    if (call.kind === "in" && call.result === "no answer")
      return owner ? t("says.missed_owner", { owner }) : t("says.missed");
    return t("says.unknown");
  };
  return [first(), call.is_over && call.kind === "in" ? waited : null, call.has_recording ? t("recording") : null]
    .filter(Boolean)
    .join(" · ");
}
