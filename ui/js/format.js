// Numbers, times and durations, as the language writes them; times in the zone of the enterprise.

import { currentLanguage } from "./i18n.js";

let zone;

/** The zone that times are shown in; the browser's until one is set. */
export function setTimezone(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    zone = name || undefined;
  } catch {
    zone = undefined;
  }
}
export const timezone = () => zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;

const kept = new Map();
function formatter(Kind, options) {
  const key = `${Kind.name} ${currentLanguage()} ${zone} ${JSON.stringify(options)}`;
  if (!kept.has(key)) kept.set(key, new Kind(currentLanguage(), options));
  return kept.get(key);
}
const written = (moment, options) =>
  moment
    ? formatter(Intl.DateTimeFormat, { timeZone: zone, hourCycle: "h23", ...options }).format(new Date(moment))
    : "";

export const number = (value, options = {}) => formatter(Intl.NumberFormat, options).format(value);
export const seconds = (value, digits = 1) =>
  number(value, { style: "unit", unit: "second", unitDisplay: "short", maximumFractionDigits: digits });
/** 14:02 */
export const time = (moment) => written(moment, { hour: "2-digit", minute: "2-digit" });
/** 14:02:07 */
export const exactTime = (moment) => written(moment, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
/** 5 March, with the year when it is another one */
export function day(moment) {
  const year = (of) => written(of, { year: "numeric" });
  return written(moment, {
    day: "numeric",
    month: "long",
    ...(year(moment) === year(Date.now()) ? {} : { year: "numeric" }),
  });
}
/** 14:02 when it is today, else 5 March, 14:02 */
export function moment(at) {
  if (!at) return "";
  const today = written(at, { dateStyle: "short" }) === written(Date.now(), { dateStyle: "short" });
  return today ? time(at) : `${day(at)}, ${time(at)}`;
}
/** 3 minutes ago */
export function ago(at) {
  const past = (Date.now() - Number(new Date(at))) / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];
  const [unit, size] = units.find(([, length]) => past >= length) ?? ["second", 1];
  return formatter(Intl.RelativeTimeFormat, { numeric: "auto" }).format(-Math.max(0, Math.floor(past / size)), unit);
}
/** 1:05, or 1:02:03 */
export function duration(total) {
  const whole = Math.round(total); // first: 119.6 is 2:00, not 1:60
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
/** A number in E.164 with spaces for the eye: +375 29 111-11-11. Others stay. */
export function phone(raw) {
  const digits = String(raw ?? "").replace(/^\+/, "");
  const found = /^(375)(\d\d)(\d{3})(\d\d)(\d\d)$/.exec(digits) ?? /^(7)(\d{3})(\d{3})(\d\d)(\d\d)$/.exec(digits);
  return found ? `+${found[1]} ${found[2]} ${found[3]}-${found[4]}-${found[5]}` : String(raw ?? "");
}
/** What <input type="datetime-local"> holds, read in the enterprise's zone: an ISO time with its offset. */
export function fromLocal(text) {
  if (!text) return null;
  const guess = new Date(`${text.slice(0, 16)}:00Z`);
  const first = new Date(Number(guess) - offset(guess));
  return new Date(Number(guess) - offset(first)).toISOString();
}
/** The reverse. */
export const toLocal = (at) => (at ? new Date(+new Date(at) + offset(new Date(at))).toISOString().slice(0, 16) : "");

function offset(at) {
  const parts = formatter(Intl.DateTimeFormat, {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    calendar: "gregory",
    numberingSystem: "latn",
  }).formatToParts(at);
  const of = (type) => Number(parts.find((part) => part.type === type).value);
  return Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute")) - Math.floor(at / 60000) * 60000;
}
