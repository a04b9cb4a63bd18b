"""Trees: events that certainly belong together, and what they show of a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final

from lib.calls import clock
from lib.calls.conversation import holding_bridges
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.keys import LOCAL_NAMES_LAST, LONGEST_CALL, LinkKeys
from lib.calls.legs import (
    NEAR,
    Outgoing,
    is_main_hangup,
    is_outgoing_record,
    named_customers,
    named_extensions,
    outgoing_records,
)

_FORGOTTEN_AFTER: Final = timedelta(seconds=90)


def trees_of(events: Sequence[CallEvent], keys: Mapping[int, LinkKeys]) -> list[list[CallEvent]]:
    """Rule 1, the same id; rule 2, the same bridge; rule 3, the halves of one Local channel within the same hour."""
    joined = Union(len(events))
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
class Tree:
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
        """
        The external numbers of the events that open or close a call; never those of a leg to a mobile, nor of whom a
        call that came in was passed on to.
        """
        legs = {record.unique_id for record in self.outgoing if self.incoming_ids or record.certainly_a_leg}
        numbers = (
            self.directory.outside(event.phone)
            for event in self.events
            if not (event.unique_id in legs and is_outgoing_record(event))
            and (event.event_type in ("start", "dial") or is_main_hangup(event) or event.call_type == 1)
        )
        return frozenset(number for number in numbers if number)

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

    def ringing_since(self, extension: str, moment: datetime, *, heard_by: datetime) -> datetime | None:
        """
        When the last dial that was heard by then named the extension, if nobody was bridged between it and the moment.
        """
        rung = [event.received_at for event in self._dials_in(before=heard_by) if extension in event.extensions]
        if not rung or any(rung[-1] < at < moment for at in self._bridged_at):
            return None
        return rung[-1]

    def _dials_in(self, *, before: datetime) -> list[CallEvent]:
        return [
            event
            for event in self.events
            if event.event_type == "dial" and event.unique_id in self.incoming_ids and event.received_at <= before
        ]

    @cached_property
    def _bridged_at(self) -> list[datetime]:
        """Receipts of entries into bridges in which people can talk."""
        holding = holding_bridges(self.events)
        return [
            event.received_at
            for event in self.events
            if event.event_type == "bridge" and event.bridge_id not in holding
        ]

    @cached_property
    def began(self) -> datetime:
        own = [event.moment for event in self.events if event.unique_id and event.epoch is not None]
        return min(own, default=self.events[0].moment)

    @cached_property
    def ended(self) -> datetime:
        """By the host's clock, like the epochs that it is compared with. A guess where nobody said so."""
        ends = [end for unique_id in self._main_ids if (end := self._hung_up_at(unique_id)) is not None]
        if ends and self.incoming_ids:
            return max(ends)
        seen = [event for event in self.events if event.live and event.event_type != "recording"]
        last_seen = self._host_time((seen or self.events)[-1].received_at)
        bridged = self._someone_is_bridged()
        if ends:
            return last_seen + _FORGOTTEN_AFTER if bridged else max(*ends, last_seen)
        if bridged or not any(event.event_type in ("bridge", "bridge_leave") for event in self.events):
            return last_seen + LONGEST_CALL
        return last_seen + _FORGOTTEN_AFTER if self.is_call else last_seen

    def _hung_up_at(self, unique_id: str) -> datetime | None:
        """Of a hangup that was sent again, the first: it says the same, only later."""
        hangups = [event for event in self.by_id[unique_id] if event.event_type == "hangup"]
        ends = (clock.hung_up_at(event, self.directory.zone) or self._host_time(event.received_at) for event in hangups)
        return min(ends, default=None)

    @cached_property
    def _main_ids(self) -> frozenset[str]:
        lone = frozenset(event.unique_id for event in self.events if is_main_hangup(event) and event.call_type != 1)
        return self.incoming_ids or lone or frozenset(record.unique_id for record in self.outgoing)

    def _host_time(self, received: datetime) -> datetime:
        return received - self._lag

    def received_after(self, moment: datetime) -> datetime:
        """When we heard at the latest of what began in this second of the host's clock."""
        return moment + self._lag + timedelta(seconds=1)

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


class Union:
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
