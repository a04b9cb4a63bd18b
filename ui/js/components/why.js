// Codes of decisions and reasons as sentences.

import { words } from "../i18n.js";

/** { decision({ code, params }), reason(code) } in the language of now. A code without words shows as it is. */
export async function why() {
  const t = await words("reasons");
  const list = (values) => (values ?? []).join(", ") || "—";
  const because = (code) => (code && t.has(`because.${code}`) ? t(`because.${code}`) : (code ?? ""));
  const field = (name) => (t.has(`fields.${name}`) ? t(`fields.${name}`) : name);
  return {
    /** @param {{ code: string, params?: Record<string, any> }} decision */
    decision({ code, params = {} }) {
      if (!t.has(`why.${code}`)) return code;
      return t(`why.${code}`, {
        ...params,
        numbers: list(params.numbers),
        extensions: list(params.extensions),
        why: because(params.why),
        leg: because(params.leg),
        changed: list(Object.keys(params.changed ?? {}).map(field)),
      });
    },
    reason: (code) => (t.has(`reasons.${code}`) ? t(`reasons.${code}`) : code),
  };
}
