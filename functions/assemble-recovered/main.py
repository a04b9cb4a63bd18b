"""
Make calls of recovered events, a few at a time and in turn over the enterprises.

Trigger   Pub/Sub push: subscription `recovered-events.assemble-recovered`
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); call_events, calls, call_links,
          deliveries, attempts, row_timers, host_clocks
Writes    call_events (when intake could not), calls, call_links, deliveries, row_timers, host_clocks, rejected_messages
Deletes   calls (that became part of another), call_links
Publishes recovered-events, while more waits; due-rows; call-events, for what live calls and pop-ups wait for
Answers   204 recorded: assembled, left to the thread that is at it, or kept as rejected
          503 give it back: we could not store
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.crms import CRMS
from lib.intake import messages
from lib.intake.push import Push, push_route
from lib.ledger import recovered
from lib.ledger.recovered import RecoveredLane
from lib.runtime import config, http, log_context, logs

logs.configure("assemble-recovered")
config.require(config.Database, config.PubSub, config.PushAuth, config.Operator, config.EnterpriseCache)

lane = RecoveredLane(CRMS)


def look(push: Push) -> None:
    found = messages.parse_recovered(push.json(), published_at=push.published_at)
    if found:
        log_context.bind(enterprise=found[0].enterprise_number)
        log_context.add("unique_ids", (event.unique_id for event in found))
        recovered.store(found)
    lane.work()


ROUTES = http.Routes({"POST /": push_route(look), **health.routes("assemble-recovered")})


@functions_framework.http
def assemble_recovered(request: Request) -> Response:
    return ROUTES.answer(request)
