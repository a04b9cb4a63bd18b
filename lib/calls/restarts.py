"""
Ids that a host gives twice: its clock went back, and its channels count from an hour that has been.

A `start` with another customer on an id whose call is over begins a new call. So does the `dial` of an outgoing call on
an id that has hung up. From then on the ids that both calls share get a suffix: `1761010900.30` becomes
`1761010900.30_2`. Other calls of the same hour keep their ids. A late event of the earlier call is known by its bridge
or its customer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.keys import LONGEST_CALL, LinkKeys, keys_of
from lib.calls.legs import is_outgoing_record, named_customers
from lib.calls.trees import crowded_in, trees_of

Keys = Mapping[int, LinkKeys]

# An id without a hangup is over when its channel has left its bridge, and nothing came for so long.
_SILENCE: Final = timedelta(seconds=90)


@dataclass(frozen=True, kw_only=True)
class Apart:
    """`keys`: those by which the events are grouped (by `id`); `crowded`: what ties none of them together."""

    events: Sequence[CallEvent]
    keys: Keys
    crowded: frozenset[str]


def told_apart(ordered: Sequence[CallEvent], directory: Directory, crowded: frozenset[str] = frozenset()) -> Apart:
    """`crowded`: keys of which that is known already."""
    ordered = [event if not event.again else replace(event, unique_id=event.sent_id, again=0) for event in ordered]
    keys = {id(event): keys_of(event, directory) for event in ordered}
    crowded |= crowded_in(ordered, keys)
    cuts = _cuts(ordered, directory)
    if not cuts:
        return Apart(events=ordered, keys=keys, crowded=crowded)
    apart: dict[str, CallEvent] = {}
    for members in trees_of(ordered, keys, crowded):
        own = [event for event in members if event.event_id in cuts]
        if own:
            lives = _Lives(own, members, directory)
            apart |= {event.event_id: renamed for event in members if (renamed := lives.renamed(event)) is not event}
    events = [apart.get(event.event_id, event) for event in ordered]
    return Apart(events=events, keys={id(event): _keys(event, directory) for event in events}, crowded=crowded)


def _cuts(ordered: Sequence[CallEvent], directory: Directory) -> frozenset[str]:
    """The ids of the events that begin a new call on an old id."""
    customers: dict[str, set[str]] = defaultdict(set)
    for event in ordered:
        if customer := _opened_for(event, directory):
            customers[event.unique_id].add(customer)
    twice = {unique_id for unique_id, found in customers.items() if unique_id and len(found) > 1}
    found: set[str] = set()
    channels: dict[str, _Channel] = defaultdict(_Channel)
    for event in ordered:
        if event.unique_id in twice and channels[event.unique_id].begins_again(event, directory):
            found.add(event.event_id)
    return frozenset(found)


@dataclass(kw_only=True)
class _Channel:
    """What was seen of an id so far."""

    customer: str | None = None
    last_at: datetime | None = None
    hung_up: bool = False
    inside: set[str] = field(default_factory=set)

    def begins_again(self, event: CallEvent, directory: Directory) -> bool:
        customer = _opened_for(event, directory)
        other = customer is not None and self.customer is not None and customer != self.customer
        if other and self._is_over_for(event):
            self.customer, self.last_at, self.hung_up, self.inside = customer, event.received_at, False, set()
            return True
        self.customer = self.customer or customer
        self.last_at = event.received_at
        self.hung_up = self.hung_up or event.event_type == "hangup"
        if event.event_type == "bridge":
            self.inside.add(event.channel)
        elif event.event_type == "bridge_leave":
            self.inside.discard(event.channel)
        return False

    def _is_over_for(self, event: CallEvent) -> bool:
        """A `dial` of another number may be one more of the same call, which is over for it when it hung up."""
        if event.event_type == "dial":
            return self.hung_up and event.call_type == 1
        silence = event.received_at - (self.last_at or event.received_at)
        return self.hung_up or silence >= (LONGEST_CALL if self.inside else _SILENCE)


class _Lives:
    """The calls that follow each other on the ids of one tree, which hangs together only by these ids."""

    def __init__(self, cuts: Sequence[CallEvent], members: Sequence[CallEvent], directory: Directory) -> None:
        self._directory = directory
        self._begins = _beginnings(cuts)
        self._bridges: dict[str, int] = {}
        self._customers: dict[str, list[int]] = defaultdict(list)
        cut = {event.event_id for event in cuts}
        again = {event.unique_id for event in cuts}
        for event in members:
            life = bisect_right(self._begins, event.order)
            if event.bridge_id:
                self._bridges.setdefault(event.bridge_id, life)
            customer = _opened_for(event, directory)
            # A dial may be a late one of an earlier life, or of another channel.
            first = event.unique_id in again and customer not in self._customers
            if customer and (event.event_type == "start" or event.event_id in cut or first):
                self._customers[customer].append(life)

    def renamed(self, event: CallEvent) -> CallEvent:
        life = self._life_of(event)
        if life == 0 or not event.unique_id:
            return event
        return replace(event, unique_id=f"{event.unique_id}_{life + 1}", again=life + 1)

    def _life_of(self, event: CallEvent) -> int:
        if event.bridge_id:
            return self._bridges[event.bridge_id]
        life = bisect_right(self._begins, event.order)
        lives = self._customers.get(self._directory.outside(event.phone) or "", [life])
        return max((one for one in lives if one <= life), default=life)


def _opened_for(event: CallEvent, directory: Directory) -> str | None:
    """The customer of a record that opens a call; the number that a mobile leg dials is nobody's."""
    if event.event_type == "start":
        return directory.outside(event.phone)
    if event.event_type != "dial" or directory.is_own_line(event.phone) or _is_leg(event, directory):
        return None
    return directory.valid_number(event.phone)


def _is_leg(event: CallEvent, directory: Directory) -> bool:
    return is_outgoing_record(event) and bool(named_customers(event, directory))


def _beginnings(cuts: Sequence[CallEvent]) -> list[tuple[datetime, int, str, str]]:
    """One restart gives many ids again; the same id a third time is another restart."""
    begins: list[tuple[datetime, int, str, str]] = []
    given: set[str] = set()
    for cut in sorted(cuts, key=lambda event: event.order):
        if not begins or cut.unique_id in given:
            begins.append(cut.order)
            given.clear()
        given.add(cut.unique_id)
    return begins


def _keys(event: CallEvent, directory: Directory) -> LinkKeys:
    """An id, or a Local name, that was given again leads to no event of its former life."""
    found = keys_of(event, directory)
    if not event.again:
        return found
    return replace(
        found,
        exact=frozenset(key if key.startswith("b:") else f"u:{event.unique_id}" for key in found.exact),
        weak=frozenset(f"{key}_{event.again}" if key.startswith("l:") else key for key in found.weak),
    )
