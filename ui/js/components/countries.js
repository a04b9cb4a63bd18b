// Countries: those that are chosen, each with a button that takes it out, and a list of the others to add.

import { button } from "./button.js";
import { selectField } from "./field.js";
import { announce, fill, h } from "../dom.js";
import { currentLanguage } from "../i18n.js";

const ANYWHERE = "*";

/** The name of a country by its code; `anywhere` for all of them. */
export function countryName(code, anywhere = "") {
  return code === ANYWHERE
    ? anywhere
    : (new Intl.DisplayNames([currentLanguage()], { type: "region" }).of(code) ?? code);
}

/** A field whose value is a list of codes, or ["*"]; in the order in which it was saved. `codes`: of all countries. */
export function countriesField(label, hint, codes, t) {
  const names = new Map([ANYWHERE, ...codes].map((code) => [code, countryName(code, t("countries.anywhere"))]));
  const order = [...names.keys()].sort(
    (a, b) =>
      Number(b === ANYWHERE) - Number(a === ANYWHERE) || names.get(a).localeCompare(names.get(b), currentLanguage()),
  );
  let chosen = new Set();
  let saved = [];
  const list = h("ul", { class: "row countries" });
  const adding = selectField(t("countries.add"), [["", t("countries.choose")]]);
  const { input } = adding;
  input.addEventListener("change", () => input.value && add(input.value));
  const element = h(
    "fieldset",
    { class: "field" },
    h("legend", {}, label),
    h("p", { class: "hint" }, hint),
    list,
    adding.element,
  );

  function draw() {
    const taken = order.filter((code) => chosen.has(code));
    fill(
      list,
      taken.length ? taken.map((code) => h("li", {}, chip(code))) : h("li", { class: "muted" }, t("countries.nowhere")),
    );
    fill(
      input,
      h("option", { value: "" }, t("countries.choose")),
      order.filter((code) => !chosen.has(code)).map((code) => h("option", { value: code }, names.get(code))),
    );
    input.value = "";
  }

  function chip(code) {
    return button(names.get(code), () => take(code), {
      kind: "plain",
      small: true,
      icon: "close",
      label: t("countries.remove", { country: names.get(code) }),
    });
  }

  function add(code) {
    chosen = code === ANYWHERE ? new Set([code]) : new Set([...chosen, code].filter((each) => each !== ANYWHERE));
    draw();
    announce(t("countries.added", { country: names.get(code) }));
  }

  function take(code) {
    const place = order.filter((each) => chosen.has(each)).indexOf(code);
    chosen.delete(code);
    draw();
    const rest = list.querySelectorAll("button");
    (rest[Math.min(place, rest.length - 1)] ?? input).focus(); // the button that was pressed is gone
    announce(t("countries.removed", { country: names.get(code) }));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  return {
    element,
    input,
    fail: adding.fail,
    value: () => (chosen.size === saved.length && saved.every((code) => chosen.has(code)) ? saved : [...chosen].sort()),
    set(value) {
      saved = value ?? [];
      chosen = new Set(saved.filter((code) => names.has(code)));
      draw();
    },
    words: (value) =>
      value?.length ? value.map((code) => names.get(code) ?? code).join(", ") : t("countries.nowhere"),
  };
}
