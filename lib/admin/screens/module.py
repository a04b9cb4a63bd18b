"""The integration module: commands to register or deactivate it, and their progress."""

from __future__ import annotations

import logging
from typing import Any, Final

from lib.admin import audit
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, FLAG, ID, MAYBE_MOMENT, MAYBE_TEXT, MOMENT, TEXT, listed, one_of, record
from lib.runtime import config, db, pubsub
from lib.runtime.errors import InvalidPayload, Unavailable
from lib.runtime.http import Answer
from lib.store import module_commands
from lib.store.module_commands import Action, Command

log = logging.getLogger(__name__)

_SHOWN: Final = 10


def register(request: AdminRequest) -> Answer:
    return {"command": as_json(_ask(request, "register"))}, 202


def deactivate(request: AdminRequest) -> Answer:
    return {"command": as_json(_ask(request, "deactivate"))}, 202


def show(request: AdminRequest) -> Answer:
    with db.connection() as conn:
        commands = module_commands.list_commands(conn, request.enterprise.number, limit=_SHOWN)
    settings = config.current(config.Module)
    return {
        "module": {"code": settings.module_code, "name": settings.module_name},
        "is_busy": any(command.state in {"ready", "leased", "retry"} for command in commands),
        "commands": [as_json(command) for command in commands],
    }, 200


def wake(enterprise_number: str) -> None:
    """The command is stored: should this message be lost, the next tick finds the command."""
    try:
        pubsub.publish(pubsub.MODULE_COMMANDS, {"enterprise_number": enterprise_number})
    except Unavailable as error:
        log.warning("not published, the tick will", extra={"enterprise": enterprise_number, "reason": str(error)})


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


def _ask(request: AdminRequest, action: Action) -> Command:
    if not request.enterprise.integration().is_connected:
        raise InvalidPayload("Save the address and the API key of RetailCRM first", code="not_configured")
    with db.transaction() as conn:
        command = module_commands.insert_command(conn, request.enterprise.number, action)
        audit.remember(conn, request, "module_command", {"action": action, "command_id": command.id})
    wake(request.enterprise.number)
    return command


COMMAND: Final = record(
    {
        "id": ID,
        "action": one_of("register", "deactivate", "push_mapping"),
        "state": one_of("ready", "leased", "retry", "done", "failed", "superseded"),
        "steps": listed(record({"name": TEXT, "state": one_of("done", "warning", "failed"), "message": TEXT})),
        "code": MAYBE_TEXT,
        "message": MAYBE_TEXT,
        "attempts_made": COUNT,
        "retry_at": MAYBE_MOMENT,
        "created_at": MOMENT,
        "finished_at": MAYBE_MOMENT,
    }
)
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
        summary="Register the module, or register it again; links of the account that were issued before end",
        handle=register,
        gives=BEGUN,
        answers={202: "Begun: follow it with GET"},
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
