// Before anything is painted: the chosen theme, the token of an account link out of the address, and what the first
// screen is made of, which would be asked for piece by piece otherwise. (index.html names what every screen needs.)
(() => {
  const PARTS = {
    overview: ["crm", "delays", "empty", "keyed"],
    calls: ["badge", "empty", "field", "keyed", "results", "why"],
    callbacks: ["badge", "empty", "field", "results", "table"],
    report: ["bars", "empty", "results", "table", "tabs"],
    call: ["badge", "keyed", "lanes", "story", "why"],
    managers: ["badge", "crm", "empty", "field", "table", "tabs"],
    lines: ["crm", "empty", "field"],
    host: ["empty", "results", "tabs"],
    connection: ["badge", "crm", "field", "steps"],
    settings: ["countries", "field"],
    log: ["badge", "countries", "crm", "empty", "field", "results", "table", "tabs"],
    try: ["badge", "crm", "field", "lanes", "story", "why"],
    "sign-in": ["field"],
  };
  const FURTHER_WORDS = {
    calls: ["reasons"],
    call: ["reasons", "story"],
    connection: ["crm"],
    lines: ["crm"],
    log: ["crm", "settings"],
    managers: ["crm"],
    overview: ["crm"],
    try: ["crm", "reasons", "story"],
    settings: ["errors"],
  };
  let theme = null;
  let language = null;
  let isKnown = true;
  try {
    theme = localStorage.getItem("theme");
    language = localStorage.getItem("language");
    isKnown = localStorage.getItem("signed-in") !== null;
  } catch {} // a browser that keeps nothing
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (language === "en") document.documentElement.lang = "en";

  const [, asked = "overview"] = /^#\/([\w-]+)/.exec(location.hash) ?? [];
  const screen = !isKnown ? "sign-in" : PARTS[asked] ? asked : "overview";
  for (const name of [
    `screens/${screen}`,
    ...PARTS[screen].map((part) => `components/${part}`),
    ...["shell", screen, ...(FURTHER_WORDS[screen] ?? [])].map(
      (words) => `messages/${language === "en" ? "en" : "ru"}/${words}`,
    ),
  ]) {
    const link = document.createElement("link");
    Object.assign(link, { rel: "modulepreload", href: `js/${name}.js` });
    document.head.append(link);
  }

  const query = new URLSearchParams(location.search);
  if (query.has("token")) {
    window.accountLink = { token: query.get("token"), enterprise_number: query.get("enterprise_number") };
  } else if (query.has("enterprise_number")) {
    window.enterpriseAsked = query.get("enterprise_number"); // for the form to sign in with
  }
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
})();
