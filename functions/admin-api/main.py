"""
Answer the administrators' page, and the operator.

Trigger   HTTP from ui/ (cookie of a session) and from the operator (bearer token)
Reads     enterprises, users, lines, calls, deliveries, attempts, integration_logs
Writes    sessions, sign_in_attempts, enterprises.integrations_config, lines, module_commands, replays, deliveries,
          integration_logs
Publishes module-commands, call-events
Calls     RetailCRM, when a connection is tested and when managers are listed
Answers   200 done, 202 begun             400 invalid_fields, with each field's problem     401 session_required
          403 cross_origin, forbidden     404 of another enterprise, or not there           409 conflict
          429 rate_limited                503 our database is away
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib import http, introspection, logs
from lib.admin import door
from lib.admin.api import OPERATIONS

logs.configure()

ROUTES = http.Routes(
    {operation.rule: door.guarded(operation) for operation in OPERATIONS} | introspection.routes("admin-api")
)


@functions_framework.http
def admin_api(request: Request) -> Response:
    return ROUTES.answer(request)
