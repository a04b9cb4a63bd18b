// RetailCRM's troubles, as the API tells of them: our sentence, and RetailCRM's own words apart.

import { words } from "../i18n.js";

/** say({ code, words, params }): { text, quote } for a notice; say.line(trouble): in one line. Null says nothing. */
export async function crm() {
  const t = await words("crm");
  const say = (trouble) => {
    if (!trouble) return { text: null, quote: null };
    const { code, words: theirs, params } = trouble;
    return {
      text: t(`codes.${code}`, { status: String(params?.status ?? "") }),
      quote: theirs ? t("says", { words: theirs }) : null,
    };
  };
  say.line = (trouble) => Object.values(say(trouble)).filter(Boolean).join(" ") || null;
  return say;
}
