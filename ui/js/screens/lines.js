// Lines: name, number, shop and what is done to the number of who calls, with a tester beside.

import * as api from "../api.js";
import { button } from "../components/button.js";
import { crm } from "../components/crm.js";
import { empty } from "../components/empty.js";
import { selectField, showProblems, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { notice, remark } from "../components/notice.js";
import { toast } from "../components/toast.js";
import { fill, h, s, uid } from "../dom.js";
import { guard } from "../router.js";
import { of } from "../session.js";

const NAMES = ["name", "phone_number", "site_code", "incoming_transform"];
const EXAMPLES = ["291111111", "80291111111", "+375291111111"];
const NARROW = "(max-width: 64rem)"; // as in css/desk.css
const TYPING_MS = 300;

export async function show({ t, signal }) {
  let { lines } = await api.get(of("lines"), {}, { signal });
  if (!lines.length)
    return [
      heading(t("title"), t("lead")),
      h("section", { class: "card" }, empty("quiet", t("empty.title"), t("empty.text"))),
    ];
  const cards = lines.map((line) => card(line, t, { follow: (id) => test.follow(id), check }));
  const said = h("div");
  const count = h("p", { class: "grow" });
  const bar = h(
    "div",
    { class: "save-bar", hidden: true },
    count,
    button(t("discard"), discard, { kind: "plain" }),
    button(t("save"), store, { busy: t("saving") }),
  );
  const test = tester();
  const list = h(
    "div",
    { class: "stack", on: { input: refresh, change: refresh } },
    cards.map((each) => each.element),
  );
  const desk = h("div", { class: "two" }, list, test.element);
  guard(() => changed().length > 0);
  offerShops();
  matchMedia(NARROW).addEventListener("change", () => desk.append(test.element), { signal });
  return [heading(t("title"), t("lead")), h("div", { class: "stack wide" }, said, desk, bar)];

  /** Until RetailCRM has said which shops there are, and where it does not, their code is typed. */
  async function offerShops() {
    try {
      const [{ shops, trouble }, say] = await Promise.all([
        api.follow("GET", of("shops"), undefined, () => {}, { signal }),
        crm(),
      ]);
      if (trouble)
        fill(said, notice("", t("shops_unknown"), { ...say(trouble), list: h("p", {}, t("shops_unknown_text")) }));
      else for (const each of cards) each.offer(shops);
    } catch (problem) {
      if (problem.name !== "AbortError") fill(said, notice("", t("shops_unknown"), { text: problem.message }));
    }
  }

  /** Where there is no room beside, the tester comes to the line that is being edited. */
  function check(each) {
    each.element.after(test.element);
    test.follow(each.id);
    test.raw.focus();
    test.element.scrollIntoView({ block: "nearest" });
  }

  function changed() {
    return cards
      .map((each, index) => {
        const differing = NAMES.filter((name) => each.value(name) !== (lines[index][name] ?? ""));
        return differing.length
          ? {
              line_id: lines[index].line_id,
              ...Object.fromEntries(differing.map((name) => [name, each.value(name) || (name === "name" ? "" : null)])),
            }
          : null;
      })
      .filter(Boolean);
  }

  function refresh() {
    const number = changed().length;
    bar.hidden = !number;
    count.textContent = number ? t("unsaved", { count: number }) : "";
    test.run();
  }

  function discard() {
    cards.forEach((each, index) => {
      each.set(lines[index]);
      each.said.say(null);
    });
    fill(said);
    refresh();
  }

  async function store() {
    const given = changed();
    const before = given.map(({ line_id: id, ...rest }) => ({
      line_id: id,
      ...Object.fromEntries(
        Object.keys(rest).map((name) => [
          name,
          lines.find((line) => line.line_id === id)[name] ?? (name === "name" ? "" : null),
        ]),
      ),
    }));
    let unchecked;
    try {
      unchecked = await put(given);
    } catch (problem) {
      return complain(problem, given);
    }
    fill(said, unchecked && notice("warn", t("shops_unchecked"), { ...(await crm())(unchecked) }));
    return toast(t("saved"), { text: t("undo"), act: () => giveBack(before) });
  }

  // Not given up when the screen is left: what was pressed shall happen, and "undo" is there longer than the screen.
  async function put(given) {
    const answer = await api.put(of("lines"), { lines: given });
    lines = answer.lines;
    cards.forEach((each, index) => {
      each.set(lines[index]);
      if (given.some((line) => line.line_id === each.id)) each.said.say(null);
    });
    refresh();
    return answer.unchecked;
  }

  /** The offer is gone when it fails: it stays at the lines, until they are saved. */
  async function giveBack(before) {
    const mine = cards.filter(({ id }) => before.some((line) => line.line_id === id));
    try {
      await put(before);
    } catch (problem) {
      const sentence = t("undo_failed", { words: problem.message });
      if (signal.aborted) toast(sentence);
      for (const each of mine)
        each.said.say(
          sentence,
          button(t("undo"), () => giveBack(before), { kind: "quiet", small: true, icon: "undo" }),
        );
    }
  }

  /** The API counts the lines that were sent: lines[0].incoming_transform. */
  function complain(problem, given) {
    if (problem.name === "AbortError") return;
    if (signal.aborted) toast(problem.message);
    if (!Object.keys(problem.fields ?? {}).length)
      for (const each of cards) if (given.some((line) => line.line_id === each.id)) each.said.say(problem.message);
    const others = [];
    for (const each of cards) {
      const index = given.findIndex((line) => line.line_id === each.id);
      const mine = Object.entries(problem.fields ?? {}).filter(([name]) => name.startsWith(`lines[${index}].`));
      others.push(
        showProblems(
          each.fields,
          Object.fromEntries(mine.map(([name, sentence]) => [name.split(".").at(-1), sentence])),
        ),
      );
    }
    fill(said, notice("bad", problem.message, { text: others.filter(Boolean).join(" ") || null, alert: true }));
  }

  function tester() {
    const line = selectField(
      t("test.line"),
      lines.map(({ line_id: id, name }) => [id, name ? `${name} · ${id}` : id]),
      { value: lines[0].line_id },
    );
    const raw = textField(t("test.raw"), {
      hint: t("test.raw_hint"),
      value: EXAMPLES[0],
      inputmode: "tel",
      autocomplete: "off",
      maxlength: 100,
    });
    const result = h("div", { role: "status" });
    const id = uid("test");
    const examples = h(
      "div",
      { class: "row examples" },
      h("span", { class: "small muted" }, t("test.examples")),
      EXAMPLES.map((each) => button(each, () => (raw.set(each), run()), { kind: "quiet", small: true })),
    );
    let typing;
    const run = () => {
      clearTimeout(typing);
      typing = setTimeout(ask, TYPING_MS);
    };
    line.input.addEventListener("change", run);
    raw.input.addEventListener("input", run);
    run();
    const element = h(
      "section",
      { class: "card stack beside", "aria-labelledby": id },
      h("h2", { id }, t("test.title")),
      line.element,
      raw.element,
      examples,
      result,
    );
    const follow = (chosen) => {
      if (line.value() === chosen) return;
      line.set(chosen);
      run();
    };
    return { element, run, follow, raw: raw.input };

    async function ask() {
      const edited = cards.find((each) => each.id === line.value());
      if (!raw.value().trim()) return fill(result);
      try {
        const { test: found } = await api.get(
          of("lines"),
          {
            raw: raw.value(),
            line_id: line.value(),
            ...(edited.value("incoming_transform") ? { incoming_transform: edited.value("incoming_transform") } : {}),
          },
          { signal },
        );
        return fill(result, drawn(found, edited.value("incoming_transform")));
      } catch (problem) {
        if (problem.name === "AbortError") return undefined;
        return fill(result, h("p", { class: "problem" }, problem.fields?.incoming_transform ?? problem.message));
      }
    }

    function drawn({ raw: given, with_rule: made, without_rule: plain }, rule) {
      const outcome = made ?? t("test.nothing");
      return h(
        "div",
        { class: "stack tight" },
        h(
          "p",
          { class: "becomes" },
          h("span", { class: "number" }, given),
          arrow(),
          h("strong", { class: `number ${made ? "" : "bad"}` }, outcome),
        ),
        made ? null : h("p", { class: "small muted" }, t("test.nothing_text")),
        rule && plain !== made
          ? h("p", { class: "small muted" }, t("test.without", { number: plain ?? t("test.nothing") }))
          : null,
      );
    }
  }
}

const arrow = () =>
  s(
    "svg",
    {
      viewBox: "0 0 32 12",
      width: 32,
      height: 12,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.6,
      "aria-hidden": "true",
    },
    s("path", { d: "M1 6h28m-5-5 5 5-5 5" }),
  );

function card(line, t, { follow, check }) {
  const id = uid("line");
  const fields = {
    name: textField(t("name"), { hint: t("name_hint"), maxlength: 100, autocomplete: "off" }),
    phone_number: textField(t("phone_number"), {
      hint: t("phone_hint"),
      inputmode: "tel",
      maxlength: 100,
      autocomplete: "off",
    }),
    site_code: textField(t("site_code"), {
      hint: t("site_hint"),
      maxlength: 100,
      autocomplete: "off",
      spellcheck: "false",
    }),
    incoming_transform: textField(t("rule"), {
      hint: t("rule_hint"),
      maxlength: 30,
      autocomplete: "off",
      spellcheck: "false",
    }),
  };
  const set = (saved) => {
    for (const name of NAMES) {
      fields[name].set(saved[name]);
      fields[name].fail(null);
    }
  };
  /** The shops of the account to choose from; one that is not there any more stays chosen, and is said to be gone. */
  function offer(shops) {
    const typed = fields.site_code.value().trim();
    const isGone = typed && !shops.some(({ code }) => code === typed);
    const choices = [
      ["", t("no_shop")],
      ...shops.map(({ code, name }) => [code, name === code ? code : `${name} · ${code}`]),
      ...(isGone ? [[typed, typed]] : []),
    ];
    const chosen = selectField(t("site_code"), choices, { hint: t("shop_hint"), value: typed });
    fields.site_code.element.replaceWith(chosen.element);
    fields.site_code = chosen;
    if (isGone) chosen.fail(t("shop_gone", { shop: typed }));
  }
  set(line);
  const said = remark();
  const made = {
    id: line.line_id,
    fields,
    set,
    said,
    offer,
    value: (name) => fields[name].value().trim(),
    element: h(
      "section",
      { class: "card stack", "aria-labelledby": id },
      h("h2", { id }, t("line", { line: line.line_id })),
      h(
        "div",
        { class: "line-fields" },
        Object.values(fields).map((field) => field.element),
      ),
      said.element,
      h(
        "div",
        { class: "to-test" },
        button(t("check"), () => check(made), { kind: "plain", small: true, icon: "try" }),
      ),
    ),
  };
  made.element.addEventListener("focusin", () => follow(made.id));
  return made;
}
