/** The customer's card, as it pops up for those whose phones ring. */

import { arrow, duration, element, phone } from "/page/dom.js";

const LINGER_SECONDS = 12;

/** One card for each call that goes on, the newest first, then for those that were over a moment ago. */
export function visibleCalls(popups, now, managerId) {
  const calls = new Map();
  for (const popup of popups) {
    if (managerId && popup.user_id !== managerId) continue;
    if (popup.hung_up_at !== null && now - popup.hung_up_at > LINGER_SECONDS) continue;
    const key = `${popup.call_external_id ?? popup.phone} ${popup.hung_up_at === null}`;
    calls.set(key, [...(calls.get(key) ?? []), popup]);
  }
  const newestFirst = [...calls].reverse().map(([key, shown]) => ({ key, popups: shown }));
  const isOver = (call) => call.popups[0].hung_up_at !== null;
  return [...newestFirst.filter((call) => !isOver(call)), ...newestFirst.filter(isOver)];
}

export function card({ key, popups }, now, texts, onCall) {
  const [first] = popups;
  const over = first.hung_up_at !== null;
  const seconds = (over ? first.hung_up_at : now) - first.shown_at;
  const result = over ? (texts.results[first.hangup_status] ?? first.hangup_status) : "";
  const state = over
    ? element("span", { className: `badge badge-${badge(first.hangup_status)}`, text: result })
    : element("span", { className: "timer", text: duration(seconds), "data-since": first.shown_at });
  return element(
    "li",
    { className: over ? "card card-over" : "card card-live", "data-key": key },
    element(
      "div",
      { className: "card-top" },
      element("span", { className: "direction" }, arrow(first.direction), texts[first.direction] ?? first.direction),
      state,
    ),
    element("p", {
      className: first.customer_name ? "name" : "name name-new",
      text: first.customer_name ?? texts.newCustomer,
    }),
    element("p", { className: "card-phone" }, phone(first.phone, texts, over ? null : onCall)),
    origin(first, texts),
    element(
      "ul",
      { className: "people", "aria-label": texts.seenBy },
      ...popups.map((popup) => person(popup, texts)),
    ),
  );
}

export const badge = (status) =>
  ({ answered: "good", "no answer": "missed", "no answered": "missed", busy: "missed", cancel: "missed" })[status] ??
  "plain";

function origin(popup, texts) {
  const line = popup.direction === "out" ? texts.viaLine : texts.onLine;
  const parts = [];
  if (popup.external_phone) parts.push(line(popup.external_phone));
  if (popup.site) parts.push(texts.shop(popup.site));
  return parts.length ? element("p", { className: "origin", text: parts.join(" · ") }) : null;
}

function person(popup, texts) {
  return element(
    "li",
    { className: "person" },
    element("b", { text: popup.code ?? "—" }),
    element("span", { text: popup.manager_name ?? texts.noOwner }),
  );
}
