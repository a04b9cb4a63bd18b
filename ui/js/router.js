// Which screen the address names: #/call/1758798777.27?tab=told is ["call", "1758798777.27"] and a query.

export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a mistyped address names nothing, and is said to
  }
}

/** The address of a place, for href. */
export function to(path, query = {}) {
  const parts = (Array.isArray(path) ? path : [path]).map(encodeURIComponent);
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#/${parts.join("/")}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

export function go(path, query) {
  location.hash = to(path, query);
}

/** Changes the query of the address without going anywhere: the screen has shown it already. */
export function note(query) {
  history.replaceState(history.state, "", to(place().path, query));
  here = location.hash;
  visit().address = here;
}

// The entries of the browser's history that are of this page, in order; the entry itself holds only its number.
const visits = [];

/** What is remembered of the entry of now: { address, scroll, focus, rows }, for when somebody comes back to it. */
export function visit() {
  const at = history.state?.visit ?? 0;
  visits[at] ??= { address: location.hash };
  return visits[at];
}

/** A link to where this screen was last, its filter included: `href`, and `back(event)` for a click on it. */
export function lastOf(screen) {
  const own = (address) => address?.split(/[?/]/, 2)[1] === screen;
  const before = visits[(history.state?.visit ?? 0) - 1]?.address;
  const href = visits.findLast((each) => own(each?.address))?.address ?? to(screen);
  return {
    href,
    back(event) {
      if (href !== before || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      history.back(); // with its place in the list
    },
  };
}

let dirty = () => false;
let askToLeave = async () => true;
let here = location.hash;

/** `isDirty()` is asked before this screen is left; it holds until the next screen is shown. */
export const guard = (isDirty) => {
  dirty = isDirty;
};
export const unguard = () => {
  dirty = () => false;
};
export const mayLeave = async () => !dirty() || (await askToLeave());

/**
 * Calls `show(visit)` for the address as it is now, and whenever it changes; `visit` is what is remembered where
 * somebody comes back, else null. `ask`: whether what is unsaved may be lost.
 */
export function start(show, ask) {
  askToLeave = ask;
  history.scrollRestoration = "manual"; // the browser would scroll before the screen is there
  addEventListener("scroll", () => (visit().scroll = scrollY), { passive: true });
  addEventListener("focusin", () => (visit().focus = document.activeElement?.getAttribute("href")));
  addEventListener("hashchange", async () => {
    if (location.hash === here) return;
    const wanted = location.hash;
    if (dirty()) {
      history.replaceState(history.state, "", here || "#/");
      if (!(await askToLeave())) return;
      unguard();
      history.pushState(null, "", wanted);
    }
    here = location.hash;
    show(arrive());
  });
  addEventListener("beforeunload", (event) => {
    if (dirty()) event.preventDefault();
  });
  arrive();
  show(null);
}

let current = 0;
/** An entry that a link has just made has no number yet; what was ahead of it is gone. */
function arrive() {
  if (history.state?.visit === undefined) {
    current += 1;
    visits.length = current;
    history.replaceState({ ...history.state, visit: current }, "");
    visit();
    return null;
  }
  current = history.state.visit;
  const known = visits[current];
  return known ? { ...known } : null;
}
