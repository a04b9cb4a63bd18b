// The page's words: one file for each screen and language under messages/, loaded when they are needed.

export const LANGUAGES = { ru: "Русский", en: "English" };

let language = document.documentElement.lang === "en" ? "en" : "ru";
const loaded = new Map();

export const currentLanguage = () => language;

export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  try {
    localStorage.setItem("language", chosen);
  } catch {} // not remembered, then
}

/**
 * The words of messages/<language>/<name>.js as a function: t("rows", { count: 5 }).
 *
 * A message is text with {names} in it, or a map of plural forms ({ one, few, many, other }) chosen by `count`.
 * Numbers are written as the language writes them. A message that is missing shows as its key, and is an error in the
 * console, which the tests do not forgive; t.has(key) asks before.
 */
export async function words(name) {
  const key = `${language}/${name}`;
  if (!loaded.has(key)) loaded.set(key, (await import(`./messages/${key}.js`)).default);
  const messages = loaded.get(key);
  const find = (path) => path.split(".").reduce((found, part) => found?.[part], messages);
  const t = (path, values = {}) => {
    let message = find(path);
    if (message && typeof message === "object") {
      message = message[new Intl.PluralRules(language).select(values.count)] ?? message.other;
    }
    if (typeof message !== "string") {
      console.error(`No message ${key}: ${path}`);
      return path;
    }
    return message.replace(/\{(\w+)\}/g, (whole, named) =>
      named in values
        ? typeof values[named] === "number"
          ? new Intl.NumberFormat(language).format(values[named])
          : String(values[named] ?? "")
        : whole,
    );
  };
  t.has = (path) => find(path) !== undefined;
  return t;
}
