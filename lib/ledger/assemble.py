"""
From a stored event to what the CRM must hear: link, fold, plan, enter into the ledger.

One short transaction per wake-up, nothing sent inside it. What a call means is derived again from all its stored
events each time, so order, copies and lost wake-ups change nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from psycopg import errors

from lib.calls import call as folding
from lib.calls import event as parsing
from lib.calls import linking
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.plan import CallRow, Plan, plan
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import directory, settings
from lib.intake.messages import WakeCall
from lib.ledger import codec
from lib.runtime import db, failpoints
from lib.runtime.db import Connection
from lib.runtime.errors import NotFound, TransientError, Unavailable
from lib.store import calls, deliveries, events, host_clocks
from lib.store.deliveries import Delivery
from lib.store.enterprises import Enterprise
from lib.store.events import NewEvent, StoredEvent

log = logging.getLogger(__name__)

_ROUNDS: Final = 10
# How far from an event the calls around it are read: what lies farther decides nothing about it.
_REACH: Final = 3
_WAITING: Final = 1000
# Of so many enterprises, those looked at last, the link keys of what waits are kept.
_KEPT: Final = 20
# Events that usually make the CRM hear something.
_TELLING: Final = ("dial", "hangup")


@dataclass(frozen=True, kw_only=True)
class Group:
    """
    Events that belong to one call, and the row that holds it (None: a new one).

    `gained`: it has an event that no row held; `regrouped`: rows were joined, or one was split.
    """

    events: Sequence[CallEvent]
    call_id: int | None
    gained: bool
    regrouped: bool


class _WaitingKeys:
    """In a backlog every look meets the same waiting events: their link keys are not made anew each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Directory, dict[str, calls.Keys]]] = OrderedDict()

    def of(self, enterprise_number: str, known: Directory, waiting: Sequence[StoredEvent]) -> dict[str, calls.Keys]:
        made_with, kept = self._kept.get(enterprise_number, (known, dict[str, calls.Keys]()))
        if made_with != known:
            kept = {}
        keys = {one.event_id: kept.get(one.event_id) or _keys(parsed(one), known) for one in waiting}
        with self._lock:
            self._kept[enterprise_number] = known, keys
            self._kept.move_to_end(enterprise_number)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return keys


_waiting_keys = _WaitingKeys()


class _Look(Enum):
    """Which stored events that are part of no call yet are looked at beside the message's own."""

    OWN = auto()
    ALL = auto()
    WITHOUT_SUSPECTS = auto()


class _MoreIsWaiting(Exception):
    """The CRM would be told something, and stored events that may belong to the call were not looked at."""


def assemble(message: NewEvent | WakeCall) -> list[int]:
    """
    Brings the call of this message up to date; the ids of the calls that may have something due.

    Raises NotFound for an enterprise that is not there, Unavailable.
    """
    enterprise = enterprise_cache().by_number(message.enterprise_number)
    if not isinstance(message, WakeCall) and message.event_type not in _TELLING:
        with suppress(_MoreIsWaiting):
            return _assemble(enterprise, message, _Look.OWN)
    try:
        return _assemble(enterprise, message, _Look.ALL)
    except (TransientError, NotFound):
        raise
    except Exception:
        # An event that cannot be assembled holds up nothing but itself; one that only waited long is no such event.
        log.exception("tried again without the events that were woken in vain")
        return _assemble(enterprise, message, _Look.WITHOUT_SUSPECTS)


def _assemble(enterprise: Enterprise, message: NewEvent | WakeCall, look: _Look) -> list[int]:
    with db.transaction() as conn:
        if isinstance(message, WakeCall):
            return _update(conn, enterprise, None, message.call_id, look)
        event = _stored(conn, message)
        if event.call_id is not None:
            return [event.call_id]
        return _update(conn, enterprise, event, None, look)


def _stored(conn: Connection, message: NewEvent) -> StoredEvent:
    """The event as stored; stored now if intake could not."""
    found = events.find_event(conn, message.event_id)
    if found is None:
        try:
            stored = events.insert_event(conn, message)
        except errors.UniqueViolation as error:
            raise Unavailable("The same message is being stored at this moment") from error
        failpoints.hit("K3")
        found = events.find_event(conn, stored.event_id)
    if found is None:
        raise Unavailable("The event is not to be read back")
    return found


def _update(
    conn: Connection, enterprise: Enterprise, event: StoredEvent | None, awake: int | None, look: _Look
) -> list[int]:
    known = directory(enterprise)
    waiting = [] if look is _Look.OWN else _waiting(conn, enterprise, known, event, awake, look)
    arrived = [parsed(one) for one in ([event] if event else []) + waiting]
    keys = [_keys(one, known) for one in arrived]
    now = calls.lock_keys(conn, enterprise.number, [name for one in keys for name in _lock_names(one)])
    found = calls.find_linked(conn, enterprise.number, keys) | ({awake} if awake else set())
    rows, stored = _neighbours(conn, enterprise.number, known, keys, found)
    if not stored and not arrived:
        # The call became part of another one, which has a timer of its own; or its events are not kept any more, and
        # something of it is sent again.
        return [awake] if awake else []
    row_ids = [row.id for row in rows]
    home: dict[str, int | None] = {other.event_id: other.call_id for other in stored}
    members = [parsed(other) for other in stored]
    gained = [one for one in arrived if one.event_id not in home]
    home |= dict.fromkeys((one.event_id for one in gained), None)
    members += gained
    groups = _place(linking.group(members, known), home, rows)
    ledger = _share(_ledger(conn, row_ids), groups, home)
    touched = [
        _write(conn, enterprise, known, group, ledger[index], rows, home, now, thorough=look is not _Look.OWN)
        for index, group in enumerate(groups)
        if group.regrouped or group.gained or group.call_id == awake
    ]
    gone = set(row_ids) - {group.call_id for group in groups}
    if gone:
        calls.delete_calls(conn, sorted(gone))
    return [call_id for call_id in touched if call_id is not None]


def _waiting(  # noqa: PLR0917  (one caller)
    conn: Connection,
    enterprise: Enterprise,
    known: Directory,
    event: StoredEvent | None,
    awake: int | None,
    look: _Look,
) -> list[StoredEvent]:
    """
    Stored events that may belong to this call, and whose own message is still on its way: what is decided now is
    decided from all that is stored, whichever message comes first.
    """
    own = event.event_id if event else None
    found = events.list_waiting(
        conn,
        enterprise.number,
        near=event.received_at if event else None,
        limit=_WAITING,
        unique_id=event.unique_id if event else "",
        call_id=awake,
        without_suspects=look is _Look.WITHOUT_SUSPECTS,
    )
    keys = _waiting_keys.of(enterprise.number, known, found)
    left = {other.event_id: (other, keys[other.event_id]) for other in found if other.event_id != own}
    chosen: list[StoredEvent] = []
    fresh = [_keys(parsed(event), known)] if event else []
    stored, sought = set[str](), set[str]()
    call_ids, to_read = set[int](), {awake} if awake else set[int]()
    while left and (fresh or to_read):
        to_read |= calls.find_linked(conn, enterprise.number, fresh) - call_ids
        if to_read:
            fresh += [_keys(parsed(other), known) for other in events.list_events(conn, sorted(to_read))]
        call_ids |= to_read
        to_read = set()
        for one in fresh:
            stored |= {*one.exact, *one.weak}
            sought |= {*one.exact, *(key for key, _, _ in one.sought)}
        reached = [
            event_id
            for event_id, (_, one) in left.items()
            if not sought.isdisjoint({*one.exact, *one.weak}) or not stored.isdisjoint(key for key, _, _ in one.sought)
        ]
        fresh = [left[event_id][1] for event_id in reached]
        chosen += [left.pop(event_id)[0] for event_id in reached]
    return chosen


def _ledger(conn: Connection, call_ids: Sequence[int]) -> list[Delivery]:
    """What the calls were told, with what dead workers left settled."""
    ledger = deliveries.list_deliveries(conn, call_ids) if call_ids else []
    if any(delivery.state == "leased" for delivery in ledger):
        deliveries.settle_lost_leases(conn, call_ids)
        ledger = deliveries.list_deliveries(conn, call_ids)
    return ledger


def _neighbours(
    conn: Connection, enterprise_number: str, known: Directory, keys: Sequence[calls.Keys], found: set[int]
) -> tuple[list[calls.StoredCall], list[StoredEvent]]:
    """
    The calls that may have to do with each other, locked, and their events: what is found, what its events lead to,
    and so on, but not for ever: the calls of somebody who rings all day are a chain. Rows are locked in one order; a
    round that finds more lets go and starts again. So does one that finds less: while it waited for a row, that call
    may have become part of another.
    """
    if not found:
        return [], []
    for step in range(_ROUNDS):
        with conn.transaction() as attempt:
            rows = calls.lock_calls(conn, enterprise_number, found)
            stored = events.list_events(conn, [row.id for row in rows])
            theirs = [_keys(parsed(event), known) for event in stored]
            more = calls.find_linked(conn, enterprise_number, [*keys, *theirs])
            settled = more <= {row.id for row in rows}
            if not settled and step >= _REACH:
                more = calls.find_linked(conn, enterprise_number, keys)
                settled = more <= {row.id for row in rows}
            attempt.force_rollback = not settled
        if settled:
            return rows, stored
        found = {row.id for row in rows} | more
    raise Unavailable("The calls around this event change faster than they can be read")


def _place(
    grouped: Sequence[Sequence[CallEvent]], home: Mapping[str, int | None], rows: Sequence[calls.StoredCall]
) -> list[Group]:
    """Which row holds which group: the one whose main id is in it, else the oldest of its rows that is free."""
    holder: dict[int, int] = {}
    for row in rows:
        for index, members in enumerate(grouped):
            if index not in holder.values() and any(
                event.unique_id == row.main_unique_id and home[event.event_id] == row.id for event in members
            ):
                holder[row.id] = index
    for index, members in enumerate(grouped):
        free = sorted({home[event.event_id] for event in members} - {None, *holder}, key=lambda row_id: row_id or 0)
        if index not in holder.values() and free and free[0] is not None:
            holder[free[0]] = index
    row_of = {index: row_id for row_id, index in holder.items()}
    return [
        Group(
            events=members,
            call_id=row_of.get(index),
            gained=any(home[event.event_id] is None for event in members),
            regrouped=_came_together(members, home, row_of.get(index)),
        )
        for index, members in enumerate(grouped)
    ]


def _came_together(members: Sequence[CallEvent], home: Mapping[str, int | None], row_id: int | None) -> bool:
    """Whether this is another set of stored events than the row held so far."""
    were = {event_id for event_id, where in home.items() if where == row_id and where is not None}
    are = {event.event_id for event in members if home[event.event_id] is not None}
    return were != are


def _share(
    ledger: Sequence[Delivery], groups: Sequence[Group], home: Mapping[str, int | None]
) -> dict[int, list[Delivery]]:
    """What was told goes with the id it was told under; when that id is in no group, with the row's events."""
    shared: dict[int, list[Delivery]] = {index: [] for index in range(len(groups))}
    for delivery in ledger:
        index = next(
            (i for i, g in enumerate(groups) if any(e.unique_id == delivery.external_id for e in g.events)),
            next(i for i, g in enumerate(groups) if any(home[e.event_id] == delivery.call_id for e in g.events)),
        )
        shared[index].append(delivery)
    return shared


def _write(  # noqa: PLR0917  (one caller; each is a part of the story)
    conn: Connection,
    enterprise: Enterprise,
    known: Directory,
    group: Group,
    ledger: Sequence[Delivery],
    rows: Sequence[calls.StoredCall],
    home: Mapping[str, int | None],
    now: datetime,
    *,
    thorough: bool,
) -> int | None:
    """Folds and plans one group and stores what came out; the id of its row if the CRM has something to hear."""
    policy = settings(enterprise)
    folded = folding.assemble(group.events, known, policy, now)
    came_from = {home[event.event_id] for event in group.events}
    decided = [codec.decision_from_json(one) for row in rows if row.id in came_from for one in row.decisions]
    planned = plan(folded, [codec.told(delivery) for delivery in ledger], now, policy, decided)
    if planned.wanted and not thorough:
        raise _MoreIsWaiting
    state = _state(folded, planned, group.events)
    if group.call_id is None:
        call_id = calls.insert_call(conn, enterprise.number, state)
    else:
        call_id = group.call_id
        calls.update_call(conn, call_id, state)
    if group.regrouped:
        calls.delete_links(conn, [call_id])
    fresh = [event for event in group.events if group.regrouped or home[event.event_id] is None]
    calls.upsert_links(conn, enterprise.number, call_id, [_keys(event, known) for event in fresh])
    events.assign_call(conn, [e.event_id for e in group.events if home[e.event_id] != call_id], call_id)
    if any(isinstance(wanted, CallRow) for wanted in planned.wanted):
        host_clocks.observe(
            conn,
            enterprise.number,
            lag_seconds=folded.clock.lag_seconds,
            wall_seconds=folded.clock.wall_seconds,
        )
    if not ledger and not planned.wanted:
        return None
    moved = [delivery.id for delivery in ledger if delivery.call_id != call_id]
    if moved:
        deliveries.move_deliveries(conn, moved, call_id)
    if planned.withdraw_popups and ledger:
        deliveries.withdraw_popups(conn, call_id, reason="call_over")
    if planned.withdraw_rows:
        deliveries.withdraw_rows(conn, call_id, planned.withdraw_rows)
    wanted = [codec.new_delivery(notice, now) for notice in planned.wanted]
    if any(delivery.effect == "upload" for delivery in ledger):
        for new in wanted:
            if new.effect == "upload":
                deliveries.renew_row(conn, call_id, new)
        deliveries.mark_stale_rows(conn, call_id)
    deliveries.insert_deliveries(conn, enterprise.number, call_id, wanted)
    deliveries.settle_timer(conn, call_id)
    return call_id


def _state(folded: folding.Call, planned: Plan, members: Sequence[CallEvent]) -> calls.CallState:
    moments = [event.moment for event in members]
    return calls.CallState(
        main_unique_id=folded.main_unique_id,
        kind=folded.kind,
        customer=folded.customer,
        line_id=folded.line_id,
        result=folded.result,
        owner_extension=folded.owner_extension,
        started_at=folded.started_at,
        first_event_at=min(moments),
        last_event_at=max(moments),
        over_at=folded.over_at,
        due_at=planned.wake_at,
        decisions=[codec.decision_as_json(decision) for decision in (*planned.decisions, *folded.warnings)],
    )


def parsed(event: StoredEvent) -> CallEvent:
    """A stored event as the rules read it."""
    return parsing.parse(
        parsing.RawEvent(
            event_id=event.event_id,
            event_type=event.event_type,
            unique_id=event.unique_id,
            raw=event.raw,
            received_at=event.received_at,
            origin=event.data_source,
            record_url=event.record_url,
        )
    )


def _keys(event: CallEvent, known: Directory) -> calls.Keys:
    found = linking.link_keys(event, known)
    return calls.Keys(
        exact=sorted(found.exact), weak=sorted(found.weak), sought=sorted(found.sought), moment=event.moment
    )


def _lock_names(keys: calls.Keys) -> list[str]:
    """The two sides of a weak key (`c<…`, `c>…`) meet at one lock."""
    return [*keys.exact, *(key.replace("<", ":", 1).replace(">", ":", 1) for key in keys.weak)]
