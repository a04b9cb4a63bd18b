/** The rows of the call history, and the list of requests under it. */

import { badge } from "/page/cards.js";
import { arrow, duration, element, phone } from "/page/dom.js";

export function row(held, language, texts, onCall) {
  const { call } = held;
  const cells = [
    [texts.when, "cell-when", when(call, language, texts)],
    [texts.customer, "cell-customer", who(held, texts, onCall)],
    [texts.manager, "cell-manager", owner(held, texts)],
    [
      texts.result,
      "cell-result",
      element("span", { className: `badge badge-${badge(call.result)}`, text: texts.results[call.result] ?? call.result }),
    ],
    [texts.talk, "number", element("span", { text: duration(call.duration) })],
    [texts.waiting, "number", element("span", { text: duration(call.durationWaiting) })],
    [texts.recording, "cell-recording", recording(call.recordUrl, texts)],
  ];
  return element(
    "tr",
    { "data-key": held.external_id },
    ...cells.map(([label, className, content]) => element("td", { className, "data-label": label }, content)),
  );
}

export function request(entry, language, texts) {
  const time = new Date(entry.received_at * 1000).toLocaleTimeString(language);
  const status = entry.answer?.status;
  const tone = !status || status >= 500 ? "bad" : status >= 400 ? "warned" : "good";
  const notes = [...(entry.fault ? [texts.fault(entry.fault)] : []), ...entry.warnings];
  const { errorMsg, errors } = entry.answer?.body ?? {};
  if (errors) notes.unshift(Object.entries(errors).map(([name, text]) => `${name}: ${text}`).join(", "));
  if (errorMsg) notes.unshift(errorMsg);
  return element(
    "li",
    { className: "log-line" },
    element("time", { text: time }),
    element("span", { className: `log-status log-${tone}`, text: status ?? texts.noAnswer }),
    element("code", { text: `${entry.method} ${entry.path}` }),
    notes.length ? element("span", { className: "log-notes", text: notes.join("; ") }) : null,
  );
}

function when(call, language, texts) {
  const parts = /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)$/.exec(call.date);
  const numbers = parts ? parts.slice(1).map(Number) : null;
  const moment = numbers ? new Date(numbers[0], numbers[1] - 1, ...numbers.slice(2)) : null;
  const day = moment?.toLocaleDateString(language, { day: "numeric", month: "short" });
  return element(
    "span",
    { className: "when", title: call.date },
    arrow(call.type),
    element("span", { className: "visually-hidden", text: texts[call.type] ?? call.type }),
    element("span", { className: "day", text: moment ? day : call.date }),
    moment ? element("span", { className: "clock", text: moment.toLocaleTimeString(language) }) : null,
  );
}

function who(held, texts, onCall) {
  const name = held.customer_name ?? texts.newCustomer;
  return element(
    "span",
    { className: "two-lines" },
    element("span", { className: held.customer_name ? "strong" : "quiet", text: name }),
    phone(held.call.phone, texts, onCall),
  );
}

function owner(held, texts) {
  const { code, userId } = held.call;
  if (!code && !userId) return element("span", { className: "quiet", text: texts.noOwner });
  return element(
    "span",
    { className: "two-lines" },
    element("span", { text: held.manager_name ?? texts.noOwner }),
    code ? element("span", { className: "quiet", text: texts.extension(code) }) : null,
  );
}

function recording(url, texts) {
  if (!/^https?:\/\//i.test(url ?? "")) return element("span", { className: "quiet", text: "—" });
  return element("a", { href: url, target: "_blank", rel: "noreferrer noopener", text: texts.listen });
}
