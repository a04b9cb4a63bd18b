"""
Look at one call and tell RetailCRM what is due.

Trigger   Pub/Sub push: subscription `call-events.retailcrm-deliver`
Reads     call_events, enterprises (cached)
Writes    call_events (when intake could not), calls, call_links, deliveries, attempts, integration_logs, crm_gates
Publishes call-events, for what waits for its CRM for a moment
Calls     RetailCRM POST /api/v5/telephony/call/event, /api/v5/telephony/calls/upload
Answers   204 recorded: delivered, scheduled again, skipped or kept as rejected
          503 give it back: we could not store
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.intake import messages
from lib.intake.push import Push, push_route
from lib.ledger.assemble import assemble
from lib.ledger.deliver import deliver_due
from lib.runtime import config, http, logs

logs.configure()
config.require(
    config.Database, config.PubSub, config.PushAuth, config.Vault, config.EnterpriseCache, config.RetailCRM, config.Gate
)


def look(push: Push) -> None:
    message = messages.parse(push.json(), published_at=push.published_at)
    deliver_due(message.enterprise_number, *assemble(message))


ROUTES = http.Routes({"POST /": push_route(look), **health.routes("retailcrm-deliver")})


@functions_framework.http
def retailcrm_deliver(request: Request) -> Response:
    return ROUTES.answer(request)
