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
  history.replaceState(null, "", to(place().path, query));
  here = location.hash;
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

/** Calls `show` for the address as it is now, and whenever it changes. `ask`: whether what is unsaved may be lost. */
export function start(show, ask) {
  askToLeave = ask;
  addEventListener("hashchange", async () => {
    if (location.hash === here) return;
    const wanted = location.hash;
    if (dirty()) {
      history.replaceState(null, "", here || "#/");
      if (!(await askToLeave())) return;
      unguard();
      history.pushState(null, "", wanted);
    }
    here = location.hash;
    show();
  });
  addEventListener("beforeunload", (event) => {
    if (dirty()) event.preventDefault();
  });
  show();
}
