// The account in RetailCRM: its address and key, trying them, registering the module, and taking it all back.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, working } from "../components/button.js";
import { crm } from "../components/crm.js";
import { confirm } from "../components/dialog.js";
import { showProblems, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { notice } from "../components/notice.js";
import { steps } from "../components/steps.js";
import { toast } from "../components/toast.js";
import { announce, fill, h } from "../dom.js";
import { moment } from "../format.js";
import { guard, note } from "../router.js";
import { of } from "../session.js";

const CHECKS = ["credentials", "scopes", "versions", "timezone", "module"];
const POLL_MS = 700;

export async function show({ t, query, signal }) {
  let [config, module] = await Promise.all([
    api.get(of("config"), {}, { signal }),
    api.get(of("register"), {}, { signal }),
  ]);
  const say = await crm();
  const status = h("div");
  const said = h("div", { class: "stack tight", role: "group", "aria-label": t("result") });
  const danger = h("div");
  const fields = {
    domain: textField(t("domain"), {
      hint: t("domain_hint"),
      name: "domain",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "none",
      maxlength: 255,
      placeholder: "demo.retailcrm.ru",
    }),
    api_key: textField(t("key"), {
      hint: t("key_hint"),
      name: "api_key",
      type: "password",
      autocomplete: "off",
      maxlength: 255,
    }),
  };
  const save = button(t("save"), null, { type: "submit" });
  const test = button(t("test"), () => attempt(runTest), { kind: "plain", busy: t("testing") });
  const form = h(
    "form",
    { class: "card stack", novalidate: true, on: { submit } },
    fields.domain.element,
    fields.api_key.element,
    h("div", { class: "row" }, save, test),
  );
  take(config);
  drawModule(module);
  guard(() => Object.keys(changes()).length > 0);
  if (module.is_busy || query.has("follow")) {
    if (query.has("follow")) note({});
    follow().catch((problem) => problem.name === "AbortError" || complain(problem));
  }
  return [
    heading(t("title"), t("lead")),
    h(
      "div",
      { class: "stack wide" },
      status,
      others(config.unserved, t),
      h("div", { class: "two" }, form, h("div", { class: "stack" }, said, help(t, !config.api_key.is_set))),
      danger,
    ),
  ];

  /** Shows what is saved; what is typed is replaced. */
  function take(saved) {
    config = saved;
    fields.domain.set(shown(saved.domain));
    fields.api_key.set("");
    fields.api_key.input.placeholder = keyWords(saved.api_key, t);
  }

  /** What differs from what is saved. */
  function changes() {
    const changed = {};
    const domain = fields.domain.value().trim();
    if (domain !== shown(config.domain)) changed.domain = domain;
    if (fields.api_key.value().trim()) changed.api_key = fields.api_key.value().trim();
    return changed;
  }

  function drawModule(found) {
    module = found;
    const [last] = found.commands.filter(({ action, state }) => action !== "push_mapping" && state !== "superseded");
    // Numbers get there only with the module: RetailCRM has it then, whoever registered it.
    const isThere = found.commands.some(
      ({ action, state, code }) => action === "push_mapping" && state === "done" && code !== "not_registered",
    );
    const isRegistered = last ? last.action === "register" && last.state === "done" : isThere;
    const word = !config.api_key.is_set
      ? "nothing"
      : !config.enabled
        ? "off"
        : isRegistered
          ? "registered"
          : last
            ? "unsure"
            : "saved";
    const tone = { registered: "good", off: "warn", unsure: "warn" }[word] ?? "";
    fill(
      status,
      h(
        "div",
        { class: "row" },
        badge(tone, t(`state.${word}`)),
        h(
          "span",
          { class: "small muted" },
          [
            t("module", { name: found.module.name, code: found.module.code }),
            config.last_sync && t("last_sync", { at: moment(config.last_sync) }),
          ]
            .filter(Boolean)
            .join(" · "),
        ),
      ),
    );
    fill(danger, config.api_key.is_set && dangers());
  }

  async function attempt(act) {
    try {
      await act();
    } catch (problem) {
      if (problem.name !== "AbortError") complain(problem);
    }
  }

  function complain(problem) {
    if (!(problem instanceof api.Problem)) throw problem;
    const rest = showProblems(fields, problem.fields ?? {});
    const isAtFields = problem.fields && Object.keys(problem.fields).length && !rest;
    fill(said, notice("bad", problem.message, { text: isAtFields ? null : rest || null, alert: true }));
  }

  async function runTest() {
    const given = changes();
    const missing = gaps(given, config, t);
    if (showProblems(fields, missing) || Object.keys(missing).length) return;
    const list = CHECKS.map((name) => ({ name, title: t(`checks.${name}.title`), state: "waiting" }));
    list[0].state = "busy";
    const shownSteps = steps(list, words(t));
    fill(said, h("section", { class: "card" }, h("header", {}, h("h2", {}, t("test_title"))), shownSteps.element));
    const result = await api.follow(
      "POST",
      `${of("config")}/test`,
      given,
      ({ check }) => tick(list, check, shownSteps, { t, say }),
      { signal },
    );
    for (const check of result.checks) tick(list, check, shownSteps, { t, say });
    for (const step of list) {
      if (["waiting", "busy"].includes(step.state)) Object.assign(step, { state: "waiting", text: t("not_checked") });
    }
    shownSteps.show(list);
    const worst = result.checks.find(({ state }) => state === "failed") ? "failed" : result.success ? "ok" : "warning";
    announce(t(`test_${worst}`));
    const isThere = result.checks.some(({ name, facts }) => name === "module" && facts.state === "active");
    said.append(
      notice(
        { failed: "bad", warning: "warn", ok: "good" }[worst],
        t(worst === "ok" && isThere ? "test_there" : `test_${worst}`),
      ),
    );
  }

  function submit(event) {
    event.preventDefault();
    working(save, () => attempt(saveAndRegister), t("saving"));
  }

  async function saveAndRegister() {
    const given = changes();
    const missing = gaps(given, config, t);
    if (showProblems(fields, missing) || Object.keys(missing).length) return;
    if (await ordered(given)) await follow();
  }

  /**
   * Saves and orders the registration in one request. False when somebody else was faster: it is shown, and saving once
   * more is for the person to decide.
   */
  async function ordered(given) {
    try {
      const changed = Object.keys(given).length ? { version: config.version, ...given } : {};
      take((await api.post(of("register"), changed, { signal })).config);
      return true;
    } catch (problem) {
      if (problem.code !== "conflict") throw problem;
      const { current } = problem.details;
      const mine = { ...given };
      config = { ...config, version: current.version };
      const theirs = button(
        t("conflict.theirs"),
        () => {
          take(current);
          fill(said);
        },
        { kind: "plain", small: true },
      );
      const ours = button(
        t("conflict.ours"),
        () =>
          attempt(async () => {
            if (await ordered(mine)) await follow();
          }),
        { kind: "plain", small: true },
      );
      fill(
        said,
        notice("warn", t("conflict.title"), {
          text: t("conflict.text", {
            domain: shown(current.domain) || t("conflict.nothing"),
            key: keyWords(current.api_key, t),
          }),
          actions: [theirs, ours],
          alert: true,
        }),
      );
      return false;
    }
  }

  /** Shows how far the module is, until it is there or has failed. */
  async function follow() {
    const list = steps([], words(t));
    const verdict = h("div");
    fill(
      said,
      h("section", { class: "card" }, h("header", {}, h("h2", {}, t("register_title"))), list.element),
      verdict,
    );
    for (;;) {
      const found = await api.get(of("register"), {}, { signal });
      const command = found.commands.find(({ action, state }) => action !== "push_mapping" && state !== "superseded");
      if (!command) return fill(said);
      list.show(commandSteps(command, { t, say }));
      if (!["ready", "leased"].includes(command.state)) {
        fill(verdict, judgement(command, { t, say }));
        config = { ...(await api.get(of("config"), {}, { signal })) };
        if (!Object.keys(changes()).length) take(config);
        drawModule(found);
        if (command.state !== "retry") return undefined;
      }
      await pause(command.state === "retry" ? 2 * POLL_MS : POLL_MS, signal);
    }
  }

  function dangers() {
    const off = button(
      t("off.button"),
      () =>
        attempt(async () => {
          if (
            !(await confirm(t("off.title"), {
              points: [t("off.cards"), t("off.history"), t("off.back")],
              yes: t("off.yes"),
              no: t("cancel"),
            }))
          )
            return;
          await api.remove(of("register"), { signal });
          await follow();
        }),
      { kind: "danger" },
    );
    const gone = button(
      t("delete.button"),
      () =>
        attempt(async () => {
          if (
            !(await confirm(t("delete.title"), {
              points: [t("delete.key"), t("delete.mapping"), t("delete.links"), t("delete.calls")],
              yes: t("delete.yes"),
              no: t("cancel"),
            }))
          )
            return;
          const deleted = await api.remove(of("config"), { signal });
          take(deleted);
          drawModule(await api.get(of("register"), {}, { signal }));
          fill(
            said,
            deleted.module.state === "left" &&
              notice("warn", t("delete.left"), {
                ...say(deleted.module.trouble),
                list: h("p", {}, t("delete.left_text")),
                alert: true,
              }),
          );
          toast(t(deleted.module.state === "off" ? "delete.done_off" : "delete.done"));
          fields.domain.input.focus();
        }),
      { kind: "danger" },
    );
    return h(
      "section",
      { class: "card stack" },
      h("h2", {}, t("danger")),
      h("div", { class: "row between" }, h("p", { class: "prose" }, t("off.text")), off),
      h("div", { class: "row between" }, h("p", { class: "prose" }, t("delete.text")), gone),
    );
  }
}

/** Connections that are kept for the enterprise, though nothing here works with them. */
function others(names, t) {
  return names.length
    ? notice("", t("unserved.title", { names: names.join(", ") }), { text: t("unserved.text") })
    : null;
}

/** What is still needed before anything can be asked of RetailCRM. */
function gaps(given, config, t) {
  const missing = {};
  if (!(given.domain ?? config.domain)) missing.domain = t("need_domain");
  if (given.domain === "") missing.domain = t("need_domain");
  if (!given.api_key && !config.api_key.is_set) missing.api_key = t("need_key");
  return missing;
}

function tick(list, check, shownSteps, { t, say }) {
  if (!list.some(({ name }) => name === check.name))
    list.unshift({ name: check.name, title: t(`checks.${check.name}.title`) });
  const index = list.findIndex(({ name }) => name === check.name);
  Object.assign(list[index], { state: check.state, text: checkText(check, { t, say }) });
  const next = list.find(({ state }) => state === "waiting");
  if (check.state !== "failed" && next && !list.some(({ state }) => state === "busy")) next.state = "busy";
  if (check.state === "failed") for (const step of list) if (step.state === "busy") step.state = "waiting";
  shownSteps.show(list);
}

function checkText({ name, state, facts, trouble }, { t, say }) {
  if (name === "scopes" && facts.missing) {
    return facts.missing
      .map((scope) => t("scope_missing", { scope: scope.name, breaks: t(`scopes.${scope.name}`) }))
      .join(" ");
  }
  if (name === "timezone" && state === "warning")
    return t("checks.timezone.warning", { crm: facts.crm ?? "—", enterprise: facts.enterprise });
  if (name === "module" && facts.state) return t(`checks.module.${facts.state}`);
  if (name === "credentials" && trouble?.code === "key_refused")
    return t("checks.credentials.refused", { words: trouble.words ?? "" });
  if (trouble) return say.line(trouble);
  if (name === "versions" && state === "failed") return t("checks.versions.missing");
  return t(`checks.${name}.ok`, { zone: facts.crm });
}

function commandSteps({ action, state, steps: made }, { t, say }) {
  const values = ({ users, shops }) => (users ?? shops ?? []).join(", ");
  const done = made.map(({ name, state: how, params = {}, trouble }) => ({
    state: how,
    title: t.has(`steps.${name}`) ? t(`steps.${name}`) : name,
    text: how === "warning" ? t(`step_warnings.${name}`, { values: values(params) }) : say.line(trouble),
  }));
  if (state === "ready" || state === "leased") done.push({ state: "busy", title: t(`going.${action}`) });
  if (state === "retry") done.push({ state: "waiting", title: t("going.retry") });
  return done;
}

function judgement(command, { t, say }) {
  const failed = command.steps.find(({ state }) => state === "failed");
  const key = t.has(`verdict.${command.code}`) ? command.code : command.state;
  const tone =
    { done: command.code === "done_with_complaints" ? "warn" : "good", retry: "warn" }[command.state] ?? "bad";
  const title = command.code === "done" ? t(`verdict.done_${command.action}`) : t(`verdict.${key}`);
  return notice(tone, title, {
    text: t.has(`verdict_text.${key}`) ? t(`verdict_text.${key}`) : null,
    quote: say(failed?.trouble).quote,
    alert: true,
  });
}

const shown = (domain) => (domain ?? "").replace(/^https:\/\//, "").replace(/\/$/, "");
const words = (t) => ({
  ok: t("words.ok"),
  warning: t("words.warning"),
  failed: t("words.failed"),
  waiting: t("words.waiting"),
  busy: t("words.busy"),
});

function keyWords({ is_set: isSet, is_readable: isReadable, last_four: end }, t) {
  if (!isSet) return t("key_none");
  return isReadable ? t("key_set", { end: end ?? "" }) : t("key_unreadable");
}

const help = (t, open) =>
  h(
    "details",
    { class: "card help", open },
    h("summary", {}, h("strong", {}, t("help.title"))),
    h(
      "ol",
      { class: "numbered" },
      ["one", "two", "three", "four"].map((name) => h("li", {}, t(`help.${name}`))),
    ),
    h(
      "ul",
      { class: "scopes" },
      ["telephony_read", "telephony_write", "integration_read", "integration_write", "user_read"].map((name) =>
        h("li", {}, h("code", {}, name), " — ", t(`scopes_give.${name}`)),
      ),
    ),
  );

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
