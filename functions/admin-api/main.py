"""
Answer the administrators' page, and the operator.

Trigger   HTTP from ui/ (cookie of a session) and from the operator (bearer token)
Reads     enterprises, users, users.password_hash, user_internal_phones, user_statuses, lines, token_rotations,
          sessions, sign_in_attempts, known_browsers, module_commands, calls, call_events, clicks, callbacks,
          deliveries, attempts, replays, row_timers, host_clocks, crm_gates, integration_logs, rejected_messages
Writes    sessions, sign_in_attempts, known_browsers, users.password_hash, enterprises.integrations_config,
          enterprises.account_link_version, lines, module_commands, callbacks, replays, deliveries, row_timers,
          crm_gates, integration_logs
Deletes   sign_in_attempts, known_browsers, callbacks
Publishes module-commands, call-events
Calls     RetailCRM, when a connection is tested, saved or deleted, managers or shops are listed, a test pop-up is shown
Answers   200 done, 202 begun             400 invalid_fields, with each field's problem     401 session_required
          403 cross_origin, forbidden     404 of another enterprise, or not there           409 conflict
          429 rate_limited                503 our database is away
Starts    only with all of its settings, and with a strong ACCOUNT_LINK_SECRET
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import by_password, guard, health
from lib.admin.api import OPERATIONS
from lib.admin.screens import opening
from lib.enterprises import account_link
from lib.runtime import config, http, logs
from lib.runtime.vault import vault

logs.configure("admin-api")
config.require(
    config.Database,
    config.PubSub,
    config.Operator,
    config.Vault,
    config.EnterpriseCache,
    config.RetailCRM,
    config.Gate,
    config.Public,
    config.Proxies,
    config.AccountLink,
    config.Sessions,
    config.Module,
)
account_link.check()
vault()

ROUTES = http.Routes(
    {operation.rule: guard.guarded(operation) for operation in OPERATIONS}
    | {f"{method} {opening.PAGE}": opening.open_page for method in ("GET", "POST")}
    | health.routes("admin-api", counted={"sign_in": by_password.count_failures})
)


@functions_framework.http
def admin_api(request: Request) -> Response:
    return ROUTES.answer(request)
