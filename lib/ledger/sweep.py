"""
The clock of the system: finds what should have been looked at, and wakes it.

Everything is bounded and safe to run many times at once; a wake-up too many costs a look, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lib.intake.messages import WakeCall, call_message, event_message
from lib.runtime import db, failpoints, pubsub
from lib.runtime.db import Connection
from lib.runtime.errors import Unavailable
from lib.store import calls, events

EVENTS: Final = 100
CALLS: Final = 500


def sweep() -> dict[str, int]:
    """Wakes what is due; how much of what. Raises Unavailable."""
    with db.connection() as conn:
        due = calls.claim_due(conn, limit=CALLS)
    wakes = [WakeCall(enterprise_number=number, call_id=call_id) for number, call_id in due]
    _publish([call_message(wake) for wake in wakes], lambda conn: calls.give_back(conn, [id_ for _, id_ in due]))
    if wakes:
        failpoints.hit("K14")
    with db.connection() as conn:
        lost = events.claim_unassembled(conn, limit=EVENTS)
    _publish(
        [event_message(event, received_at=event.received_at) for event in lost],
        lambda conn: events.give_back(conn, [event.event_id for event in lost]),
    )
    return {"events": len(lost), "calls": len(due)}


def _publish(messages: Sequence[Mapping[str, object]], give_back: Callable[[Connection], None]) -> None:
    """Outside of every transaction: whoever else wants these rows does not wait for Pub/Sub."""
    try:
        pubsub.publish_all(pubsub.CALL_EVENTS, messages)
    except pubsub.NotTaken:
        raise  # later, and later each time: it must not stand in the way of the others
    except Unavailable:
        with db.connection() as conn:
            give_back(conn)
        raise
