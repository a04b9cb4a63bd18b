"""Answered or not, by whom, how long, with what result (docs/calls.md, "Answered" and "Result and owner")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from lib.calls import clock
from lib.calls.conversation import Person, Stay, Talk
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.picture import Picture
from lib.calls.roles import Roles
from lib.calls.settings import Settings
from lib.calls.talks import only_applications, plain_stays, stays_of_the_caller, talk_by_name, talks_of, until

Result = Literal["answered", "no answer", "not allowed", "unknown"]

ANSWER: Final = "2"
# An application may answer, which the caller did not ask for.
_NOT_ANSWERED: Final = frozenset({"", "0", "1", ANSWER})
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
    talks, stays = talks_of(seen), seen.stays
    by_status = not talks and not only_applications(seen) and _answered_by_status(seen.roles)
    if not talks and not by_status:
        stays = stays_of_the_caller(seen)
        talks = [talk_by_name(seen, stay, Person(extension=_caller(seen.roles, seen.directory))) for stay in stays]
    answered = bool(talks) or by_status
    counted = _counted(seen, stays, talks)
    intervals = _intervals(seen, counted)
    duration, is_estimate = _duration(seen, counted, intervals, answered=answered)
    return Outcome(
        answered=answered,
        by_status=by_status,
        result=_result(seen.roles, answered=answered),
        talks=tuple(talks),
        customer_intervals=tuple(intervals),
        duration_seconds=duration,
        duration_is_estimate=is_estimate,
        waiting_seconds=_waiting(seen, counted or talks, answered=answered),
        owner=_owner_of_answered(seen, talks, settings) if answered else _owner_of_missed(seen, settings),
    )


def _counted(seen: Picture, stays: Sequence[Stay], talks: Sequence[Talk]) -> list[Stay]:
    """The customer's bridges from the first one in which somebody talked; before, he only waited."""
    if not talks:
        return plain_stays(seen)
    first = min(talk.first for talk in talks)
    return [stay for stay in stays if stay.last > first]


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


def _intervals(seen: Picture, stays: Sequence[Stay]) -> list[tuple[datetime, datetime]]:
    """When the customer's channel was in a bridge; the channels of a line that failed over count once."""
    merged: list[tuple[datetime, datetime]] = []
    for since, ended in sorted((stay.since, until(seen, stay)) for stay in stays):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((since, ended))
    return merged


def _duration(
    seen: Picture, stays: Sequence[Stay], intervals: Sequence[tuple[datetime, datetime]], *, answered: bool
) -> tuple[int, bool]:
    """Seconds, and whether they are an estimate: the customer's own bridge events tell, else the hangup's times."""
    if not answered:
        return 0, False
    if intervals:
        talked = sum((ended - since for since, ended in intervals), timedelta(0))
        return _whole_seconds(talked), any(not stay.entered for stay in stays)
    hangup = seen.roles.main_hangup or next(iter(_mobile_hangups(seen.roles)), None)
    lasted = clock.lasted(hangup, seen.directory.zone) if hangup is not None else None
    return (_whole_seconds(lasted) if lasted is not None else 0), True


def _waiting(seen: Picture, talked: Sequence[Stay] | Sequence[Talk], *, answered: bool) -> int | None:
    """From the start of the call to the first bridge in which somebody talked; of an unanswered one to its end."""
    began = clock.counting_from(seen.roles.main_events)
    if began is None:
        return None
    # When a call of a clock that was never set was recovered says nothing of how long it was.
    counts = began >= clock.NEVER_SET_BEFORE
    if answered:
        return _whole_seconds(min(one.since for one in talked) - began) if talked and counts else None
    hangup = seen.roles.main_hangup
    ended = clock.hung_up_at(hangup, seen.directory.zone) if hangup is not None else None
    if hangup is not None and ended is not None and hangup.epoch is not None and _credible(hangup, ended):
        return _whole_seconds(ended - hangup.moment)
    heard = _heard_last(seen)
    return _whole_seconds(heard - began) if counts and heard is not None else None


def _heard_last(seen: Picture) -> datetime | None:
    """When we heard that it is over, or the last of it; when something was recovered says nothing of that."""
    hangup = seen.roles.main_hangup
    last = [event.received_at for event in ([hangup] if hangup is not None else seen.events) if event.live]
    return max(last, default=None)


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
    people = (found.telephones.person(name) for name in named.extensions if name != named.trunk)
    return next((person for person in people if person is not None and directory.is_mapped(person)), None)


def _caller(found: Roles, directory: Directory) -> str | None:
    """The caller of an outgoing call: from the dials, else the hangup, else the telephone with the main id."""
    phones = found.telephones
    named = (name for event in found.main_dials for name in event.extensions if directory.is_extension(name))
    own = (extension for key, extension in phones.at.items() if key.unique_id == found.main_id)
    dialled = next(named, None)
    if dialled is not None:
        return phones.extension(dialled)
    return _hangup_extension(found, directory) or next(own, None)


def _hangup_extension(found: Roles, directory: Directory) -> str | None:
    hangup = found.main_hangup
    if hangup is None:
        return None
    people = (found.telephones.person(name) for name in hangup.extensions if name != hangup.trunk)
    return next((person for person in people if person is not None and directory.knows(person)), None)


def _answered_mobile(found: Roles, directory: Directory) -> str | None:
    """The person of the one mobile whose leg was answered."""
    people = {directory.mobile_person(event.phone) for event in _mobile_hangups(found) if event.status == ANSWER}
    return next(iter(people)) if len(people) == 1 else None
