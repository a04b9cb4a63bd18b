"""
Wake the calls whose time has come.

Trigger   Pub/Sub push: subscription `ticks.sweep-calls`; dead letters of every subscription at `/dead`
Reads     call_events, calls
Writes    calls and call_events (when each is to be woken again), rejected_messages
Publishes call-events
Answers   204 done, or kept as rejected
          503 give it back: the database or Pub/Sub is away
"""

from __future__ import annotations

import contextlib
import logging

import functions_framework
from flask import Request, Response

from lib import db, http, introspection, logs, wakeup
from lib.errors import PermanentError
from lib.push import Push, push_route
from lib.store import events
from lib.store.events import NewEvent
from lib.sweep import sweep

logs.configure()
log = logging.getLogger("sweep-calls")


def tick(_: Push) -> None:
    woken = sweep()
    if any(woken.values()):
        log.info("woken", extra=woken)


def dead_letter(push: Push) -> None:
    """Keeps the letter; an event in it that only Pub/Sub had is stored first, so that the sweep goes on with it."""
    with contextlib.suppress(PermanentError):
        message = wakeup.parse(push.json(), published_at=push.published_at)
        if isinstance(message, NewEvent):
            with db.connection() as conn:
                if events.find_event(conn, message.event_id) is None:
                    events.insert_event(conn, message)
    source = push.attributes.get("CloudPubSubDeadLetterSourceSubscription", "an unknown subscription")
    raise PermanentError(
        f"Given up by {source} after {push.attributes.get('CloudPubSubDeadLetterSourceDeliveryCount', 'many')} attempts"
    )


ROUTES = http.Routes(
    {
        "POST /": push_route(tick),
        "POST /dead": push_route(dead_letter),
        **introspection.routes("sweep-calls"),
    }
)


@functions_framework.http
def sweep_calls(request: Request) -> Response:
    return ROUTES.answer(request)
