"""
Which events belong to one call: no event carries a call id (docs/calls.md, "Which events belong to one call").

`group` is the partition of any set of events of one enterprise. `link_keys` is the same rules as an index: if
`group` puts two events together, a chain of events leads from one to the other in which each step shares an `exact`
key, or one side stores a weak key that the other seeks in a span of time. A store that follows the keys to a
fixpoint therefore loads all that matters, and nothing that merely rings the same telephones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from lib.calls import clock
from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.event import CHANNEL_EVENTS, CallEvent, in_order
from lib.calls.legs import (
    NEAR,
    Outgoing,
    follows,
    is_clicked,
    is_line,
    is_main_hangup,
    is_outgoing_record,
    named_customers,
    named_extensions,
    other_party,
    outgoing_records,
    phone_extension,
)

MOST_OWNERS: Final = 50
LONGEST_CALL: Final = timedelta(hours=4)
LONGEST_RINGING: Final = timedelta(minutes=10)
LOCAL_NAMES_LAST: Final = timedelta(hours=1)
_FORGOTTEN_AFTER: Final = timedelta(seconds=90)


class Sought(NamedTuple):
    """A weak key that matters if it was stored for a moment within this span, both ends included."""

    key: str
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkKeys:
    """
    `exact`: stored and looked up, whatever the time. `weak`: stored with `CallEvent.moment`. `sought`: looked up
    among the weak keys of others. The two sides of a weak key differ (`c<…` a call of this customer, `c>…` something
    that such a call may own), so that a thousand calls that only resemble each other do not find each other. What is
    sought belongs to the nearest call if to any: a store may stop at the `MOST_OWNERS` nearest for each key.
    """

    exact: frozenset[str]
    weak: frozenset[str]
    sought: frozenset[Sought]


def link_keys(event: CallEvent, directory: Directory) -> LinkKeys:
    exact = {f"u:{event.unique_id}"} if event.unique_id else set()
    if event.bridge_id:
        exact.add(f"b:{event.bridge_id}")
    weak = set(_weak_keys(event, directory))
    return LinkKeys(
        exact=frozenset(exact), weak=frozenset(weak), sought=frozenset(_sought(key, event.moment) for key in weak)
    )


# What a side of a weak key seeks: its other side, this long before and after itself.
_SPANS: Final = {
    # 1.3: the halves of one Local channel seek each other
    "l:": ("l:", LOCAL_NAMES_LAST, LOCAL_NAMES_LAST),
    # 1.4, 1.6-1.8: a call of a customer; a leg or channel that names the customer
    "c<": ("c>", NEAR, LONGEST_CALL),
    "c>": ("c<", LONGEST_CALL, NEAR),
    # 1.4: a call that rings a mobile; a leg to it that does not name its customer
    "m<": ("m>", NEAR, LONGEST_RINGING),
    "m>": ("m<", LONGEST_RINGING, NEAR),
    # 1.5: a call in which the extension was bridged; a follow-me leg in the name of the extension
    "e<": ("e>", NEAR, LONGEST_CALL),
    "e>": ("e<", LONGEST_CALL, NEAR),
    # 1.6: a dial of the extension; its own leg with a party that is not known
    "x<": ("x>", NEAR, NEAR),
    "x>": ("x<", NEAR, NEAR),
}


def _sought(key: str, moment: datetime) -> Sought:
    other, before, after = _SPANS[key[:2]]
    return Sought(other + key[2:], moment - before, moment + after)


def _weak_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    customer = directory.outside(event.phone)
    kind = event.event_type
    if is_outgoing_record(event):
        yield from _outgoing_keys(event, customer, directory)
    elif kind == "start" or is_main_hangup(event):
        yield from [f"c<{customer}"] * bool(customer)
    elif kind == "dial":
        yield from [f"c<{customer}"] * bool(customer)
        yield from (f"m<{mobile}" for mobile in named_customers(event, directory))
    elif kind == "hangup":
        extensions = named_extensions(event, directory)
        if customer:
            yield f"c>{customer}"
        elif len(extensions) == 1 and event.phone in ("", extensions[0]):
            yield f"x>{extensions[0]}"
    elif kind in CHANNEL_EVENTS:
        yield from _channel_keys(event, directory)
    if event.channel and channel_named(event.channel).is_local:
        yield f"l:{channel_named(event.channel).pair}"


def _outgoing_keys(event: CallEvent, number: str | None, directory: Directory) -> Iterator[str]:
    extensions = named_extensions(event, directory)
    customers = named_customers(event, directory)
    if number and not customers:
        yield f"c<{number}"
    for extension in extensions:
        yield f"x<{extension}"
        if directory.mobile_person(event.phone) is not None:
            yield f"e>{extension}"
    if not extensions:
        yield from (f"c>{customer}" for customer in customers)
        yield from [f"m>{number}"] * bool(number and not customers)


def _channel_keys(event: CallEvent, directory: Directory) -> Iterator[str]:
    extension = phone_extension(event.channel, directory)
    if extension is not None:
        yield from _phone_keys(event, extension, directory)
    elif event.event_type == "bridge_leave":
        return
    elif event.channel and channel_named(event.channel).is_local:
        # The half that runs the dialplan, and so dials, bears the name of the extension that it does it for.
        if channel_named(event.channel).half != "1" and directory.is_extension(event.caller_id):
            yield f"e>{event.caller_id}"
    elif is_line(event, directory) and directory.is_extension(event.connected_line):
        yield from [f"c>{caller}" for caller in [directory.outside(event.caller_id)] if caller]


def _phone_keys(event: CallEvent, extension: str, directory: Directory) -> Iterator[str]:
    if event.event_type != "new_callerid":
        yield f"e<{extension}"
    if event.event_type == "bridge":
        party = other_party(event, directory)
        if party:
            yield f"c>{party}"
        elif not event.connected_line:
            yield f"x>{extension}"


def group(events: Iterable[CallEvent], directory: Directory) -> tuple[tuple[CallEvent, ...], ...]:
    """Rules 1 to 3 make trees; a tree that is no call of its own then joins the one call that may own it."""
    ordered = in_order(events)
    keys = {id(event): link_keys(event, directory) for event in ordered}
    trees = [_Tree(index, members, directory) for index, members in enumerate(_trees(ordered, keys))]
    index = _Index(trees, keys)
    joined = _Union(len(trees))
    calls = [tree for tree in trees if tree.is_call]
    for leg in (tree for tree in trees if not tree.is_call and tree.outgoing):
        owner = _owner_of_leg(leg, index)
        if owner is not None:
            joined.unite(leg.index, owner.index)
        if owner is not None or not leg.is_orphan_leg:
            calls.append(leg)
    callable_trees = {tree.index for tree in calls}
    for loose in (tree for tree in trees if not tree.is_call and not tree.outgoing):
        owner = _owner_of_loose(loose, index, callable_trees)
        if owner is not None:
            joined.unite(loose.index, owner.index)
    groups: dict[int, list[CallEvent]] = defaultdict(list)
    for tree in trees:
        groups[joined.find(tree.index)].extend(tree.events)
    calls_in_order = [tuple(in_order(members)) for members in groups.values()]
    return tuple(sorted(calls_in_order, key=lambda members: members[0].order))


def _trees(events: Sequence[CallEvent], keys: Mapping[int, LinkKeys]) -> list[list[CallEvent]]:
    """1.1 the same id, 1.2 the same bridge, 1.3 the halves of one Local channel within the same hour."""
    joined = _Union(len(events))
    first: dict[str, int] = {}
    locals_: dict[str, list[int]] = defaultdict(list)
    for position, event in enumerate(events):
        for key in keys[id(event)].exact:
            joined.unite(position, first.setdefault(key, position))
        for key in keys[id(event)].weak:
            if key.startswith("l:"):
                locals_[key].append(position)
    for positions in locals_.values():
        positions.sort(key=lambda position: events[position].moment)
        for earlier, later in pairwise(positions):
            if events[later].moment - events[earlier].moment <= LOCAL_NAMES_LAST:
                joined.unite(earlier, later)
    trees: dict[int, list[CallEvent]] = defaultdict(list)
    for position, event in enumerate(events):
        trees[joined.find(position)].append(event)
    return list(trees.values())


@dataclass(eq=False)
class _Tree:
    index: int
    events: list[CallEvent]
    directory: Directory

    @cached_property
    def by_id(self) -> dict[str, list[CallEvent]]:
        found: dict[str, list[CallEvent]] = defaultdict(list)
        for event in self.events:
            found[event.unique_id].append(event)
        return found

    @cached_property
    def outgoing(self) -> list[Outgoing]:
        return outgoing_records(self.by_id, self.directory)

    @cached_property
    def incoming_ids(self) -> frozenset[str]:
        return frozenset(
            event.unique_id
            for event in self.events
            if event.event_type == "start" or (event.event_type == "dial" and event.call_type in (0, None))
        )

    @cached_property
    def is_call(self) -> bool:
        """A start or dial of its own, or the hangup of a main id; not if all that it has looks like a leg."""
        if self.incoming_ids or any(event.event_type == "dial" and event.call_type == 2 for event in self.events):
            return True
        if any(not record.like_mobile_leg and not record.like_follow_me_leg for record in self.outgoing):
            return True
        return any(is_main_hangup(event) and event.call_type != 1 for event in self.events)

    @property
    def is_orphan_leg(self) -> bool:
        return all(record.certainly_a_leg for record in self.outgoing)

    @cached_property
    def customers(self) -> frozenset[str]:
        """The external numbers of the events that open or close a call; never those of a leg to a mobile."""
        legs = {record.unique_id for record in self.outgoing if self.incoming_ids or record.certainly_a_leg}
        tails = (
            self.directory.outside(event.phone)
            for event in self.events
            if event.unique_id not in legs
            and (event.event_type in ("start", "dial") or is_main_hangup(event) or event.call_type == 1)
        )
        return frozenset(tail for tail in tails if tail)

    @cached_property
    def mobiles(self) -> frozenset[str]:
        return frozenset(
            mobile
            for event in self.events
            if event.event_type == "dial" and event.unique_id in self.incoming_ids
            for mobile in named_customers(event, self.directory)
        )

    @cached_property
    def rung(self) -> frozenset[str]:
        return frozenset(
            extension
            for event in self.events
            if event.event_type == "dial" and event.unique_id in self.incoming_ids
            for extension in named_extensions(event, self.directory)
        )

    @cached_property
    def began(self) -> datetime:
        own = [event.moment for event in self.events if event.unique_id and event.epoch is not None]
        return min(own, default=self.events[0].moment)

    @cached_property
    def ended(self) -> datetime:
        """By the host's clock, like the epochs that it is compared with. A guess where nobody said so."""
        ends = [
            clock.hung_up_at(event, self.directory.zone) or self._host_time(event.received_at)
            for event in self.events
            if event.event_type == "hangup" and event.unique_id in self._main_ids
        ]
        if ends and self.incoming_ids:
            return max(ends)
        seen = [event for event in self.events if event.live and event.event_type != "recording"]
        last_seen = self._host_time((seen or self.events)[-1].received_at)
        bridged = self._someone_is_bridged()
        if ends:
            return last_seen + _FORGOTTEN_AFTER if bridged else max(*ends, last_seen)
        left = not bridged and any(event.event_type in ("bridge", "bridge_leave") for event in self.events)
        return last_seen + (_FORGOTTEN_AFTER if left else LONGEST_CALL)

    @cached_property
    def _main_ids(self) -> frozenset[str]:
        lone = frozenset(event.unique_id for event in self.events if is_main_hangup(event) and event.call_type != 1)
        return self.incoming_ids or lone or frozenset(record.unique_id for record in self.outgoing)

    def _host_time(self, received: datetime) -> datetime:
        return received - self._lag

    @cached_property
    def _lag(self) -> timedelta:
        lags = [event.received_at - event.moment for event in self.events if event.epoch is not None]
        return min(lags, default=timedelta(0))

    def _someone_is_bridged(self) -> bool:
        inside: set[tuple[str, str]] = set()
        for event in self.events:
            if event.event_type == "bridge":
                inside.add((event.unique_id, event.channel))
            elif event.event_type == "bridge_leave":
                inside.discard((event.unique_id, event.channel))
        return bool(inside)

    def lives_at(self, moment: datetime, *, after: timedelta = timedelta(0)) -> bool:
        return self.began - NEAR <= moment <= self.ended + after


@dataclass(eq=False)
class _Index:
    """Who stores a weak key, and when: `link_keys` is the only way by which trees find each other."""

    trees: Sequence[_Tree]
    keys: Mapping[int, LinkKeys]
    _stored: dict[str, list[tuple[datetime, int]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for tree in self.trees:
            for event in tree.events:
                for key in self.keys[id(event)].weak:
                    self._stored[key].append((event.moment, tree.index))
        for stored in self._stored.values():
            stored.sort()

    def found_by(self, event: CallEvent) -> list[_Tree]:
        found: dict[int, None] = {}
        for key, since, until in sorted(self.keys[id(event)].sought):
            stored = self._stored.get(key, [])
            for moment, index in stored[bisect_left(stored, (since, -1)) :]:
                if moment > until:
                    break
                found[index] = None
        return [self.trees[index] for index in found]

    def owners_for(self, tree: _Tree) -> list[_Tree]:
        found = {owner.index: owner for event in tree.events for owner in self.found_by(event)}
        return [owner for _, owner in sorted(found.items()) if owner is not tree]


def _owner_of_leg(leg: _Tree, index: _Index) -> _Tree | None:
    """1.4 a mobile leg, 1.5 a follow-me leg."""
    found: list[tuple[tuple[int, float, int], _Tree]] = []
    owners = index.owners_for(leg)
    for owner in owners:
        for record in leg.outgoing:
            if any(is_clicked(record, other.events, leg.directory) for other in (leg, *owners)):
                return None
            rank = _mobile_leg(record, owner) if record.like_mobile_leg else _follow_me_leg(leg, record, owner)
            if rank is not None:
                found.append(((*rank, owner.index), owner))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _mobile_leg(record: Outgoing, owner: _Tree) -> tuple[int, float] | None:
    """1.4. A leg that names a living call's customer is its leg even where the `dial` with the mobile was lost."""
    if not owner.incoming_ids or not owner.lives_at(record.moment, after=NEAR):
        return None
    if record.customers and not record.customers & owner.customers:
        return None
    rung = record.number in owner.mobiles
    if not rung and not record.customers:
        return None
    return (0 if rung else 1), abs((record.moment - owner.began).total_seconds())


def _follow_me_leg(leg: _Tree, record: Outgoing, owner: _Tree) -> tuple[int, float] | None:
    """1.5. Among several calls of this extension: the one in whose bridge it was put last before the leg."""
    if not record.like_follow_me_leg or (not owner.is_call and owner.outgoing):
        return None
    if not owner.lives_at(record.moment):
        return None
    bridges = follows(record, owner.events, own_call=owner.is_call, directory=owner.directory)
    if not bridges:
        return None
    seen = leg.events[0].received_at
    ages = [(seen - event.received_at).total_seconds() for event in bridges]
    past = [age for age in ages if age >= 0]
    return (0, min(past)) if past else (1, -max(ages))


def _owner_of_loose(loose: _Tree, index: _Index, callable_trees: set[int]) -> _Tree | None:
    """
    1.6 to 1.8, and records of a consultation whose channels were never shown. Among several calls of a customer: one
    that was not over yet before one that was, then the stricter rule, then the nearest in time.
    """
    found: list[tuple[tuple[bool, int, float, int], _Tree]] = []
    for event in loose.events:
        for owner in index.found_by(event):
            rank = _loose_rank(event, owner) if owner.index in callable_trees else None
            if rank is not None:
                apart = abs((event.moment - owner.began).total_seconds())
                found.append(((event.moment > owner.ended, rank, apart, owner.index), owner))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _loose_rank(event: CallEvent, owner: _Tree) -> int | None:
    if event.event_type == "hangup":
        customer = owner.directory.outside(event.phone)
        if _called(owner, set(named_extensions(event, owner.directory)), customer, event.moment):
            return 0  # 1.6
        return 2 if customer in owner.customers and owner.lives_at(event.moment, after=NEAR) else None
    ends = _ends(event, owner.directory)
    if ends is None:
        return None
    extension, customer = ends
    if _called(owner, {extension}, customer, event.moment):
        return 0  # 1.6, 1.7
    rings = extension in owner.rung and customer in owner.customers
    return 1 if rings and event.event_type == "bridge" and owner.lives_at(event.moment) else None  # 1.8


def _ends(event: CallEvent, directory: Directory) -> tuple[str, str | None] | None:
    """The extension and the customer whom this channel puts together; None as customer: the host does not know."""
    extension = phone_extension(event.channel, directory)
    if extension is not None:
        customer = other_party(event, directory)
        return None if customer is None and event.connected_line else (extension, customer)
    return (event.connected_line, directory.outside(event.caller_id)) if is_line(event, directory) else None


def _called(owner: _Tree, extensions: set[str], customer: str | None, moment: datetime) -> bool:
    """
    One of these extensions dialled this customer within a minute of the moment. A party that the host does not know
    may be the one; a dial that was lost leaves a hangup, which does not always say whose it is.
    """
    if owner.incoming_ids or moment > owner.ended + NEAR:
        return False
    return any(
        record.number is not None
        and customer in (record.number, None)
        and abs(moment - record.moment) <= NEAR
        and (not record.extensions or bool(extensions & set(record.extensions)))
        for record in owner.outgoing
    )


class _Union:
    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def unite(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)
