// Every exchange with RetailCRM, and what administrators did.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, linkButton } from "../components/button.js";
import { countryName } from "../components/countries.js";
import { crm } from "../components/crm.js";
import { empty } from "../components/empty.js";
import { selectField, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { more, pages, results as found } from "../components/results.js";
import { table } from "../components/table.js";
import { toggle } from "../components/tabs.js";
import { announce, fill, h } from "../dom.js";
import { day, exactTime, fromLocal, phone, toLocal } from "../format.js";
import { currentLanguage, words } from "../i18n.js";
import { go, note, to, visit } from "../router.js";
import { of } from "../session.js";

const TYPES = [
  "popup",
  "hangup",
  "upload",
  "smart_redirect",
  "make_call",
  "user_status",
  "activity",
  "test_popup",
  "register_module",
  "repair_mapping",
  "module_command",
  "config",
  "mapping",
  "lines",
  "replay",
  "import",
  "callback",
  "rotate_token",
  "administrators",
  "revoke",
  "sign_in",
  "export",
];
const DAY_MS = 24 * 3600 * 1000;
const FURTHER_ROWS = 100;
const RECENT_ERRORS = 5;

export async function show({ t, common, query, signal, before }) {
  let shown = before?.rows; // how many somebody had on the screen when they left it
  const chosen = {
    status: query.get("status") ?? "",
    type: query.get("type") ?? "",
    since: query.get("since") ?? "",
    until: query.get("until") ?? "",
  };
  const results = found({ find, draw, common, wide: true });
  const [rules, say] = await Promise.all([words("settings"), crm()]);
  const managers = {}; // names by user id
  const csv = linkButton(t("csv"), "#", { kind: "plain", icon: "download", download: "log.csv" });
  const type = selectField(t("type"), [["", t("all_types")], ...TYPES.map((name) => [name, t(`types.${name}`)])], {
    value: chosen.type,
  });
  const since = textField(t("since"), { type: "datetime-local", value: toLocal(chosen.since) });
  const until = textField(t("until"), { type: "datetime-local", value: toLocal(chosen.until) });
  const which = toggle(
    t("which"),
    [
      ["", t("everything")],
      ["error", t("errors_only")],
    ],
    chosen.status,
    (status) => choose({ status }),
  );
  type.input.addEventListener("change", () => choose({ type: type.value() }));
  since.input.addEventListener("change", () => choose({ since: fromLocal(since.value()) ?? "" }));
  until.input.addEventListener("change", () => choose({ until: fromLocal(until.value()) ?? "" }));
  await results.load();
  return [
    heading(t("title"), t("lead"), [csv]),
    h(
      "div",
      { class: "stack wide" },
      h(
        "div",
        { class: "stack tight", role: "search", "aria-label": t("filters") },
        h("div", { class: "filters" }, which, type.element),
        h(
          "details",
          { class: "further", open: Boolean(chosen.since || chosen.until) },
          h("summary", {}, t("period")),
          h("div", { class: "filters" }, since.element, until.element),
        ),
      ),
      results.element,
    ),
  ];

  function user(id) {
    return managers[id] ?? t("user", { id: String(id) });
  }

  function asked(further = {}) {
    const { status, type: event_type, since: from, until: to_ } = chosen;
    return { status, event_type, since: from, until: to_, ...further };
  }

  function choose(changed) {
    if (signal.aborted) return undefined; // a field that is taken away with its screen says "change" once more
    Object.assign(chosen, changed);
    note(chosen);
    return results.renew();
  }

  async function find() {
    csv.href = api.href(of("logs"), asked({ format: "csv", language: currentLanguage() }));
    const isFiltered = Object.values(chosen).some(Boolean);
    const yesterday = new Date(Date.now() - DAY_MS).toISOString();
    const [page, errors] = await Promise.all([
      pages((further) => api.get(of("logs"), asked(further), { signal }), "logs", shown),
      isFiltered
        ? { logs: [], managers: {} }
        : api.get(of("logs"), { status: "error", since: yesterday, limit: RECENT_ERRORS }, { signal }),
    ]);
    return { page, errors, isFiltered };
  }

  function draw({ page, errors, isFiltered }) {
    Object.assign(managers, errors.managers, page.managers);
    shown = 0;
    visit().rows = page.logs.length;
    fill(results.element, errors.logs.length ? recent(errors.logs) : null, list(page, isFiltered));
    announce(t("found", { count: page.logs.length }));
  }

  function recent(logs) {
    const all = linkButton(t("all_errors"), to("log", { status: "error" }), { kind: "quiet", small: true });
    return h(
      "section",
      { class: "stack tight" },
      h("div", { class: "row between" }, h("h2", {}, t("recent_errors")), all),
      rows(t("recent_errors"), logs).element,
    );
  }

  function list(page, isFiltered) {
    if (!page.logs.length) {
      return h(
        "section",
        { class: "card" },
        isFiltered
          ? empty(
              "search",
              t("nothing.title"),
              t("nothing.text"),
              button(t("reset"), () => go("log"), { kind: "plain" }),
            )
          : empty("quiet", t("empty.title"), t("empty.text")),
      );
    }
    const made = rows(t("title"), page.logs);
    const foot = more(
      { count: page.logs.length, next: page.next },
      async (after) => {
        const {
          logs,
          next,
          managers: named,
        } = await api.get(of("logs"), asked({ after, limit: FURTHER_ROWS }), { signal });
        Object.assign(managers, named);
        made.rows(logs);
        visit().rows += logs.length;
        return { count: logs.length, next };
      },
      { t, common },
    );
    return h("section", { class: "stack" }, made.element, foot);
  }

  function rows(caption, logs) {
    return table(
      caption,
      [
        {
          title: t("when"),
          number: true,
          bare: true,
          cell: (log) =>
            h(
              "time",
              { datetime: log.created_at, class: "nowrap" },
              exactTime(log.created_at),
              " ",
              h("span", { class: "log-day small muted" }, day(log.created_at)),
            ),
        },
        { title: t("what"), main: true, cell: (log) => [type_(log), details(log)] },
        {
          title: t("result"),
          bare: true,
          cell: (log) => badge(log.status === "error" ? "bad" : "good", t(`status.${log.status}`)),
        },
      ],
      logs,
    );
  }

  function type_(log) {
    const name = log.event_type;
    return [
      h("span", {}, named(name)),
      h("p", { class: "log-words" }, sentence(log, { t, rules, user })),
      log.error_message && name !== "sign_in" && h("p", { class: "log-words bad" }, refusal(log)),
    ];
  }

  function named(name) {
    return t.has(`types.${name}`) ? t(`types.${name}`) : name;
  }

  /** Why we refused, or what RetailCRM answered, in words. */
  function refusal({ trouble, response_data: answered }) {
    if (trouble) return say.line(trouble);
    const { code = answered?.reason, country, kind, limit } = answered ?? {};
    if (!t.has(`refusals.${code}`)) return t("refusals.other");
    return t(`refusals.${code}`, {
      country: country && countryName(country),
      kind: kind && rules(`kinds.${kind}`),
      limit,
    });
  }

  function details(log) {
    const box = h(
      "details",
      { class: "log-details" },
      h("summary", { class: "small" }, t("details"), hidden(` ${named(log.event_type)}, ${exactTime(log.created_at)}`)),
    );
    box.addEventListener(
      "toggle",
      () => {
        if (box.childElementCount > 1) return;
        const id = callOf(log);
        box.append(
          h(
            "div",
            { class: "stack tight" },
            id && h("a", { href: to(["call", id]) }, t("to_call"), hidden(` ${id}`)),
            part(t("request"), log.request_data),
            part(t("response"), log.response_data),
          ),
        );
      },
      { once: true },
    );
    return box;
  }

  function part(title, content) {
    if (!content || !Object.keys(content).length) return null;
    return h(
      "div",
      {},
      h("p", { class: "small muted" }, title),
      h("pre", { class: "json", tabindex: 0, role: "region", "aria-label": title }, JSON.stringify(content, null, 2)),
    );
  }
}

/** For those who hear the name of a link or a button without what stands around it. */
const hidden = (text) => h("span", { class: "visually-hidden" }, text);

const callOf = ({ request_data: asked }) =>
  asked?.event?.callExternalId ??
  (asked?.calls?.length === 1 ? asked.calls[0].externalId : null) ??
  asked?.unique_id ??
  null;

/** Whom an event was for: extensions, and users of RetailCRM. */
const told = ({ codes = [], userIds = [] }, user) => [...codes, ...userIds.map(user)].join(", ") || "—";

/** A refused click may have come to no extension: then its user is all that is known. */
function clicked({ phone: dialled, extension, code, userId }, t, user) {
  const from = extension ?? code;
  if (!from && userId) return t("about.click_of_user", { phone: phone(dialled ?? ""), user: user(userId) });
  return t("about.make_call", { phone: phone(dialled ?? ""), code: from ?? "—" });
}

/** What it was about, from what was sent. */
function sentence({ event_type: type, request_data: asked, response_data: answered }, { t, rules, user }) {
  const given = asked ?? {};
  const named = (name) =>
    rules.has(`${name}.label`)
      ? t("about.quoted", { words: rules(`${name}.label`) })
      : t.has(`fields.${name}`)
        ? t(`fields.${name}`)
        : name;
  if (given.event)
    return t(`about.${type === "hangup" ? "hangup" : "popup"}`, {
      phone: phone(given.event.phone),
      codes: told(given.event, user),
    });
  if (given.calls?.length === 1) {
    const [call] = given.calls;
    return t("about.upload", {
      phone: phone(call.phone),
      result: t.has(`results.${call.result}`) ? t(`results.${call.result}`) : (call.result ?? ""),
      owner: call.code ? t("about.owner", { owner: call.code }) : t("about.nobody"),
    });
  }
  if (given.calls) return t("about.uploads", { count: given.calls.length });
  if (type === "smart_redirect")
    return t("about.redirect", {
      phone: phone(given.phone ?? given.Phone ?? ""),
      to: answered?.extension ?? t("usual"),
    });
  if (type === "make_call") return clicked(given, t, user);
  if (type === "repair_mapping" && given.differences)
    return t("about.differences", {
      people: given.differences
        .map(({ user_id: id, ours, crm: theirs }) =>
          t("about.difference", { user: user(id), ours: ours ?? "—", theirs: theirs ?? "—" }),
        )
        .join("; "),
    });
  if (type === "repair_mapping") return t("about.repair", { codes: (given.not_shown ?? []).join(", ") });
  if (type === "callback")
    return [
      t("about.by", { who: given.by === "account link" ? t("link") : given.by }),
      phone(given.phone),
      t(`callbacks.${given.state}`),
      given.note,
    ]
      .filter(Boolean)
      .join(": ");
  if (type === "sign_in")
    return t("about.sign_in", { login: given.login, count: given.failed, address: given.address });
  if (type === "export")
    return [
      t("about.by", { who: given.by === "account link" ? t("link") : given.by }),
      t(`about.export_${given.of}`, { count: given.rows }),
    ].join(": ");
  if (given.by) {
    const what =
      given.action && t.has(`actions.${given.action}`)
        ? t(`actions.${given.action}`)
        : given.changed?.length
          ? t("about.changed", { fields: given.changed.map(named).join(", ") })
          : "";
    return [t("about.by", { who: given.by === "account link" ? t("link") : given.by }), what]
      .filter(Boolean)
      .join(": ");
  }
  return "";
}
