"""
Accepting an event: stored or published is accepted, neither is refused.

It is stored first, because the database's clock gives the time of receipt; the message carries the whole event, so
that the event survives when only Pub/Sub took it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import psycopg

from lib.intake.messages import event_message
from lib.runtime import db, failpoints, pubsub
from lib.runtime.errors import Unavailable
from lib.store import events
from lib.store.events import NewEvent

log = logging.getLogger(__name__)

# With the database's own limit, a host has its answer within a second even when both are away.
UNSTORED_SECONDS: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class Accepted:
    event_id: str
    is_copy: bool

    def as_json(self) -> dict[str, object]:
        if self.is_copy:
            return {"success": True, "status": "ignored", "reason": "duplicate"}
        return {"success": True, "event_id": self.event_id}


def accept(event: NewEvent) -> Accepted:
    """Raises Unavailable when the event could be neither stored nor published."""
    stored = None
    try:
        with db.connection(within_seconds=db.QUICK_SECONDS) as conn:
            failpoints.soon("K3")
            stored = events.insert_event(conn, event)
        failpoints.hit("K4")
    except Unavailable as error:
        log.warning("not stored", extra={"event_id": event.event_id, "reason": str(error)})
    except psycopg.Error:  # a schema that is out of date, a missing grant: the event can still be published
        log.exception("not stored", extra={"event_id": event.event_id})
    if stored is not None and stored.is_copy:
        return Accepted(event_id=stored.event_id, is_copy=True)
    try:
        pubsub.publish(
            pubsub.CALL_EVENTS,
            event_message(event, received_at=stored.received_at if stored else None),
            within_seconds=None if stored else UNSTORED_SECONDS,
            event_type=event.event_type,
            enterprise_number=event.enterprise_number,
        )
    except Unavailable as error:
        if stored is None:
            raise Unavailable("The event was neither stored nor published; send it again") from error
        log.warning("not published, the sweep will", extra={"event_id": event.event_id, "reason": str(error)})
    failpoints.hit("K5")
    return Accepted(event_id=event.event_id, is_copy=False)
