"""Answered or not, by whom, how long, with what result (docs/calls.md, "Answered" and "Result and owner")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from lib.calls import clock
from lib.calls.channels import channel_named
from lib.calls.conversation import ChannelKey, Person, Stay, Talk, talks_with
from lib.calls.directory import Directory
from lib.calls.event import CHANNEL_EVENTS, CallEvent
from lib.calls.legs import other_party, phone_extension
from lib.calls.picture import Picture
from lib.calls.roles import Roles, person_in
from lib.calls.settings import Settings

Result = Literal["answered", "no answer", "not allowed", "unknown"]

ANSWER: Final = "2"
_NOT_ANSWERED: Final = frozenset({"", "0", "1"})
_QUARTER: Final = timedelta(minutes=15)


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


def outcome(seen: Picture, settings: Settings) -> Outcome:
    talks = _talks(seen)
    by_status = not talks and _answered_by_status(seen.roles)
    answered = bool(talks) or by_status
    intervals = _intervals(seen)
    duration, is_estimate = _duration(seen, intervals, answered=answered)
    return Outcome(
        answered=answered,
        by_status=by_status,
        result=_result(seen.roles, answered=answered),
        talks=tuple(talks),
        customer_intervals=tuple(intervals),
        duration_seconds=duration,
        duration_is_estimate=is_estimate,
        waiting_seconds=_waiting(seen, talks, answered=answered),
        owner=_owner_of_answered(seen, talks, settings) if answered else _owner_of_missed(seen, settings),
    )


# Who talked with the customer


def _talks(seen: Picture) -> list[Talk]:
    callers = _callers(seen)
    talks = talks_with(
        seen.customer, seen.conversation, seen.events, lambda stay: person_in(stay, callers, seen.directory)
    )
    talks += list(_named_by_the_customer(seen, talks))
    if seen.roles.kind == "in" and not seen.stays:
        talks += _named_by_phones(seen)
    return sorted(talks, key=lambda talk: (talk.first, talk.last, talk.channel))


def _callers(seen: Picture) -> dict[ChannelKey, str]:
    """The number at a channel: its caller id as first shown; a transfer overwrites it later."""
    found: dict[ChannelKey, str] = {}
    for event in seen.events:
        if event.event_type in CHANNEL_EVENTS and event.channel:
            number = event.caller_id
            if seen.directory.outside(number) or seen.directory.is_extension(number):
                found.setdefault(ChannelKey(event.unique_id, event.channel), number)
    return found


def _named_by_the_customer(seen: Picture, talks: Sequence[Talk]) -> Iterator[Talk]:
    """The customer's own connected line counts only where nobody else was seen in the bridge."""
    for stay in seen.stays:
        with_somebody = any(_overlap(stay, talk) for talk in talks) or any(
            other.bridge == stay.bridge
            and other.key not in seen.customer
            and not channel_named(other.key.channel).is_local
            and _overlap(stay, other)
            for other in seen.conversation.stays
        )
        people = (_named(line, seen.directory) for line in stay.connected_lines)
        person = next((person for person in people if person is not None), None)
        if person is not None and not with_somebody:
            yield _talk_by_name(seen, stay, person)


def _overlap(one: Stay, other: Stay | Talk) -> bool:
    return one.first < other.last and other.first < one.last


def _named(line: str, directory: Directory) -> Person | None:
    """A short number that is no telephone of the enterprise (a follow-me number, a department) names nobody."""
    if directory.knows(line):
        return Person(extension=line)
    if directory.outside(line) and not directory.is_own_line(line):
        return Person(extension=directory.mobile_person(line), number=line)
    return Person(extension=None, number=line) if directory.is_extension(line) else None


def _named_by_phones(seen: Picture) -> Iterator[Talk]:
    """An incoming call of whose own channel no bridge is known: a desk phone's bridge that names the customer."""
    customer = seen.directory.outside(seen.roles.customer or "")
    for stay in seen.conversation.stays:
        extension = phone_extension(stay.key.channel, seen.directory)
        if extension is None or customer is None or not stay.entered:
            continue
        if other_party(seen.events[stay.first], seen.directory) == customer:
            yield _talk_by_name(seen, stay, Person(extension=extension))


def _talk_by_name(seen: Picture, stay: Stay, person: Person) -> Talk:
    return Talk(
        person=person,
        since=stay.since,
        until=_until(seen, stay),
        first=stay.first,
        last=stay.last,
        channel=stay.key.channel,
        bridge=stay.bridge,
        seen=False,
    )


def _answered_by_status(found: Roles) -> bool:
    """
    For a call in which no bridge event shows with whom the customer talked. Without a hangup of the main id, that of a
    leg to a mobile says it as well; a manager's own leg and a consultation prove nothing.
    """
    hangup = found.main_hangup
    if hangup is not None:
        return hangup.status == ANSWER
    return any(event.status == ANSWER for event in _mobile_hangups(found))


def _mobile_hangups(found: Roles) -> list[CallEvent]:
    return [
        event
        for unique_id, role in found.legs.items()
        if role in ("mobile", "follow_me")
        for event in found.by_id[unique_id]
        if event.event_type == "hangup"
    ]


# Result


def _result(found: Roles, *, answered: bool) -> Result:
    if answered:
        return "answered"
    hangup = found.main_hangup
    if hangup is None:
        return "no answer"
    if found.kind == "out" and not found.main_dials and hangup.start_time is None:
        return "not allowed"
    return "no answer" if hangup.status in _NOT_ANSWERED else "unknown"


# Duration and waiting


def _intervals(seen: Picture) -> list[tuple[datetime, datetime]]:
    """When the customer's channel was in a bridge; the channels of a line that failed over count once."""
    merged: list[tuple[datetime, datetime]] = []
    for since, until in sorted((stay.since, _until(seen, stay)) for stay in seen.stays):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _until(seen: Picture, stay: Stay) -> datetime:
    """
    The end of an interval without a leave: `EndTime` of the hangup, if that lies between the join and the receipt, else
    the receipt.
    """
    if stay.until is not None:
        return stay.until
    hangups = [
        event
        for unique_id in (stay.key.unique_id, seen.roles.main_id)
        for event in seen.roles.by_id.get(unique_id, ())
        if event.event_type == "hangup" and event.received_at >= stay.since
    ]
    if not hangups:
        return max(stay.since, seen.last_news_at)
    ended = clock.hung_up_at(hangups[0], seen.directory.zone)
    return ended if ended is not None and stay.since <= ended <= hangups[0].received_at else hangups[0].received_at


def _duration(seen: Picture, intervals: Sequence[tuple[datetime, datetime]], *, answered: bool) -> tuple[int, bool]:
    """Seconds, and whether they are an estimate: the customer's own bridge events tell, else the hangup's times."""
    if not answered:
        return 0, False
    if intervals:
        talked = sum((until - since for since, until in intervals), timedelta(0))
        return _whole_seconds(talked), any(not stay.entered for stay in seen.stays)
    hangup = seen.roles.main_hangup or next(iter(_mobile_hangups(seen.roles)), None)
    if hangup is None or hangup.end_time is None:
        return 0, True
    started = hangup.start_time or hangup.date_received
    if started is None:
        ended = clock.hung_up_at(hangup, seen.directory.zone)
        return (_whole_seconds(ended - hangup.moment) if ended is not None else 0), True
    zone = seen.directory.zone
    return _whole_seconds(clock.to_utc(hangup.end_time, zone) - clock.to_utc(started, zone)), True


def _waiting(seen: Picture, talks: Sequence[Talk], *, answered: bool) -> int | None:
    """From the start of the call to the customer's first bridge; of an unanswered one to its end."""
    began = clock.counting_from(seen.roles.main_events)
    if began is None:
        return None
    if answered:
        joined = [stay.since for stay in seen.stays] or [talk.since for talk in talks]
        return _whole_seconds(min(joined) - began) if joined else None
    hangup = seen.roles.main_hangup
    if hangup is None:
        return _whole_seconds(seen.last_news_at - began)
    ended = clock.hung_up_at(hangup, seen.directory.zone)
    if ended is not None and hangup.epoch is not None and _credible(hangup, ended):
        return _whole_seconds(ended - hangup.moment)
    return _whole_seconds(hangup.received_at - began)


def _credible(hangup: CallEvent, ended: datetime) -> bool:
    """A time is checked against the zone where there is a `StartTime`, else against the receipt of a live hangup."""
    return hangup.start_time is not None or not hangup.live or abs(hangup.received_at - ended) < _QUARTER


def _whole_seconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds()))


# Owner


def _owner_of_answered(seen: Picture, talks: Sequence[Talk], settings: Settings) -> str | None:
    """
    The last person who talked, by when the talk ended; who it was is not known of a number that is nobody's. The
    extensions of the hangup speak only where there are no bridge events.
    """
    found, directory = seen.roles, seen.directory
    if talks and settings.owner_policy == "first_talker":
        return min(talks, key=lambda talk: (talk.first, talk.last)).person.extension
    if talks:
        return max(talks, key=lambda talk: (talk.last, talk.first)).person.extension
    if found.kind == "out":
        return _hangup_extension(found, directory) or _caller(found, directory)
    if seen.conversation.stays:
        return None
    return _hangup_extension(found, directory) or _answered_mobile(found, directory)


def _owner_of_missed(seen: Picture, settings: Settings) -> str | None:
    """
    Of an outgoing call, the caller; of an incoming one the first mapped extension of the first `dial`, in its order.
    Where no dial was seen, the hangup stands in for it.
    """
    found, directory = seen.roles, seen.directory
    if found.kind == "out":
        return _caller(found, directory)
    named = found.main_dials[0] if found.main_dials else found.main_hangup
    if settings.missed_owner == "none" or named is None:
        return None
    people = (directory.person(name) for name in named.extensions if name != named.trunk)
    return next((person for person in people if person is not None and directory.is_mapped(person)), None)


def _caller(found: Roles, directory: Directory) -> str | None:
    """The caller of an outgoing call: from the dials, else the hangup, else the telephone with the main id."""
    named = (name for event in found.main_dials for name in event.extensions if directory.is_extension(name))
    phones = (phone_extension(event.channel, directory) for event in found.main_events)
    return next(named, None) or _hangup_extension(found, directory) or next((phone for phone in phones if phone), None)


def _hangup_extension(found: Roles, directory: Directory) -> str | None:
    hangup = found.main_hangup
    if hangup is None:
        return None
    people = (directory.person(name) for name in hangup.extensions if name != hangup.trunk)
    return next((person for person in people if person is not None and directory.knows(person)), None)


def _answered_mobile(found: Roles, directory: Directory) -> str | None:
    """The person of the one mobile whose leg was answered."""
    people = {directory.mobile_person(event.phone) for event in _mobile_hangups(found) if event.status == ANSWER}
    return next(iter(people)) if len(people) == 1 else None
