"""Who talked with the customer: seen in bridges, or only named there (docs/calls.md, "Answered, talk and waiting")."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Generic, TypeVar

from lib.calls import clock
from lib.calls.channels import Channel, channel_named
from lib.calls.conversation import ChannelKey, Person, Stay, Talk, talks_with
from lib.calls.directory import Directory
from lib.calls.event import CHANNEL_EVENTS
from lib.calls.legs import other_party
from lib.calls.picture import Picture

Span = TypeVar("Span", Stay, Talk)


def talks_of(seen: Picture) -> list[Talk]:
    callers = _callers(seen)
    talks = talks_with(seen.customer, seen.conversation, seen.events, lambda stay: _person_in(stay, callers, seen))
    talks += list(_named_by_the_customer(seen, talks))
    if seen.roles.kind == "in" and not seen.stays:
        talks += _named_by_phones(seen)
    return sorted(talks, key=lambda talk: (talk.first, talk.last, talk.channel))


def talk_by_name(seen: Picture, stay: Stay, person: Person) -> Talk:
    return Talk(
        person=person,
        since=stay.since,
        until=until(seen, stay),
        first=stay.first,
        last=stay.last,
        channel=stay.key.channel,
        bridge=stay.bridge,
        seen=False,
    )


def until(seen: Picture, stay: Stay) -> datetime:
    """
    The end of an interval without a leave: `EndTime` of the hangup, if that lies between the join and the receipt, else
    the receipt.
    """
    if stay.until is not None:
        return stay.until
    hangups = [
        event
        for unique_id in (stay.key.unique_id, seen.roles.main_id)
        for event in seen.roles.hangups.get(unique_id, ())
        if event.received_at >= stay.since
    ]
    if not hangups:
        return max(stay.since, seen.last_news_at)
    ended = clock.hung_up_at(hangups[0], seen.directory.zone)
    return ended if ended is not None and stay.since <= ended <= hangups[0].received_at else hangups[0].received_at


def _callers(seen: Picture) -> dict[ChannelKey, str]:
    """The number at a channel: its caller id as first shown; a transfer overwrites it later."""
    found: dict[ChannelKey, str] = {}
    for event in seen.events:
        if event.event_type in CHANNEL_EVENTS:
            number = event.caller_id
            if seen.directory.outside(number) or seen.directory.is_extension(number):
                found.setdefault(ChannelKey(event.unique_id, event.channel), number)
    return found


def _person_in(stay: Stay, callers: Mapping[ChannelKey, str], seen: Picture) -> Person | None:
    """The person on this channel: at a telephone, or whoever was called over a line; nobody on a Local half."""
    if channel_named(stay.key.channel).is_local:
        return None
    extension = seen.roles.telephones.at.get(stay.key)
    if extension is not None:
        return Person(extension=extension)
    number = callers.get(stay.key, "")
    if seen.directory.knows(number):
        return Person(extension=number)
    return Person(extension=seen.directory.mobile_person(number), number=number or None)


# Names in place of people


def _named_by_the_customer(seen: Picture, talks: Sequence[Talk]) -> Iterator[Talk]:
    """The customer's own connected line counts only where no other member of the bridge is seen."""
    rung, talked = _rung_numbers(seen), _Spans(talks)
    others = {bridge: _Spans(stays) for bridge, stays in _others_by_bridge(seen).items()}
    for stay in plain_stays(seen):
        people = (_named(line, rung, seen) for line in stay.connected_lines)
        person = next((person for person in people if person is not None), None)
        if person is None or next(talked.overlapping(stay), None) is not None:
            continue
        beside = others[stay.bridge].overlapping(stay) if stay.bridge in others else ()
        if all(_is_named_after(other, person, seen.directory) for other in beside):
            yield talk_by_name(seen, stay, person)


def _rung_numbers(seen: Picture) -> frozenset[str]:
    """What the dials of the call rang: telephones, and the numbers of its legs."""
    found, outside = seen.roles, seen.directory.outside
    names = {name for dial in found.main_dials for name in dial.extensions if name != dial.trunk}
    names |= {event.phone for unique_id in found.legs for event in found.by_id[unique_id] if event.event_type == "dial"}
    return frozenset(outside(name) or name for name in names)


def _named(line: str, rung: Collection[str], seen: Picture) -> Person | None:
    """A known extension, a personal phone, or what this call rang; never the customer himself, nor our own number."""
    directory, extension = seen.directory, seen.roles.telephones.extension(line)
    if directory.knows(extension):
        return Person(extension=extension)
    number = directory.outside(line)
    if directory.is_own_line(line) or (number or line) == directory.outside(seen.roles.customer or ""):
        return None
    owner = directory.mobile_person(line)
    return Person(extension=owner, number=line) if owner is not None or (number or line) in rung else None


def _others_by_bridge(seen: Picture) -> dict[str, list[Stay]]:
    """But the customer's own."""
    found: dict[str, list[Stay]] = defaultdict(list)
    for stay in seen.conversation.stays:
        if stay.key not in seen.customer:
            found[stay.bridge].append(stay)
    return found


def _is_named_after(stay: Stay, person: Person, directory: Directory) -> bool:
    """A Local channel that bears the person's name shows nobody else."""
    channel = channel_named(stay.key.channel)
    if not channel.is_local:
        return False
    if person.extension is not None:
        return directory.person(directory.extension_named(channel.peer)) == person.extension
    number = person.number or ""
    return (directory.outside(channel.peer) or channel.peer) == (directory.outside(number) or number)


class _Spans(Generic[Span]):
    """From event to event: which of them share a time with another one is found without trying all."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans: list[Span] = sorted(spans, key=lambda span: span.first)
        self._firsts: list[int] = [span.first for span in self._spans]
        self._latest: list[int] = list(accumulate((span.last for span in self._spans), max))

    def overlapping(self, one: Stay) -> Iterator[Span]:
        place = bisect_left(self._firsts, one.last)
        while place and self._latest[place - 1] > one.first:
            place -= 1
            if self._spans[place].last > one.first:
                yield self._spans[place]


def _named_by_phones(seen: Picture) -> Iterator[Talk]:
    """An incoming call of whose own channel no bridge is known: a desk phone's bridge that names the customer."""
    customer = seen.directory.outside(seen.roles.customer or "")
    for stay in seen.conversation.stays:
        extension = seen.roles.telephones.at.get(stay.key)
        if extension is None or customer is None or not stay.entered or stay.bridge in seen.conversation.holding:
            continue
        if other_party(seen.events[stay.first], seen.directory) == customer:
            yield talk_by_name(seen, stay, Person(extension=extension))


# Bridges without people


def plain_stays(seen: Picture) -> list[Stay]:
    """The customer's, but in a holding bridge or with an application."""
    applications = _applications(seen)
    return [
        stay for stay in seen.stays if stay.bridge not in seen.conversation.holding and not _is_with(stay, applications)
    ]


def only_applications(seen: Picture) -> bool:
    """Voice mail and the like had the customer, and nobody else: it answers nothing, whatever the status."""
    applications = _applications(seen)
    return any(_is_with(stay, applications) for stay in seen.stays) and not plain_stays(seen)


def _is_with(stay: Stay, applications: Mapping[str, _Spans[Stay]]) -> bool:
    return stay.bridge in applications and next(applications[stay.bridge].overlapping(stay), None) is not None


def _applications(seen: Picture) -> dict[str, _Spans[Stay]]:
    """By bridge: Local channels of neither an extension nor a number, `Local/vm151`, whose other half is in none."""
    halves: dict[str, set[str]] = defaultdict(set)
    found: list[tuple[Channel, Stay]] = []
    for stay in seen.conversation.stays:
        channel = channel_named(stay.key.channel)
        if channel.is_local:
            halves[channel.pair].add(channel.half)
            found.append((channel, stay))
    applications: dict[str, list[Stay]] = defaultdict(list)
    for channel, stay in found:
        if len(halves[channel.pair]) == 1 and not _is_a_number(channel.peer, seen.directory):
            applications[stay.bridge].append(stay)
    return {bridge: _Spans(stays) for bridge, stays in applications.items()}


def _is_a_number(name: str, directory: Directory) -> bool:
    return directory.is_extension(name) or directory.outside(name) is not None


# Hosts that tell of one side only


def stays_of_the_caller(seen: Picture) -> list[Stay]:
    """Of an outgoing call on older hosts: the main channel's own bridges, where they name the customer."""
    found, directory = seen.roles, seen.directory
    customer = directory.outside(found.customer or "")
    if found.kind != "out" or customer is None:
        return []
    return [
        stay
        for stay in seen.conversation.stays
        if stay.key.unique_id == found.main_id
        and not channel_named(stay.key.channel).is_local
        and stay.bridge not in seen.conversation.holding
        and _party_of(stay, seen) == customer
    ]


def _party_of(stay: Stay, seen: Picture) -> str | None:
    line = next((line for line in stay.connected_lines if line and not seen.directory.is_own_line(line)), None)
    if line is not None:
        return seen.directory.outside(line)
    return seen.directory.outside(seen.events[stay.first].exten) if stay.entered else None
