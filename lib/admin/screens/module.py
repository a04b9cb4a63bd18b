"""The integration module: commands to register or deactivate it, and their progress."""

from __future__ import annotations

from typing import Any, Final

from lib.admin import guard, orders, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import (
    COUNT,
    DATA,
    FLAG,
    ID,
    MAYBE_MOMENT,
    MAYBE_TEXT,
    MOMENT,
    TEXT,
    listed,
    obj,
    one_of,
    record,
)
from lib.admin.screens import configuration
from lib.runtime import config, db
from lib.runtime.errors import InvalidPayload
from lib.runtime.http import Answer
from lib.runtime.json_schema import MISSING
from lib.store import module_commands
from lib.store.integration import Integration
from lib.store.module_commands import Command

_SHOWN: Final = 10


def register(request: AdminRequest) -> Answer:
    """
    Registers what is saved; with an address or a key in the request, saves them in the same transaction, after
    RetailCRM has accepted them: what it does not accept replaces nothing. Registering switches the integration on.
    """
    number = request.enterprise.number
    saved = request.enterprise.integration()
    if {"domain", "api_key"} & request.body.keys():
        if "version" not in request.body:
            guard.refuse({"version": MISSING})
        configuration.prove(request, must_answer=True)
        with db.transaction() as conn:
            _, saved = configuration.store(conn, request)
            _require_connection(saved)
            command = orders.enter(conn, request, "register")
    else:
        _require_connection(saved)
        with db.transaction() as conn:
            command = orders.enter(conn, request, "register")
    orders.wake(number)
    return {"command": as_json(command), "config": configuration.shown(request.enterprise, saved)}, 202


def deactivate(request: AdminRequest) -> Answer:
    _require_connection(request.enterprise.integration())
    with db.transaction() as conn:
        command = orders.enter(conn, request, "deactivate")
    orders.wake(request.enterprise.number)
    return {"command": as_json(command)}, 202


def show(request: AdminRequest) -> Answer:
    with db.connection() as conn:
        commands = module_commands.list_commands(conn, request.enterprise.number, limit=_SHOWN)
    settings = config.current(config.Module)
    return {
        "module": {"code": settings.module_code, "name": settings.module_name},
        "is_busy": any(command.state in {"ready", "leased", "retry"} for command in commands),
        "commands": [as_json(command) for command in commands],
    }, 200


def as_json(command: Command) -> dict[str, Any]:
    return {
        "id": command.id,
        "action": command.action,
        "state": command.state,
        "steps": command.steps,
        "code": command.code,
        "message": command.message,
        "attempts_made": command.attempts_made,
        "retry_at": command.run_at if command.state == "retry" else None,
        "created_at": command.created_at,
        "finished_at": command.finished_at,
    }


def _require_connection(integration: Integration) -> None:
    if not integration.is_connected:
        raise InvalidPayload("Save the address and the API key of RetailCRM first", code="not_configured")


COMMAND: Final = record(
    {
        "id": ID,
        "action": one_of("register", "deactivate", "push_mapping"),
        "state": one_of("ready", "leased", "retry", "done", "failed", "superseded"),
        "steps": listed(
            record(
                {
                    "name": TEXT,
                    "state": one_of("done", "warning", "failed"),
                    "message": TEXT,
                    "params": DATA,
                    "trouble": troubles.MAYBE_TROUBLE,
                },
                optional=("params", "trouble"),
            )
        ),
        "code": MAYBE_TEXT,
        "message": MAYBE_TEXT,
        "attempts_made": COUNT,
        "retry_at": MAYBE_MOMENT,
        "created_at": MOMENT,
        "finished_at": MAYBE_MOMENT,
    }
)
REGISTERED: Final = record({"command": COMMAND, "config": configuration.CONFIG})
BEGUN: Final = record({"command": COMMAND})
MODULE: Final = record({"module": record({"code": TEXT, "name": TEXT}), "is_busy": FLAG, "commands": listed(COMMAND)})

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/register/{number}",
        summary="What the module was asked to become, the latest first, step by step",
        handle=show,
        gives=MODULE,
    ),
    Operation(
        method="POST",
        path="/register/{number}",
        summary="Register the module, with an address and a key after RetailCRM has accepted them; earlier links end",
        handle=register,
        gives=REGISTERED,
        body=obj({"version": configuration.VERSION, "domain": configuration.DOMAIN, "api_key": configuration.API_KEY}),
        answers={202: "Saved and begun: follow it with GET", 409: "Somebody else saved meanwhile; `current`"},
    ),
    Operation(
        method="DELETE",
        path="/register/{number}",
        summary="Switch the module off in RetailCRM",
        handle=deactivate,
        gives=BEGUN,
        answers={202: "Begun: follow it with GET"},
    ),
)
