// Signing in: as a page of its own, or over the page when a session has ended.

import { button, working } from "../components/button.js";
import { open } from "../components/dialog.js";
import { showProblems, textField } from "../components/field.js";
import { notice } from "../components/notice.js";
import { fill, h } from "../dom.js";
import { words } from "../i18n.js";
import { note, restore, signIn } from "../session.js";
import { languageButton, themeButton } from "../shell.js";

/** The whole page; resolves when somebody is signed in. `problem`: why a link did not work. */
export async function show({ problem = null, changeLanguage }) {
  const [t, common] = await Promise.all([words("sign-in"), words("shell")]);
  return new Promise((resolve) => {
    const page = h(
      "main",
      { class: "gate" },
      h("div", { class: "row gate-tools" }, languageButton(changeLanguage), themeButton(common)),
      h(
        "div",
        { class: "gate-box" },
        h("img", { src: "icon.svg", alt: "", width: 52, height: 52 }),
        h("div", { class: "stack tight" }, h("h1", {}, t("title")), h("p", { class: "muted" }, t("lead"))),
        problem && notice("warn", problem, { alert: true }),
        form(t, { enterprise: window.enterpriseAsked ?? remembered() }, resolve),
        h("p", { class: "small muted" }, t("other_way")),
      ),
    );
    fill(document.getElementById("app"), page);
    const wanting = [...page.querySelectorAll("input")].find((input) => !input.value);
    wanting?.focus();
  });
}

/** Over the page, for the same enterprise. */
export async function again(before) {
  const t = await words("sign-in");
  return open(
    t("again_title"),
    (close) => [
      h("p", {}, before.login ? t("again_text") : t("again_link")),
      !before.login && goOn(t, before, close),
      form(t, { enterprise: before.enterprise_number, login: before.login, fixed: true }, close),
    ],
    { dismissable: false },
  );
}

function goOn(t, before, close) {
  const said = h("p", { class: "problem", role: "alert" });
  const made = button(t("go_on"), async () => {
    note.write();
    const found = await restore();
    if (!found) fill(said, t("still_out"));
    else if (found.enterprise_number === before.enterprise_number) close(true);
    else location.reload(); // somebody of another enterprise: nothing of this page is theirs
  });
  return h("div", { class: "stack tight" }, made, said);
}

function form(t, { enterprise = "", login = "", fixed = false }, done) {
  const fields = {
    enterprise_number: textField(t("enterprise"), {
      hint: fixed ? null : t("enterprise_hint"),
      value: enterprise,
      readOnly: fixed,
      autocomplete: "organization",
      name: "enterprise_number",
      required: true,
      maxlength: 32,
    }),
    login: textField(t("login"), {
      value: login ?? "",
      autocomplete: "username",
      name: "login",
      required: true,
      autocapitalize: "none",
      spellcheck: "false",
      maxlength: 200,
    }),
    password: textField(t("password"), {
      type: "password",
      autocomplete: "current-password",
      name: "password",
      required: true,
      maxlength: 1000,
      autofocus: Boolean(login),
    }),
  };
  const wrong = h("div", { role: "alert" });
  const send = button(t("enter"), null, { type: "submit" });
  const { password } = fields;
  const peek = button(
    t("show"),
    () => {
      const isHidden = password.input.type === "password";
      password.input.type = isHidden ? "text" : "password";
      peek.querySelector("span").textContent = t(isHidden ? "hide" : "show");
    },
    { kind: "quiet", small: true },
  );
  return h(
    "form",
    { class: "stack", novalidate: true, on: { submit } },
    fields.enterprise_number.element,
    fields.login.element,
    h("div", { class: "stack tight" }, password.element, h("div", { class: "peek" }, peek)),
    wrong,
    send,
  );

  function submit(event) {
    event.preventDefault();
    const given = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value().trim()]));
    given.password = password.value();
    working(send, () => attempt(given), t("entering"));
  }

  async function attempt(given) {
    fill(wrong);
    const [missing] = [(await words("errors"))("fields.missing")];
    const gaps = Object.fromEntries(
      Object.entries(given)
        .filter(([, value]) => !value)
        .map(([name]) => [name, missing]),
    );
    showProblems(fields, gaps);
    if (Object.keys(gaps).length) return;
    try {
      const found = await signIn(given);
      remember(found.enterprise_number);
      done(found);
    } catch (problem) {
      if (problem.wait) return waitFor(problem.wait, given);
      fill(wrong, notice("bad", problem.message));
      password.input.focus();
      password.input.select();
    }
    return undefined;
  }

  /**
   * There is a turn for this password in so many seconds: then the page sends it by itself, unless something else is
   * typed.
   */
  async function waitFor(seconds, given) {
    const until = Date.now() + seconds * 1000;
    const left = h("strong", { "aria-hidden": "true" });
    const said = h("span", { class: "visually-hidden" }, inWords(t, seconds));
    const stop = new AbortController();
    wrong.closest("form").addEventListener("input", () => stop.abort(), { signal: stop.signal });
    fill(wrong, notice("warn", t("wait.title"), { text: t("wait.text"), list: h("p", {}, left, said) }));
    while (!stop.signal.aborted && wrong.isConnected && Date.now() < until) {
      fill(left, inWords(t, Math.ceil((until - Date.now()) / 1000)));
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    fill(wrong);
    if (stop.signal.aborted || !wrong.isConnected) return undefined;
    stop.abort();
    return attempt(given);
  }
}

/** Longer than a minute and a half in minutes. */
const inWords = (t, seconds) =>
  seconds > 90 ? t("wait.minutes", { count: Math.ceil(seconds / 60) }) : t("wait.seconds", { count: seconds });

function remembered() {
  try {
    return localStorage.getItem("enterprise") ?? "";
  } catch {
    return "";
  }
}

function remember(number) {
  try {
    localStorage.setItem("enterprise", number);
  } catch {} // typed again next time
}
