"""
Which events belong to one call: no event carries a call id (docs/calls.md, "Which events belong to one call").

`group` is the partition of any set of events of one enterprise. `link_keys` is the same rules as an index: if
`group` puts two events together, a chain of events leads from one to the other in which each step shares an `exact`
key, or one side stores a weak key that the other seeks in a span of time. A store that keeps what was grouped adds an
event by grouping again what two steps of the keys lead to: the calls that the event finds, and those that their
events find. (Two, for an event may claim a leg that has to choose between its call and another one.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lib.calls.directory import Directory
from lib.calls.event import CallEvent, in_order
from lib.calls.keys import LinkKeys, Sought, link_keys
from lib.calls.legs import (
    NEAR,
    Outgoing,
    extensions_shown,
    follows,
    is_clicked,
    is_line,
    named_extensions,
    other_party,
)
from lib.calls.records import understood
from lib.calls.restarts import told_apart
from lib.calls.trees import Tree, Union, trees_of

__all__ = ["LinkKeys", "Sought", "group", "link_keys"]


def group(events: Iterable[CallEvent], directory: Directory) -> tuple[tuple[CallEvent, ...], ...]:
    """
    Rules 1 to 3 make trees; a tree that is no call of its own then joins the one call that may own it. The events come
    back as the directory understands them, those of an id that started again under another one.
    """
    ordered, keys = told_apart([understood(event, directory) for event in in_order(events)], directory)
    trees = [Tree(index, members, directory) for index, members in enumerate(trees_of(ordered, keys))]
    index = _Index(trees, keys)
    joined = Union(len(trees))
    owned = _join_legs(trees, index, joined)
    owners = {tree.index for tree in trees if tree.is_call} | owned
    _join_loose(trees, index, joined, owners)
    groups: dict[int, list[CallEvent]] = defaultdict(list)
    for tree in trees:
        groups[joined.find(tree.index)].extend(tree.events)
    calls_in_order = [tuple(in_order(members)) for members in groups.values()]
    return tuple(sorted(calls_in_order, key=lambda members: members[0].order))


def _join_legs(trees: Sequence[Tree], index: _Index, joined: Union) -> set[int]:
    """Joins each leg to the call that owns it; the legs that may own other trees, like calls."""
    owners: set[int] = set()
    for leg in trees:
        if leg.is_call or not leg.outgoing:
            continue
        owner = _owner_of_leg(leg, index)
        if owner is not None:
            joined.unite(leg.index, owner.index)
        if owner is not None or not leg.is_orphan_leg:
            owners.add(leg.index)
    return owners


def _join_loose(trees: Sequence[Tree], index: _Index, joined: Union, owners: set[int]) -> None:
    for loose in trees:
        if loose.is_call or loose.outgoing:
            continue
        owner = _owner_of_loose(loose, index, owners)
        if owner is not None:
            joined.unite(loose.index, owner.index)


@dataclass(eq=False)
class _Index:
    """The trees that store a weak key, with the moment: trees find each other by `link_keys` alone."""

    trees: Sequence[Tree]
    keys: Mapping[int, LinkKeys]
    _stored: dict[str, list[tuple[datetime, int]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for tree in self.trees:
            for event in tree.events:
                for key in self.keys[id(event)].weak:
                    self._stored[key].append((event.moment, tree.index))
        for stored in self._stored.values():
            stored.sort()

    def found_by(self, event: CallEvent) -> list[Tree]:
        found: dict[int, None] = {}
        for key, since, until in sorted(self.keys[id(event)].sought):
            stored = self._stored.get(key, [])
            for moment, index in stored[bisect_left(stored, (since, -1)) :]:
                if moment > until:
                    break
                found[index] = None
        return [self.trees[index] for index in found]

    def owners_for(self, tree: Tree) -> list[Tree]:
        found = {owner.index: owner for event in tree.events for owner in self.found_by(event)}
        return [owner for _, owner in sorted(found.items()) if owner is not tree]


def _owner_of_leg(leg: Tree, index: _Index) -> Tree | None:
    """
    Rule 4, a mobile leg; rule 5, a follow-me leg; rule 5a, a forwarded one. None for a record that is with its call
    already, or is a click-to-call.
    """
    found: list[tuple[tuple[int, float, int], Tree]] = []
    owners = index.owners_for(leg)
    # In a call with a dial of its own the telephone talked to that number before, which says nothing of the leg.
    without_dial = [leg, *(owner for owner in owners if not owner.is_call and not owner.outgoing)]
    for record in leg.outgoing:
        if _is_no_leg(record, leg, without_dial):
            return None
        for owner in owners:
            rank = _mobile_leg(record, owner) if record.like_mobile_leg else _follow_me_leg(leg, record, owner)
            rank = rank or _forwarded_leg(leg, record, owner)
            if rank is not None:
                found.append(((*rank, owner.index), owner))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _is_no_leg(record: Outgoing, leg: Tree, without_dial: Sequence[Tree]) -> bool:
    """It is with its call already, or it is a click-to-call."""
    return bool(follows(record, leg.events, own_call=False, directory=leg.directory)) or any(
        is_clicked(record, other.events, leg.directory) for other in without_dial
    )


def _mobile_leg(record: Outgoing, owner: Tree) -> tuple[int, float] | None:
    """Rule 4. A leg that names a living call's customer is its leg even where the `dial` with the mobile was lost."""
    if not owner.incoming_ids or not owner.lives_at(record.moment, after=NEAR):
        return None
    if record.customers and not record.customers & owner.customers:
        return None
    rung = record.number in owner.mobiles
    if not rung and not record.customers:
        return None
    # The customer who calls again at once rings the same mobile; a leg is never older than its call.
    return 2 * (record.moment < owner.began) + (not rung), abs((record.moment - owner.began).total_seconds())


def _follow_me_leg(leg: Tree, record: Outgoing, owner: Tree) -> tuple[int, float] | None:
    """Rule 5. Among several calls of this extension: the one in whose bridge it was put last before the leg."""
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
    return (0, min(past)) if past else (2, -max(ages))


def _forwarded_leg(leg: Tree, record: Outgoing, owner: Tree) -> tuple[int, float] | None:
    """Rule 5a. Among several calls that ring the telephone: the one that began to ring it last."""
    if not owner.incoming_ids or not owner.lives_at(record.moment):
        return None
    first = leg.by_id[record.unique_id][0]
    # What the leg says first may overtake the dial that it answers.
    latest = owner.received_after(record.moment)
    seen = first.received_at if first.event_type != "hangup" else latest
    extensions = record.forwarded_by(owner.customers, owner.rung, owner.directory)
    rung = (owner.ringing_since(extension, seen, heard_by=max(seen, latest)) for extension in extensions)
    since = [at for at in rung if at is not None]
    return (1, (seen - max(since)).total_seconds()) if since else None


def _owner_of_loose(loose: Tree, index: _Index, owners: set[int]) -> Tree | None:
    """
    Rules 6 to 8, and records of a consultation whose channels were never shown. Among several calls of a customer: one
    that was not over yet before one that was, one that had begun before one that had not (a click-to-call begins after
    the manager's own leg), then the stricter rule, then the nearest in time.
    """
    found: list[tuple[tuple[bool, bool, int, float, int], Tree]] = []
    for event in loose.events:
        for owner in index.found_by(event):
            rank = _loose_rank(event, owner) if owner.index in owners else None
            if rank is not None:
                apart = abs((event.moment - owner.began).total_seconds())
                to_come = rank > 0 and event.moment < owner.began
                found.append(((event.moment > owner.ended, to_come, rank, apart, owner.index), owner))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _loose_rank(event: CallEvent, owner: Tree) -> int | None:
    if event.event_type == "hangup":
        customer = owner.directory.outside(event.phone)
        if _called(owner, set(named_extensions(event, owner.directory)), customer, event.moment):
            return 0  # rule 6
        return 2 if customer in owner.customers and owner.lives_at(event.moment, after=NEAR) else None
    ends = _ends(event, owner.directory)
    if ends is None:
        return None
    extensions, customer = ends
    if _called(owner, extensions, customer, event.moment):
        return 0  # rules 6 and 7
    rings = customer in owner.customers and not extensions.isdisjoint(owner.rung)
    return 1 if rings and event.event_type == "bridge" and owner.lives_at(event.moment) else None  # rule 8


def _ends(event: CallEvent, directory: Directory) -> tuple[set[str], str | None] | None:
    """The extension and the customer whom this channel puts together; None as customer: the host does not know."""
    extensions = set(extensions_shown(event, directory))
    if extensions:
        customer = other_party(event, directory)
        return None if customer is None and event.connected_line else (extensions, customer)
    return ({event.connected_line}, directory.outside(event.caller_id)) if is_line(event, directory) else None


def _called(owner: Tree, extensions: set[str], customer: str | None, moment: datetime) -> bool:
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
