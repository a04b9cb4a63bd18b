"""Orders to the function that carries out module commands: stored first, then waked."""

from __future__ import annotations

import logging

from lib.admin import audit
from lib.admin.operation import AdminRequest
from lib.runtime import db, pubsub
from lib.runtime.errors import Unavailable
from lib.store import module_commands
from lib.store.module_commands import Action, Command

log = logging.getLogger(__name__)


def enter(conn: db.Connection, request: AdminRequest, action: Action) -> Command:
    """Part of the caller's transaction; `wake` follows behind it."""
    command = module_commands.insert_command(conn, request.enterprise.number, action)
    audit.remember(conn, request, "module_command", {"action": action, "command_id": command.id})
    return command


def wake(enterprise_number: str) -> None:
    """The command is stored: should this message be lost, the next tick finds the command."""
    try:
        pubsub.publish(pubsub.MODULE_COMMANDS, {"enterprise_number": enterprise_number})
    except Unavailable as error:
        log.warning("not published, the tick will", extra={"enterprise": enterprise_number, "reason": str(error)})
