"""
Look at one call and tell RetailCRM who rings, and that it is over; enter its row of history.

Trigger   Pub/Sub push: subscription `call-events.retailcrm-deliver`
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); call_events, calls, call_links,
          deliveries, attempts, row_timers, host_clocks, crm_gates, module_commands
Writes    call_events (when intake could not), calls, call_links, deliveries, attempts, row_timers, host_clocks,
          crm_gates, module_commands (when the CRM does not know an extension), integration_logs, rejected_messages
Deletes   calls (that became part of another), call_links
Publishes call-events, for what waits for its CRM for a moment; due-rows
Calls     RetailCRM POST /api/v5/telephony/call/event
Answers   204 recorded: delivered, scheduled again, left to another thread of its enterprise, passed over while the
          process is busy, skipped or kept as rejected
          503 give it back: we could not store
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.crms import CRMS, RETAILCRM
from lib.intake import messages
from lib.intake.push import Push, push_route
from lib.ledger.load import Load, is_stored, may_pass_over
from lib.ledger.shares import Message, Shares
from lib.ledger.wake import wake
from lib.runtime import config, http, logs

logs.configure("retailcrm-deliver")
config.require(
    config.Database,
    config.PubSub,
    config.PushAuth,
    config.Operator,
    config.Vault,
    config.EnterpriseCache,
    config.RetailCRM,
    config.Gate,
)


load = Load()
shares = Shares()


def look(push: Push) -> None:
    body = push.json()
    message = messages.parse(body, published_at=push.published_at)
    messages.bind(message)
    threads = config.current(config.Platform).threads
    with load.message() as under_way:

        def work(one: Message) -> None:
            wake(one, crm=RETAILCRM, crms=CRMS, is_busy=0 < threads < 2 * under_way)

        with shares.of(message, threads=threads, work=work) as is_ours:
            if not is_ours:
                return
            if (
                messages.can_wait(message, body, push.attributes)
                and may_pass_over(message, under_way=under_way, threads=threads)
                and is_stored(message)
            ):
                load.pass_over()
            else:
                work(message)


ROUTES = http.Routes({"POST /": push_route(look), **health.routes("retailcrm-deliver")})


@functions_framework.http
def retailcrm_deliver(request: Request) -> Response:
    return ROUTES.answer(request)
