// RetailCRM's users and the extension of each; a number that is somebody else's is taken over, and can be given back.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, linkButton } from "../components/button.js";
import { crm as troubles } from "../components/crm.js";
import { confirm } from "../components/dialog.js";
import { empty } from "../components/empty.js";
import { textField } from "../components/field.js";
import { heading } from "../components/heading.js";
import { notice, remark, trouble } from "../components/notice.js";
import { skeleton } from "../components/skeleton.js";
import { table } from "../components/table.js";
import { toggle } from "../components/tabs.js";
import { toast } from "../components/toast.js";
import { announce, fill, h } from "../dom.js";
import { moment } from "../format.js";
import { guard, note, to } from "../router.js";
import { of } from "../session.js";

const FOLLOW_MS = 1500;
const MOVING = new Set(["ready", "leased", "retry"]);

export async function show({ t, common, query, signal }) {
  const box = h("div", { class: "stack wide" });
  const progress = h("p", { class: "muted", role: "status" }, t("asking"));
  fill(box, h("div", { class: "card stack" }, progress, skeleton(common("loading"))));
  read();
  return [heading(t("title"), t("lead")), box];

  async function read() {
    try {
      const [found, { internal_phones: phones }, mapping, say] = await Promise.all([
        api.follow(
          "GET",
          of("managers"),
          undefined,
          ({ progress: seen }) => seen && fill(progress, t("progress", { count: seen.people })),
          { signal },
        ),
        api.get(of("internal-phones"), {}, { signal }),
        api.get(of("user-extensions"), {}, { signal }),
        troubles(),
      ]);
      desk(box, { found, phones, mapping, say, t, common, query, signal, read });
    } catch (problem) {
      if (problem.name !== "AbortError")
        fill(
          box,
          trouble(
            problem,
            common,
            button(common("again"), () => read(), { kind: "plain", small: true }),
          ),
        );
    }
  }
}

function desk(box, { found, phones, mapping, say, t, common, query, signal, read }) {
  const { crm, managers } = found;
  const numbers = phones.map((phone) => phone.extension).sort((a, b) => Number(a) - Number(b));
  const names = new Map(managers.map((manager) => [manager.user_id, name(manager, t)]));
  const owners = new Map(phones.map((phone) => [phone.extension, fullName(phone)]));
  const chosenByKeys = new Set(); // managers whose number is chosen with arrows and not yet saved
  let series = null; // what an undo restores: how it was before the first of the changes that the offer stands for
  const held = new Map(managers.map((manager) => [manager.user_id, manager.extension]));
  const push = h("div", { role: "status" });
  const above = h("div", { class: "stack tight" });
  const rows = new Map(managers.map((manager) => [manager.user_id, row(manager)]));
  const chosen = { search: query.get("search") ?? "", only: query.get("only") ?? "" };
  const search = textField(t("search"), { type: "search", value: chosen.search, autocomplete: "off" });
  const only = toggle(
    t("which"),
    [
      ["", t("everybody")],
      ["without", t("without")],
    ],
    chosen.only,
    (value) => choose({ only: value }),
  );
  search.input.addEventListener("input", () => choose({ search: search.value() }));
  const list = h("div");
  fill(
    box,
    crm.is_available
      ? null
      : notice("warn", t("crm_away"), {
          text: [say(crm.trouble).text, t("crm_away_text")].join(" "),
          quote: say(crm.trouble).quote,
          actions: [button(common("again"), read, { kind: "plain", small: true })],
        }),
    above,
    push,
  );
  if (!managers.length) {
    box.append(
      h(
        "section",
        { class: "card" },
        empty(
          "people",
          t("nobody.title"),
          t("nobody.text"),
          linkButton(t("nobody.open"), to("connection"), { kind: "plain" }),
        ),
      ),
    );
    return;
  }
  if (!numbers.length) box.append(notice("warn", t("no_numbers"), { text: t("no_numbers_text") }));
  box.append(h("div", { class: "filters", role: "search", "aria-label": t("filters") }, search.element, only), list);
  guard(() => chosenByKeys.size > 0);
  draw();
  differences();
  if (found.repair === "begun") repaired();
  else told(mapping.command);

  function choose(changed) {
    Object.assign(chosen, changed);
    note(chosen);
    draw();
  }

  function draw() {
    const wanted = chosen.search.trim().toLowerCase();
    const matching = managers.filter((manager) => {
      const text = [name(manager, t), manager.email, held.get(manager.user_id)].filter(Boolean).join(" ").toLowerCase();
      return (!wanted || text.includes(wanted)) && (chosen.only !== "without" || !held.get(manager.user_id));
    });
    if (!matching.length)
      return fill(list, h("section", { class: "card" }, empty("search", t("nothing.title"), t("nothing.text"))));
    const made = table(
      t("title"),
      [
        { title: t("manager"), main: true, cell: (manager) => rows.get(manager.user_id).words },
        { title: t("now"), cell: (manager) => rows.get(manager.user_id).number },
        { title: t("assign"), cell: (manager) => rows.get(manager.user_id).control },
      ],
      matching,
    );
    return fill(list, made.element);
  }

  function row(manager) {
    const id = manager.user_id;
    const number = h("div");
    const said = remark();
    const select = h("select", { class: "input", "aria-label": t("assign_to", { name: names.get(id) }) });
    const waits = h("p", { class: "hint", hidden: true }, t("enter_saves"));
    // With three hundred managers the choices of each are made when somebody looks at them.
    for (const event of ["focus", "pointerdown", "keydown"]) select.addEventListener(event, offer);
    // A press of an arrow chooses another number already: it is saved once the choice is made.
    let isByKeys = false;
    select.addEventListener("pointerdown", () => (isByKeys = false));
    select.addEventListener("keydown", (event) => {
      isByKeys = true;
      if (!chosenByKeys.has(id) || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault(); // or the same press answers the question that it leads to
      if (event.key === "Enter") return void decide();
      select.value = held.get(id) ?? "";
      release();
    });
    select.addEventListener("change", () => (isByKeys ? hold() : decide()));
    // Once the focus has moved.
    select.addEventListener("blur", () => setTimeout(() => chosenByKeys.has(id) && decide()));
    const unknown = found.unknown_to_crm.filter((item) =>
      item.kind === "manager" ? item.value === String(id) : item.value === manager.extension,
    );
    const marks = [
      manager.is_in_crm === false && badge("warn", t("not_in_crm")),
      manager.is_active === false && badge("", t("inactive")),
      ...unknown.map((item) =>
        badge("bad", t(`unknown_${item.kind}`, { since: moment(item.since), count: item.calls })),
      ),
    ].filter(Boolean);
    const status = manager.status && t.has(`status.${manager.status}`) ? t(`status.${manager.status}`) : null;
    const made = {
      words: [
        h("span", {}, names.get(id)),
        h("p", { class: "small muted plain" }, [manager.email, status].filter(Boolean).join(" · ")),
        marks.length ? h("p", { class: "row" }, marks) : null,
      ],
      number,
      control: [select, waits, said.element],
      say: said.say,
      show() {
        const mine = held.get(id);
        fill(number, mine ? badge("good", mine) : badge("", t("not_assigned")));
        fill(select, option(mine, id));
        select.value = mine ?? "";
        release();
        if (document.activeElement === select) offer();
      },
    };
    function hold() {
      const isOther = (select.value || null) !== (held.get(id) ?? null);
      chosenByKeys[isOther ? "add" : "delete"](id);
      waits.hidden = !isOther;
    }
    function release() {
      chosenByKeys.delete(id);
      waits.hidden = true;
    }
    function decide() {
      release();
      if ((select.value || null) !== (held.get(id) ?? null)) save(id, select.value || null);
    }
    function offer() {
      const mine = held.get(id);
      if (select.options.length > 1) return;
      const ours = numbers.map((number) => option(number, id));
      fill(select, option(null), ours, mine && !numbers.includes(mine) ? option(mine, id) : null);
      select.value = mine ?? "";
    }
    made.show();
    return made;
  }

  /** Whose telephone it is, and which other manager has it now. */
  function option(number, id) {
    if (!number) return h("option", { value: "" }, t("nothing_assigned"));
    const [owner, taker] = [owners.get(number), ownerOf(number)];
    const isTaken = taker !== null && taker !== id;
    const words = owner ? t("number_of", { number, name: owner }) : isTaken || taker ? number : t("free", { number });
    return h(
      "option",
      { value: number },
      isTaken ? t("taken", { number: words, name: names.get(taker) ?? taker }) : words,
    );
  }

  function ownerOf(number) {
    return [...held].find(([, extension]) => extension === number)?.[0] ?? null;
  }

  async function save(id, number) {
    const before = new Map(held);
    const from = number && ownerOf(number);
    const isTaken = from && from !== id;
    if (isTaken && !(await mayTake(id, number, names.get(from) ?? String(from)))) {
      rows.get(id).show();
      return false;
    }
    try {
      await store({ [id]: number });
    } catch (problem) {
      rows.get(id).show();
      const sentence = [problem.message, ...Object.values(problem.fields ?? {})].join(" ");
      if (signal.aborted) toast(sentence);
      rows.get(id).say(sentence);
      return false;
    }
    const said = number
      ? isTaken
        ? t("saved_taken", { name: names.get(id), number, from: names.get(from) ?? from })
        : t("saved", { name: names.get(id), number })
      : t("removed", { name: names.get(id) });
    offerBack(id, said, Object.fromEntries([id, from].filter(Boolean).map((user) => [user, before.get(user) ?? null])));
    return true;
  }

  const mayTake = (id, number, from) =>
    confirm(t("take.title", { number, from }), {
      text: t("take.text", { name: names.get(id), from }),
      yes: t("take.yes", { name: names.get(id) }),
      no: t("take.no"),
      danger: false,
    });

  /** One offer for all changes since the first of them that can still be taken back. */
  function offerBack(id, said, changed) {
    const { back = {}, count = 0, end } = series ?? {};
    const mine = { back: { ...changed, ...back }, count: count + 1 };
    series = mine;
    end?.();
    const undo = mine.count > 1 ? t("undo_all", { count: mine.count }) : t("undo");
    mine.end = toast(said, {
      text: undo,
      act: () => giveBack(id, mine.back),
      gone: () => series === mine && (series = null),
    });
  }

  /** The offer is gone when it fails: it stays in the row, until a number is saved there. */
  async function giveBack(id, back) {
    try {
      await store(back);
    } catch (problem) {
      const sentence = t("undo_failed", { words: problem.message });
      if (signal.aborted) toast(sentence);
      rows.get(id).say(
        sentence,
        button(t("undo"), () => giveBack(id, back), { kind: "quiet", small: true, icon: "undo" }),
      );
    }
  }

  // Not given up when the screen is left: what was pressed shall happen, and "undo" is there longer than the screen.
  async function store(changes) {
    const answer = await api.post(of("save-extensions"), { user_extensions: changes });
    for (const id of held.keys()) held.set(id, answer.user_extensions[id] ?? null);
    for (const each of rows.values()) each.show();
    for (const id of Object.keys(changes)) rows.get(Number(id))?.say(null);
    told(answer.command);
  }

  /** What RetailCRM said to a push that did not get through. */
  const refusal = (command) => say(command.steps.find(({ trouble }) => trouble)?.trouble);

  /** How the last push to RetailCRM goes. */
  async function told(command) {
    if (signal.aborted || !command || command.action !== "push_mapping") return;
    if (MOVING.has(command.state)) {
      fill(push, notice("", t(command.state === "retry" ? "push.retry" : "push.going"), refusal(command)));
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
      if (signal.aborted) return;
      try {
        const { command: next } = await api.get(of("user-extensions"), {}, { signal });
        await told(next);
      } catch {} // the next save shows it
      return;
    }
    if (command.state === "failed") {
      fill(
        push,
        notice("bad", t("push.failed"), {
          text: [refusal(command).text, t("push.failed_text")].filter(Boolean).join(" "),
          quote: refusal(command).quote,
          actions: [button(t("push.again"), sync, { kind: "plain", small: true })],
          alert: true,
        }),
      );
    } else if (push.childElementCount) {
      fill(push, notice("good", t("push.done")));
      announce(t("push.done"));
    }
  }

  /** The push that opening this screen has begun. */
  async function repaired() {
    try {
      const { command } = await api.get(of("user-extensions"), {}, { signal });
      fill(push, notice("", t("push.going")));
      await told(command);
    } catch {} // what is here wins all the same: the next visit shows how it went
  }

  async function sync() {
    try {
      const { command } = await api.post(of("sync-extensions"), {}, { signal });
      fill(above);
      told(command);
    } catch (problem) {
      if (problem.name !== "AbortError") toast(problem.message);
    }
  }

  function differences() {
    if (!found.differences.length) return fill(above);
    const sentence = ({ kind, user_id: id, ours, crm: theirs }) =>
      t(`difference.${kind}`, { name: names.get(id) ?? id, ours, theirs });
    const take = (each) =>
      ["not_ours", "other"].includes(each.kind) && numbers.includes(each.crm)
        ? button(t("take_theirs", { number: each.crm }), () => accept(each), { kind: "quiet", small: true })
        : null;
    const message = notice("warn", t("differences", { count: found.differences.length }), {
      text: t(`repair.${found.repair}`),
      actions: found.repair === "begun" ? [] : [button(t("take_ours"), sync, { small: true })],
    });
    message.querySelector(".notice-words").append(
      h(
        "ul",
        { class: "bullets" },
        found.differences.map((each) => h("li", {}, sentence(each), " ", take(each))),
      ),
    );
    return fill(above, message);
  }

  /** The others stay: what the CRM had is offered until all is sent. */
  async function accept(difference) {
    if (!(await save(difference.user_id, difference.crm))) return;
    found.differences = found.differences.filter((each) => each !== difference);
    differences();
    (above.querySelector("button") ?? search.input).focus();
  }
}

const fullName = ({ first_name: first, last_name: last }) => [first, last].filter(Boolean).join(" ");
const name = (manager, t) => fullName(manager) || t("unnamed", { id: String(manager.user_id) });
