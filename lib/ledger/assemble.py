"""
From stored events to what each CRM must hear: link, fold, plan, enter into the ledger.

One process at a time assembles an enterprise, and takes along every event of it that waits; whoever comes meanwhile
leaves its event and goes. One short transaction in two round trips, nothing sent inside it. What a call means is
derived again from all its stored events each time, so order, copies and lost wake-ups change nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from psycopg import errors

from lib.calls import call as folding
from lib.calls import event as parsing
from lib.calls import linking
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.keys import SPANS
from lib.calls.plan import CallRow, Plan, plan
from lib.calls.settings import Settings
from lib.enterprises import rules
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall
from lib.ledger import codec, deliver
from lib.ledger.crm import CRM
from lib.ledger.deliver import Admitted
from lib.runtime import db, failpoints, pipeline
from lib.runtime.db import Connection
from lib.runtime.errors import NotFound, TransientError, Unavailable
from lib.store import deliveries, events, host_clocks, neighbourhood, notices, rows
from lib.store.deliveries import Delivery
from lib.store.enterprises import Enterprise
from lib.store.events import NewEvent, StoredEvent
from lib.store.neighbourhood import CallChange, CallState, Found, Keys, NearCall, Question, Turn
from lib.store.rows import Lane
from lib.store.states import LIVE

log = logging.getLogger(__name__)

# A round that meets a call which retention is just forgetting begins again.
_ROUNDS: Final = 5
# Of so many enterprises the link keys of events that wait are kept.
_KEPT: Final = 20
_SPANS: Final = [
    neighbourhood.Span(side=side, other=other, before=before, after=after)
    for side, (other, before, after) in SPANS.items()
]


@dataclass(frozen=True, kw_only=True)
class Round:
    """
    What came of one message. `is_ours` False: another process is at the enterprise, and goes on with what waits.
    `admitted`: what this process is to send now; `others`: CRMs that other functions serve, each with a call that has
    new notices for it; `lanes`: where rows of history are due; `left`: an event that came meanwhile.
    """

    is_ours: bool
    admitted: Admitted = field(default_factory=Admitted)
    others: Sequence[tuple[str, int]] = ()
    lanes: Sequence[Lane] = ()
    left: StoredEvent | None = None


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


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one CRM's plan goes by."""

    crm: str
    directory: Directory
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    Everything about the calls around the events that wait. `home`: the call that holds each stored event, None for one
    that waits.
    """

    enterprise: Enterprise
    linking: Directory
    rules: Sequence[Rules]
    turn: Turn
    found: Found
    calls: Mapping[int, NearCall]
    home: Mapping[str, int | None]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One CRM's plan for a call, and what that CRM was told of it."""

    rules: Rules
    call: folding.Call
    plan: Plan
    ledger: Sequence[Delivery]


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A call as it is to be stored. `ledger`: what every CRM was told of it."""

    change: CallChange
    planned: Sequence[Planned]
    ledger: Sequence[Delivery]

    @property
    def call_id(self) -> int:
        return self.change.call_id


class _WaitingKeys:
    """In a backlog every round meets the same waiting events: their link keys are not made anew each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Directory, dict[str, Keys]]] = OrderedDict()

    def of(self, enterprise_number: str, known: Directory, waiting: Sequence[StoredEvent]) -> dict[str, Keys]:
        made_with, kept = self._kept.get(enterprise_number, (known, dict[str, Keys]()))
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


class _Changed(Exception):
    """A call that was read is not there any more, or its events are not."""


def assemble(message: NewEvent | WakeCall, *, crm: CRM | None, crms: Mapping[str, CRM]) -> Round:
    """
    Brings the calls of this message, and of every event of its enterprise that waits, up to date. What `crm`, if there
    is one, must hear first is claimed in the same transaction.

    Raises NotFound for an enterprise that is not there, Unavailable.
    """
    enterprise = enterprise_cache().by_number(message.enterprise_number)
    try:
        return _assemble(enterprise, message, crm, crms)
    except (TransientError, NotFound):
        raise
    except Exception:
        # An event that cannot be assembled holds up nothing but itself.
        log.exception("tried again without other events that wait")
        return _assemble(enterprise, message, crm, crms, alone=True)


def _assemble(
    enterprise: Enterprise,
    message: NewEvent | WakeCall,
    crm: CRM | None,
    crms: Mapping[str, CRM],
    *,
    alone: bool = False,
) -> Round:
    known = rules.directory(enterprise, None)
    for _ in range(_ROUNDS):
        try:
            with pipeline.transaction() as current:
                asked = neighbourhood.take_turn(current.conn, enterprise.number)
                question = _question(message, known, alone=alone)
                answer = neighbourhood.read(current.conn, question, _SPANS)
                turn = neighbourhood.turn(asked)
                found = neighbourhood.found(answer, enterprise.number)
                is_stored = found.is_stored or isinstance(message, WakeCall)
                if turn.is_ours and is_stored:
                    found = _with_neighbours_of_waiting(current.conn, question, found, known)
                    scene = _scene(enterprise, known, crms, turn, found)
                    return _update(current, scene, message, crm)
                current.roll_back()
        except _Changed:
            continue
        except errors.UniqueViolation as error:
            raise Unavailable("Two calls that are one are being told of at this moment") from error
        if is_stored:
            return Round(is_ours=False)
        assert not isinstance(message, WakeCall)  # noqa: S101  (a call is always stored)
        message = _stored(message)
    raise Unavailable("The calls around this event change faster than they can be read")


def _question(message: NewEvent | WakeCall, known: Directory, *, alone: bool) -> Question:
    number = message.enterprise_number
    if isinstance(message, WakeCall):
        return Question(enterprise_number=number, awake=message.call_id, alone=alone)
    keys = []
    if message.received_at is not None:
        # The message carries the whole event, so its neighbours are found before it is read.
        keys = [_keys(parsed(message), known)]
    return Question(
        enterprise_number=number,
        event_id=message.event_id,
        unique_id=message.unique_id,
        near=message.received_at,
        keys=keys,
        alone=alone,
    )


def _stored(message: NewEvent) -> NewEvent:
    """Now, because intake could not; of a copy, the first one."""
    with db.transaction() as conn:
        try:
            stored = events.insert_event(conn, message)
        except errors.UniqueViolation as error:
            raise Unavailable("The same message is being stored at this moment") from error
        failpoints.hit("K3")
    return replace(message, event_id=stored.event_id, received_at=stored.received_at)


def _with_neighbours_of_waiting(conn: Connection, question: Question, found: Found, known: Directory) -> Found:
    """The message's own event found its neighbours already; others that wait have theirs."""
    others = [one for one in found.waiting if not question.keys or one.event_id != question.event_id]
    if not others:
        return found
    keys = _waiting_keys.of(question.enterprise_number, known, others)
    wider = replace(question, keys=[*question.keys, *keys.values()])
    return neighbourhood.found(neighbourhood.read(conn, wider, _SPANS), question.enterprise_number)


def _scene(enterprise: Enterprise, known: Directory, crms: Mapping[str, CRM], turn: Turn, found: Found) -> Scene:
    names = [name for name in crms if name in enterprise.integrations] or list(crms)[:1]
    home: dict[str, int | None] = {event.event_id: call.id for call in found.calls for event in call.events}
    return Scene(
        enterprise=enterprise,
        linking=known,
        rules=[
            Rules(crm=name, directory=rules.directory(enterprise, name), settings=rules.settings(enterprise, name))
            for name in names
        ],
        turn=turn,
        found=found,
        calls={call.id: call for call in found.calls},
        home=home | dict.fromkeys((event.event_id for event in found.waiting), None),
    )


def _update(current: pipeline.Transaction, scene: Scene, message: NewEvent | WakeCall, crm: CRM | None) -> Round:
    conn, number = current.conn, scene.enterprise.number
    awake = message.call_id if isinstance(message, WakeCall) else None
    groups = _groups(scene)
    derived = list(_derive(conn, scene, groups, awake))
    gone = {call.id for call in scene.calls.values() if call.events} - {group.call_id for group in groups}
    touched = {one.call_id for one in derived}
    read = sorted((touched | gone) & scene.calls.keys())
    locked = neighbourhood.lock_calls(conn, read)
    for one in derived:
        _write(conn, scene, one)
    if has_rows := [one.call_id for one in derived if any(told.effect == "upload" for told in one.ledger)]:
        rows.mark_stale(conn, has_rows)
    lanes = tuple(dict.fromkeys(lane for one in derived for lane in _lanes(number, one)))
    # Behind all rows: whoever holds a row may wait for its lane's timer, and never the other way round.
    for lane in lanes:
        rows.wake(conn, lane)
    if gone:
        neighbourhood.delete_calls(conn, sorted(gone))
    to_claim = {one.call_id for one in derived if crm and _may_have_notice(one, {crm.name})}
    own = awake or scene.found.home
    if own is not None and own not in touched | gone:
        # Its own message comes again; or its events are not kept any more, and something of it is sent again.
        notices.lock_calls(conn, [own])
        notices.settle_lost_leases(conn, [own])
        to_claim.add(own)
    claiming = deliver.claim(conn, crm, scene.enterprise, sorted(to_claim)) if crm and to_claim else None
    if len(locked.fetchall()) < len(read):
        raise _Changed
    admitted = deliver.admit(conn, claiming, sorted(to_claim)) if claiming else Admitted()
    not_ours = {one.crm for one in scene.rules if crm is None or one.crm != crm.name}
    timed = {one.call_id for one in derived if _may_have_notice(one, not_ours)} - to_claim
    if timed:
        deliveries.settle_timers(conn, sorted(timed))
    current.commit()
    left = neighbourhood.find_left(conn, number)
    return Round(
        is_ours=True,
        admitted=admitted,
        others=[(name, one.call_id) for one in derived for name in sorted(not_ours) if _wants_notice(one, {name})],
        lanes=lanes,
        left=neighbourhood.left(left, number),
    )


def _groups(scene: Scene) -> list[Group]:
    stored = [event for call in scene.calls.values() for event in call.events]
    members = [parsed(event) for event in (*stored, *scene.found.waiting)]
    return _place(linking.group(members, scene.linking), scene.home, list(scene.calls.values()))


def _derive(conn: Connection, scene: Scene, groups: Sequence[Group], awake: int | None) -> Iterator[Derived]:
    """Every call that gained or lost an event, or woke: folded and planned again."""
    ledger = _share([one for call in scene.calls.values() for one in call.ledger], groups, scene.home)
    chosen = [
        (group, ledger[index])
        for index, group in enumerate(groups)
        if group.regrouped or group.gained or group.call_id == awake
    ]
    new = sum(group.call_id is None for group, _ in chosen)
    ids = iter([scene.turn.new_call_id, *(neighbourhood.new_call_ids(conn, new - 1) if new > 1 else ())])
    for group, told in chosen:
        yield _derived(scene, group, told, next(ids) if group.call_id is None else group.call_id)


def _derived(scene: Scene, group: Group, ledger: Sequence[Delivery], call_id: int) -> Derived:
    came_from = {scene.home[event.event_id] for event in group.events} - {None}
    decisions = [one for origin in came_from if origin for one in scene.calls[origin].decisions]
    planned = []
    for one in scene.rules:
        call = folding.assemble(group.events, one.directory, one.settings, scene.turn.now)
        mine = [delivery for delivery in ledger if delivery.crm == one.crm]
        told = [codec.told(delivery) for delivery in mine]
        decided = codec.decisions_of(decisions, one.crm)
        planned.append(
            Planned(rules=one, call=call, plan=plan(call, told, scene.turn.now, one.settings, decided), ledger=mine)
        )
    fresh = [event for event in group.events if group.regrouped or scene.home[event.event_id] is None]
    change = CallChange(
        call_id=call_id,
        state=_state(planned, group.events),
        gained=[event.event_id for event in group.events if scene.home[event.event_id] != call_id],
        keys=[_keys(event, scene.linking) for event in fresh],
        forgets_links=group.regrouped,
    )
    return Derived(change=change, planned=planned, ledger=ledger)


def _write(conn: Connection, scene: Scene, derived: Derived) -> None:
    """Stores a call, and enters into the ledger what its CRMs must hear."""
    number, call_id = scene.enterprise.number, derived.call_id
    neighbourhood.write_call(conn, number, derived.change)
    moved = [delivery.id for delivery in derived.ledger if delivery.call_id != call_id]
    if moved:
        deliveries.move_deliveries(conn, moved, call_id)
    if any(delivery.state == "leased" for delivery in derived.ledger):
        notices.settle_lost_leases(conn, [call_id])
    for planned in derived.planned:
        _enter(conn, scene, call_id, planned)


def _enter(conn: Connection, scene: Scene, call_id: int, planned: Planned) -> None:
    crm, wanted = planned.rules.crm, planned.plan
    if any(isinstance(notice, CallRow) for notice in wanted.wanted):
        clock = planned.call.clock
        host_clocks.observe(
            conn, scene.enterprise.number, lag_seconds=clock.lag_seconds, wall_seconds=clock.wall_seconds
        )
    if wanted.withdraw_popups and any(one.effect == "popup" and one.state in LIVE for one in planned.ledger):
        deliveries.withdraw_popups(conn, call_id, crm=crm, reason="call_over")
    if wanted.withdraw_rows:
        rows.withdraw(conn, call_id, crm=crm, external_ids=wanted.withdraw_rows)
    new = [codec.new_delivery(crm, notice, scene.turn.now) for notice in wanted.wanted]
    if any(delivery.effect == "upload" for delivery in planned.ledger):
        for one in new:
            if one.effect == "upload":
                rows.renew(conn, call_id, one)
    if new:
        deliveries.insert_deliveries(conn, scene.enterprise.number, call_id, new)


def _lanes(enterprise_number: str, derived: Derived) -> Iterator[Lane]:
    """Where a row of this call waits, or is to."""
    for planned in derived.planned:
        wants = any(isinstance(notice, CallRow) for notice in planned.plan.wanted)
        if wants or any(one.effect == "upload" and one.state in LIVE for one in planned.ledger):
            yield Lane(enterprise_number=enterprise_number, crm=planned.rules.crm)


def _may_have_notice(derived: Derived, crms: Collection[str]) -> bool:
    return _wants_notice(derived, crms) or any(
        one.effect != "upload" and one.state in LIVE
        for planned in derived.planned
        if planned.rules.crm in crms
        for one in planned.ledger
    )


def _wants_notice(derived: Derived, crms: Collection[str]) -> bool:
    """One that the ledger did not hold yet."""
    return any(
        not isinstance(notice, CallRow)
        for planned in derived.planned
        if planned.rules.crm in crms
        for notice in planned.plan.wanted
    )


def _place(
    grouped: Sequence[Sequence[CallEvent]], home: Mapping[str, int | None], rows: Sequence[NearCall]
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


def _state(planned: Sequence[Planned], members: Sequence[CallEvent]) -> CallState:
    """As the first CRM's rules see it; what each was decided for says so."""
    moments = [event.moment for event in members]
    call = planned[0].call
    wakes = [one.plan.wake_at for one in planned if one.plan.wake_at is not None]
    return CallState(
        main_unique_id=call.main_unique_id,
        kind=call.kind,
        customer=call.customer,
        line_id=call.line_id,
        result=call.result,
        owner_extension=call.owner_extension,
        started_at=call.started_at,
        first_event_at=min(moments),
        last_event_at=max(moments),
        over_at=call.over_at,
        due_at=min(wakes, default=None),
        decisions=[
            codec.decision_as_json(decision, one.rules.crm)
            for one in planned
            for decision in (*one.plan.decisions, *one.call.warnings)
        ],
    )


def parsed(event: StoredEvent | NewEvent) -> CallEvent:
    """An event as the rules read it."""
    assert event.received_at is not None  # noqa: S101  (known as soon as it is stored)
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


def _keys(event: CallEvent, known: Directory) -> Keys:
    found = linking.link_keys(event, known)
    return Keys(exact=sorted(found.exact), weak=sorted(found.weak), sought=sorted(found.sought), moment=event.moment)
