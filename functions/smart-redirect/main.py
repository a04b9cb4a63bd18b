"""
Tell the dialplan, before anything rings, whose customer is calling.

Trigger   HTTP from Asterisk hosts (the dialplan's form), and from others that route calls
Reads     enterprises, users, user_internal_phones, lines, token_rotations (cached); calls, user_statuses, crm_gates
Writes    crm_gates; integration_logs, token_rotations, after the answer
Calls     RetailCRM GET /api/v5/telephony/manager, GET /api/v5/settings
Answers   200 within SMART_REDIRECT_BUDGET_MS, whatever happens: a manager's extension or the usual scheme
          401 unauthorized: nobody's token      400 invalid_payload, in the form for others only
          403 network_not_allowed: the enterprise's hosts may not speak from there
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.intake import bodies
from lib.redirect import reply
from lib.redirect.router import Question, router
from lib.runtime import config, http, log_context, logs
from lib.runtime.client_address import client_address
from lib.runtime.errors import InvalidPayload, TooLarge
from lib.runtime.http import Answer

logs.configure("smart-redirect")
config.require(
    config.Database,
    config.Operator,
    config.Vault,
    config.EnterpriseCache,
    config.RetailCRM,
    config.SmartRedirect,
    config.Gate,
    config.Proxies,
)


def ask_for_dialplan(request: Request) -> Answer:
    try:
        body = bodies.parse(http.read_body(request))
    except (InvalidPayload, TooLarge):  # the phone rings all the same
        body = {}
    question = Question(
        token=request.headers.get("Token", "") or _text(body, "Token"),
        phone=_text(body, "Phone"),
        address=client_address(request),
        line_id=_text(body, "TrunkId"),
        unique_id=_text(body, "UniqueId"),
        wants_routing=_text(body, "LoadDialPlan").lower() != "false",
    )
    log_context.bind(unique_id=question.unique_id)
    decision = router().answer(question)
    return Response(reply.compact(decision.name, decision.dial_plan), 200, mimetype="application/json")


def ask_for_extension(request: Request) -> Answer:
    body = bodies.parse(http.read_body(request))
    question = Question(
        token=request.headers.get("Token", ""),
        enterprise_number=_text(body, "enterprise_number"),
        phone=_text(body, "phone"),
        address=client_address(request),
        is_dialplan=False,
    )
    if not question.enterprise_number or not question.phone:
        raise InvalidPayload("enterprise_number and phone: must be there")
    decision = router().answer(question)
    return {
        "success": True,
        "extension": decision.extension,
        "name": decision.name,
        "reason": decision.reason,
    }, 200


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return str(value)[:128] if isinstance(value, str | int) else ""


ROUTES = http.Routes(
    {
        "POST /api/callevent/getcustomerdata": ask_for_dialplan,
        "POST /retailcrm/api/smart-redirect": ask_for_extension,
        **health.routes("smart-redirect"),
    }
)


@functions_framework.http
def smart_redirect(request: Request) -> Response:
    return ROUTES.answer(request)
