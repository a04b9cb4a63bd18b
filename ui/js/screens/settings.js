// The rules of calls: each with a sentence on what it does to one.

import * as api from "../api.js";
import { button, linkButton, working } from "../components/button.js";
import { countriesField } from "../components/countries.js";
import { checkField, choiceField, selectField, showProblems, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { notice } from "../components/notice.js";
import { toast } from "../components/toast.js";
import { fill, h, uid } from "../dom.js";
import { words } from "../i18n.js";
import { guard, to } from "../router.js";
import { of } from "../session.js";

/** In the order of the page. The API's names; the kind says how a value is entered. */
const GROUPS = {
  popup: { popup_max_age_seconds: "seconds", synthetic_dial: "switch" },
  history: {
    owner_policy: ["last_talker", "first_talker"],
    missed_owner: ["first_rung", "none"],
    wait_for_recording_seconds: "seconds",
  },
  ending: { settle_seconds: "seconds", finalize_after_seconds: "seconds", call_max_hours: "hours" },
  redirect: {
    smart_redirect_mode: ["off", "name-only", "routing+name"],
    smart_redirect_algorithm: ["retailcrm", "first_call", "last_call"],
    smart_redirect_names: "names",
    smart_redirect_ignore_status: "switch",
    smart_redirect_ignore_hours: "switch",
    smart_redirect_shadow: "switch",
    smart_redirect_shop_names: "pairs",
    smart_redirect_lines: "lines",
  },
  clicks: { click_countries: "countries", click_number_kinds: "kinds", click_daily_limit: "calls" },
  doors: { accept_number_as_client_id: "switch" },
};
const NAMES = ["line", "shop", "customer"];
const NUMBER_KINDS = ["premium", "shared_cost", "satellite"];

export async function show({ t, signal }) {
  const [found, { lines }, errors] = await Promise.all([
    api.get(of("config"), {}, { signal }),
    api.get(of("lines"), {}, { signal }),
    words("errors"),
  ]);
  let config = found;
  const fields = {};
  const sections = Object.entries(GROUPS).map(([group, members]) => {
    const id = uid("group");
    return h(
      "section",
      { class: "card stack wide", "aria-labelledby": id },
      h(
        "header",
        {},
        h("h2", { id }, t(`groups.${group}.title`)),
        h("p", { class: "muted" }, t(`groups.${group}.text`)),
      ),
      Object.entries(members).map(([name, kind]) => (fields[name] = field(name, kind, { t, config, lines })).element),
    );
  });
  const said = h("div", { class: "stack tight" });
  const count = h("p", { class: "grow" });
  const save = button(t("save"), null, { type: "submit" });
  const bar = h(
    "div",
    { class: "save-bar", hidden: true },
    count,
    button(t("discard"), () => (take(config), refresh()), { kind: "plain" }),
    save,
  );
  const form = h(
    "form",
    { class: "stack wide", novalidate: true, on: { submit, input: () => refresh(), change: () => refresh() } },
    said,
    sections,
    h("div", {}, button(t("defaults"), defaults, { kind: "quiet", icon: "undo" })),
    bar,
  );
  take(config);
  guard(() => changed().length > 0);
  if (config.problems.length)
    fill(
      said,
      notice("warn", t("problems"), {
        text: [
          ...new Set(config.problems.map(({ setting: name }) => (t.has(`${name}.label`) ? t(`${name}.label`) : name))),
        ].join("; "),
      }),
    );
  return [heading(t("title"), t("lead"), [linkButton(t("try"), to("try"), { kind: "plain", icon: "try" })]), form];

  function effective(saved, name) {
    return saved.settings[name] ?? saved.defaults[name] ?? (name === "smart_redirect_mode" ? "off" : null);
  }

  function take(saved) {
    config = saved;
    for (const [name, each] of Object.entries(fields)) {
      each.fail(null);
      each.set(effective(saved, name));
    }
  }

  function changed() {
    return Object.keys(fields).filter((name) => !same(fields[name].value(), effective(config, name)));
  }

  function refresh() {
    const number = changed().length;
    bar.hidden = !number;
    count.textContent = number ? t("unsaved", { count: number }) : "";
  }

  function defaults() {
    for (const [name, each] of Object.entries(fields))
      each.set(config.defaults[name] ?? (name === "smart_redirect_mode" ? "off" : null));
    refresh();
    toast(t("defaults_done"));
  }

  function submit(event) {
    event.preventDefault();
    working(save, store, t("saving"));
  }

  async function store() {
    const wrong = Object.fromEntries(
      Object.entries(fields)
        .filter(([, each]) => Number.isNaN(each.value()))
        .map(([name, each]) => [name, each.wrong?.() ?? errors("fields.number")]),
    );
    showProblems(fields, wrong);
    const names = changed();
    if (Object.keys(wrong).length || !names.length) return;
    const given = Object.fromEntries(names.map((name) => [name, fields[name].value()]));
    const before = Object.fromEntries(names.map((name) => [name, config.settings[name]]));
    try {
      take(await put(given));
      refresh();
      fill(said);
      toast(t("saved"), {
        text: t("undo"),
        act: () => put(before).then((saved) => (take(saved), refresh(), toast(t("undone"))), complain),
      });
    } catch (problem) {
      complain(problem);
    }
  }

  // Not given up when the screen is left: what was pressed shall happen.
  function put(settings) {
    return api.put(of("config"), { version: config.version, settings });
  }

  function complain(problem) {
    if (problem.name === "AbortError") return undefined;
    if (!(problem instanceof api.Problem)) throw problem;
    if (problem.code === "conflict") return conflict(problem.details.current);
    const problems = Object.fromEntries(
      Object.entries(problem.fields ?? {}).map(([name, sentence]) => [
        name.replace(/^settings\./, "").replace(/[.[].*$/, ""),
        sentence,
      ]),
    );
    const rest = showProblems(fields, problems);
    return fill(said, notice("bad", problem.message, { text: rest || null, alert: true }));
  }

  /** What the other one saved comes into the form, but for what is being edited here: that is listed. */
  function conflict(current) {
    const mine = changed();
    const theirs = Object.keys(fields).filter((name) => !same(effective(current, name), effective(config, name)));
    const kept = Object.fromEntries(mine.map((name) => [name, fields[name].value()]));
    take(current);
    for (const [name, value] of Object.entries(kept)) fields[name].set(value);
    refresh();
    const notes = theirs.map((name) =>
      h("li", {}, `${t(`${name}.label`)}: ${fields[name].words(effective(current, name))}`),
    );
    const message = notice("warn", t("conflict.title"), {
      text: theirs.length ? t("conflict.text") : t("conflict.elsewhere"),
      actions: [
        button(t("conflict.theirs"), () => (take(current), refresh(), fill(said)), { kind: "plain", small: true }),
        button(t("conflict.ours"), () => (fill(said), store()), { kind: "plain", small: true }),
      ],
      alert: true,
    });
    if (notes.length) message.querySelector(".notice-words").append(h("ul", { class: "bullets" }, notes));
    fill(said, message);
    scrollTo(0, 0);
  }
}

/** A field for a value of this kind, with `words(value)` for a list of changes. */
function field(name, kind, { t, config, lines }) {
  const label = t(`${name}.label`);
  const hint = t(`${name}.hint`);
  if (Array.isArray(kind)) {
    const choices = kind.map((value) => [
      value,
      t(`${name}.choices.${value}`),
      t.has(`${name}.hints.${value}`) ? t(`${name}.hints.${value}`) : null,
    ]);
    const made = choiceField(label, choices, { hint });
    return { ...made, words: (value) => t(`${name}.choices.${value}`) };
  }
  if (kind === "switch") return { ...checkField(label, { hint }), words: (value) => t(value ? "on" : "off") };
  if (kind === "names") return boxesField(label, hint, NAMES, (each) => t(`names.${each}`), t);
  if (kind === "kinds") return boxesField(label, hint, NUMBER_KINDS, (each) => t(`kinds.${each}`), t);
  if (kind === "countries") return countriesField(label, hint, config.countries, t);
  if (kind === "pairs") return pairsField(label, hint, t);
  if (kind === "lines") return linesField(label, hint, lines, t);
  const standard = config.defaults[name];
  const made = textField(label, {
    hint: `${hint} ${t("standard", { value: `${standard}\u00a0${t(kind)}` })}`,
    unit: t(kind),
    inputmode: "decimal",
    name,
    maxlength: 12,
    autocomplete: "off",
  });
  return {
    ...made,
    // An empty field means the default again; what is no number is NaN.
    value: () => (made.value().trim() === "" ? standard : Number(made.value().trim().replace(",", "."))),
    set: (value) => made.set(value === null ? "" : String(value)),
    words: (value) => `${value} ${t(kind)}`,
  };
}

/** Some of a few, kept in the order in which they were saved. */
function boxesField(label, hint, all, wordsOf, t) {
  const boxes = all.map((each) => [each, checkField(wordsOf(each))]);
  const element = h(
    "fieldset",
    { class: "field" },
    h("legend", {}, label),
    h("p", { class: "hint" }, hint),
    h(
      "div",
      { class: "row loose" },
      boxes.map(([, box]) => box.element),
    ),
  );
  let order = all;
  return {
    element,
    input: boxes[0][1].input,
    fail: boxes[0][1].fail,
    value: () => order.filter((each) => boxes.find(([name]) => each === name)[1].value()),
    set(value) {
      order = [...(value ?? []), ...all.filter((each) => !value?.includes(each))];
      for (const [name, box] of boxes) box.set(value?.includes(name));
    },
    words: (value) => (value?.length ? value.map(wordsOf).join(", ") : t("nothing")),
  };
}

/**
 * Codes of shops and their names, a line each. A line that says neither makes the value NaN; `wrong()` says which.
 */
function pairsField(label, hint, t) {
  const area = h("textarea", { class: "input", rows: 3, spellcheck: "false" });
  const made = textField(label, { hint });
  area.id = made.input.id;
  area.setAttribute("aria-describedby", made.input.getAttribute("aria-describedby"));
  area.placeholder = t("pairs_example");
  made.input.replaceWith(area);
  const lines = () =>
    area.value
      .split("\n")
      .map((text, index) => ({ text: text.trim(), line: index + 1 }))
      .filter(({ text }) => text);
  const read = ({ text }) =>
    text.includes("=")
      ? [text.slice(0, text.indexOf("=")).trim(), text.slice(text.indexOf("=") + 1).trim()]
      : [text, ""];
  function wrong() {
    const seen = new Map();
    for (const each of lines()) {
      const [code, name] = read(each);
      if (!code || !name) return t("pairs_wrong", each);
      if (seen.has(code)) return t("pairs_twice", { ...each, code, first: seen.get(code) });
      seen.set(code, each.line);
    }
    return null;
  }
  function fail(sentence) {
    made.fail(sentence);
    for (const name of ["aria-describedby", "aria-invalid"]) {
      const said = made.input.getAttribute(name);
      if (said) area.setAttribute(name, said);
      else area.removeAttribute(name);
    }
  }
  area.addEventListener("input", () => fail(null));
  return {
    ...made,
    input: area,
    wrong,
    fail,
    value() {
      if (wrong()) return NaN;
      const pairs = lines().map(read);
      return pairs.length ? Object.fromEntries(pairs) : null;
    },
    set: (value) =>
      (area.value = Object.entries(value ?? {})
        .map(([code, name]) => `${code} = ${name}`)
        .join("\n")),
    words: (value) =>
      Object.entries(value ?? {})
        .map(([code, name]) => `${code} = ${name}`)
        .join(", ") || t("nothing"),
  };
}

/** What a line does otherwise than the others. Only its mode is chosen here; what else is set stays. */
function linesField(label, hint, lines, t) {
  let stored = {};
  const modes = [
    ["", t("lines_same")],
    ...["off", "name-only", "routing+name"].map((mode) => [mode, t(`smart_redirect_mode.choices.${mode}`)]),
  ];
  const selects = lines.map(({ line_id: id, name }) => [id, selectField(name ? `${name} (${id})` : id, modes)]);
  const element = h(
    "fieldset",
    { class: "field" },
    h("legend", {}, label),
    h("p", { class: "hint" }, hint),
    h(
      "div",
      { class: "cards" },
      selects.map(([, select]) => select.element),
    ),
  );
  return {
    element,
    input: selects[0]?.[1].input ?? element,
    fail: (sentence) => selects[0]?.[1].fail(sentence),
    value() {
      const made = structuredClone(stored);
      for (const [id, select] of selects) {
        const { mode: _, ...rest } = made[id] ?? {};
        made[id] = select.value() ? { ...rest, mode: select.value() } : rest;
        if (!Object.keys(made[id]).length) delete made[id];
      }
      return Object.keys(made).length ? made : null;
    },
    set(value) {
      stored = value ?? {};
      for (const [id, select] of selects) select.set(stored[id]?.mode ?? "");
    },
    words: (value) =>
      Object.entries(value ?? {})
        .filter(([, each]) => each.mode)
        .map(([id, each]) => `${id}: ${t(`smart_redirect_mode.choices.${each.mode}`)}`)
        .join("; ") || t("nothing"),
  };
}

function same(a, b) {
  return !Number.isNaN(a) && plain(a) === plain(b); // what is no value differs from all
}
/** Nothing, an empty list and an empty map are one to a person. */
function plain(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return JSON.stringify(value);
  if (typeof value === "object")
    return Object.keys(value).length ? JSON.stringify(Object.entries(value).sort()) : "null";
  return JSON.stringify(value);
}
