// Elements, made without HTML text: what the server says can only ever become text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * h("button", { class: "button", type: "button", on: { click } }, "Save", icon)
 * Attributes that are null, undefined or false are left out; true is written empty. `on`: listeners; `data`: data-*;
 * `value`, `checked`, `selected`, `disabled`, `readOnly` are set as properties. Children: nodes, text, numbers, lists,
 * nothing.
 */
export const h = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/** The same for SVG. */
export const s = (name, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "readOnly", "open"]);

function filled(element, attributes, children) {
  let value;
  for (const [name, given] of Object.entries(attributes)) {
    if (given === null || given === undefined) continue;
    if (name === "on") for (const [type, hear] of Object.entries(given)) element.addEventListener(type, hear);
    else if (name === "data") Object.assign(element.dataset, given);
    else if (name === "value") value = given;
    else if (PROPERTIES.has(name)) element[name] = given;
    else if (given !== false) element.setAttribute(name, given === true ? "" : given);
  }
  append(element, children);
  if (value !== undefined) element.value = value; // after the options of a select are there
  return element;
}

/** Appends nodes, text, numbers and lists of them; leaves out what is nothing. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** In place of what the element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

let last = 0;
/** An id that no other element of the page has. */
export const uid = (word = "id") => `${word}-${(last += 1)}`;

/** Says something to those who listen instead of looking. */
export function announce(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  setTimeout(() => {
    live.textContent = text;
  }, 60);
}
