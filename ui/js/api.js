// The administrators' API. A refusal becomes a Problem with a sentence to show; a session that is over is renewed
// in place, and the request that met it is made again, so no form is lost.

import { words } from "./i18n.js";
import * as link from "./link.js";

const ROOT = "/retailcrm-admin/api/";
const PATIENCE_MS = 5000;

/**
 * `fields`: what is wrong with which field, in words; `details`: the error as it came; `wait`: seconds until it is
 * worth asking again.
 */
export class Problem extends Error {
  /** @param {string} message @param {Record<string, any>} known */
  constructor(message, { code, status = 0, fields = {}, details = {}, wait = null }) {
    super(message);
    this.code = code;
    this.status = status;
    this.fields = fields;
    this.details = details;
    this.wait = wait;
  }
}

let signInAgain = null;
/** `ask()` resolves when somebody is signed in again. */
export const onSessionOver = (ask) => {
  signInAgain = ask;
};

let slow = () => {};
/** `say()` is called when a change, or long work, has had no answer for some seconds. */
export const onSlow = (say) => {
  slow = say;
};

export const get = (path, query, options) => ask("GET", path + search(query), undefined, options);
export const post = (path, body = {}, options) => ask("POST", path, body, options);
export const put = (path, body, options) => ask("PUT", path, body, options);
export const remove = (path, options) => ask("DELETE", path, undefined, options);

/** The address of a file to download. */
export const href = (path, query) => ROOT + path + search(query);

/**
 * For long work: `hear(line)` gets each line while it comes ({ check } or { progress }); the result is returned.
 * `method` is GET or POST, `body` is for a POST.
 */
export async function follow(method, path, body, hear, options = {}) {
  const response = await send(method, path, body, { ...options, accept: "application/x-ndjson, application/json" });
  if (!response.headers.get("Content-Type")?.includes("ndjson")) return response.json();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines.filter((each) => each.trim())) {
      const said = JSON.parse(line);
      if (said.error) throw await problem(200, said.error);
      if ("result" in said) return said.result;
      hear(said);
    }
    if (done) throw await problem(0, { code: "no_network" });
  }
}

async function ask(method, path, body, options) {
  const response = await send(method, path, body, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw await problem(response.status, { code: "not_json" });
  } finally {
    read.get(response)?.();
  }
}

// What is to be let go of once an answer is read: a screen that asks every few seconds may stay open for a day.
const read = new WeakMap();

/**
 * A question that the server does not begin to answer within PATIENCE_MS is given up: whoever asked may try again.
 * A change is not, for nobody would know whether it was made; `onSlow` says meanwhile that it takes long.
 * @param {{ signal?: AbortSignal, patient?: boolean, accept?: string }} [options]
 */
async function send(method, path, body, { signal, patient = true, accept = "application/json" } = {}) {
  const headers = { Accept: accept, ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const stop = new AbortController();
  const end = () => stop.abort();
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  const isQuestion = method === "GET" && accept === "application/json";
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = isQuestion;
    if (isQuestion) stop.abort();
    else slow();
  }, PATIENCE_MS);
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      signal: stop.signal,
      credentials: "same-origin",
      cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (isLate) throw await problem(0, { code: "no_answer" });
    if (error.name === "AbortError") throw error;
    link.lost();
    throw await problem(0, { code: "no_network" });
  } finally {
    clearTimeout(timer);
  }
  read.set(response, () => signal?.removeEventListener("abort", end));
  if (response.ok) {
    link.heard({ isData: method === "GET" });
    return response;
  }
  if (response.status === 502 || response.status === 504) link.lost();
  else if (response.status >= 500 && method === "GET") link.stale();
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {} // not one of ours
  if (response.status === 401 && error.code === "session_required" && patient && signInAgain) {
    await signInAgain();
    return send(method, path, body, { signal, patient, accept });
  }
  throw await problem(response.status, error, Number(response.headers.get("Retry-After")) || null);
}

async function problem(status, error, wait = null) {
  const t = await words("errors");
  const code = error.code ?? `status_${status}`;
  const kind = status >= 500 ? "server" : status === 0 ? "network" : "other";
  const message = t(t.has(`codes.${code}`) ? `codes.${code}` : kind);
  const fields = Object.fromEntries(
    Object.entries(error.fields ?? {}).map(([name, wrong]) => [name, sentence(t, wrong)]),
  );
  return new Problem(message, { code, status, fields, details: error, wait });
}

/** What is wrong with a field: { code, params }; `params.words` is what RetailCRM said to it. */
function sentence(t, { code, params = {} }) {
  const said = t(t.has(`fields.${code}`) ? `fields.${code}` : "fields.form", {
    ...params,
    choices: params.choices?.join(", "),
    scopes: params.scopes?.join(", "),
  });
  return params.words ? `${said} ${t("crm_words", { words: params.words })}` : said;
}

function search(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
