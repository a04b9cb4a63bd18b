// What the telephone host does that costs calls, and what to change there.

import * as api from "../api.js";
import { empty } from "../components/empty.js";
import { heading } from "../components/heading.js";
import { notice } from "../components/notice.js";
import { results as found } from "../components/results.js";
import { toggle } from "../components/tabs.js";
import { fill, h } from "../dom.js";
import { moment, number } from "../format.js";
import { note, to } from "../router.js";
import { of } from "../session.js";

const HOURS = { hour: 1, day: 24, week: 168 };
const HOUR_MS = 3600 * 1000;
const TONES = { loss: "bad", guess: "warn" };

export async function show({ t, common, query, signal }) {
  let period = HOURS[query.get("period")] ? query.get("period") : "day";
  const results = found({ find, draw, common, wide: true });
  const choice = toggle(
    t("period"),
    Object.keys(HOURS).map((name) => [name, t(name)]),
    period,
    choose,
  );
  await results.load();
  return [heading(t("title"), t("lead"), [choice]), results.element];

  function choose(chosen) {
    period = chosen;
    note({ period });
    return results.renew();
  }

  function find() {
    const since = new Date(Date.now() - HOURS[period] * HOUR_MS).toISOString();
    return api.get(of("doctor"), { since }, { signal });
  }

  function draw(checkup) {
    const facts = { events: checkup.events, calls: checkup.calls, since: moment(checkup.since) };
    const capped = checkup.is_capped && notice("", t("capped.title"), { text: t("capped.text", facts) });
    fill(
      results.element,
      capped,
      h("p", { class: "muted small" }, t("read", facts)),
      checkup.findings.length ? lists(checkup.findings) : nothing(checkup),
    );
  }

  function nothing({ events }) {
    const name = events ? "well" : "none";
    return h("section", { class: "card" }, empty(events ? "calm" : "quiet", t(`${name}.title`), t(`${name}.text`)));
  }

  function lists(findings) {
    return Object.keys(TONES)
      .map((weight) => [weight, findings.filter((finding) => finding.weight === weight)])
      .filter(([, those]) => those.length)
      .map(([weight, those]) =>
        h(
          "section",
          { class: "stack tight" },
          h("h2", {}, t(weight)),
          those.map((finding) => item(finding, TONES[weight])),
        ),
      );
  }

  function item({ code, count, of: all, facts, examples }, tone) {
    const given = { ...facts, count, of: all };
    return notice(tone, t(`findings.${code}.title`, given), {
      text: t(`findings.${code}.text`, given),
      list: examples.length ? shown(examples) : null,
    });
  }

  function shown(examples) {
    return h(
      "details",
      {},
      h("summary", { class: "small" }, t("example")),
      h(
        "ul",
        { class: "bullets" },
        examples.map((each) => h("li", {}, example(each))),
      ),
    );
  }

  function example({ value, unique_id: id, count }) {
    const words = value && h("span", { class: "number wraps" }, count > 1 ? `${value} × ${number(count)}` : value);
    return [words, words && id ? " · " : null, id && h("a", { href: to(["call", id]) }, t("call_of", { id }))];
  }
}
