/** Elements without markup: whatever comes from the ledger is text. */

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, { className, text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter(Boolean));
  return node;
}

/** An arrow that comes in (down left) or goes out (up right). */
export function arrow(direction) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `arrow arrow-${direction === "out" ? "out" : "in"}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", direction === "out" ? "M4 12 12 4M6 4h6v6" : "M12 4 4 12M10 12H4V6");
  svg.append(path);
  return svg;
}

export function duration(seconds) {
  if (seconds === undefined || seconds === null) return "—";
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** +375291111111 → +375 29 111-11-11, where the country's form is known. */
export function readablePhone(phone) {
  const match = /^\+?(375|7)(\d{2,3})(\d{3})(\d{2})(\d{2})$/.exec(phone ?? "");
  if (!match || match[2].length !== (match[1] === "7" ? 3 : 2)) return phone ?? "";
  return `+${match[1]} ${match[2]} ${match[3]}-${match[4]}-${match[5]}`;
}

/** A number that calls when it is clicked, if somebody sits at this screen. */
export function phone(number, texts, onCall) {
  const shown = readablePhone(number);
  if (!onCall) return element("span", { className: "phone", text: shown });
  const button = element("button", { className: "phone phone-button", type: "button", text: shown });
  button.setAttribute("aria-label", texts.call(shown));
  button.addEventListener("click", () => onCall(number));
  return button;
}
