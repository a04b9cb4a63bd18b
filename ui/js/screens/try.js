// Trying it out: a situation played at this enterprise with nothing sent; or one real card on a manager's screen.

import * as api from "../api.js";
import { button, linkButton } from "../components/button.js";
import { crm as troubles } from "../components/crm.js";
import { selectField, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { notice, trouble } from "../components/notice.js";
import { skeleton } from "../components/skeleton.js";
import { parts } from "../components/story.js";
import { announce, fill, h, uid } from "../dom.js";
import { phone } from "../format.js";
import { icon } from "../icons.js";
import { currentLanguage } from "../i18n.js";
import { note, to } from "../router.js";
import { of } from "../session.js";

const NARROW = "(max-width: 64rem)"; // as in css/desk.css
const MARKS = { in: "incoming", out: "outgoing", internal: "internal" };

export async function show({ t, common, query, signal }) {
  const { situations } = await api.get(of("situations"), {}, { signal });
  const result = h("div", { class: "stack wide", role: "region", "aria-label": t("result") });
  const buttons = new Map(situations.map((each) => [each.id, situation(each)]));
  const first = buttons.has(query.get("situation")) ? query.get("situation") : situations[0].id;
  const id = uid("situations");
  play(first);
  return [
    heading(t("title"), t("lead")),
    h(
      "div",
      { class: "try" },
      h(
        "section",
        { class: "stack tight", "aria-labelledby": id },
        h("h2", { id }, t("situations")),
        h(
          "ul",
          { class: "situations" },
          [...buttons.values()].map((each) => h("li", {}, each)),
        ),
      ),
      result,
    ),
    popup({ t, signal }),
  ];

  function situation({ id: name, kind, title, what }) {
    const language = currentLanguage();
    return h(
      "button",
      { type: "button", "aria-pressed": "false", class: "situation", on: { click: () => choose(name) } },
      icon(MARKS[kind] ?? "internal"),
      h("span", {}, h("strong", {}, title[language]), h("span", { class: "small muted" }, what[language])),
    );
  }

  function choose(name) {
    note({ situation: name });
    play(name);
    if (matchMedia(NARROW).matches) result.scrollIntoView(); // it is below the list
  }

  async function play(name) {
    for (const [key, each] of buttons) each.setAttribute("aria-pressed", String(key === name));
    fill(result, skeleton(common("loading"), { tall: true }));
    try {
      const { is_enabled: isEnabled, stories } = await api.post(of("preview"), { situation: name }, { signal });
      const made = await Promise.all(stories.map((story) => parts(story)));
      if (buttons.get(name).getAttribute("aria-pressed") !== "true") return; // another one was chosen meanwhile
      fill(
        result,
        isEnabled
          ? null
          : notice("", t("off"), {
              text: t("off_text"),
              actions: [linkButton(t("open_connection"), to("connection"), { kind: "plain", small: true })],
            }),
        made.map((each, index) => [
          index ? h("h2", {}, t("another")) : null,
          each.verdict,
          each.picture,
          each.decisions,
          each.told,
          each.timeline,
        ]),
      );
      announce(t("played"));
    } catch (problem) {
      if (buttons.get(name).getAttribute("aria-pressed") !== "true") return;
      if (problem.name !== "AbortError")
        fill(
          result,
          trouble(
            problem,
            common,
            button(common("again"), () => play(name), { kind: "plain", small: true }),
          ),
        );
    }
  }
}

function popup({ t, signal }) {
  const id = uid("popup");
  const box = h("div", { class: "stack tight" }, h("p", { class: "muted" }, t("popup.loading")));
  let say;
  load();
  return h(
    "section",
    { class: "card stack real", "aria-labelledby": id },
    h("h2", { id }, t("popup.title")),
    h("p", { class: "muted prose" }, t("popup.text")),
    box,
  );

  async function load() {
    try {
      say = await troubles();
      // RetailCRM may be slow.
      const { managers, crm } = await api.follow("GET", of("managers"), undefined, () => {}, { signal });
      const mapped = managers.filter((manager) => manager.extension);
      if (!crm.is_available)
        fill(
          box,
          notice("warn", t("popup.crm_away"), {
            ...say(crm.trouble),
            actions: [linkButton(t("open_connection"), to("connection"), { kind: "plain", small: true })],
          }),
        );
      else if (!mapped.length)
        fill(
          box,
          notice("", t("popup.nobody"), {
            actions: [linkButton(t("popup.assign"), to("managers"), { kind: "plain", small: true })],
          }),
        );
      else form(mapped);
    } catch (problem) {
      if (problem.name !== "AbortError") fill(box, notice("warn", problem.message));
    }
  }

  function form(mapped) {
    const name = ({ first_name: first, last_name: last, extension }) =>
      [[first, last].filter(Boolean).join(" "), extension].filter(Boolean).join(" · ");
    const manager = selectField(
      t("popup.manager"),
      mapped.map((each) => [String(each.user_id), name(each)]),
      { hint: t("popup.manager_hint"), value: String(mapped[0].user_id) },
    );
    const customer = textField(t("popup.phone"), {
      hint: t("popup.phone_hint"),
      optional: t("popup.optional"),
      inputmode: "tel",
      autocomplete: "off",
      maxlength: 100,
    });
    const said = h("div", { role: "status" });
    const send = button(
      t("popup.send"),
      async () => {
        fill(said);
        customer.fail(null);
        try {
          const asked = {
            user_id: Number(manager.value()),
            ...(customer.value().trim() ? { phone: customer.value().trim() } : {}),
          };
          fill(said, verdict(await api.post(of("test-popup"), asked, { signal })));
        } catch (problem) {
          if (problem.name === "AbortError") return;
          if (problem.code === "invalid_phone") customer.fail(t("popup.invalid_phone"));
          else fill(said, notice("bad", problem.message));
        }
      },
      { busy: t("popup.sending") },
    );
    fill(box, h("div", { class: "line-fields" }, manager.element, customer.element), h("div", {}, send), said);
  }

  function verdict({ code, trouble, extension, phone: shown }) {
    if (code === "accepted")
      return notice("good", t("popup.accepted", { extension, phone: phone(shown) }), {
        text: t("popup.accepted_text"),
      });
    if (code === "not_exist_codes")
      return notice("bad", t("popup.unknown", { extension }), {
        text: t("popup.unknown_text"),
        actions: [linkButton(t("popup.assign"), to("managers"), { kind: "plain", small: true })],
      });
    return notice("bad", t("popup.refused"), {
      ...say(trouble),
      actions: [linkButton(t("open_connection"), to("connection"), { kind: "plain", small: true })],
    });
  }
}
