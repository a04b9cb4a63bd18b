"""Plays a stream of events through the heart, with a virtual clock and a model of the ledger, and says what came out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lib.calls.call import Call, assemble
from lib.calls.directory import Directory, Line
from lib.calls.event import CallEvent, RawEvent, epoch_of, parse
from lib.calls.linking import group
from lib.calls.plan import CallRow, EndNotice, RingNotice, Told, plan, row_content
from lib.calls.settings import Settings
from lib.intake import bodies, forms

_DATA = Path(__file__).parents[3] / "infra" / "stand_ins" / "scenarios"
SCENARIOS = _DATA / "scenarios.json"
FIELD = _DATA / "field.json"
_FIELD_EPOCH = 1_761_010_900
_ENVELOPE = "/dispatch/call-event"


def load() -> tuple[Mapping[str, Any], list[dict]]:
    document = json.loads(SCENARIOS.read_text("utf-8"))
    return document["enterprise"], document["scenarios"]


def load_field() -> tuple[Mapping[str, Any], list[dict]]:
    document = json.loads(FIELD.read_text("utf-8"))
    return document["default_enterprise"], document["cases"]


def field_directory(default: Mapping, case: Mapping) -> Directory:
    """`default`, changed by what the case says of its enterprise."""
    changed = {**default, **case["enterprise"]}
    crm = changed.get("retailcrm", {})
    return directory_of({**changed, "crm_timezone": crm.get("crm_timezone", changed["timezone"])})


def field_base(case: Mapping) -> int:
    return (epoch_of(case["main_unique_id"] or "") if case["times_are_fixed"] else None) or _FIELD_EPOCH


def taken_in(case: Mapping, *, tag: str = "") -> list[CallEvent]:
    """The events as they are read from the requests that bring them, each received at its own time."""
    start = datetime.fromtimestamp(field_base(case), UTC)
    return [
        _received(event, f"{tag}{number:03}", start + timedelta(seconds=event["at"]))
        for number, event in enumerate(case["events"])
    ]


def _received(event: Mapping, event_id: str, received_at: datetime) -> CallEvent:
    """What intake makes of one request; PostgreSQL keeps the digits of a number and the order of no key."""
    sent = event["raw"].encode(event["raw_encoding"]) if "raw" in event else json.dumps(event["body"]).encode()
    body = bodies.parse(sent)
    if event["endpoint"] == _ENVELOPE:
        new = forms.from_envelope(body, enterprise_number="0367")
    else:
        new = forms.from_host(event["endpoint"].strip("/"), body, enterprise_number="0367")
    return parse(
        RawEvent(
            event_id=event_id,
            event_type=new.event_type,
            unique_id=new.unique_id,
            raw=new.raw,
            received_at=received_at,
            origin=new.data_source,
            record_url=new.record_url,
        )
    )


def directory_of(enterprise: Mapping) -> Directory:
    return Directory(
        region=enterprise["region"],
        timezone=enterprise["timezone"],
        crm_timezone=enterprise["crm_timezone"],
        internal_phones=frozenset(enterprise["internal_phones"]),
        extension_users={extension: int(user) for user, extension in enterprise["user_extensions"].items()},
        personal_phones={phone: extension for extension, phone in enterprise["personal_phones"].items()},
        lines={line["line_id"]: Line(**line) for line in enterprise["lines"]},
    )


def base_of(scenario: Mapping) -> int:
    """`at` counts from the epoch of the main id; of the first hangup, where there is no call for the CRM."""
    ids = [scenario["main_unique_id"]] if scenario["main_unique_id"] else []
    ids += [event["body"]["UniqueId"] for event in scenario["events"] if event["endpoint"] == "/hangup"]
    return next(epoch for unique_id in ids if (epoch := epoch_of(unique_id)) is not None)


def parsed(scenario: Mapping, *, tag: str = "") -> list[CallEvent]:
    start = datetime.fromtimestamp(scenario.get("base") or base_of(scenario), UTC)
    return [
        parse(
            RawEvent(
                event_id=f"{tag}{number:03}",
                event_type=event["endpoint"].strip("/"),
                unique_id=event["body"].get("UniqueId", ""),
                raw=event["body"],
                received_at=start + timedelta(seconds=event["at"]),
                origin=event.get("origin", "live"),
                record_url=event.get("record_url"),
            )
        )
        for number, event in enumerate(scenario["events"])
    ]


@dataclass
class LedgerRow:
    told: Told
    at: datetime
    anchor: frozenset[str]
    notice: RingNotice | EndNotice | CallRow


@dataclass
class Ledger:
    """Everything is delivered at once; a row belongs to the group that holds the events that it came from."""

    rows: list[LedgerRow] = field(default_factory=list)

    def about(self, members: Iterable[CallEvent]) -> list[Told]:
        ids = {event.event_id for event in members}
        return [row.told for row in self.rows if row.anchor & ids]

    def add(
        self, notice: RingNotice | EndNotice | CallRow, call: Call, members: Sequence[CallEvent], now: datetime
    ) -> None:
        anchor = frozenset(event.event_id for event in members if event.unique_id == call.main_unique_id)
        if isinstance(notice, CallRow):
            told = Told(effect="upload", state="delivered", content=row_content(notice))
        else:
            told = Told(
                effect="popup" if isinstance(notice, RingNotice) else "hangup",
                extensions=notice.extensions,
                state="delivered",
            )
        self.rows.append(LedgerRow(told=told, at=now, anchor=anchor, notice=notice))


@dataclass
class Outcome:
    rows: list[LedgerRow]
    calls: list[Call]
    reasons: list[set[str]]

    def _of(self, kind: type) -> list:
        return [row.notice for row in self.rows if isinstance(row.notice, kind)]

    @property
    def popups(self) -> list[RingNotice]:
        return self._of(RingNotice)

    @property
    def ends(self) -> list[EndNotice]:
        return self._of(EndNotice)

    @property
    def uploads(self) -> list[CallRow]:
        return self._of(CallRow)

    def when(self, kind: type, base: datetime) -> list[float]:
        return [(row.at - base).total_seconds() for row in self.rows if isinstance(row.notice, kind)]


DEFAULTS = Settings()


def play(
    events: Sequence[CallEvent],
    directory: Directory,
    settings: Settings = DEFAULTS,
    late: Mapping[str, float] | None = None,
) -> Outcome:
    """
    Every event at its time of receipt, every wake-up at its own, until nothing is due any more. `late`: seconds by
    which an event is processed after its receipt.
    """
    ledger = Ledger()
    stored: list[CallEvent] = []
    due = {
        event.event_id: event.received_at + timedelta(seconds=(late or {}).get(event.event_id, 0)) for event in events
    }
    coming = sorted(events, key=lambda event: due[event.event_id])
    wakes: list[datetime] = []
    groups: tuple[tuple[CallEvent, ...], ...] = ()

    def look(now: datetime) -> None:
        wakes.clear()
        for members in groups:
            call = assemble(members, directory, settings, now)
            planned = plan(call, ledger.about(members), now, settings)
            for notice in planned.wanted:
                ledger.add(notice, call, members, now)
            again = plan(call, ledger.about(members), now, settings)
            assert again.wanted == (), again.wanted
            if planned.wake_at is not None and not any(isinstance(notice, CallRow) for notice in planned.wanted):
                assert planned.wake_at > now, (planned.wake_at, now)
                wakes.append(planned.wake_at)

    position, now = 0, due[coming[0].event_id] if coming else datetime.now(UTC)
    for _ in range(100_000):
        moments = wakes + ([due[coming[position].event_id]] if position < len(coming) else [])
        if not moments:
            break
        now = min(moments)
        if position < len(coming) and due[coming[position].event_id] == now:
            while position < len(coming) and due[coming[position].event_id] == now:
                stored.append(coming[position])
                position += 1
            groups = group(stored, directory)
        look(now)
    calls = [assemble(members, directory, settings, now) for members in groups]
    reasons = [
        {decision.code for decision in plan(call, ledger.about(members), now, settings).decisions}
        for call, members in zip(calls, groups, strict=True)
    ]
    return Outcome(rows=ledger.rows, calls=calls, reasons=reasons)


def in_range(value: int | None, expected: Sequence[int] | None) -> bool:
    if expected is None or value is None:
        return expected is None and value is None
    return expected[0] <= value <= expected[1]


def differences(outcome: Outcome, expected: Mapping) -> list[str]:
    """What is not as a scenario expects it, each in one line."""
    wrong: list[str] = []

    def same(name: str, got: object, want: object) -> None:
        if got != want:
            wrong.append(f"{name}: {got!r}, expected {want!r}")

    popups = [{"type": p.direction, "phone": p.phone, "codes": sorted(p.extensions)} for p in outcome.popups]
    same("popups", popups, expected["popups"])
    ends = [{"status": end.status, "codes": sorted(end.extensions)} for end in outcome.ends]
    same("hangup", ends, [expected["hangup"]] if expected["hangup"] else [])
    want = expected["upload"]
    same("uploads", len(outcome.uploads), 1 if want else 0)
    for row in outcome.uploads[:1] if want else []:
        got = {
            "type": row.direction,
            "phone": row.phone.removeprefix("+"),
            "result": row.result,
            "code": row.extension,
            "user_id": row.user_id,
            "date": row.date.isoformat(sep=" "),
            "external_phone": row.line_number,
        }
        for name, value in got.items():
            same(name, value, want[name])
        if not in_range(row.duration, want["duration"]):
            wrong.append(f"duration: {row.duration}, expected {want['duration']}")
        if not in_range(row.waiting, want["duration_waiting"]):
            wrong.append(f"waiting: {row.waiting}, expected {want['duration_waiting']}")
    if expected["reason"] and not any(expected["reason"] in reasons for reasons in outcome.reasons):
        wrong.append(f"reason: {outcome.reasons}, expected {expected['reason']}")
    return wrong


# The CRM's own spelling of what a row says, and how the heart says it.
_IN_CRM_WORDS = {
    "type": lambda row: row.direction,
    "phone": lambda row: row.phone.removeprefix("+"),
    "result": lambda row: row.result,
    "code": lambda row: row.extension,
    "userId": lambda row: row.user_id,
    "date": lambda row: row.date.isoformat(sep=" "),
    "externalPhone": lambda row: row.line_number,
    "externalId": lambda row: row.external_id,
    "recordUrl": lambda row: row.record_url,
    "duration": lambda row: row.duration,
    "durationWaiting": lambda row: row.waiting,
}


def field_differences(outcome: Outcome, expected: Mapping) -> list[str]:
    """As `differences`, of a case of the field: only what it names is compared, but every row and pop-up."""
    wrong: list[str] = []
    popups = [{"type": p.direction, "phone": p.phone, "codes": sorted(p.extensions)} for p in outcome.popups]
    if popups != expected["popups"]:
        wrong.append(f"popups: {popups}, expected {expected['popups']}")
    ends = [{"status": end.status, "codes": sorted(end.extensions)} for end in outcome.ends]
    wanted_ends = [expected["hangup"]] if expected["hangup"] else []
    rows = expected["upload"] if isinstance(expected["upload"], list) else [expected["upload"]]
    rows = [row for row in rows if row]
    if len(rows) < 2 and ends != wanted_ends:
        wrong.append(f"hangup: {ends}, expected {wanted_ends}")
    if len(outcome.uploads) != len(rows):
        wrong.append(f"uploads: {len(outcome.uploads)}, expected {len(rows)}")
    for got, want in zip(outcome.uploads, rows, strict=False):
        wrong += _row_differences(got, want)
    kinds = {call.kind for call in outcome.calls}
    if expected["kind"] not in kinds:
        wrong.append(f"kind: {kinds}, expected {expected['kind']}")
    return wrong


def _row_differences(got: CallRow, want: Mapping) -> Iterable[str]:
    for name, value in want.items():
        mine = _IN_CRM_WORDS[name](got)
        same = in_range(mine, value) if isinstance(value, list) else mine == value
        if not same:
            yield f"{name}: {mine!r}, expected {value!r}"


def without(scenario: Mapping, *positions: int) -> dict:
    changed = copy.deepcopy(dict(scenario))
    changed["base"] = scenario.get("base") or base_of(scenario)
    changed["events"] = [event for number, event in enumerate(changed["events"]) if number not in positions]
    return changed
