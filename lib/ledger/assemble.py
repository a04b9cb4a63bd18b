"""
From stored events to what each CRM must hear: link, fold, plan, enter into the ledger.

One process at a time assembles an enterprise, and takes along every live event of it that waits, or a bite of the
recovered ones; whoever comes meanwhile leaves its event and goes. One short transaction in two round trips, nothing
sent inside it. What a call means is derived again from all its stored events each time, so order, copies and lost
wake-ups change nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from psycopg import Cursor, errors

from lib.calls.directory import Directory
from lib.calls.keys import SPANS
from lib.enterprises import rules
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall
from lib.ledger import codec, deliver
from lib.ledger.crm import CRM
from lib.ledger.deliver import Admitted
from lib.ledger.derive import Derivation, Derived, Planned, Rules, Scene, derive, keys_of, parsed
from lib.runtime import db, failpoints, pipeline
from lib.runtime.db import Connection
from lib.runtime.errors import NotFound, TransientError, Unavailable
from lib.store import deliveries, events, host_clocks, long_calls, neighbourhood, notices, rows
from lib.store.enterprises import Enterprise
from lib.store.events import NewEvent, StoredEvent
from lib.store.long_calls import Gain
from lib.store.neighbourhood import Found, Keys, Question, Turn
from lib.store.rows import Lane

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
class Bite:
    """The oldest recovered events of an enterprise that wait, `most` at most."""

    enterprise_number: str
    most: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """
    What came of one message. `is_ours` False: another process is at the enterprise, and goes on with what waits.
    `calls`: the main ids of those that were brought up to date; `admitted`: what this process is to send now;
    `others`: CRMs that other functions serve, each with a call that has new notices for it; `lanes`: where rows of
    history are due; `left`: a live event that came meanwhile.
    """

    is_ours: bool
    calls: Sequence[str] = ()
    admitted: Admitted = field(default_factory=Admitted)
    others: Sequence[tuple[str, int]] = ()
    lanes: Sequence[Lane] = ()
    left: StoredEvent | None = None


class _WaitingKeys:
    """In a backlog every round meets the same waiting events: their link keys are not made anew each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Directory, dict[str, Keys]]] = OrderedDict()

    def of(self, enterprise_number: str, known: Directory, waiting: Sequence[StoredEvent]) -> dict[str, Keys]:
        made_with, kept = self._kept.get(enterprise_number, (known, dict[str, Keys]()))
        if made_with != known:
            kept = {}
        keys = {one.event_id: kept.get(one.event_id) or keys_of(parsed(one), known) for one in waiting}
        with self._lock:
            self._kept[enterprise_number] = known, keys
            self._kept.move_to_end(enterprise_number)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return keys


_waiting_keys = _WaitingKeys()


@dataclass(frozen=True, kw_only=True)
class Around:
    """What was read, and the link keys of each event that waits."""

    found: Found
    keys: Mapping[str, Keys]


class _Changed(Exception):
    """A call that was read is not there any more, or its events are not, or they became part of another one."""


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
    except errors.UniqueViolation:
        # A pop-up of each of two calls that are one is on its way: only who joins them waits for that.
        log.info("tried again without other events that wait: two calls that are one are being told of")
    except Exception:
        # An event that cannot be assembled holds up nothing but itself.
        log.exception("tried again without other events that wait")
    try:
        return _assemble(enterprise, message, crm, crms, alone=True)
    except errors.UniqueViolation as error:
        raise Unavailable("Two calls that are one are being told of at this moment") from error


def assemble_recovered(bite: Bite, *, crms: Mapping[str, CRM]) -> Round:
    """
    Makes calls of recovered events, or brings up to date those that they belong to; claims nothing.

    Raises NotFound for an enterprise that is not there, Unavailable, and whatever one of the events raises: then
    nothing of the bite is assembled.
    """
    return _assemble(enterprise_cache().by_number(bite.enterprise_number), bite, None, crms)


def _assemble(
    enterprise: Enterprise,
    message: NewEvent | WakeCall | Bite,
    crm: CRM | None,
    crms: Mapping[str, CRM],
    *,
    alone: bool = False,
) -> Round:
    known, is_left = rules.directory(enterprise, None), False

    def update(current: pipeline.Transaction, turn: Turn, around: Around) -> Round:
        gains = _gains(around)
        return _update(
            current, _scene(enterprise, known, crms, turn, _without(gains, around.found)), gains, message, crm
        )

    for _ in range(_ROUNDS):
        try:
            done, is_stored = _take_turn(_question(message, known, alone=alone), known, update)
        except _Changed:
            continue
        if done is not None:
            return done
        if not isinstance(message, NewEvent) or (is_stored and is_left):
            return Round(is_ours=False)
        if is_stored:
            # The holder may have looked before the mark, so the turn is tried once more after it.
            _leave(message)
            is_left = True
        else:
            message = stored(message)
    raise Unavailable("The calls around this event change faster than they can be read")


def _take_turn(
    question: Question, known: Directory, update: Callable[[pipeline.Transaction, Turn, Around], Round]
) -> tuple[Round | None, bool]:
    """What `update` came to, or None if it is another process's turn or the event is not stored; whether it is."""
    with pipeline.transaction() as current:
        asked = neighbourhood.take_turn(current.conn, question.enterprise_number)
        answer = neighbourhood.read(current.conn, question, _SPANS)
        turn = neighbourhood.turn(asked)
        found = neighbourhood.found(answer, question.enterprise_number)
        is_stored = found.is_stored or question.event_id is None
        if not (turn.is_ours and is_stored):
            current.roll_back()
            return None, is_stored
        done = update(current, turn, _with_neighbours_of_waiting(current.conn, question, found, known))
        # Its answer comes with the end of the pipeline.
        left = neighbourhood.find_left(current.conn, question.enterprise_number)
    return replace(done, left=neighbourhood.left(left, question.enterprise_number)), is_stored


def _leave(message: NewEvent) -> None:
    with db.connection() as conn:
        neighbourhood.leave(conn, message.event_id)


def _question(message: NewEvent | WakeCall | Bite, known: Directory, *, alone: bool) -> Question:
    number = message.enterprise_number
    if isinstance(message, Bite):
        return Question(enterprise_number=number, recovered=message.most)
    if isinstance(message, WakeCall):
        return Question(enterprise_number=number, awake=message.call_id, alone=alone)
    keys = []
    if message.received_at is not None:
        # The message carries the whole event, so its neighbours are found before it is read.
        keys = [keys_of(parsed(message), known)]
    return Question(
        enterprise_number=number,
        event_id=message.event_id,
        unique_id=message.unique_id,
        near=message.received_at,
        keys=keys,
        alone=alone,
    )


def stored(message: NewEvent) -> NewEvent:
    """Stored now, because intake could not; of a copy, the first one. Raises Unavailable."""
    with db.transaction() as conn:
        try:
            done = events.insert_event(conn, message)
        except errors.UniqueViolation as error:
            raise Unavailable("The same message is being stored at this moment") from error
        failpoints.hit("event_inserting")
    return replace(message, event_id=done.event_id, received_at=done.received_at)


def _with_neighbours_of_waiting(conn: Connection, question: Question, found: Found, known: Directory) -> Around:
    """
    Adds the calls around the other events that wait. An event that was stored after the first read stays waiting: its
    neighbours were not sought. Its own message assembles it.
    """
    own: dict[str, Keys] = {}
    if question.event_id is not None and question.keys and found.home is None:
        own[question.event_id] = question.keys[0]
    others = [one for one in found.waiting if one.event_id not in own]
    if not others:
        return Around(found=found, keys=own)
    keys = own | _waiting_keys.of(question.enterprise_number, known, others)
    wider = replace(question, keys=list(keys.values()), is_wide=True)
    again = neighbourhood.found(neighbourhood.read(conn, wider, _SPANS), question.enterprise_number)
    asked_for = {one.event_id for one in found.waiting}
    return Around(found=replace(again, waiting=[one for one in again.waiting if one.event_id in asked_for]), keys=keys)


def _gains(around: Around) -> list[Gain]:
    """What becomes part of calls that rest; not what is of a channel whose call was read, whatever its bridge."""
    if not around.found.resting_by_key:
        return []
    read = {event.unique_id for call in around.found.calls for event in call.events} - {""}
    joining: dict[int, dict[str, Keys]] = {}
    for one in around.found.waiting:
        keys = around.keys[one.event_id]
        if one.unique_id in read:
            continue
        for key in sorted(keys.exact, reverse=True):
            if call_id := around.found.resting_by_key.get(key):
                joining.setdefault(call_id, {})[one.event_id] = keys
                break
    return [
        Gain(
            call_id=call_id,
            event_ids=sorted(events),
            keys=[(key, one.moment) for one in events.values() for key in (*one.exact, *one.weak)],
        )
        for call_id, events in sorted(joining.items())
    ]


def _without(gains: Sequence[Gain], found: Found) -> Found:
    gained = {event_id for one in gains for event_id in one.event_ids}
    return replace(found, waiting=[one for one in found.waiting if one.event_id not in gained])


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


def _update(
    current: pipeline.Transaction,
    scene: Scene,
    gains: Sequence[Gain],
    message: NewEvent | WakeCall | Bite,
    crm: CRM | None,
) -> Round:
    conn = current.conn
    awake = message.call_id if isinstance(message, WakeCall) else None
    derived = derive(scene, awake=awake, new_ids=lambda count: _new_ids(conn, scene, count))
    touched = {one.call_id for one in derived.calls} | derived.gone
    read = touched & scene.calls.keys()
    own = awake or scene.found.home
    # Its own message comes again; or its events are not kept any more, and something of it is sent again.
    untouched = {own} - touched if own is not None else set()
    # All at once, and before anything of theirs.
    locked = neighbourhood.lock_calls(conn, sorted(read | untouched | scene.found.resting))
    if leased := untouched | derived.leased:
        # Before their deliveries move: what a dead worker left must not stand in the way.
        notices.settle_lost_leases(conn, sorted(leased))
    lanes, written = _write(conn, scene, derived)
    written += _write_gains(conn, scene, gains)
    ours = {crm.name} if crm else set()
    to_claim = {one.call_id for one in derived.calls if one.may_have_notice(ours)} | untouched
    claiming = deliver.claim(conn, crm, scene.enterprise, sorted(to_claim)) if crm and to_claim else None
    if not _is_as_read(read, derived, gains, locked, written):
        raise _Changed
    admitted = deliver.admit(conn, claiming, sorted(to_claim)) if claiming else Admitted()
    others = {one.crm for one in scene.rules} - ours
    timed = {one.call_id for one in derived.calls if one.may_have_notice(others)} - to_claim
    if timed:
        deliveries.settle_timers(conn, sorted(timed))
    current.commit()
    return Round(
        is_ours=True,
        calls=derived.main_ids,
        admitted=admitted,
        others=[(name, one.call_id) for one in derived.calls for name in sorted(others) if one.wants_notice({name})],
        lanes=lanes,
    )


def _is_as_read(
    read: AbstractSet[int],
    derived: Derivation,
    gains: Sequence[Gain],
    locked: Cursor[tuple[int]],
    written: Sequence[Cursor[tuple[int]]],
) -> bool:
    """The calls are there with their events, and every event was where it was read."""
    needed = read | {one.call_id for one in gains}
    moving = sum(len(one.event_ids) for one in gains) + sum(len(one.change.gained) for one in derived.calls)
    return needed <= {call_id for (call_id,) in locked} and moving == sum(len(one.fetchall()) for one in written)


def _new_ids(conn: Connection, scene: Scene, count: int) -> list[int]:
    """The first one came with the turn."""
    return [scene.turn.new_call_id, *(neighbourhood.new_call_ids(conn, count - 1) if count > 1 else ())]


def _write(conn: Connection, scene: Scene, derived: Derivation) -> tuple[list[Lane], list[Cursor[tuple[int]]]]:
    """
    Stores the calls, and enters into the ledger what their CRMs must hear; the lanes in which a row is due, and the
    events that each call gained.
    """
    number = scene.enterprise.number
    crowded = scene.found.crowded | derived.crowded
    written = [_write_call(conn, scene, one, crowded) for one in derived.calls]
    if derived.crowded:
        log.warning(
            "more channels carry a bridge or Local name than any call has", extra={"keys": len(derived.crowded)}
        )
        neighbourhood.mark_crowded(conn, number, derived.crowded)
    if has_rows := [one.call_id for one in derived.calls if one.has_rows]:
        rows.mark_stale(conn, has_rows)
    names = dict.fromkeys(crm for one in derived.calls for crm in one.crms_with_rows)
    lanes = [Lane(enterprise_number=number, crm=crm) for crm in names]
    # Behind all rows: whoever holds a row may wait for its lane's timer, and never the other way round.
    for lane in lanes:
        rows.wake(conn, lane)
    for one in derived.calls:
        if one.change.takes_over:
            long_calls.take_over(conn, one.call_id, one.change.takes_over)
    if derived.gone:
        neighbourhood.delete_calls(conn, sorted(derived.gone))
    return lanes, written


def _write_gains(conn: Connection, scene: Scene, gains: Sequence[Gain]) -> list[Cursor[tuple[int]]]:
    """Of calls that rest; those that were left out, though an event may belong to one, wake when their rest is over."""
    if left_out := scene.found.resting - {one.call_id for one in gains}:
        long_calls.wake_after_rest(conn, left_out)
    return [long_calls.gain(conn, scene.enterprise.number, one, scene.found.crowded) for one in gains]


def _write_call(conn: Connection, scene: Scene, derived: Derived, crowded: AbstractSet[str]) -> Cursor[tuple[int]]:
    number, call_id = scene.enterprise.number, derived.call_id
    written = neighbourhood.write_call(conn, number, derived.change, crowded)
    moved = [delivery.id for delivery in derived.ledger if delivery.call_id != call_id]
    if moved:
        deliveries.move_deliveries(conn, moved, call_id)
    for planned in derived.planned:
        _enter(conn, scene, call_id, planned)
    return written


def _enter(conn: Connection, scene: Scene, call_id: int, planned: Planned) -> None:
    crm, wanted = planned.rules.crm, planned.plan
    if planned.wants_row:
        clock = planned.call.clock
        host_clocks.observe(
            conn, scene.enterprise.number, lag_seconds=clock.lag_seconds, wall_seconds=clock.wall_seconds
        )
    if wanted.withdraw_popups and planned.has_live_notice:
        deliveries.withdraw_popups(conn, call_id, crm=crm, reason="call_over")
    if wanted.withdraw_rows:
        rows.withdraw(conn, call_id, crm=crm, external_ids=wanted.withdraw_rows)
    new = [codec.new_delivery(crm, notice, scene.turn.now) for notice in wanted.wanted]
    for one in new:
        if one.effect == "upload" and any(told.effect == "upload" for told in planned.ledger):
            rows.renew(conn, call_id, one)
    if new:
        deliveries.insert_deliveries(conn, scene.enterprise.number, call_id, new)
