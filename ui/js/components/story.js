// The story of a call: what came of it, the picture, why, and every request with its answer.

import { badge } from "./badge.js";
import { button, linkButton } from "./button.js";
import { lanes } from "./lanes.js";
import { notice } from "./notice.js";
import { why } from "./why.js";
import { h } from "../dom.js";
import { duration, exactTime, moment, seconds } from "../format.js";
import { words } from "../i18n.js";
import { to } from "../router.js";

const TONES = { delivered: "good", failed: "bad", not_shown: "bad", in_doubt: "warn", expired: "warn", retry: "warn" };
const WAITING = new Set(["ready", "leased", "retry", "held"]);
const LOST = new Set(["failed", "not_shown", "expired", "in_doubt"]);
// What explains a pop-up that is missing, or a row: the most telling first.
const NO_POPUP = [
  "integration_disabled",
  "internal",
  "only_channels",
  "no_phone",
  "expired",
  "synthetic_dial_off",
  "no_mapping",
];
const NO_ROW = ["integration_disabled", "internal", "only_channels", "no_phone", "no_date", "waiting_for_recording"];
const UNNEEDED = new Set(["internal", "only_channels", "no_phone"]);
const AT_ONCE_SECONDS = 0.1;
// True, and of no interest to whoever asks about a call.
const TECHNICAL = new Set(["duplicate", "leg_of_another_call"]);

/** `again(id)` sends a row once more; without it nothing can be sent again. */
export async function parts(story, { again = null } = {}) {
  const [t, say] = await Promise.all([words("story"), why()]);
  return {
    verdict: h("div", { class: "stack tight" }, popupVerdict(story, t, say), rowVerdict(story, t, say, again)),
    picture: h("section", { class: "card stack" }, h("h2", {}, t("picture")), lanes(story, t)),
    decisions: decisions(story, t, say),
    told: told(story, t, say, again),
    timeline: timeline(story, t),
  };
}

const isPreview = (story) => story.told.some((row) => row.state === "preview");
const people = (rows) =>
  [
    ...new Set(
      rows.flatMap((row) => row.managers.map(({ extension, name }) => (name ? `${name} (${extension})` : extension))),
    ),
  ].join(", ");
/** RetailCRM's own words to the last attempt that failed: where it said nothing there are none. */
const lastWords = (row) => row?.attempts.findLast((attempt) => attempt.error)?.words ?? null;
const explained = (story, codes, say) => {
  const found = codes.map((code) => story.decisions.find((decision) => decision.code === code)).find(Boolean);
  return found ? say.decision(found) : null;
};
/** What was sent again has another row; that one counts. */
const latest = (story) => story.told.filter((row) => row.is_latest !== false);
const has = (story, codes) => story.decisions.some(({ code }) => codes.has(code));

function popupVerdict(story, t, say) {
  const rows = latest(story).filter((row) => row.effect === "popup");
  if (isPreview(story) && rows.length)
    return notice("good", t("verdict.would_popup", { people: people(rows) }), {
      text: explained(story, ["no_mapping"], say),
    });
  const shown = rows.filter((row) => row.state === "delivered");
  const lost = rows.filter((row) => LOST.has(row.state));
  if (shown.length) {
    const first = shown[0].attempts.at(-1)?.at;
    const after =
      first === undefined || first === null
        ? null
        : first < AT_ONCE_SECONDS
          ? t("verdict.at_once")
          : t("verdict.after", { seconds: seconds(Math.max(0, first)) });
    const some = lost.length > 0 || has(story, new Set(["no_mapping"]));
    const unseen = rows.filter((row) => row.state === "not_shown");
    const text = [
      after,
      unseen.length && `${people(unseen)}: ${say.reason(unseen[0].reason)}`,
      explained(story, ["no_mapping"], say),
    ]
      .filter(Boolean)
      .join(". ");
    return notice(
      some ? "warn" : "good",
      t(some ? "verdict.popup_late" : "verdict.popup_shown", { people: people(shown) }),
      { text, actions: unseen.length ? [assign(t)] : [] },
    );
  }
  if (rows.some((row) => WAITING.has(row.state)))
    return notice("", t("verdict.popup_waiting", { people: people(rows) }));
  if (lost.length) {
    const quote = lastWords(lost[0]);
    return notice("bad", t("verdict.popup_failed"), {
      text: `${people(lost)}: ${say.reason(lost[0].reason)}`,
      quote: quote && t("verdict.crm_says", { words: quote }),
      actions: lost[0].state === "not_shown" ? [assign(t)] : [],
    });
  }
  const reason = explained(story, NO_POPUP, say);
  const needless = has(story, UNNEEDED);
  return notice(needless ? "" : "warn", t(needless ? "verdict.popup_unneeded" : "verdict.popup_none"), {
    text: reason ?? (story.rang.length ? null : t("verdict.nobody_rang")),
  });
}

const assign = (t) => linkButton(t("verdict.assign"), to("managers"), { kind: "plain", small: true });

function rowVerdict(story, t, say, again) {
  const rows = latest(story).filter((row) => row.effect === "upload" && row.state !== "superseded");
  const row = rows.at(-1);
  const owner = (one) => (people([one]) ? t("verdict.owner", { owner: people([one]) }) : t("verdict.no_owner"));
  if (!row) {
    const reason = explained(story, NO_ROW, say);
    if (!story.over_at && !has(story, UNNEEDED)) return notice("", t("verdict.row_soon"));
    return notice("", t(story.wake_at ? "verdict.row_waiting" : "verdict.row_none"), { text: reason });
  }
  if (row.state === "preview") return notice("good", t("verdict.would_row"), { text: owner(row) });
  if (row.state === "delivered")
    return notice("good", t("verdict.row_there"), {
      text: [row.reason ? say.reason(row.reason) : owner(row), explained(story, ["corrected_after_upload"], say)]
        .filter(Boolean)
        .join(". "),
    });
  const quote = lastWords(row);
  const options = {
    text: row.reason ? say.reason(row.reason) : null,
    quote: quote && t("verdict.crm_says", { words: quote }),
  };
  if (LOST.has(row.state))
    return notice("bad", t("verdict.row_failed"), {
      ...options,
      actions:
        row.is_replayable && again
          ? [button(t("again"), () => again(row.id), { kind: "plain", small: true, icon: "again" })]
          : [],
    });
  return notice("warn", t("verdict.row_waiting"), {
    ...options,
    text: row.reason ? t("verdict.next", { reason: say.reason(row.reason) }) : null,
  });
}

function decisions(story, t, say) {
  const all = unique([...story.decisions, ...story.warnings].map((each) => ({ ...each, said: say.decision(each) })));
  const plain = all.filter(({ code }) => !TECHNICAL.has(code));
  const technical = all.filter(({ code }) => TECHNICAL.has(code));
  const list = (items) =>
    h(
      "ul",
      { class: "reasons" },
      items.map(({ at, said }) => h("li", {}, time(story, at), h("span", {}, said))),
    );
  return h(
    "section",
    { class: "card stack" },
    h("h2", {}, t("decisions")),
    plain.length
      ? list(plain)
      : h(
          "p",
          { class: "muted" },
          t(latest(story).some((row) => LOST.has(row.state)) ? "decided_nothing_lost" : "decided_nothing"),
        ),
    technical.length
      ? h("details", {}, h("summary", { class: "small" }, t("signals", { count: technical.length })), list(technical))
      : null,
  );
}

const unique = (items) => [...new Map(items.map((item) => [`${item.said}`, item])).values()];

/** `at` is seconds after the call began, or a moment. */
function time(story, at) {
  if (at === null || at === undefined) return h("span", { class: "number small muted" });
  const after = typeof at === "number" ? at : (Number(new Date(at)) - Number(new Date(story.started_at))) / 1000;
  return h("span", { class: "number small muted" }, duration(Math.max(0, after)));
}

function told(story, t, say, again) {
  const section = (content) =>
    h("section", { class: "card stack" }, h("h2", {}, t(isPreview(story) ? "would_tell" : "told")), content);
  if (!story.told.length) return section(h("p", { class: "muted" }, t("told_nothing")));
  return section(
    h(
      "ol",
      { class: "told" },
      story.told.map((row) => tell(row, { story, t, say, again })),
    ),
  );
}

function tell(row, { story, t, say, again }) {
  const reason = row.reason ? say.reason(row.reason) : null;
  const who = row.requested_by === "account link" ? t("link") : row.requested_by;
  return h(
    "li",
    { class: "stack tight" },
    h(
      "div",
      { class: "row between" },
      h(
        "div",
        { class: "row" },
        time(story, row.at),
        h("h3", {}, t(`effect.${row.effect}`)),
        h("span", { class: "muted" }, people([row])),
      ),
      h(
        "div",
        { class: "row" },
        row.state === "preview" ? null : badge(TONES[row.state] ?? "", t(`state.${row.state}`)),
        row.is_replayable && again
          ? button(t("again"), () => again(row.id), { kind: "plain", small: true, icon: "again" })
          : null,
      ),
    ),
    reason && h("p", { class: "small muted" }, reason),
    row.requested_by && h("p", { class: "small muted" }, t("asked_again", { who, at: moment(row.requested_at) })),
    row.attempts.length ? attempts(row, t, say) : null,
  );
}

function attempts(row, t, say) {
  const summary = row.state === "preview" ? t("exactly") : t("attempts", { count: row.attempts.length });
  return h(
    "details",
    {},
    h("summary", { class: "small" }, summary),
    h(
      "ol",
      { class: "stack" },
      row.attempts.map((attempt, index) => {
        const took =
          attempt.finished_at && attempt.started_at
            ? (Number(new Date(attempt.finished_at)) - Number(new Date(attempt.started_at))) / 1000
            : null;
        const ended = attempt.http_status
          ? t("answered_with", { status: String(attempt.http_status) })
          : t("no_answer");
        return h(
          "li",
          { class: "stack tight" },
          row.state === "preview"
            ? null
            : h(
                "p",
                { class: "small" },
                [
                  t("attempt", { number: index + 1, at: exactTime(attempt.started_at) }),
                  ended,
                  took !== null && t("took", { seconds: seconds(took, 2) }),
                ]
                  .filter(Boolean)
                  .join(" · "),
              ),
          attempt.error && h("p", { class: "problem" }, attempt.words ?? say.reason(attempt.outcome ?? "in_doubt")),
          part(t("request"), JSON.stringify(attempt.request, null, 2)),
          attempt.response ? part(t("response"), pretty(attempt.response)) : null,
        );
      }),
    ),
  );
}

const part = (title, text) =>
  h(
    "div",
    {},
    h("h4", { class: "small muted" }, title),
    h("pre", { class: "json", tabindex: 0, role: "group", "aria-label": title }, text),
  );

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function timeline(story, t) {
  if (!story.timeline.length) return null;
  return h(
    "details",
    { class: "card" },
    h("summary", {}, t("timeline", { count: story.timeline.length })),
    h(
      "ol",
      { class: "timeline" },
      story.timeline.map((event) =>
        h(
          "li",
          {},
          h("span", { class: "number small muted" }, duration(Math.max(0, event.at))),
          h("code", {}, event.event_type),
          h("span", { class: "small muted mono" }, [event.unique_id, event.says].filter(Boolean).join("  ")),
        ),
      ),
    ),
  );
}
