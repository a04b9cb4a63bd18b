"""
Carry out module commands: register, update or deactivate RetailCRM's integration module, push the extensions.

Trigger   Pub/Sub push: subscriptions `module-commands.register-module` and, for retries, `ticks.register-module`
Reads     enterprises, users, user_internal_phones, lines, token_rotations; module_commands, crm_gates
Writes    module_commands, enterprises.integrations_config, enterprises.account_link_version, crm_gates,
          integration_logs, rejected_messages
Publishes module-commands, one for each enterprise that has something due
Calls     RetailCRM GET /api/v5/integration-modules/{code}, POST …/edit, GET /api/v5/settings
Answers   204 recorded: done, failed or to be retried, or kept as rejected
          503 give it back: we could not store
Starts    only with all of its settings, and with a strong ACCOUNT_LINK_SECRET
"""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from lib.admin import health
from lib.enterprises import account_link
from lib.intake.push import Push, push_route
from lib.retailcrm import registration
from lib.runtime import config, db, http, log_context, logs, pubsub
from lib.runtime.errors import InvalidPayload
from lib.runtime.vault import vault
from lib.store import module_commands

logs.configure("register-module")
config.require(
    config.Database,
    config.PubSub,
    config.PushAuth,
    config.Operator,
    config.Vault,
    config.EnterpriseCache,
    config.RetailCRM,
    config.Gate,
    config.Public,
    config.AccountLink,
    config.Module,
)
account_link.check()
vault()

ENTERPRISES_PER_TICK = 50


def run(push: Push) -> None:
    number = push.json().get("enterprise_number")
    if not isinstance(number, str):
        raise InvalidPayload("enterprise_number: is missing")
    log_context.bind(enterprise=number)
    registration.run_next(number)


def wake(_: Push) -> None:
    with db.connection() as conn:
        due = module_commands.list_due(conn, limit=ENTERPRISES_PER_TICK)
    if due:
        pubsub.publish_all(pubsub.MODULE_COMMANDS, [{"enterprise_number": number} for number in due])


ROUTES = http.Routes({"POST /": push_route(run), "POST /tick": push_route(wake), **health.routes("register-module")})


@functions_framework.http
def register_module(request: Request) -> Response:
    return ROUTES.answer(request)
