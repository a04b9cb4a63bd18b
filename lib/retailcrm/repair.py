"""
RetailCRM has other extensions than we have: that is logged, and the mapping is pushed again, as after a save.

The tick of `register-module` finds the command. What is lost here, because a process ends, the next such answer brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from lib.ledger.crm import Unknown
from lib.runtime import db
from lib.store import integration_logs, module_commands

EVENT_TYPE: Final = "repair_mapping"
# An extension that stays unknown, because its manager is gone, is no reason to ask at every ring.
AT_MOST_EVERY_SECONDS: Final = 300.0


def push_mapping(enterprise_number: str, unknown: Unknown) -> bool:
    """Whether it is pushed: not if it was within the last minutes, or is about to be. Raises Unavailable."""
    request = {"not_shown": sorted(unknown.extensions), "managers": sorted(unknown.user_ids)}
    return _push(enterprise_number, request) == "begun"


def even_out(enterprise_number: str, differences: Sequence[Mapping[str, Any]]) -> Literal["begun", "tried"]:
    """What we have wins. `tried`: it was pushed within the last minutes, and RetailCRM still differs."""
    return _push(enterprise_number, {"differences": list(differences)})


def _push(enterprise_number: str, request: Mapping[str, Any]) -> Literal["begun", "tried"]:
    with db.transaction() as conn:
        integration_logs.lock(conn, enterprise_number, EVENT_TYPE)
        if module_commands.is_recent(conn, enterprise_number, seconds=AT_MOST_EVERY_SECONDS):
            return "tried"
        command = module_commands.insert_command(conn, enterprise_number, "push_mapping")
        integration_logs.insert(
            conn,
            enterprise_number=enterprise_number,
            event_type=EVENT_TYPE,
            request=request,
            response={"command": command.id, "action": command.action},
            error=None,
        )
    return "begun"
