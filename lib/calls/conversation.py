"""
Bridges over time: which channel was in which bridge, and who thereby talked with the customer.

State is kept per channel, in the order of receipt. A channel is in one bridge at a time, so that entering another
one leaves the first; an event that changes no channel's state is a copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
    _members: dict[str, dict[ChannelKey, Stay]] = field(default_factory=lambda: defaultdict(dict))
    _last: dict[ChannelKey, Stay] = field(default_factory=dict)
    _emptied: dict[tuple[ChannelKey, str], list[Stay]] = field(default_factory=lambda: defaultdict(list))
    _left: set[tuple[ChannelKey, str]] = field(default_factory=set)
    _began: dict[str, tuple[int, datetime]] = field(default_factory=dict)
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
        self._inside[key] = self._members[bridge][key] = stay
        self._add(stay)

    def leave(self, position: int, event: CallEvent) -> None:
        key, bridge = ChannelKey(event.unique_id, event.channel), _bridge_of(event, self.directory)
        current = self._inside.get(key)
        if current is not None and current.bridge == bridge:
            self._close(current, position, event.received_at, "leave")
        elif emptied := self._emptied[key, bridge]:
            # Its own leave was only late, and has the better time.
            stay = emptied.pop()
            stay.left, stay.until = "leave", event.received_at
        elif (key, bridge) in self._left:
            self.copies.append(event.event_id)
        else:
            if current is not None:
                self._close(current, position, event.received_at, "leave")
            self._only_left(position, key, bridge, event)
        if event.bridge_channels == 0:
            self.empty(position, event)

    def empty(self, position: int, event: CallEvent) -> None:
        """The bridge is empty, so a channel whose leave was lost has left it too."""
        for stay in list(self._members[event.bridge_id].values()):
            self._close(stay, position, event.received_at, "emptied")

    def _only_left(self, position: int, key: ChannelKey, bridge: str, event: CallEvent) -> None:
        """The entry was lost: it counts from the first entry of another channel into the bridge."""
        first, since = self._began.get(bridge, (position, event.received_at))
        stay = Stay(key=key, bridge=bridge, first=first, last=position, since=since, entered=False)
        stay.until, stay.left = event.received_at, "leave"
        stay.connected_lines.append(event.connected_line)
        self._remember(stay)
        self._add(stay)

    def _add(self, stay: Stay) -> None:
        self.stays.append(stay)
        first, since = self._began.get(stay.bridge, (stay.first, stay.since))
        self._began[stay.bridge] = min(first, stay.first), min(since, stay.since)

    def _close(self, stay: Stay, position: int, at: datetime, how: str) -> None:
        stay.last, stay.until, stay.left = position, at, how
        self._remember(stay)
        self._inside.pop(stay.key, None)
        self._members[stay.bridge].pop(stay.key, None)

    def _remember(self, stay: Stay) -> None:
        self._last[stay.key] = stay
        self._left.add((stay.key, stay.bridge))
        if stay.left == "emptied":
            self._emptied[stay.key, stay.bridge].append(stay)

    def _is_late_copy(self, key: ChannelKey, bridge: str, event: CallEvent) -> bool:
        entry, last = self._entries.get(key), self._last.get(key)
        return (
            entry is not None
            and last is not None
            and last.bridge == bridge
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
    for position, inside in _changes(conversation, customer, len(events)):
        joined, left = inside.settle(talks.under_way)
        for key in left:
            talks.end(position, key)
        for stay in {stay.key: stay for stay in joined}.values():
            person = people.get(id(stay))
            if person is not None:
                talks.under_way.setdefault(stay.key, (position, stay, person))
    for key in list(talks.under_way):
        talks.end(len(events), key)
    return sorted(talks.ended, key=lambda talk: (talk.first, talk.last, talk.channel))


@dataclass(kw_only=True)
class _Talks:
    """`under_way`: by the person's channel, since which event."""

    events: Sequence[CallEvent]
    under_way: dict[ChannelKey, tuple[int, Stay, Person]] = field(default_factory=dict)
    ended: list[Talk] = field(default_factory=list)

    def end(self, position: int, key: ChannelKey) -> None:
        first, stay, person = self.under_way.pop(key)
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


def connected_with(customer: frozenset[ChannelKey], inside: Iterable[Stay]) -> Iterator[Stay]:
    together = _Inside(customer=customer)
    for stay in inside:
        together.enter(stay)
    return together.connected()


@dataclass(kw_only=True)
class _Inside:
    """
    The stays that last at one moment: the customer's own, all by their bridges, both halves of each Local channel by
    its pair, and who is with the customer, directly or through Local channels.
    """

    customer: frozenset[ChannelKey]
    _own: dict[str, dict[int, Stay]] = field(default_factory=lambda: defaultdict(dict))
    _members: dict[str, dict[int, Stay]] = field(default_factory=lambda: defaultdict(dict))
    _halves: dict[str, dict[int, Stay]] = field(default_factory=lambda: defaultdict(dict))
    _reached: set[str] = field(default_factory=set)
    _connected: dict[ChannelKey, dict[int, Stay]] = field(default_factory=lambda: defaultdict(dict))
    _joined: list[Stay] = field(default_factory=list)
    _left: list[ChannelKey] = field(default_factory=list)
    _is_stale: bool = False

    def enter(self, stay: Stay) -> None:
        for stays in self._places(stay):
            stays[id(stay)] = stay
        beyond = self._across(stay)
        if stay.bridge in self._reached:
            self._connect(stay)
            self._reach(beyond)
        elif stay.key in self.customer or not self._reached.isdisjoint(beyond):
            self._reach([stay.bridge])

    def leave(self, stay: Stay) -> None:
        """Only the customer's last own channel and a Local one may take others along."""
        for stays in self._places(stay):
            stays.pop(id(stay), None)
        if stay.bridge in self._reached:
            self._connected[stay.key].pop(id(stay), None)
            self._left.append(stay.key)
            is_last = stay.key in self.customer and not self._own[stay.bridge]
            self._is_stale |= is_last or channel_named(stay.key.channel).is_local

    def settle(self, before: Collection[ChannelKey]) -> tuple[list[Stay], list[ChannelKey]]:
        """Since the last time: who is with the customer now, or still is; and which of those before are no more."""
        if self._is_stale:
            self._reached.clear()
            self._connected.clear()
            self._joined.clear()
            self._reach([bridge for bridge, own in self._own.items() if own])
        left = [key for key in (before if self._is_stale else self._left) if not self._connected.get(key)]
        joined, self._joined, self._left, self._is_stale = self._joined, [], [], False
        return joined, [key for key in dict.fromkeys(left) if key in before]

    def connected(self) -> Iterator[Stay]:
        return (stay for stays in self._connected.values() for stay in stays.values())

    def _places(self, stay: Stay) -> Iterator[dict[int, Stay]]:
        yield self._members[stay.bridge]
        if stay.key in self.customer:
            yield self._own[stay.bridge]
        channel = channel_named(stay.key.channel)
        if channel.is_local:
            yield self._halves[channel.pair]

    def _reach(self, bridges: list[str]) -> None:
        while bridges:
            bridge = bridges.pop()
            if bridge not in self._reached:
                self._reached.add(bridge)
                for stay in self._members[bridge].values():
                    self._connect(stay)
                    bridges += self._across(stay)

    def _connect(self, stay: Stay) -> None:
        if stay.key not in self.customer:
            self._connected[stay.key][id(stay)] = stay
            self._joined.append(stay)

    def _across(self, stay: Stay) -> list[str]:
        """The bridges of the other half, where this stay is one half of a Local channel."""
        channel = channel_named(stay.key.channel)
        if not channel.is_local:
            return []
        others = self._halves[channel.pair].values()
        return [other.bridge for other in others if channel_named(other.key.channel).half != channel.half]


def _changes(conversation: Conversation, customer: frozenset[ChannelKey], end: int) -> Iterator[tuple[int, _Inside]]:
    """Each position at which a stay begins or ends, with the stays that last after it, where people can talk."""
    begins: dict[int, list[Stay]] = defaultdict(list)
    ends: dict[int, list[Stay]] = defaultdict(list)
    for stay in conversation.stays:
        begins[stay.first].append(stay)
        ends[stay.last].append(stay)
    inside = _Inside(customer=customer)
    for position in sorted(position for position in {*begins, *ends} if position < end):
        for stay in ends.get(position, ()):
            inside.leave(stay)
        for stay in begins.get(position, ()):
            if stay.bridge not in conversation.holding and stay.last > position:
                inside.enter(stay)
        yield position, inside
