"""
Wake the calls, the lanes of rows, the events and the recovered ones whose time has come, and delete a little of what is
too old.

Trigger   Pub/Sub push: subscription `ticks.sweep-calls`; dead letters of every subscription at `/dead`
Reads     enterprises, call_events, calls, row_timers; of what it deletes the age
Writes    calls, call_events, row_timers (when each is to be woken again), deliveries (of an enterprise that is gone),
          rejected_messages
Deletes   what is too old (docs/operations.md, "Retention"): calls, call_events, call_links, deliveries, attempts,
          integration_logs, rejected_messages, clicks, callbacks, sessions, sign_in_attempts, known_browsers,
          module_commands, replays
Publishes call-events, due-rows, recovered-events
Answers   204 done, or kept as rejected
          503 give it back: the database or Pub/Sub is away
"""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.intake import messages
from lib.intake.push import Push, push_route
from lib.ledger import retention
from lib.ledger.sweep import sweep
from lib.runtime import config, db, http, logs
from lib.runtime.errors import AppError, PermanentError
from lib.store import events

logs.configure()
config.require(config.Database, config.PubSub, config.PushAuth, config.Retention)
log = logging.getLogger("sweep-calls")


def tick(_: Push) -> None:
    woken = sweep()
    if any(woken.values()):
        log.info("woken", extra=woken)
    try:
        deleted = retention.step()
    except AppError as error:
        # Calls were woken, which is what cannot wait; what is too old is so at the next tick too.
        log.warning("nothing deleted", extra={"reason": str(error)})
    else:
        if deleted:
            log.info("deleted", extra={"deleted": deleted})


def dead_letter(push: Push) -> None:
    """Keeps the letter; events in it that only Pub/Sub had are stored first, so that the sweep goes on with them."""
    with contextlib.suppress(PermanentError):
        for event in messages.events_in(push.json(), published_at=_first_published_at(push)):
            with db.connection() as conn:
                if events.find_event(conn, event.event_id) is None:
                    events.insert_event(conn, event)
    source = push.attributes.get("CloudPubSubDeadLetterSourceSubscription", "an unknown subscription")
    raise PermanentError(
        f"Given up by {source} after {push.attributes.get('CloudPubSubDeadLetterSourceDeliveryCount', 'many')} attempts"
    )


def _first_published_at(push: Push) -> datetime | None:
    """When the message itself was published, not its dead letter."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(push.attributes.get("CloudPubSubDeadLetterSourceTopicPublishTime", ""))
    return push.published_at


ROUTES = http.Routes(
    {
        "POST /": push_route(tick),
        "POST /dead": push_route(dead_letter),
        **health.routes("sweep-calls"),
    }
)


@functions_framework.http
def sweep_calls(request: Request) -> Response:
    return ROUTES.answer(request)
