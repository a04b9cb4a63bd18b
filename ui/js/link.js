// Whether the server answers: seen by the requests of the screens, and asked for while they are silent.

import { h } from "./dom.js";
import { time } from "./format.js";

const BEAT_MS = 2000;
const PATIENCE_MS = 2000;
const ADDRESS = "/retailcrm-admin/api/alive";

let heardAt = Date.now(); // of whatever the server answered
let shownAt = Date.now(); // of what the screens show
let state = null; // "lost": nobody answers; "stale": somebody does, but has no new data
let say = null;

/** A request was answered; `isData`: with what a screen shows. */
export function heard({ isData = false } = {}) {
  heardAt = Date.now();
  if (isData) shownAt = heardAt;
  if (isData || state === "lost") tell(null);
}

/** A request was not answered, or by something in front of the server. */
export const lost = () => tell("lost");

/** The server answered that it cannot say. */
export const stale = () => tell("stale");

/** Says in `box` while the link is lost, and of when the data is. `t` has the words. */
export function watch(box, t, signal) {
  say = () =>
    box.replaceChildren(...(state ? [h("p", { class: "link-lost" }, t(`link.${state}`, { at: time(shownAt) }))] : []));
  say();
  const timer = setInterval(beat, BEAT_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function tell(now) {
  if (state === now) return;
  state = now;
  say?.();
}

async function beat() {
  if (document.hidden || (state !== "lost" && Date.now() - heardAt < BEAT_MS)) return;
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const { status } = await fetch(ADDRESS, { cache: "no-store", signal: patience.signal });
    if (status < 500) heard();
    else lost();
  } catch {
    lost();
  } finally {
    clearTimeout(timer);
  }
}
