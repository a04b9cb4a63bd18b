"""
What became of what was acknowledged, by the receiver's ledger: the simulator of the CRM, never our own tables.

Our tables are asked for one thing only: what a call that the CRM does not hold ended with, and whether each request
that the CRM received was written down before.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import requests

from tests.chaos.hosts import Call, Sent
from tests.chaos.trouble import Injection

POPUP_MAX_AGE_SECONDS: Final = 15.0
# A request that begins within the age has so long to connect (docs/reliability.md, G3); a second for the measuring.
TOLERANCE_SECONDS: Final = 3.0 + 1.0
# The call is known, and nothing of it has to be in the CRM: the row was refused for good, or there is no customer in it.
_TERMINAL: Final = ("failed", "expired", "superseded", "held")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the CRM received: one pop-up, one hangup, or one row of a batch. `is_applied`: it had its effect."""

    number: str
    effect: str
    call_id: str
    codes: tuple[str, ...]
    received_at: float
    is_applied: bool
    fault: str | None


@dataclass(kw_only=True)
class Verdict:
    events: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0
    calls: int = 0
    rows: int = 0
    stated: Counter[str] = field(default_factory=Counter)
    told_otherwise: int = 0
    oldest_popup_seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    after_end: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return bool(self.lost or self.doubled or self.late or self.after_end or self.silent or self.unfounded)


def judge(crm: str, database_url: str, sent: Sequence[Sent], accounts: Iterable[str]) -> Verdict:
    verdict = Verdict(events=len(sent), statuses=Counter(one.status for one in sent))
    known = set(accounts)
    verdict.requests = [one for one in received(crm) if one.number in known]
    rows = _rows(crm)
    by_call: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        by_call[one.call.phone].append(one)
    stored = _Stored(database_url)
    verdict.times = sorted(one.answered_at for one in sent if one.is_acknowledged)
    verdict.acknowledged = len(verdict.times)
    of_call: dict[tuple[str, str], list[Request]] = defaultdict(list)
    for request in verdict.requests:
        of_call[request.number, request.call_id].append(request)
    for phone, events in by_call.items():
        call = events[0].call
        verdict.calls += 1
        verdict.spans[phone] = (events[0].sent_at, events[-1].answered_at)
        _judge_row(verdict, call, events, rows.get((call.number, phone), []), stored)
        told = [one for unique_id in call.unique_ids for one in of_call[call.number, unique_id]]
        _judge_popups(verdict, call, events, told, stored)
    _judge_attempts(verdict, stored)
    return verdict


def received(crm: str) -> list[Request]:
    entries = requests.get(f"{crm}/_sim/ledger", timeout=120).json()["entries"]
    found: list[Request] = []
    for entry in entries:
        sent = entry["fields"].get("event" if entry["kind"] == "event" else "calls")
        if entry["kind"] == "event" and isinstance(sent, dict):
            effect = "hangup" if sent.get("type") == "hangup" else "popup"
            found.append(_request(entry, effect, sent.get("callExternalId") or "", tuple(sent.get("codes") or ())))
        elif entry["kind"] == "upload" and isinstance(sent, list):
            found += [_request(entry, "upload", row["externalId"], ()) for row in sent]
    return found


def _request(entry: dict[str, Any], effect: str, call_id: str, codes: tuple[str, ...]) -> Request:
    applied = entry["applied"]
    if effect == "upload" and applied:
        applied = any(row["externalId"] == call_id for row in applied["stored"])
    return Request(
        number=entry["account"],
        effect=effect,
        call_id=call_id,
        codes=tuple(sorted(codes)),
        received_at=entry["received_at"],
        is_applied=bool(applied),
        fault=entry["fault"],
    )


def _rows(crm: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in requests.get(f"{crm}/_sim/ledger/calls", timeout=120).json()["calls"]:
        found[row["account"], row["call"]["phone"].lstrip("+")].append(row)
    return found


def _judge_row(
    verdict: Verdict,
    call: Call,
    events: Sequence[Sent],
    rows: Sequence[dict[str, Any]],
    stored: _Stored,
) -> None:
    acknowledged = [one for one in events if one.is_acknowledged]
    verdict.rows += len(rows)
    if len(rows) > 1 or any(row["applied"] > 1 for row in rows):
        verdict.doubled.append(f"{call.phone} row {[row['external_id'] for row in rows]}")
    missing = stored.missing(call, acknowledged)
    if missing:
        verdict.lost.append(f"{call.phone} of {call.number}: {', '.join(missing)} not stored")
    elif not rows and any(one.unique_id for one in acknowledged):
        names_customer = any(one.path in {"/start", "/dial", "/hangup"} for one in acknowledged)
        ended = stored.ending(call, is_wanted=names_customer)
        if ended is None:
            said = ", ".join(one.path for one in acknowledged)
            verdict.lost.append(f"{call.phone} of {call.number} ({said}): no row, no reason")
        else:
            verdict.stated[ended] += 1
    elif rows and len(acknowledged) == len(events):
        row = rows[0]["call"]
        verdict.told_otherwise += (row["result"], row.get("code")) != (call.result, call.extension)


def _judge_popups(
    verdict: Verdict, call: Call, events: Sequence[Sent], told: Sequence[Request], stored: _Stored
) -> None:
    popups = [one for one in told if one.effect == "popup" and one.is_applied]
    ends = [one.received_at for one in told if one.effect == "hangup" and one.is_applied]
    shown = Counter(code for popup in popups for code in popup.codes)
    if any(count > 1 for count in shown.values()):
        verdict.doubled.append(f"{call.phone} pop-up {dict(shown)}")
    if ends and any(popup.received_at > min(ends) for popup in popups):
        verdict.after_end.append(f"{call.phone} of {call.number}")
    if popups:
        age = max(popup.received_at for popup in popups) - _news_at(call, events, stored)
        verdict.oldest_popup_seconds = max(verdict.oldest_popup_seconds, age)
        if age > POPUP_MAX_AGE_SECONDS + TOLERANCE_SECONDS:
            verdict.late.append(f"{call.phone} of {call.number}: {age:.1f} s")


def _news_at(call: Call, events: Sequence[Sent], stored: _Stored) -> float:
    """When it was known that a telephone rings: the dial; without one, the end of the call says so."""
    for path in ("/dial", "/hangup"):
        for one in events:
            if one.path == path and one.is_acknowledged:
                return one.answered_at
            if one.path == path and (at := stored.received_at(call, path)) is not None:
                return at
    return events[-1].answered_at


def _judge_attempts(verdict: Verdict, stored: _Stored) -> None:
    """Each request that was received was written down, and each answer that was written down was given."""
    requests_of = Counter((one.number, one.effect, one.call_id, one.codes) for one in verdict.requests)
    for key, count in requests_of.items():
        if count > stored.attempts[key]:
            verdict.silent.append(f"{key}: received {count}, written down {stored.attempts[key]}")
    for key, count in stored.answered.items():
        if count > requests_of[key]:
            verdict.unfounded.append(f"{key}: answers written down {count}, received {requests_of[key]}")


class _Stored:
    """Our own tables."""

    def __init__(self, database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            self._events = {
                (row[0], row[1], row[2], row[3]): (row[4], row[5])
                for row in conn.execute(
                    """
                    SELECT enterprise_number, unique_id, event_type, coalesce(raw_data ->> 'BridgeUniqueid', ''),
                           extract(epoch FROM received_at)::float, call_id
                    FROM call_events
                    """
                )
            }
            self._calls = dict(conn.execute("SELECT id, decisions FROM calls").fetchall())
            self._uploads: dict[int, tuple[str, str | None]] = {
                row[0]: (row[1], row[2])
                for row in conn.execute("SELECT call_id, state, reason FROM deliveries WHERE effect = 'upload'")
            }
            self.attempts: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
            self.answered: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
            for number, effect, external_id, request, outcome in conn.execute(
                """
                SELECT d.enterprise_number, d.effect, d.external_id, a.request, a.outcome
                FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
                """
            ):
                key = (number, effect, external_id, _codes(effect, request))
                self.attempts[key] += 1
                self.answered[key] += outcome in {"done", "permanent", "authentication", "busy"}

    def missing(self, call: Call, acknowledged: Sequence[Sent]) -> list[str]:
        """Acknowledged events that are not stored, or are part of no call."""
        keys = {(call.number, one.unique_id, one.path.strip("/"), one.bridge): one.path for one in acknowledged}
        return [path for key, path in keys.items() if self._events.get(key, (0.0, None))[1] is None]

    def ending(self, call: Call, *, is_wanted: bool) -> str | None:
        """
        What our tables say of a call without a row: the state of its upload; where none `is_wanted`, because nothing
        that was acknowledged names a customer, why there is none.
        """
        for unique_id in call.unique_ids:
            for (number, stored_id, _, _), (_, call_id) in self._of(call, unique_id):
                if number != call.number or stored_id != unique_id or call_id is None:
                    continue
                state, reason = self._uploads.get(call_id, ("", None))
                if state in _TERMINAL:
                    return f"{state}: {reason}"
                if (
                    not is_wanted
                    and not state
                    and (codes := [decision["code"] for decision in self._calls.get(call_id) or []])
                ):
                    return f"no row: {codes[-1]}"
        return None

    def received_at(self, call: Call, path: str) -> float | None:
        event = self._find(call, path)
        return event[0] if event else None

    def _find(self, call: Call, path: str) -> tuple[float, int | None] | None:
        found = [
            event
            for unique_id in call.unique_ids
            for (_, _, kind, _), event in self._of(call, unique_id)
            if kind == path.strip("/")
        ]
        return found[0] if found else None

    def _of(self, call: Call, unique_id: str) -> list[tuple[tuple[str, str, str, str], tuple[float, int | None]]]:
        if not hasattr(self, "_index"):
            self._index: dict[tuple[str, str], list[Any]] = defaultdict(list)
            for key, event in self._events.items():
                self._index[key[0], key[1]].append((key, event))
        return self._index[call.number, unique_id]


def _codes(effect: str, request: dict[str, Any]) -> tuple[str, ...]:
    if effect == "upload":
        return ()
    return tuple(sorted((request.get("event") or {}).get("codes") or ()))


def table(verdict: Verdict, injections: Sequence[Injection]) -> str:
    """Per fault: what was acknowledged and received while it lasted, and the calls of that time that went wrong."""
    effects = sorted(one.received_at for one in verdict.requests if one.is_applied)
    by_fault: dict[str, list[Injection]] = defaultdict(list)
    for injection in injections:
        by_fault[injection.fault].append(injection)
    lines: list[tuple[str, ...]] = [("fault", "times", "events", "effects", "lost", "doubled", "late")]
    for fault in sorted(by_fault, key=_order):
        spans = _merged(by_fault[fault])
        wrong = [
            sum(_overlaps(verdict.spans[said.partition(" ")[0]], spans) for said in found)
            for found in (verdict.lost, verdict.doubled, [*verdict.late, *verdict.after_end])
        ]
        figures = [len(by_fault[fault]), _count(verdict.times, spans), _count(effects, spans), *wrong]
        lines.append((fault, *map(str, figures)))
    late = len(verdict.late) + len(verdict.after_end)
    figures = [len(injections), verdict.acknowledged, len(effects), len(verdict.lost), len(verdict.doubled), late]
    lines.append(("all", *map(str, figures)))
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
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
    stated = ", ".join(f"{reason} {count}" for reason, count in verdict.stated.most_common()) or "none"
    lines = [
        f"answers to hosts (0: none): {dict(verdict.statuses)}",
        (
            f"events sent {verdict.events}, acknowledged {verdict.acknowledged}; calls {verdict.calls}, rows in the CRM"
            f" {verdict.rows}; without a row, for a stated reason: {stated}; rows that say less than was known:"
            f" {verdict.told_otherwise}"
        ),
        (
            f"requests received {len(verdict.requests)}: not written down before {len(verdict.silent)}, answers without a"
            f" request {len(verdict.unfounded)}"
        ),
        f"the oldest pop-up came after {verdict.oldest_popup_seconds:.1f} s",
        (
            f"acknowledged events lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, pop-ups late"
            f" {len(verdict.late)}, pop-ups after their hangup {len(verdict.after_end)}"
        ),
    ]
    wrong = {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "late": verdict.late,
        "after the hangup": verdict.after_end,
        "not written down": verdict.silent,
        "without a request": verdict.unfounded,
    }
    lines += [f"  {name}: {one}" for name, found in wrong.items() for one in found[:10]]
    return "\n".join(lines)


def as_json(verdict: Verdict) -> str:
    return json.dumps({"lost": verdict.lost, "doubled": verdict.doubled, "late": verdict.late}, indent=1)
