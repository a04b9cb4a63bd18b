// Who is signed in, and where.

import * as api from "./api.js";
import { setTimezone } from "./format.js";

/** { enterprise_number, enterprise_name, timezone, login, idle_minutes }, or null. */
let current = null;
export const session = () => current;
/** A path of the API for this enterprise: of("calls", "175…") is calls/0367/175… */
export const of = (operation, ...parts) =>
  [operation, current.enterprise_number, ...parts].map(encodeURIComponent).join("/");

/**
 * Finds out who is signed in; a Problem if that cannot be found out. The cookie itself cannot be seen from here: a note
 * says whether it is worth asking, so that a first visit does not begin with a refusal.
 */
export async function restore() {
  if (!note.isThere()) return null;
  try {
    accept(await api.get("session", {}, { patient: false }));
  } catch (problem) {
    if (problem.code !== "session_required") throw problem;
    current = null;
    note.remove();
  }
  return current;
}

/** Somebody was let in by the gateway. */
export const note = {
  write: () => store((storage) => storage.setItem("signed-in", "1")),
  remove: () => store((storage) => storage.removeItem("signed-in")),
  isThere: () => store((storage) => storage.getItem("signed-in") !== null),
};

function store(act) {
  try {
    return act(localStorage);
  } catch {
    return true; // a browser that keeps nothing: ask
  }
}

export async function signIn(given) {
  accept(await api.post("session", given, { patient: false }));
  return current;
}

/** The link that was opened is not followed. */
export const declineLink = () => api.remove("session/link", { patient: false });

export async function signOut() {
  await api.remove("session", { patient: false });
  current = null;
  note.remove();
}

function accept(found) {
  current = found;
  note.write();
  setTimezone(found.timezone);
}
