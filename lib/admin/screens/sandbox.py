"""
Plays a situation as if it happened at an enterprise: with its numbers, people, lines and settings. Pure: nothing is
stored or sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from lib.calls import event as parsing
from lib.calls.call import Call, assemble
from lib.calls.decision import Decision
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.explain import explain
from lib.calls.linking import group
from lib.calls.plan import CallRow, EndNotice, Plan, RingNotice, Told, plan, row_content
from lib.calls.settings import Settings
from lib.retailcrm import telephony
from lib.retailcrm.client import Form

Notice = RingNotice | EndNotice | CallRow

_FILE: Final = Path(__file__).with_name("situations.json")
_WORD: Final = re.compile(r"[0-9A-Za-z]+")
_EPOCH: Final = re.compile(r"(?<!\d)1\d{9}(?!\d)")
_WALL_FIELDS: Final = ("StartTime", "EndTime", "DateReceived")
_MOST_LOOKS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Situation:
    """`kind`, `title` and `what` are for people; `events` as hosts send them, `at` seconds after `epoch`."""

    id: str
    kind: str
    title: Mapping[str, str]
    what: Mapping[str, str]
    epoch: int
    events: Sequence[Mapping[str, Any]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """`anchor`: the events that it came from, by which its call is found again when calls become one."""

    notice: Notice
    at: datetime
    anchor: frozenset[str]

    @property
    def told(self) -> Told:
        match self.notice:
            case CallRow():
                return Told(effect="upload", state="delivered", content=row_content(self.notice))
            case RingNotice():
                return Told(effect="popup", extensions=self.notice.extensions, state="delivered")
            case EndNotice():
                return Told(effect="hangup", extensions=self.notice.extensions, state="delivered")

    @property
    def extensions(self) -> tuple[str, ...]:
        """Whom it is about."""
        if isinstance(self.notice, CallRow):
            return (self.notice.extension,) if self.notice.extension else ()
        return self.notice.extensions

    @property
    def external_id(self) -> str:
        return self.notice.external_id if isinstance(self.notice, CallRow) else self.notice.call_id


@dataclass(kw_only=True)
class _Play:
    """A virtual clock and a ledger in which everything is delivered at once."""

    known: Directory
    policy: Settings
    now: datetime
    stored: list[CallEvent] = field(default_factory=list)
    groups: Sequence[Sequence[CallEvent]] = ()
    sent: list[_Sent] = field(default_factory=list)
    decided: dict[str, tuple[Decision, ...]] = field(default_factory=dict)

    def run(self, events: Sequence[CallEvent]) -> None:
        """Every event at its time, every wake-up at its own, until nothing is due any more."""
        coming, wakes = list(events), list[datetime]()
        for _ in range(_MOST_LOOKS):
            moments = [*wakes, *(event.received_at for event in coming[:1])]
            if not moments:
                return
            self.now = min(moments)
            while coming and coming[0].received_at <= self.now:
                self.stored.append(coming.pop(0))
            self.groups = group(self.stored, self.known)
            wakes = [wake for members in self.groups if (wake := self._look(members)) and wake > self.now]

    def stories(self) -> list[dict[str, Any]]:
        found = []
        for members in self.groups:
            call = assemble(members, self.known, self.policy, self.now)
            mine = self._about(members)
            decided = self._plan(call, mine).decisions
            rows = [_row(item, call.started_at) for item in mine]
            found.append((call, explain(call, members, rows, decided)))
        found.sort(key=lambda pair: (not pair[0].goes_to_crm, pair[0].kind == "unknown", pair[0].started_at))
        # A channel that belongs to no call makes no story.
        return [story for index, (call, story) in enumerate(found) if index == 0 or call.kind != "unknown"]

    def _look(self, members: Sequence[CallEvent]) -> datetime | None:
        call = assemble(members, self.known, self.policy, self.now)
        planned = self._plan(call, self._about(members))
        self.decided[call.main_unique_id] = planned.decisions
        anchor = frozenset(event.event_id for event in members if event.unique_id == call.main_unique_id)
        self.sent += [_Sent(notice=notice, at=self.now, anchor=anchor) for notice in planned.wanted]
        return planned.wake_at

    def _plan(self, call: Call, sent: Sequence[_Sent]) -> Plan:
        before = self.decided.get(call.main_unique_id, ())
        return plan(call, [item.told for item in sent], self.now, self.policy, before)

    def _about(self, members: Sequence[CallEvent]) -> list[_Sent]:
        ids = {event.event_id for event in members}
        return [item for item in self.sent if item.anchor & ids]


@cache
def situations() -> dict[str, Situation]:
    return {item["id"]: Situation(**item) for item in _document()["situations"]}


def play(situation: Situation, known: Directory, policy: Settings, *, at: datetime) -> list[dict[str, Any]]:
    """The stories (`lib.calls.explain`) of the resulting calls, the one that the CRM hears of first."""
    playing = _Play(known=known, policy=policy, now=at)
    playing.run(_moved(situation, known, at))
    return playing.stories()


def cast_for(known: Directory) -> dict[str, str]:
    """
    Maps the names of the situation to the enterprise's: names that it has too stay; mapped extensions come before
    others.
    """
    cast = _document()
    names: dict[str, str] = {}
    for number, extension in sorted(known.personal_phones.items())[:1]:
        names |= {cast["mobile"]["number"]: number.removeprefix("+"), cast["mobile"]["extension"]: extension}
    names |= _cast_extensions(cast["extensions"], known, taken=names)
    return names | _cast_lines(cast["lines"], sorted(known.lines), taken=names)


def _cast_extensions(roles: Sequence[str], known: Directory, *, taken: Mapping[str, str]) -> dict[str, str]:
    mapped = sorted(known.extension_users, key=_as_number)
    free = [*mapped, *sorted(known.internal_phones - set(mapped), key=_as_number)]
    names: dict[str, str] = {}
    for role in sorted(roles, key=lambda one: one not in mapped):
        left = [one for one in free if one not in {*taken.values(), *names.values()}]
        if role not in taken and left:
            names[role] = role if role in left else left[0]
    return names


def _cast_lines(roles: Sequence[str], lines: Sequence[str], *, taken: Mapping[str, str]) -> dict[str, str]:
    """Several roles share the first line where the enterprise has fewer lines than the situation."""
    names: dict[str, str] = {}
    for role in roles if lines else ():
        left = [one for one in lines if one not in {*taken.values(), *names.values()}]
        names[role] = role if role in left else (left or lines)[0]
    return names


@dataclass(frozen=True, kw_only=True)
class _Move:
    """From the situation to the enterprise: its names, its zone, and its moment so many seconds later."""

    names: Mapping[str, str]
    zone: ZoneInfo
    seconds: int

    def value(self, field_name: str, value: object) -> object:
        if isinstance(value, list):
            return [self.value(field_name, item) for item in value]
        if not isinstance(value, str) or not value:
            return value
        if field_name == "UniqueId":
            return _EPOCH.sub(lambda epoch: str(int(epoch[0]) + self.seconds), value)
        if field_name in _WALL_FIELDS:
            written = datetime.fromisoformat(value).replace(tzinfo=ZoneInfo(_document()["timezone"]))
            return (written + timedelta(seconds=self.seconds)).astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")
        return _WORD.sub(lambda word: self.names.get(word[0], word[0]), value)


def _moved(situation: Situation, known: Directory, at: datetime) -> list[CallEvent]:
    """The events with the enterprise's names, on its clock, the first of them at this moment."""
    base = at.replace(microsecond=0)
    move = _Move(names=cast_for(known), zone=known.zone, seconds=int(base.timestamp()) - situation.epoch)
    first = min(event["at"] for event in situation.events)
    return [
        parsing.parse(
            parsing.RawEvent(
                event_id=f"{number:03}",
                event_type=event["type"],
                unique_id=str(move.value("UniqueId", event["body"].get("UniqueId", ""))),
                raw={name: move.value(name, value) for name, value in event["body"].items()},
                received_at=base + timedelta(seconds=event["at"] - min(first, 0)),
            )
        )
        for number, event in enumerate(situation.events)
    ]


def _row(item: _Sent, began: datetime) -> dict[str, Any]:
    """A notice in the form of a delivery without attempts."""
    at = round((item.at - began).total_seconds(), 1)
    attempt = {
        "started_at": item.at.isoformat(),
        "finished_at": None,
        "at": at,
        "outcome": None,
        "http_status": None,
        "error": None,
        "request": _form(item.notice).as_log(),
        "response": None,
    }
    return {
        "id": None,
        "effect": item.told.effect,
        "state": "preview",
        "reason": None,
        "external_id": item.external_id,
        "extensions": list(item.extensions),
        "at": at,
        "attempts": [attempt],
    }


def _form(notice: Notice) -> Form:
    match notice:
        case RingNotice():
            return telephony.ring_form(notice)
        case EndNotice():
            return telephony.end_form(notice, notice.extensions)
        case CallRow():
            return telephony.upload_form([notice])


def _as_number(extension: str) -> tuple[int, str]:
    return len(extension), extension


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return document
