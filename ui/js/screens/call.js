// One call and its whole story.

import * as api from "../api.js";
import { heading } from "../components/heading.js";
import { keyed } from "../components/keyed.js";
import { notice } from "../components/notice.js";
import { parts } from "../components/story.js";
import { toast } from "../components/toast.js";
import { announce, h } from "../dom.js";
import { day, duration, exactTime, moment, phone } from "../format.js";
import { icon } from "../icons.js";
import { words } from "../i18n.js";
import { lastOf, to } from "../router.js";
import { of } from "../session.js";

const REFRESH_SECONDS = 3;
const MOVING = new Set(["ready", "leased", "retry"]);

export async function show({ t, path, signal }) {
  const [id] = path;
  const told = await words("story");
  const list = lastOf("calls"); // as it was filtered
  const back = h(
    "p",
    {},
    h("a", { class: "back", href: list.href, on: { click: list.back } }, icon("back", { size: 16 }), t("back")),
  );
  let story;
  try {
    story = await api.get(of("calls", id), {}, { signal });
  } catch (problem) {
    if (problem.code !== "unknown_call") throw problem;
    return [back, heading(t("title")), notice("warn", problem.message)]; // to ask again would not help
  }
  const box = h("div", { class: "stack wide" });
  const open = new Set(); // which details somebody has opened: they stay open when the story goes on
  // The host connected its own channels: nothing says that this ends, and nothing comes of it.
  const isChannel = story.kind === "unknown" && story.decisions.some(({ code }) => code === "only_channels");
  await draw();
  const timer = setInterval(follow, REFRESH_SECONDS * 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  const kind = t(`kind.${story.kind}`);
  const at = `${day(story.started_at)}, ${exactTime(story.started_at)}`;
  const isInside = ["internal", "unknown"].includes(story.kind) && !story.customer;
  return [back, isInside ? heading(kind, at) : heading(phone(story.customer) || t("hidden"), `${kind} · ${at}`), box];

  async function draw() {
    const { verdict, picture, decisions, told: rows, timeline } = await parts(story, { again });
    const made = Object.entries({ verdict, picture, facts: facts(), decisions, told: rows, timeline }).filter(
      ([, each]) => each,
    );
    keyed(
      box,
      made.map(([key, element]) => ({ key, of: element.outerHTML, make: () => remembering(key, element) })),
    );
  }

  function remembering(key, element) {
    [...element.querySelectorAll("details"), ...(element.matches("details") ? [element] : [])].forEach(
      (each, index) => {
        const name = `${key} ${index}`;
        each.open = open.has(name);
        each.addEventListener("toggle", () => (each.open ? open.add(name) : open.delete(name)));
      },
    );
    return element;
  }

  /** While something can still come of the call. */
  async function follow() {
    if (
      document.hidden ||
      isChannel ||
      (story.over_at && !story.wake_at && !story.told.some((row) => MOVING.has(row.state)))
    )
      return;
    let next;
    try {
      next = await api.get(of("calls", id), {}, { signal });
    } catch {
      return; // the next time, perhaps
    }
    if (JSON.stringify(next) === JSON.stringify(story)) return;
    story = next;
    await draw();
    announce(t("changed"));
  }

  async function again(deliveryId) {
    try {
      await api.post(of("calls", id, "replay"), { delivery_id: deliveryId });
      story = await api.get(of("calls", id), {}, { signal });
    } catch (problem) {
      if (problem.name !== "AbortError") toast(problem.message);
      return;
    }
    toast(told("again_done"));
    await draw();
    // The button that was pressed is gone.
    /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus({ preventScroll: true });
  }

  function facts() {
    const owner = story.lanes.find((lane) => lane.number === story.owner)?.name;
    const row = story.told.findLast(({ effect, state }) => effect === "upload" && state !== "superseded");
    const isNobodys = row && !row.managers.length; // the number is somebody's by now, perhaps
    const pairs = [
      [t("line"), [story.line_name, story.line_id].filter(Boolean).join(" · ")],
      [
        t("owner"),
        story.owner
          ? isNobodys
            ? t("owner_nobody", { number: story.owner })
            : [owner, story.owner].filter(Boolean).join(" · ")
          : null,
      ],
      [t("waiting"), story.waiting_seconds === null ? null : duration(story.waiting_seconds)],
      [
        t("talk"),
        story.answered
          ? `${duration(story.duration_seconds)}${story.duration_is_estimate ? ` ${t("estimate")}` : ""}`
          : null,
      ],
      [t("ended"), isChannel ? null : story.over_at ? exactTime(story.over_at) : t("going")],
      [
        t("click"),
        story.click
          ? [moment(story.click.clicked_at), story.click.http_status >= 400 && t("click_refused")]
              .filter(Boolean)
              .join(" · ")
          : null,
      ],
      [
        t("record"),
        story.record_url ? h("a", { href: story.record_url, target: "_blank", rel: "noreferrer" }, t("listen")) : null,
      ],
      [t("number"), h("code", {}, story.unique_id)],
    ].filter(([, value]) => value);
    return h(
      "section",
      { class: "card stack" },
      h("h2", {}, t("facts")),
      h(
        "dl",
        { class: "pairs" },
        pairs.map(([name, value]) => [h("dt", {}, name), h("dd", { class: "number" }, value)]),
      ),
      story.customer ? h("p", {}, h("a", { href: to("calls", { phone: story.customer }) }, t("others"))) : null,
    );
  }
}
