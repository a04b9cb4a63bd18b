// RetailCRM's users and the extension of each; a number that is somebody else's is taken over, and can be given back.

import * as api from "../api.js";
import { badge } from "../components/badge.js";
import { button, linkButton } from "../components/button.js";
import { crm as troubles } from "../components/crm.js";
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
import { note, to } from "../router.js";
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
        api.follow("GET", of("managers"), undefined, ({ progress: seen }) => seen && fill(progress, t("progress", { count: seen.people })), { signal }),
        api.get(of("internal-phones"), {}, { signal }),
        api.get(of("user-extensions"), {}, { signal }),
        troubles(),
      ]);
      desk(box, { found, phones, mapping, say, t, common, query, signal, read });
    } catch (problem) {
      if (problem.name !== "AbortError") fill(box, trouble(problem, common, button(common("again"), () => read(), { kind: "plain", small: true })));
    }
  }
}

function desk(box, { found, phones, mapping, say, t, common, query, signal, read }) {
  const { crm, managers } = found;
  const numbers = phones.map((phone) => phone.extension).sort((a, b) => Number(a) - Number(b));
  const names = new Map(managers.map((manager) => [manager.user_id, name(manager, t)]));
  let held = new Map(managers.map((manager) => [manager.user_id, manager.extension]));
  const push = h("div", { role: "status" });
  const above = h("div", { class: "stack tight" });
  const rows = new Map(managers.map((manager) => [manager.user_id, row(manager)]));
  const chosen = { search: query.get("search") ?? "", only: query.get("only") ?? "" };
  const search = textField(t("search"), { type: "search", value: chosen.search, autocomplete: "off" });
  const only = toggle(t("which"), [["", t("everybody")], ["without", t("without")]], chosen.only, (value) => choose({ only: value }));
  search.input.addEventListener("input", () => choose({ search: search.value() }));
  const list = h("div");
  fill(box, crm.is_available ? null : notice("warn", t("crm_away"), { text: [say(crm.trouble).text, t("crm_away_text")].join(" "), quote: say(crm.trouble).quote, actions: [button(common("again"), read, { kind: "plain", small: true })] }), above, push);
  if (!managers.length) {
    box.append(h("section", { class: "card" }, empty("people", t("nobody.title"), t("nobody.text"), linkButton(t("nobody.open"), to("connection"), { kind: "plain" }))));
    return;
  }
  if (!numbers.length) box.append(notice("warn", t("no_numbers"), { text: t("no_numbers_text") }));
  box.append(h("div", { class: "filters", role: "search", "aria-label": t("filters") }, search.element, only), list);
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
    if (!matching.length) return fill(list, h("section", { class: "card" }, empty("search", t("nothing.title"), t("nothing.text"))));
    const made = table(t("title"), [
      { title: t("manager"), main: true, cell: (manager) => rows.get(manager.user_id).words },
      { title: t("now"), cell: (manager) => rows.get(manager.user_id).number },
      { title: t("assign"), cell: (manager) => rows.get(manager.user_id).control },
    ], matching);
    return fill(list, made.element);
  }

  function row(manager) {
    const id = manager.user_id;
    const number = h("div");
    const said = remark();
    const select = h("select", { class: "input", "aria-label": t("assign_to", { name: names.get(id) }) });
    // With three hundred managers the choices of each are made when somebody looks at them.
    for (const event of ["focus", "pointerdown", "keydown"]) select.addEventListener(event, offer);
    select.addEventListener("change", () => save(id, select.value || null));
    const unknown = found.unknown_to_crm.filter((item) => (item.kind === "manager" ? item.value === String(id) : item.value === manager.extension));
    const marks = [
      manager.is_in_crm === false && badge("warn", t("not_in_crm")),
      manager.is_active === false && badge("", t("inactive")),
      ...unknown.map((item) => badge("bad", t(`unknown_${item.kind}`, { since: moment(item.since), count: item.calls }))),
    ].filter(Boolean);
    const status = manager.status && t.has(`status.${manager.status}`) ? t(`status.${manager.status}`) : null;
    const made = {
      words: [h("span", {}, names.get(id)), h("p", { class: "small muted plain" }, [manager.email, status].filter(Boolean).join(" · ")), marks.length ? h("p", { class: "row" }, marks) : null],
      number,
      control: [select, said.element],
      say: said.say,
      show() {
        const mine = held.get(id);
        fill(number, mine ? badge("good", mine) : badge("", t("not_assigned")));
        fill(select, option(mine));
        select.value = mine ?? "";
      },
    };
    function offer() {
      const mine = held.get(id);
      if (select.options.length > 1) return;
      fill(select, option(null), numbers.map(option), mine && !numbers.includes(mine) ? option(mine) : null);
      select.value = mine ?? "";
    }
    made.show();
    return made;
  }

  function option(number) {
    if (!number) return h("option", { value: "" }, t("nothing_assigned"));
    const owner = ownerOf(number);
    return h("option", { value: number }, owner ? t("taken", { number, name: names.get(owner) ?? owner }) : t("free", { number }));
  }

  function ownerOf(number) {
    return [...held].find(([, extension]) => extension === number)?.[0] ?? null;
  }

  async function save(id, number) {
    const before = new Map(held);
    const from = number && ownerOf(number);
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
      ? from && from !== id ? t("saved_taken", { name: names.get(id), number, from: names.get(from) ?? from }) : t("saved", { name: names.get(id), number })
      : t("removed", { name: names.get(id) });
    const back = Object.fromEntries([id, from].filter(Boolean).map((user) => [user, before.get(user) ?? null]));
    toast(said, { text: t("undo"), act: () => giveBack(id, back) });
    return true;
  }

  /** The offer is gone when it fails: it stays in the row, until a number is saved there. */
  async function giveBack(id, back) {
    try {
      await store(back);
    } catch (problem) {
      const sentence = t("undo_failed", { words: problem.message });
      if (signal.aborted) toast(sentence);
      rows.get(id).say(sentence, button(t("undo"), () => giveBack(id, back), { kind: "quiet", small: true, icon: "undo" }));
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
      fill(push, notice("bad", t("push.failed"), { text: [refusal(command).text, t("push.failed_text")].filter(Boolean).join(" "), quote: refusal(command).quote, actions: [button(t("push.again"), sync, { kind: "plain", small: true })], alert: true }));
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
    const sentence = ({ kind, user_id: id, ours, crm: theirs }) => t(`difference.${kind}`, { name: names.get(id) ?? id, ours, theirs });
    const take = (each) =>
      ["not_ours", "other"].includes(each.kind) && numbers.includes(each.crm)
        ? button(t("take_theirs", { number: each.crm }), () => accept(each), { kind: "quiet", small: true })
        : null;
    const message = notice("warn", t("differences", { count: found.differences.length }), { text: t(`repair.${found.repair}`), actions: found.repair === "begun" ? [] : [button(t("take_ours"), sync, { small: true })] });
    message.querySelector(".notice-words").append(h("ul", { class: "bullets" }, found.differences.map((each) => h("li", {}, sentence(each), " ", take(each)))));
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

const name = ({ first_name: first, last_name: last, user_id: id }, t) => [first, last].filter(Boolean).join(" ") || t("unnamed", { id: String(id) });
