// Fields of a form: a label, a sentence, the control, and what is wrong with it, tied together for those who listen.

import { h, fill, uid } from "../dom.js";
import { icon } from "../icons.js";

/**
 * What a field may be told; attributes that are not named here go to its control.
 * @typedef {{ hint?: string | null, unit?: string | null, optional?: string | null, type?: string, value?: any,
 *   [attribute: string]: any }} Options
 */

/** { element, input, value(), set(value), fail(sentence or null) } of a labelled control. */
function framed(label, input, { hint = null, unit = null, optional = null } = {}) {
  const id = input.id || (input.id = uid("field"));
  const said = hint && h("p", { class: "hint", id: `${id}-hint` }, hint);
  const wrong = h("p", { class: "problem", id: `${id}-problem`, hidden: true });
  const describe = () => {
    const names = [!wrong.hidden && wrong.id, said && said.id].filter(Boolean).join(" ");
    if (names) input.setAttribute("aria-describedby", names);
    else input.removeAttribute("aria-describedby");
  };
  const fail = (sentence) => {
    fill(wrong, sentence && [icon("warning", { size: 16 }), h("span", {}, sentence)]);
    wrong.hidden = !sentence;
    if (sentence) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    describe();
  };
  describe();
  input.addEventListener("input", () => fail(null));
  const control = unit ? h("div", { class: "with-unit" }, input, h("span", { class: "muted" }, unit)) : input;
  const element = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label, optional && h("span", { class: "muted" }, ` (${optional})`)),
    said,
    control,
    wrong,
  );
  return { element, input, fail, value: () => input.value, set: (value) => (input.value = value ?? "") };
}

/**
 * Text, number, password, search, datetime-local…: `type`; other attributes go to the input.
 * @param {string} label @param {Options} [options]
 */
export function textField(label, { hint, unit, optional, type = "text", ...attributes } = {}) {
  return framed(label, h("input", { class: "input", type, ...attributes }), { hint, unit, optional });
}

/**
 * `choices`: [[value, text], …]
 * @param {string} label @param {any[][]} choices @param {Options} [options]
 */
export function selectField(label, choices, { hint, value = "", ...attributes } = {}) {
  const options = choices.map(([key, text]) => h("option", { value: key }, text));
  return framed(label, h("select", { class: "input", value, ...attributes }, options), { hint });
}

/** A box to tick: value() is true or false. */
export function checkField(label, { hint = null, checked = false, ...attributes } = {}) {
  const id = uid("field");
  const input = h("input", { type: "checkbox", id, checked, ...attributes });
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  const wrong = h("p", { class: "problem", hidden: true });
  const element = h(
    "div",
    { class: "check" },
    input,
    h("label", { for: id }, label),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    wrong,
  );
  const fail = (sentence) => {
    fill(wrong, sentence);
    wrong.hidden = !sentence;
  };
  return { element, input, fail, value: () => input.checked, set: (value) => (input.checked = Boolean(value)) };
}

/** One of a few, each with a sentence: `choices` [[value, text, hint], …] */
export function choiceField(legend, choices, { hint = null, value = "", name = uid("choice") } = {}) {
  const inputs = choices.map(([key, text, sentence]) => {
    const id = uid("field");
    const input = h("input", { type: "radio", name, id, value: key, checked: key === value });
    if (sentence) input.setAttribute("aria-describedby", `${id}-hint`);
    return [
      input,
      h(
        "div",
        { class: "check" },
        input,
        h("label", { for: id }, text),
        sentence && h("p", { class: "hint", id: `${id}-hint` }, sentence),
      ),
    ];
  });
  const wrong = h("p", { class: "problem", hidden: true });
  const element = h(
    "fieldset",
    { class: "field" },
    h("legend", {}, legend),
    hint && h("p", { class: "hint" }, hint),
    h(
      "div",
      { class: "choices" },
      inputs.map(([, row]) => row),
    ),
    wrong,
  );
  const fail = (sentence) => {
    fill(wrong, sentence);
    wrong.hidden = !sentence;
  };
  return {
    element,
    fail,
    input: inputs[0][0],
    value: () => inputs.find(([input]) => input.checked)?.[0].value ?? null,
    set: (chosen) => inputs.forEach(([input]) => (input.checked = input.value === chosen)),
  };
}

/**
 * Shows each problem at its field and moves to the first; what belongs to no field comes back, joined.
 * `fields`: { name: field }, `problems`: { name: sentence }.
 */
export function showProblems(fields, problems) {
  let first = null;
  const others = [];
  for (const [name, field] of Object.entries(fields)) field.fail(problems[name] ?? null);
  for (const [name, sentence] of Object.entries(problems)) {
    if (!fields[name]) others.push(sentence);
    else first ??= fields[name].input;
  }
  first?.focus();
  return others.join(" ");
}
