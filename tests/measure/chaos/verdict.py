"""
What became of what was acknowledged, by the receiver's ledger: the simulator of the CRM, never our own tables.

Our tables can only accuse: of an acknowledged event that they do not hold, of a request that was not written down
before it was received, of an answer that nobody gave. No word of theirs excuses anything.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import requests

from tests.measure.chaos.hosts import Call, Sent
from tests.measure.chaos.trouble import DATABASE_AWAY, Injection

POPUP_MAX_AGE_SECONDS: Final = 15.0
# A request that begins within the age has so long to connect (docs/reliability.md, G3); a second for the measuring.
TOLERANCE_SECONDS: Final = 3.0 + 1.0
# Of the calls whose dial was acknowledged. What dies with a request under way is not repeated, so some are missing.
POPUPS_SHOWN_AT_LEAST: Final = 0.3
# Of the calls whose every event was acknowledged. An event that is taken up later than a few seconds after the hangup
# comes after the row, and the CRM keeps the first; more often so while the database was away.
ROWS_WRONG_AT_MOST: Final = 0.03
ROWS_OF_OUTAGE_WRONG_AT_MOST: Final = 0.1
# Statuses with which the CRM may have looked at each row of a batch: what it means is known once a row stands alone.
_OF_ONE_ROW: Final = frozenset({200, 201, 400, 413, 422})
# Not for good: the key, the turn, the time.
_PASSING: Final = frozenset({401, 403, 408, 425, 429})
# What the simulator warns of when the sender died in the middle of its request: it says of no call anything.
_CUT_OFF: Final = "the body did not come whole"
_NAME_A_CUSTOMER: Final = frozenset({"/start", "/dial", "/hangup"})

Key = tuple[str, str, str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    What the CRM received: one pop-up, one hangup, or one row of a batch. `is_applied`: it had its effect;
    `is_refused`: it was answered, whole, that it never will.
    """

    number: str
    effect: str
    call_id: str
    phone: str
    codes: tuple[str, ...]
    received_at: float
    is_applied: bool
    is_refused: bool = False
    fault: str | None = None

    @property
    def key(self) -> Key:
        return (self.number, self.effect, self.call_id, self.codes)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of history as the CRM holds it; `times` is how often it was applied."""

    number: str
    external_id: str
    phone: str
    direction: str
    result: str
    extension: str
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Our own tables. `events`: when each was received, where it is part of a call."""

    events: Mapping[tuple[str, str, str, str], float]
    attempts: Counter[Key]
    answered: Counter[Key]


@dataclass(kw_only=True)
class Verdict:
    events: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0
    calls: int = 0
    rows: int = 0
    without_row: Counter[str] = field(default_factory=Counter)
    whole_calls: int = 0
    dials: int = 0
    popups: Counter[str] = field(default_factory=Counter)
    cut_off: int = 0
    oldest_popup_seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    after_end: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    wrong_by_outage: list[str] = field(default_factory=list)
    contrary: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def shown_share(self) -> float:
        return self.popups["shown"] / self.dials if self.dials else 0.0

    @property
    def wrong_share(self) -> float:
        return len(self.wrong) / self.whole_calls if self.whole_calls else 0.0

    @property
    def wrong_by_outage_share(self) -> float:
        return len(self.wrong_by_outage) / self.whole_calls if self.whole_calls else 0.0

    @property
    def faults(self) -> dict[str, Sequence[str]]:
        """What breaks a promise, by name."""
        shares = []
        if not self.acknowledged:
            shares.append("no event was acknowledged")
        if self.shown_share < POPUPS_SHOWN_AT_LEAST:
            shares.append(f"pop-ups of {self.shown_share:.0%} of the acknowledged dials")
        if self.wrong_share > ROWS_WRONG_AT_MOST:
            shares.append(f"wrong rows: {self.wrong_share:.1%}")
        if self.wrong_by_outage_share > ROWS_OF_OUTAGE_WRONG_AT_MOST:
            shares.append(f"wrong rows where the database was away: {self.wrong_by_outage_share:.1%}")
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "late": self.late,
            "after the hangup": self.after_end,
            "of another direction": self.contrary,
            "of no call": self.foreign,
            "no pop-up, no trouble": self.unexplained,
            "not written down": self.silent,
            "without a request": self.unfounded,
            "share": shares,
        }

    @property
    def broken(self) -> bool:
        return any(self.faults.values())


def judge(
    crm: str, database_url: str, sent: Sequence[Sent], accounts: Iterable[str], injections: Sequence[Injection]
) -> Verdict:
    entries = requests.get(f"{crm}/_sim/ledger", timeout=120).json()["entries"]
    verdict = decide(
        received=read_requests(entries, accounts),
        rows=read_rows(requests.get(f"{crm}/_sim/ledger/calls", timeout=120).json()["calls"]),
        sent=sent,
        stored=read_stored(database_url),
        injections=injections,
    )
    verdict.cut_off = sum(map(_is_cut_off, entries))
    return verdict


def decide(
    *,
    received: Sequence[Request],
    rows: Sequence[Row],
    sent: Sequence[Sent],
    stored: Stored,
    injections: Sequence[Injection],
) -> Verdict:
    verdict = Verdict(events=len(sent), statuses=Counter(one.status for one in sent), requests=list(received))
    verdict.times = sorted(one.answered_at for one in sent if one.is_acknowledged)
    verdict.acknowledged = len(verdict.times)
    by_call: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for one in sent:
        by_call[one.call.number, one.call.phone].append(one)
    of_call: dict[tuple[str, str], list[Request]] = defaultdict(list)
    for request in received:
        events = by_call.get((request.number, request.phone))
        if events is None or request.call_id not in events[0].call.unique_ids:
            verdict.foreign.append(f"{request.effect} {request.call_id} of {request.phone} at {request.number}")
        of_call[request.number, request.phone].append(request)
    rows_of: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        events = by_call.get((row.number, row.phone))
        if events is None or row.external_id not in events[0].call.unique_ids:
            verdict.foreign.append(f"row {row.external_id} of {row.phone} at {row.number}")
        rows_of[row.number, row.phone].append(row)
    for key, events in by_call.items():
        call = events[0].call
        verdict.calls += 1
        verdict.spans[call.phone] = (events[0].sent_at, events[-1].answered_at)
        _judge_row(verdict, call, events, rows_of[key], of_call[key], stored=stored, injections=injections)
        _judge_told(verdict, call, events, of_call[key], stored)
        _judge_shown(verdict, call, events, of_call[key], injections)
    _judge_attempts(verdict, stored)
    return verdict


def read_requests(entries: Sequence[Mapping[str, Any]], accounts: Iterable[str]) -> list[Request]:
    """The pop-ups, hangups and rows of the ledger; of a key that is nobody's, too."""
    known = {*accounts, ""}
    found: list[Request] = []
    for entry in entries:
        if entry["account"] not in known or _is_cut_off(entry):
            continue
        sent = entry["fields"].get("event" if entry["kind"] == "event" else "calls")
        if entry["kind"] == "event":
            event = sent if isinstance(sent, dict) else {}
            effect = "hangup" if event.get("type") == "hangup" else "popup"
            call_id = event.get("callExternalId") or ""
            found.append(_request(entry, effect, call_id, event, tuple(event.get("codes") or ()), is_alone=True))
        elif entry["kind"] == "upload":
            calls = sent if isinstance(sent, list) else [{}]
            found += [
                _request(entry, "upload", row.get("externalId") or "", row, (), is_alone=len(calls) == 1)
                for row in calls
            ]
    return found


def _is_cut_off(entry: Mapping[str, Any]) -> bool:
    return not entry["applied"] and _CUT_OFF in entry["warnings"]


def _request(
    entry: Mapping[str, Any],
    effect: str,
    call_id: str,
    content: Mapping[str, Any],
    codes: tuple[str, ...],
    *,
    is_alone: bool,
) -> Request:
    applied = entry["applied"]
    if effect == "upload" and applied:
        applied = any(row["externalId"] == call_id for row in applied["stored"])
    return Request(
        number=entry["account"],
        effect=effect,
        call_id=call_id,
        phone=str(content.get("phone") or "").lstrip("+"),
        codes=tuple(sorted(codes)),
        received_at=entry["received_at"],
        is_applied=bool(applied),
        is_refused=not entry["applied"] and _is_final(entry.get("answer"), is_alone=is_alone),
        fault=entry["fault"],
    )


def _is_final(answer: Mapping[str, Any] | None, *, is_alone: bool) -> bool:
    """An answer that got out whole and says no for good, of this row."""
    if answer is None:
        return False
    status, body = answer["status"], answer.get("body")
    if status in _OF_ONE_ROW and not is_alone:
        return False
    if 200 <= status < 300:
        return isinstance(body, Mapping) and body.get("success") is False
    return 300 <= status < 500 and status not in _PASSING


def read_rows(calls: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        Row(
            number=one["account"],
            external_id=one["external_id"],
            phone=one["call"]["phone"].lstrip("+"),
            direction=one["call"]["type"],
            result=one["call"]["result"],
            extension=one["call"].get("code") or "",
            times=one["applied"],
        )
        for one in calls
    ]


def read_stored(database_url: str) -> Stored:
    attempts, answered = Counter[Key](), Counter[Key]()
    with psycopg.connect(database_url, autocommit=True) as conn:
        events = {
            (row[0], row[1], row[2], row[3]): row[4]
            for row in conn.execute(
                """
                SELECT enterprise_number, unique_id, event_type, coalesce(raw_data ->> 'BridgeUniqueid', ''),
                       extract(epoch FROM received_at)::float
                FROM call_events WHERE call_id IS NOT NULL
                """
            )
        }
        for number, effect, external_id, request, outcome in conn.execute(
            """
            SELECT d.enterprise_number, d.effect, d.external_id, a.request, a.outcome
            FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
            """
        ):
            key = (number, effect, external_id, _codes(effect, request))
            attempts[key] += 1
            answered[key] += outcome in {"done", "permanent", "authentication", "busy"}
    return Stored(events=events, attempts=attempts, answered=answered)


def _codes(effect: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    if effect == "upload":
        return ()
    return tuple(sorted((request.get("event") or {}).get("codes") or ()))


def _event_key(one: Sent) -> tuple[str, str, str, str]:
    return (one.call.number, one.unique_id, one.path.strip("/"), one.bridge)


def _judge_row(
    verdict: Verdict,
    call: Call,
    events: Sequence[Sent],
    rows: Sequence[Row],
    received: Sequence[Request],
    *,
    stored: Stored,
    injections: Sequence[Injection],
) -> None:
    acknowledged = [one for one in events if one.is_acknowledged]
    verdict.rows += len(rows)
    if len(rows) > 1 or any(row.times > 1 for row in rows):
        verdict.doubled.append(f"{call.phone} row {[(row.external_id, row.times) for row in rows]}")
    missing = [one.path for one in acknowledged if _event_key(one) not in stored.events]
    if missing:
        verdict.lost.append(f"{call.phone} of {call.number}: {', '.join(missing)} not stored")
    if not rows and acknowledged:
        _judge_missing_row(verdict, call, acknowledged, received)
    is_whole = len(acknowledged) == len(call.events)
    verdict.whole_calls += is_whole
    for row in rows:
        said = (row.direction, row.result, row.extension)
        due = ("in" if call.kind in {"missed", "answered"} else "out", call.result, call.extension)
        if said[0] != due[0]:
            verdict.contrary.append(f"{call.phone} of {call.number} ({call.kind}) {row.external_id}: {said}")
            continue
        if said == due or not is_whole:
            continue
        is_excused = is_whole and any(
            one.fault == DATABASE_AWAY and one.begin <= event.answered_at and event.sent_at <= one.end
            for one in injections
            for event in events
        )
        found = verdict.wrong_by_outage if is_excused else verdict.wrong
        found.append(f"{call.phone} of {call.number} ({call.kind}) {row.external_id}: {said} instead of {due}")


def _judge_missing_row(verdict: Verdict, call: Call, acknowledged: Sequence[Sent], received: Sequence[Request]) -> None:
    if any(one.effect == "upload" and one.is_refused for one in received):
        verdict.without_row["the CRM refused it for good"] += 1
    elif not any(one.path in _NAME_A_CUSTOMER for one in acknowledged):
        verdict.without_row["no acknowledged event of a customer"] += 1
    else:
        said = ", ".join(one.path for one in acknowledged)
        verdict.lost.append(f"{call.phone} of {call.number} ({said}): no row, and no refusal in the CRM's ledger")


def _judge_told(
    verdict: Verdict, call: Call, events: Sequence[Sent], received: Sequence[Request], stored: Stored
) -> None:
    """What a person saw: each thing once, in time, and no pop-up after its end."""
    popups = [one for one in received if one.effect == "popup" and one.is_applied]
    hangups = [one for one in received if one.effect == "hangup" and one.is_applied]
    for effect, applied in (("pop-up", popups), ("hangup", hangups)):
        seen = Counter(code for one in applied for code in one.codes)
        if any(count > 1 for count in seen.values()):
            verdict.doubled.append(f"{call.phone} {effect} {dict(seen)} under {[one.call_id for one in applied]}")
    ends = [one.received_at for one in hangups]
    if ends and any(popup.received_at > min(ends) for popup in popups):
        verdict.after_end.append(f"{call.phone} of {call.number}")
    if popups:
        age = max(popup.received_at for popup in popups) - _news_at(events, stored)
        verdict.oldest_popup_seconds = max(verdict.oldest_popup_seconds, age)
        if age > POPUP_MAX_AGE_SECONDS + TOLERANCE_SECONDS:
            verdict.late.append(f"{call.phone} of {call.number}: {age:.1f} s")


def _news_at(events: Sequence[Sent], stored: Stored) -> float:
    """
    When the host said that a telephone rings: its dial; without one, the end of the call says so.

    What was not answered may have been taken in much later, by a process that slept: then our own time of receipt.
    """
    for path in ("/dial", "/hangup"):
        for one in events:
            if one.path == path and one.is_acknowledged:
                return one.sent_at
            if one.path == path and (at := stored.events.get(_event_key(one))) is not None:
                return at
    return events[-1].sent_at


def _judge_shown(
    verdict: Verdict, call: Call, events: Sequence[Sent], received: Sequence[Request], injections: Sequence[Injection]
) -> None:
    dial = next((one for one in events if one.path == "/dial" and one.is_acknowledged), None)
    if dial is None:
        return
    verdict.dials += 1
    popups = [one for one in received if one.effect == "popup"]
    if any(one.is_applied for one in popups):
        verdict.popups["shown"] += 1
    elif popups:
        verdict.popups["reached the CRM, which did not apply it"] += 1
    elif any(one.begin <= dial.sent_at + POPUP_MAX_AGE_SECONDS and dial.sent_at <= one.end for one in injections):
        verdict.popups["did not reach the CRM while something was killed, stopped or faulty"] += 1
    else:
        verdict.unexplained.append(f"{call.phone} of {call.number}")


def _judge_attempts(verdict: Verdict, stored: Stored) -> None:
    """Each request that was received was written down, and each answer that was written down was given."""
    requests_of = Counter(one.key for one in verdict.requests)
    for key, count in requests_of.items():
        if count > stored.attempts[key]:
            verdict.silent.append(f"{key}: received {count}, written down {stored.attempts[key]}")
    for key, count in stored.answered.items():
        if count > requests_of[key]:
            verdict.unfounded.append(f"{key}: answers written down {count}, received {requests_of[key]}")


def table(verdict: Verdict, injections: Sequence[Injection], promised: Iterable[str]) -> str:
    """
    Per fault, those that never happened too: what was acknowledged and received while it lasted, and the calls of that
    time that went wrong.
    """
    effects = sorted(one.received_at for one in verdict.requests if one.is_applied)
    late, wrong_rows = (
        [*verdict.late, *verdict.after_end],
        [*verdict.contrary, *verdict.wrong, *verdict.wrong_by_outage],
    )
    by_fault: dict[str, list[Injection]] = {fault: [] for fault in promised}
    for injection in injections:
        by_fault.setdefault(injection.fault, []).append(injection)
    lines: list[tuple[str, ...]] = [("fault", "times", "events", "effects", "lost", "doubled", "late", "wrong")]
    for fault in sorted(by_fault, key=_order):
        spans = _merged(by_fault[fault])
        wrong = [
            sum(_overlaps(verdict.spans[said.partition(" ")[0]], spans) for said in found)
            for found in (verdict.lost, verdict.doubled, late, wrong_rows)
        ]
        figures = [len(by_fault[fault]), _count(verdict.times, spans), _count(effects, spans), *wrong]
        lines.append((fault, *map(str, figures)))
    wrong = [len(verdict.lost), len(verdict.doubled), len(late), len(wrong_rows)]
    figures = [len(injections), verdict.acknowledged, len(effects), *wrong]
    lines.append(("all", *map(str, figures)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _order(fault: str) -> tuple[str, int]:
    head, _, number = fault.rpartition("K")
    return (head, int(number)) if number.isdigit() else (fault, 0)


def _merged(injections: Iterable[Injection]) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    for begin, end in sorted((one.begin, one.end) for one in injections):
        if spans and begin <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((begin, end))
    return spans


def _count(times: Sequence[float], spans: Sequence[tuple[float, float]]) -> int:
    return sum(bisect.bisect_right(times, end) - bisect.bisect_left(times, begin) for begin, end in spans)


def _overlaps(span: tuple[float, float], spans: Sequence[tuple[float, float]]) -> bool:
    return any(begin <= span[1] and span[0] <= end for begin, end in spans)


def summary(verdict: Verdict) -> str:
    without = ", ".join(f"{reason} {count}" for reason, count in verdict.without_row.most_common()) or "none"
    popups = ", ".join(f"{what} {count}" for what, count in verdict.popups.most_common()) or "none"
    lines = [
        f"answers to hosts (0: none): {dict(verdict.statuses)}",
        (
            f"events sent {verdict.events}, acknowledged {verdict.acknowledged}; calls {verdict.calls}, rows in the CRM"
            f" {verdict.rows}; without a row: {without}"
        ),
        (
            f"calls with every event acknowledged {verdict.whole_calls}, their rows wrong {len(verdict.wrong)}"
            f" ({verdict.wrong_share:.1%}, at most {ROWS_WRONG_AT_MOST:.0%}), wrong where the database was away"
            f" {len(verdict.wrong_by_outage)} ({verdict.wrong_by_outage_share:.1%},"
            f" at most {ROWS_OF_OUTAGE_WRONG_AT_MOST:.0%})"
        ),
        (
            f"pop-ups of {verdict.dials} acknowledged dials: {popups}; shown {verdict.shown_share:.1%}"
            f" (at least {POPUPS_SHOWN_AT_LEAST:.0%}); the oldest came {verdict.oldest_popup_seconds:.1f} s after its"
            " event was sent"
        ),
        (
            f"requests received {len(verdict.requests)}, and {verdict.cut_off} cut off in the middle: of no call {len(verdict.foreign)}, not written down before"
            f" {len(verdict.silent)}, answers without a request {len(verdict.unfounded)}"
        ),
        (
            f"acknowledged events lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, pop-ups late"
            f" {len(verdict.late)}, pop-ups after their hangup {len(verdict.after_end)}"
        ),
    ]
    lines += [f"  {name}: {one}" for name, found in verdict.faults.items() for one in found[:10]]
    lines += [f"  wrong: {one}" for one in verdict.wrong[:10]]
    lines += [f"  wrong where the database was away: {one}" for one in verdict.wrong_by_outage[:5]]
    return "\n".join(lines)
