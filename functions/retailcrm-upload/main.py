"""
Send the rows of history that an enterprise has due to RetailCRM, up to fifty in a request.

Trigger   Pub/Sub push: subscription `due-rows.retailcrm-upload`, one message for an enterprise
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); deliveries, attempts,
          row_timers, crm_gates
Writes    deliveries, attempts,
          row_timers, crm_gates, integration_logs, rejected_messages
Publishes due-rows, while more is due; call-events, for a call whose row is to be derived again
Calls     RetailCRM POST /api/v5/telephony/calls/upload
Answers   204 recorded: sent, scheduled again, of another CRM, or kept as rejected
          503 give it back: we could not store
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.crms import RETAILCRM
from lib.intake.push import Push, push_route
from lib.ledger import codec
from lib.ledger.send_rows import send_due
from lib.runtime import config, http, log_context, logs

logs.configure("retailcrm-upload")
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


def upload(push: Push) -> None:
    lane = codec.lane_of(push.json())
    log_context.bind(enterprise=lane.enterprise_number)
    if lane.crm == RETAILCRM.name:
        send_due(lane, crm=RETAILCRM)


ROUTES = http.Routes({"POST /": push_route(upload), **health.routes("retailcrm-upload")})


@functions_framework.http
def retailcrm_upload(request: Request) -> Response:
    return ROUTES.answer(request)
