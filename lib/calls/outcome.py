"""Answered or not, by whom, how long, with what result (docs/calls.md, "Answered" and "Result and owner")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from lib.calls import clock
from lib.calls.conversation import ChannelKey, Conversation, Person, Stay, Talk, talks_with
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.legs import other_party, phone_extension
from lib.calls.roles import Roles, person_in
from lib.calls.settings import Settings

Result = Literal["answered", "no answer", "not allowed", "unknown"]

ANSWER: Final = "2"
_NOT_ANSWERED: Final = frozenset({"", "0", "1"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    answered: bool
    by_status: bool
    result: Result
    talks: tuple[Talk, ...]
    customer_intervals: tuple[tuple[datetime, datetime], ...]
    duration_seconds: int
    duration_is_estimate: bool
    waiting_seconds: int | None
    owner: str | None


def outcome(
    *,
    found: Roles,
    customer: frozenset[ChannelKey],
    talking: Conversation,
    events: Sequence[CallEvent],
    directory: Directory,
    settings: Settings,
) -> Outcome:
    callers = _callers(events, directory)
    stays = talking.of(customer)
    talks = talks_with(customer, talking, events, lambda stay: person_in(stay, callers, directory))
    talks += _only_named(stays, customer, talking, talks, events, directory)
    if not stays and found.kind == "in":
        talks += _named_by_phones(talking, found, events, directory)
    talks.sort(key=lambda talk: (talk.first, talk.last, talk.channel))
    by_status = not talks and _answered_by_status(found)
    answered = bool(talks) or by_status
    intervals = _intervals(stays, found, directory, events)
    duration, is_estimate = _duration(intervals, answered, found, directory)
    return Outcome(
        answered=answered,
        by_status=by_status,
        result=_result(answered, found),
        talks=tuple(talks),
        customer_intervals=tuple(intervals),
        duration_seconds=duration,
        duration_is_estimate=is_estimate or any(not stay.entered for stay in stays),
        waiting_seconds=_waiting(found, stays, talks, answered=answered, directory=directory, events=events),
        owner=_owner(answered, talks, found, directory, settings, bridged=bool(talking.stays)),
    )


# Who talked


def _callers(events: Sequence[CallEvent], directory: Directory) -> dict[ChannelKey, str]:
    """The number at a channel: its caller id, as first shown; a transfer later overwrites it."""
    found: dict[ChannelKey, str] = {}
    for event in events:
        if event.channel and event.caller_id and event.event_type in ("bridge", "bridge_leave", "new_callerid"):
            key = ChannelKey(event.unique_id, event.channel)
            if directory.outside(event.caller_id) or directory.is_extension(event.caller_id):
                found.setdefault(key, event.caller_id)
    return found


def _only_named(
    stays: Sequence[Stay],
    customer: frozenset[ChannelKey],
    talking: Conversation,
    talks: Sequence[Talk],
    events: Sequence[CallEvent],
    directory: Directory,
) -> list[Talk]:
    """The customer's own connected line counts only where nobody else was seen in the bridge."""
    found = []
    for stay in stays:
        if any(talk.first < stay.last and stay.first < talk.last for talk in talks):
            continue
        if any(
            other.bridge == stay.bridge
            and other.key not in customer
            and other.first < stay.last
            and stay.first < other.last
            and not _is_joint(other)
            for other in talking.stays
        ):
            continue
        person = next((named for line in stay.connected_lines if (named := _named(line, directory))), None)
        if person is None:
            continue
        found.append(
            Talk(
                person=person,
                since=stay.since,
                until=stay.until or events[-1].received_at,
                first=stay.first,
                last=stay.last,
                channel=stay.key.channel,
                bridge=stay.bridge,
                seen=False,
            )
        )
    return found


def _is_joint(stay: Stay) -> bool:
    return stay.key.channel.lower().startswith("local/")


def _named(line: str, directory: Directory) -> Person | None:
    if directory.knows(line):
        return Person(extension=line)
    if directory.outside(line):
        return Person(extension=directory.mobile_person(line), number=line)
    return Person(extension=None, number=line) if directory.is_extension(line) else None


def _named_by_phones(
    talking: Conversation, found: Roles, events: Sequence[CallEvent], directory: Directory
) -> list[Talk]:
    """An incoming call of whose own channel no bridge is known: a desk phone's bridge that names the customer."""
    customer = directory.outside(found.customer or "")
    talks = []
    for stay in talking.stays:
        extension = phone_extension(stay.key.channel, directory)
        if extension is None or not customer:
            continue
        entry = events[stay.first] if stay.entered else None
        if entry is not None and other_party(entry, directory) == customer:
            talks.append(
                Talk(
                    person=Person(extension=extension),
                    since=stay.since,
                    until=stay.until or events[-1].received_at,
                    first=stay.first,
                    last=stay.last,
                    channel=stay.key.channel,
                    bridge=stay.bridge,
                    seen=False,
                )
            )
    return talks


def _answered_by_status(found: Roles) -> bool:
    """
    Where the host sends no bridge events of the customer, or none that shows with whom. Without a hangup of the main
    id, that of a mobile's leg says it as well.
    """
    hangup = found.main_hangup
    if hangup is not None:
        return hangup.status == ANSWER
    return any(
        event.event_type == "hangup" and event.status == ANSWER
        for unique_id, role in found.legs.items()
        if role in ("mobile", "follow_me")
        for event in found.by_id[unique_id]
    )


# Result


def _result(answered: bool, found: Roles) -> Result:
    if answered:
        return "answered"
    hangup = found.main_hangup
    if hangup is None:
        return "no answer"
    if found.kind == "out" and not found.main_dials and hangup.start_time is None:
        return "not allowed"
    return "no answer" if hangup.status in _NOT_ANSWERED else "unknown"


# Times


def _intervals(
    stays: Sequence[Stay], found: Roles, directory: Directory, events: Sequence[CallEvent]
) -> list[tuple[datetime, datetime]]:
    """When the customer's channel was in a bridge; overlapping stays of two channels of a failover count once."""
    merged: list[tuple[datetime, datetime]] = []
    for since, until in sorted((stay.since, _until(stay, found, directory, events)) for stay in stays):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _until(stay: Stay, found: Roles, directory: Directory, events: Sequence[CallEvent]) -> datetime:
    """No leave closes it: `EndTime` of the hangup, if that lies between the join and the receipt, else the receipt."""
    if stay.until is not None:
        return stay.until
    hangups = [
        event
        for unique_id in (stay.key.unique_id, found.main_id)
        for event in found.by_id.get(unique_id, ())
        if event.event_type == "hangup" and event.received_at >= stay.since
    ]
    if not hangups:
        return max(stay.since, events[-1].received_at)
    ended = clock.hung_up_at(hangups[0], directory.zone)
    return ended if ended is not None and stay.since <= ended <= hangups[0].received_at else hangups[0].received_at


def _duration(
    intervals: Sequence[tuple[datetime, datetime]], answered: bool, found: Roles, directory: Directory
) -> tuple[int, bool]:
    if not answered:
        return 0, False
    if intervals:
        talked = sum((until - since for since, until in intervals), timedelta(0))
        return max(0, round(talked.total_seconds())), False
    hangups = [found.main_hangup, *(event for leg in found.legs for event in found.by_id[leg])]
    hangup = next((event for event in hangups if event is not None and event.end_time is not None), None)
    if hangup is None or hangup.end_time is None:
        return 0, True
    started = hangup.start_time or hangup.date_received
    if started is not None:
        return max(0, round(clock.seconds_between(started, hangup.end_time, directory.zone))), True
    ended = clock.hung_up_at(hangup, directory.zone)
    return max(0, round((ended - hangup.moment).total_seconds())) if ended is not None else 0, True


def _waiting(
    found: Roles,
    stays: Sequence[Stay],
    talks: Sequence[Talk],
    *,
    answered: bool,
    directory: Directory,
    events: Sequence[CallEvent],
) -> int | None:
    """From the start of the call to the customer's first bridge, of an unanswered one to its end."""
    began = clock.counting_from(found.main_events)
    if began is None:
        return None
    if answered:
        joined = [stay.since for stay in stays] or [talk.since for talk in talks]
        return _whole_seconds(min(joined) - began) if joined else None
    hangup = found.main_hangup
    if hangup is None:
        return _whole_seconds(events[-1].received_at - began)
    ended = clock.hung_up_at(hangup, directory.zone)
    if ended is not None and hangup.epoch is not None and _credible(hangup, ended):
        return _whole_seconds(ended - hangup.moment)
    return _whole_seconds(hangup.received_at - began)


def _credible(hangup: CallEvent, ended: datetime) -> bool:
    """With a `StartTime` the zone has been checked; without one a live hangup's own receipt has to do it."""
    return hangup.start_time is not None or not hangup.live or abs(hangup.received_at - ended) < timedelta(minutes=15)


def _whole_seconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds()))


# Owner


def _owner(
    answered: bool,
    talks: Sequence[Talk],
    found: Roles,
    directory: Directory,
    settings: Settings,
    *,
    bridged: bool,
) -> str | None:
    if not answered:
        return _caller(found, directory) if found.kind == "out" else _first_rung(found, directory, settings)
    if talks:
        if settings.owner_policy == "first_talker":
            return min(talks, key=lambda talk: (talk.first, talk.last)).person.extension
        return max(talks, key=lambda talk: (talk.last, talk.first)).person.extension
    if found.kind == "out":
        return _hangup_extension(found, directory) or _caller(found, directory)
    if bridged and found.main_hangup is not None:
        return None
    return _hangup_extension(found, directory) or _answered_leg(found, directory)


def _caller(found: Roles, directory: Directory) -> str | None:
    """Who dialled: named by the dials, else by the hangup, else by the telephone of the main id."""
    named = [name for event in found.main_dials for name in event.extensions if directory.is_extension(name)]
    if named:
        return named[0]
    channels = (phone_extension(event.channel, directory) for event in found.main_events)
    return _hangup_extension(found, directory) or next((extension for extension in channels if extension), None)


def _first_rung(found: Roles, directory: Directory, settings: Settings) -> str | None:
    """The first mapped extension of the first `dial`, in its order; of the hangup, where no dial was seen."""
    if settings.missed_owner == "none":
        return None
    named = found.main_dials[0] if found.main_dials else found.main_hangup
    if named is None:
        return None
    people = (directory.person(name) for name in named.extensions if name != named.trunk)
    return next((person for person in people if person is not None and directory.is_mapped(person)), None)


def _hangup_extension(found: Roles, directory: Directory) -> str | None:
    hangup = found.main_hangup
    if hangup is None:
        return None
    people = [directory.person(name) for name in hangup.extensions if name != hangup.trunk]
    return next((person for person in people if person is not None and directory.knows(person)), None)


def _answered_leg(found: Roles, directory: Directory) -> str | None:
    """The person of the one mobile whose leg was answered."""
    people = {
        directory.mobile_person(event.phone)
        for leg in found.legs
        for event in found.by_id[leg]
        if event.event_type == "hangup" and event.call_type == 1 and event.status == ANSWER
    }
    return next(iter(people)) if len(people) == 1 else None
