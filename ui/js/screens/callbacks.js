// Whom to call back: customers who called in vain, until somebody reaches them or closes them with a word.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, linkButton } from "../components/button.js";
import { open } from "../components/dialog.js";
import { empty } from "../components/empty.js";
import { selectField, textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { more, results as found } from "../components/results.js";
import { table } from "../components/table.js";
import { toast } from "../components/toast.js";
import { announce, fill, h } from "../dom.js";
import { ago, moment, phone } from "../format.js";
import { currentLanguage } from "../i18n.js";
import { note, to } from "../router.js";
import { of } from "../session.js";

const NOBODY = "nobody"; // as the API calls those without an owner
const FURTHER_ROWS = 100;
const REFRESH_SECONDS = 15;

export async function show({ t, common, query, signal }) {
  const chosen = { extension: query.get("extension") ?? "" };
  const csv = linkButton(t("csv"), "#", { kind: "plain", icon: "download", download: "callbacks.csv" });
  const owners = h("div", { class: "filters" });
  const results = found({ find, draw: take, common, wide: true });
  let shown = null;
  let isLong = false;
  await results.load();
  const timer = setInterval(refresh, REFRESH_SECONDS * 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  const search = h("div", { role: "search", "aria-label": t("filters") }, owners);
  return [heading(t("title"), t("lead"), [csv]), h("div", { class: "stack wide" }, search, results.element)];

  function find() {
    csv.href = api.href(of("callbacks"), { ...chosen, format: "csv", language: currentLanguage() });
    return api.get(of("callbacks"), chosen, { signal });
  }

  function take(page) {
    isLong = false;
    draw(page);
    announce(t("found", { count: page.callbacks.length }));
  }

  async function refresh() {
    if (document.hidden || isLong || results.element.contains(document.activeElement)) return;
    const turn = results.turn();
    try {
      const page = await api.get(of("callbacks"), chosen, { signal });
      if (turn === results.turn() && JSON.stringify(page) !== JSON.stringify(shown)) draw(page);
    } catch {
      // the next time, perhaps; what is shown was true a moment ago
    }
  }

  function draw(page) {
    shown = page;
    drawOwners(page.owners);
    if (!page.callbacks.length) {
      return fill(
        results.element,
        h("section", { class: "card" }, empty("calm", t("empty.title"), t("empty.text", { count: page.days }))),
      );
    }
    const made = table(t("title"), columns(), page.callbacks);
    const foot = more(
      { count: page.callbacks.length, next: page.next },
      async (after) => {
        const { callbacks, next } = await api.get(
          of("callbacks"),
          { ...chosen, after, limit: FURTHER_ROWS },
          { signal },
        );
        isLong = true;
        made.rows(callbacks);
        return { count: callbacks.length, next };
      },
      { t, common },
    );
    return fill(results.element, made.element, foot);
  }

  function drawOwners(counted) {
    if (owners.contains(document.activeElement)) return;
    const all = counted.reduce((sum, owner) => sum + owner.customers, 0);
    const choices = counted.map((owner) => [
      owner.owner_extension ?? NOBODY,
      t("owner_count", { owner: named(owner), count: owner.customers }),
    ]);
    if (chosen.extension && !choices.some(([value]) => value === chosen.extension))
      choices.push([chosen.extension, chosen.extension === NOBODY ? t("nobody") : chosen.extension]);
    const field = selectField(t("owner"), [["", t("everybody", { count: all })], ...choices], {
      value: chosen.extension,
    });
    field.input.addEventListener("change", () => {
      if (signal.aborted) return undefined; // a field that is taken away with its screen says "change" once more
      chosen.extension = field.value();
      note(chosen);
      return results.renew();
    });
    fill(owners, field.element);
  }

  function named({ owner_extension: extension, owner_name: name }) {
    if (!extension) return t("nobody");
    return name ? `${name} (${extension})` : extension;
  }

  function columns() {
    return [
      {
        title: t("customer"),
        main: true,
        cell: (row) =>
          h(
            "a",
            { class: "number", href: `tel:${row.customer}`, "aria-label": t("call", { phone: phone(row.customer) }) },
            phone(row.customer),
          ),
      },
      {
        title: t("called"),
        cell: (row) => [
          h(
            "a",
            { href: to(["call", row.unique_id]), "aria-label": t("to_call", { when: moment(row.last_at) }) },
            h("time", { datetime: row.last_at }, moment(row.last_at)),
          ),
          h(
            "p",
            { class: "small muted" },
            [ago(row.first_at), row.calls > 1 ? t("times", { count: row.calls }) : null].filter(Boolean).join(" · "),
          ),
        ],
      },
      { title: t("line"), cell: (row) => row.line_name ?? row.line_id ?? "—" },
      { title: t("owner"), cell: named },
      {
        title: t("tries"),
        cell: (row) =>
          row.tries
            ? [
                t("tried", { count: row.tries }),
                h("p", { class: "small muted" }, t("last_try", { when: moment(row.last_try_at) })),
              ]
            : t("not_tried"),
      },
      {
        title: t("state"),
        bare: true,
        cell: (row) =>
          h("div", { class: "stack tight" }, h("div", {}, state(row)), h("div", { class: "row" }, actions(row))),
      },
    ];
  }

  function state(row) {
    if (row.state !== "taken") return badge("warn", t("waiting"));
    return [badge("good", t("taken", { who: who(row) })), row.note && h("p", { class: "small muted" }, row.note)];
  }

  function who({ said_by: by }) {
    return by === "account link" ? t("link") : by;
  }

  function actions(row) {
    const about = phone(row.customer);
    return [
      row.state === "taken"
        ? button(t("give_back"), () => say(row, "open"), {
            kind: "quiet",
            small: true,
            label: t("give_back_of", { phone: about }),
          })
        : button(t("take"), () => say(row, "taken"), {
            kind: "plain",
            small: true,
            label: t("take_of", { phone: about }),
          }),
      button(t("close"), () => close(row), { kind: "quiet", small: true, label: t("close_of", { phone: about }) }),
    ];
  }

  async function close(row) {
    const words = textField(t("note"), { hint: t("note_hint"), maxlength: 500, autocomplete: "off" });
    const said = await open(t("close_title", { phone: phone(row.customer) }), (end) => [
      h("p", { class: "muted" }, t("close_text")),
      h(
        "form",
        { class: "stack", on: { submit: (event) => (event.preventDefault(), end({ note: words.value().trim() })) } },
        words.element,
        h(
          "div",
          { class: "dialog-actions" },
          button(t("cancel"), () => end(null), { kind: "plain" }),
          h("button", { class: "button", type: "submit" }, t("close")),
        ),
      ),
    ]);
    if (said) await say(row, "closed", said.note || null);
  }

  async function say(row, state_, words = null) {
    try {
      await api.post(of("callbacks"), { unique_id: row.unique_id, state: state_, note: words });
    } catch (problem) {
      return toast(problem.message);
    }
    if (!signal.aborted) await results.renew();
    const done = { taken: "is_taken", closed: "is_closed", open: "is_open" }[state_];
    const before = row.state ?? "open";
    return toast(
      t(done, { phone: phone(row.customer) }),
      state_ === before ? null : { text: t("undo"), act: () => say({ ...row, state: state_ }, before, row.note) },
    );
  }
}
