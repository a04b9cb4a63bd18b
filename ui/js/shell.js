// The frame: navigation, language, theme, who is signed in. It is drawn anew when the language changes.

import { button } from "./components/button.js";
import { fill, h } from "./dom.js";
import { currentLanguage, LANGUAGES } from "./i18n.js";
import { icon } from "./icons.js";
import { watch } from "./link.js";
import { to } from "./router.js";
import { session } from "./session.js";

/** In the order of the navigation; an empty name is a gap. */
export const SCREENS = [
  "overview",
  "calls",
  "callbacks",
  "report",
  "managers",
  "lines",
  "host",
  "",
  "connection",
  "settings",
  "log",
  "try",
];
const THEMES = ["auto", "light", "dark"];
const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

let watching = new AbortController();

/** Draws the frame; { main, mark(name) }, where `mark` shows which screen is open. `on`: { language, signOut }. */
export function frame(t, on) {
  const links = new Map(
    SCREENS.filter(Boolean).map((name) => [
      name,
      h("a", { href: to(name) }, icon(name), h("span", {}, t(`nav.${name}`))),
    ]),
  );
  const main = h("main", { class: "main", id: "main", tabindex: -1 });
  const body = h(
    "div",
    { class: "side-body", id: "menu" },
    h(
      "nav",
      { class: "nav", "aria-label": t("nav.label") },
      SCREENS.map((name) => links.get(name) ?? h("p", { class: "nav-gap" }, t("nav.gap"))),
    ),
    h(
      "div",
      { class: "side-foot" },
      h("p", { class: "who" }, session().login ? t("signed_in", { login: session().login }) : t("signed_in_by_link")),
      h(
        "div",
        { class: "row" },
        languageButton(on.language),
        h(
          "div",
          { class: "row" },
          themeButton(t),
          button("", on.signOut, { kind: "quiet", icon: "out", label: t("sign_out") }),
        ),
      ),
    ),
  );
  const menu = h(
    "button",
    {
      class: "button plain small menu-button",
      type: "button",
      "aria-expanded": "false",
      "aria-controls": "menu",
      on: { click: () => toggle() },
    },
    icon("menu", { size: 18 }),
    h("span", {}, t("menu")),
  );
  const side = h(
    "header",
    { class: "side" },
    h(
      "div",
      { class: "side-head" },
      h(
        "a",
        { class: "brand", href: to("overview") },
        h("img", { src: "icon.svg", alt: "", width: 36, height: 36 }),
        h(
          "span",
          { class: "brand-name" },
          h("strong", {}, session().enterprise_name || t("product")),
          h("span", {}, t("enterprise", { enterprise: session().enterprise_number })),
        ),
      ),
      menu,
    ),
    body,
  );
  const toggle = (shown = !side.classList.contains("open")) => {
    side.classList.toggle("open", shown);
    menu.setAttribute("aria-expanded", String(shown));
  };
  side.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !side.classList.contains("open")) return;
    toggle(false);
    menu.focus();
  });
  const skip = h("a", { class: "skip", href: "#main", on: { click: jump } }, t("skip"));
  function jump(event) {
    event.preventDefault(); // the address belongs to the screens
    main.focus();
    main.scrollIntoView();
  }
  const link = h("div", { role: "status" });
  fill(document.getElementById("app"), skip, link, h("div", { class: "frame" }, side, main));
  watching.abort();
  watching = new AbortController();
  watch(link, t, watching.signal);
  document.getElementById("toasts").setAttribute("aria-label", t("notifications"));
  return {
    main,
    mark(name) {
      toggle(false);
      for (const [key, link] of links) {
        if (key === name) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
  };
}

/** Says the name of the other language in that language. */
export function languageButton(choose) {
  const other = currentLanguage() === "ru" ? "en" : "ru";
  return button(LANGUAGES[other], () => choose(other), { kind: "quiet", small: true, lang: other });
}

export function themeButton(t) {
  const root = document.documentElement;
  const now = () => root.dataset.theme ?? "auto";
  const label = () => `${t("theme.label")}: ${t(`theme.${now()}`)}`;
  const made = button("", () => change(), { kind: "quiet", icon: THEME_ICONS[now()], label: label() });
  function change() {
    const next = THEMES[(THEMES.indexOf(now()) + 1) % THEMES.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {} // not remembered, then
    fill(made, icon(THEME_ICONS[next], { size: 18 }));
    made.setAttribute("aria-label", label());
    made.title = label();
  }
  return made;
}
