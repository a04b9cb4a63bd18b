"""
The clock of the system: finds calls, lanes of rows, events and recovered ones whose time has come, and wakes them.

Everything is bounded and safe to run many times at once; a wake-up too many costs a look, nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lib.intake.messages import SWEEP, WakeCall, call_message, event_message, recovered_message
from lib.ledger import codec
from lib.runtime import db, failpoints, pubsub
from lib.runtime.db import Connection
from lib.runtime.errors import Unavailable
from lib.store import calls, events, recovered, rows

log = logging.getLogger(__name__)

# Of one batch.
EVENTS: Final = 100
CALLS: Final = 500
LANES: Final = 500
LIMITS: Final = {"events": EVENTS, "calls": CALLS, "lanes": LANES}
# A tick goes on for so long while batches are full. What a batch has woken is not due again before that.
BUDGET_SECONDS: Final = 8.0
# Should the message of a lane be lost, it is woken again so much later.
LANE_AGAIN_SECONDS: Final = 10.0
# The message of recovered events that have waited longer may be lost.
RECOVERED_SECONDS: Final = 3.0


def sweep(*, seconds: float = BUDGET_SECONDS) -> dict[str, int]:
    """
    Wakes what is due, a batch of each kind after the other while one of them was full, for so long at most; how much of
    what. Raises Unavailable.
    """
    until = time.monotonic() + seconds
    woken = {"events": 0, "calls": 0, "lanes": 0}
    is_more = True
    while is_more:
        found = {"calls": _wake_calls(), "lanes": _wake_lanes(), "events": _wake_events()}
        for name, count in found.items():
            woken[name] += count
        is_more = any(count >= LIMITS[name] for name, count in found.items()) and time.monotonic() < until
    return {**woken, "recovered": int(_wake_recovered())}


def _wake_calls() -> int:
    with db.connection() as conn:
        due = calls.claim_due(conn, limit=CALLS)
    wakes = [WakeCall(enterprise_number=one.enterprise_number, call_id=one.id) for one in due]
    _publish(
        pubsub.CALL_EVENTS,
        [call_message(wake) for wake in wakes],
        lambda conn: calls.give_back(conn, [one.id for one in due]),
    )
    if wakes:
        failpoints.hit("wakes_published")
        log.info("calls woken", extra={"calls": [one.unique_id for one in due]})
    return len(due)


def _wake_lanes() -> int:
    with db.connection() as conn:
        lanes = rows.claim_due_lanes(conn, limit=LANES, again_seconds=LANE_AGAIN_SECONDS)
    _publish(pubsub.DUE_ROWS, [codec.rows_message(lane) for lane in lanes], lambda conn: rows.give_back(conn, lanes))
    return len(lanes)


def _wake_events() -> int:
    with db.connection() as conn:
        lost = events.claim_unassembled(conn, limit=EVENTS)
    _publish(
        pubsub.CALL_EVENTS,
        [event_message(event, received_at=event.received_at) for event in lost],
        lambda conn: events.give_back(conn, [event.event_id for event in lost]),
    )
    if lost:
        log.info("events woken", extra={"unique_ids": [event.unique_id for event in lost]})
    return len(lost)


def _wake_recovered() -> bool:
    with db.connection() as conn:
        is_waiting = recovered.is_waiting(conn, older_seconds=RECOVERED_SECONDS)
    if is_waiting:
        # Their lane may be at work, and does not mind.
        pubsub.publish(pubsub.RECOVERED_EVENTS, recovered_message(), origin=SWEEP)
    return is_waiting


def _publish(topic: str, messages: Sequence[Mapping[str, object]], give_back: Callable[[Connection], None]) -> None:
    """Outside of every transaction: whoever else wants these rows does not wait for Pub/Sub."""
    try:
        pubsub.publish_all(topic, messages, origin=SWEEP)
    except pubsub.NotTaken:
        raise  # later, and later each time: it must not stand in the way of the others
    except Unavailable:
        with db.connection() as conn:
            give_back(conn)
        raise
