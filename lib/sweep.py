"""
The clock of the system: finds what should have been looked at, and wakes it.

Everything is bounded and safe to run many times at once; a wake-up too many costs a look, nothing else.
"""

from __future__ import annotations

from typing import Final

from lib import db, failpoints, pubsub
from lib.store import calls, events
from lib.wakeup import WakeCall, call_message, event_message

EVENTS: Final = 100
CALLS: Final = 500


def sweep() -> dict[str, int]:
    """Wakes what is due; how much of what. Raises Unavailable."""
    # Published before it is committed: a wake-up that Pub/Sub did not take must not count, nor be late for it.
    with db.transaction() as conn:
        lost = events.claim_unassembled(conn, limit=EVENTS)
        pubsub.publish_all(pubsub.CALL_EVENTS, [event_message(event, received_at=event.received_at) for event in lost])
    with db.transaction() as conn:
        due = calls.claim_due(conn, limit=CALLS)
        wakes = [WakeCall(enterprise_number=number, call_id=call_id) for number, call_id in due]
        pubsub.publish_all(pubsub.CALL_EVENTS, [call_message(wake) for wake in wakes])
    if wakes:
        failpoints.hit("K14")
    return {"events": len(lost), "calls": len(due)}
