"""
Bridges over time: which channel was in which bridge, and who thereby talked with the customer.

State is kept per channel, in the order of receipt. A channel is in one bridge at a time, so that entering another
one leaves the first; an event that changes no channel's state is a copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.event import CallEvent

# A repeated `bridge` this soon, its channel having left meanwhile, is a late copy and no return.
_LATE_COPY: Final = timedelta(seconds=2)
_HOLDING: Final = "holding_bridge"


class ChannelKey(NamedTuple):
    """One UniqueId was seen on two channels."""

    unique_id: str
    channel: str


@dataclass(kw_only=True, slots=True)
class Stay:
    """
    A channel in a bridge, from event `first` to before event `last`. `left` is how it ended: `leave`, `moved` into
    another bridge, `emptied` bridge, or None while no event says so. `entered` is False where only the leave was seen.
    """

    key: ChannelKey
    bridge: str
    first: int
    last: int
    since: datetime
    until: datetime | None = None
    left: str | None = None
    entered: bool = True
    connected_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody who can talk: at an extension, at a mobile of an extension's person, or a number that is nobody's."""

    extension: str | None
    number: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """One person connected with the customer without interruption."""

    person: Person
    since: datetime
    until: datetime
    first: int
    last: int
    channel: str
    bridge: str
    seen: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    stays: tuple[Stay, ...]
    leaves_are_sent: bool
    copies: frozenset[str]
    holding: frozenset[str] = frozenset()

    def of(self, keys: frozenset[ChannelKey]) -> list[Stay]:
        return [stay for stay in self.stays if stay.key in keys]

    def at(self, position: int) -> list[Stay]:
        """The stays that last after the event at this position, where people can talk."""
        return [stay for stay in self.stays if stay.first <= position < stay.last and stay.bridge not in self.holding]


def conversation(events: Sequence[CallEvent], directory: Directory) -> Conversation:
    fold = _Fold(directory=directory, end=len(events))
    for position, event in enumerate(events):
        if event.event_type == "bridge":
            fold.enter(position, event)
        elif event.event_type == "bridge_leave":
            fold.leave(position, event)
        elif event.event_type == "bridge_destroy" and event.bridge_id:
            fold.empty(position, event)
    return Conversation(
        stays=tuple(sorted(fold.stays, key=lambda stay: (stay.first, stay.last, stay.key))),
        leaves_are_sent=any(event.event_type == "bridge_leave" for event in events),
        copies=frozenset(fold.copies),
        holding=holding_bridges(events),
    )


def holding_bridges(events: Iterable[CallEvent]) -> frozenset[str]:
    """Bridges in which channels wait, for a queue or in a parking lot, and nobody talks."""
    return frozenset(event.bridge_id for event in events if event.bridge_technology == _HOLDING and event.bridge_id)


@dataclass(kw_only=True)
class _Fold:
    directory: Directory
    end: int
    stays: list[Stay] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    _inside: dict[ChannelKey, Stay] = field(default_factory=dict)
    _past: dict[ChannelKey, list[Stay]] = field(default_factory=lambda: defaultdict(list))
    _entries: dict[ChannelKey, CallEvent] = field(default_factory=dict)

    def enter(self, position: int, event: CallEvent) -> None:
        key, bridge = ChannelKey(event.unique_id, event.channel), _bridge_of(event, self.directory)
        current = self._inside.get(key)
        if current is not None and current.bridge == bridge:
            current.connected_lines.append(event.connected_line)
            self.copies.append(event.event_id)
            return
        if current is None and self._is_late_copy(key, bridge, event):
            self.copies.append(event.event_id)
            return
        if current is not None:
            self._close(current, position, event.received_at, "moved")
        stay = Stay(key=key, bridge=bridge, first=position, last=self.end, since=event.received_at)
        stay.connected_lines.append(event.connected_line)
        self._entries[key] = event
        self._inside[key] = stay
        self.stays.append(stay)

    def leave(self, position: int, event: CallEvent) -> None:
        key, bridge = ChannelKey(event.unique_id, event.channel), _bridge_of(event, self.directory)
        current, past = self._inside.get(key), self._past[key]
        if current is not None and current.bridge == bridge:
            self._close(current, position, event.received_at, "leave")
        elif emptied := [stay for stay in past if stay.bridge == bridge and stay.left == "emptied"]:
            # Its own leave was only late, and has the better time.
            emptied[-1].left, emptied[-1].until = "leave", event.received_at
        elif any(stay.bridge == bridge for stay in past):
            self.copies.append(event.event_id)
        else:
            if current is not None:
                self._close(current, position, event.received_at, "leave")
            self._only_left(position, key, bridge, event)
        if event.bridge_channels == 0:
            self.empty(position, event)

    def empty(self, position: int, event: CallEvent) -> None:
        """The bridge is empty, so a channel whose leave was lost has left it too."""
        for stay in [stay for stay in self._inside.values() if stay.bridge == event.bridge_id]:
            self._close(stay, position, event.received_at, "emptied")

    def _only_left(self, position: int, key: ChannelKey, bridge: str, event: CallEvent) -> None:
        """The entry was lost: it counts from the first entry of another channel into the bridge."""
        others = [stay for stay in self.stays if stay.bridge == bridge]
        first = min((stay.first for stay in others), default=position)
        since = min((stay.since for stay in others), default=event.received_at)
        stay = Stay(key=key, bridge=bridge, first=first, last=position, since=since, entered=False)
        stay.until, stay.left = event.received_at, "leave"
        stay.connected_lines.append(event.connected_line)
        self._past[key].append(stay)
        self.stays.append(stay)

    def _close(self, stay: Stay, position: int, at: datetime, how: str) -> None:
        stay.last, stay.until, stay.left = position, at, how
        self._past[stay.key].append(stay)
        self._inside.pop(stay.key, None)

    def _is_late_copy(self, key: ChannelKey, bridge: str, event: CallEvent) -> bool:
        entry, past = self._entries.get(key), self._past[key]
        return (
            entry is not None
            and bool(past)
            and past[-1].bridge == bridge
            and entry.fingerprint == event.fingerprint
            and event.received_at - entry.received_at <= _LATE_COPY
        )


def _bridge_of(event: CallEvent, directory: Directory) -> str:
    """Where ids are missing, two channels that name each other are in one bridge."""
    if event.bridge_id:
        return event.bridge_id
    ends = (event.caller_id, event.connected_line)
    return "?" + "|".join(sorted(directory.outside(end) or end for end in ends))


def talks_with(
    customer: frozenset[ChannelKey],
    conversation: Conversation,
    events: Sequence[CallEvent],
    who: Callable[[Stay], Person | None],
) -> list[Talk]:
    """
    The people who shared a bridge with the customer's channel, directly or through Local channels. A person in two
    bridges does not connect them: that is a consultation.
    """
    people = {id(stay): who(stay) for stay in conversation.stays if stay.key not in customer}
    talks = _Talks(events=events)
    for position in _changes(conversation, len(events)):
        connected = {stay.key: stay for stay in connected_with(customer, conversation.at(position))}
        talks.end(position, connected)
        for stay in connected.values():
            person = people.get(id(stay))
            if person is not None:
                talks.under_way.setdefault(stay.key, (position, stay, person))
    talks.end(len(events), ())
    return sorted(talks.ended, key=lambda talk: (talk.first, talk.last, talk.channel))


@dataclass(kw_only=True)
class _Talks:
    """`under_way`: by the person's channel, since which event."""

    events: Sequence[CallEvent]
    under_way: dict[ChannelKey, tuple[int, Stay, Person]] = field(default_factory=dict)
    ended: list[Talk] = field(default_factory=list)

    def end(self, position: int, connected: Collection[ChannelKey]) -> None:
        """Ends the talks of all but the connected channels."""
        for key in [key for key in self.under_way if key not in connected]:
            self._end(position, *self.under_way.pop(key))

    def _end(self, position: int, first: int, stay: Stay, person: Person) -> None:
        events = self.events
        until = events[position].received_at if position < len(events) else stay.until or events[-1].received_at
        self.ended.append(
            Talk(
                person=person,
                since=max(events[first].received_at, stay.since),
                until=max(until, events[first].received_at),
                first=first,
                last=position,
                channel=stay.key.channel,
                bridge=stay.bridge,
            )
        )


def connected_with(customer: frozenset[ChannelKey], inside: Sequence[Stay]) -> Iterator[Stay]:
    members: dict[str, list[Stay]] = defaultdict(list)
    for stay in inside:
        members[stay.bridge].append(stay)
    halves = _local_halves(inside)
    reached = [stay.bridge for stay in inside if stay.key in customer]
    while reached:
        # A bridge that was seen before has no members left.
        for stay in members.pop(reached.pop(), ()):
            if stay.key not in customer:
                yield stay
            if halves:
                reached += _across(stay, halves)


def _local_halves(inside: Sequence[Stay]) -> dict[str, list[Stay]]:
    """Both halves of each Local channel, by its pair."""
    halves: dict[str, list[Stay]] = defaultdict(list)
    for stay in inside:
        channel = channel_named(stay.key.channel)
        if channel.is_local:
            halves[channel.pair].append(stay)
    return halves


def _across(stay: Stay, halves: Mapping[str, Sequence[Stay]]) -> list[str]:
    """The bridges of the other half, where this stay is one half of a Local channel."""
    channel = channel_named(stay.key.channel)
    others = halves.get(channel.pair, ()) if channel.is_local else ()
    return [other.bridge for other in others if channel_named(other.key.channel).half != channel.half]


def _changes(conversation: Conversation, end: int) -> list[int]:
    positions = {stay.first for stay in conversation.stays} | {stay.last for stay in conversation.stays}
    return sorted(position for position in positions if position < end)
