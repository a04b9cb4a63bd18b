"""Lines: their names, numbers and shops, and a test of the rule that completes an incoming number."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from lib.admin import audit, guard
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import MAYBE_TEXT, TEXT, listed, obj, record, text
from lib.admin.screens import module as module_screen
from lib.calls.directory import Line
from lib.calls.numbers import normalize
from lib.enterprises.rules import directory
from lib.runtime import db
from lib.runtime.http import Answer
from lib.runtime.json_schema import Schema
from lib.store import enterprises, lines, module_commands
from lib.store.enterprises import Enterprise

_RULE: Final[Schema] = {
    "type": ["string", "null"],
    "maxLength": 30,
    "pattern": r"^([+0-9]*\{[0-9]{1,2}\})?$",
    "description": "a prefix and a length, as +375{9}, or nothing",
}
_TEXT: Final[Schema] = {"type": ["string", "null"], "maxLength": 100}


def show(request: AdminRequest) -> Answer:
    return _shown(request.enterprise) | _tested(request), 200


def save(request: AdminRequest) -> Answer:
    """All or nothing. The CRM is told of the numbers of the shops."""
    number, given = request.enterprise.number, request.body["lines"]
    with db.transaction() as conn:
        unknown = [index for index, line in enumerate(given) if not lines.update_line(conn, number, line)]
        guard.refuse({f"lines[{index}].line_id": "is not a line of this enterprise" for index in unknown})
        changed = enterprises.find_enterprise(conn, number)
        assert changed is not None  # noqa: S101  (the session's own, found by the guard)
        command = None
        if changed.lines != request.enterprise.lines:
            command = module_commands.insert_command(conn, number, "push_mapping")
            audit.remember(conn, request, "lines", {"lines": given})
    if command:
        module_screen.wake(number)
    return _shown(changed), 200


def _shown(enterprise: Enterprise) -> dict[str, Any]:
    return {"lines": enterprise.lines}


def _tested(request: AdminRequest) -> dict[str, Any]:
    """What a raw number on this line becomes, by the rule that is given, else by the one that is saved."""
    if "raw" not in request.query:
        return {}
    known = directory(request.enterprise)
    line_id = request.query.get("line_id", "")
    line = known.lines.get(line_id, Line(line_id=line_id))
    if "incoming_transform" in request.query:
        line = dataclasses.replace(line, incoming_transform=request.query["incoming_transform"] or None)
    raw = request.query["raw"]
    return {"test": {"raw": raw, "with_rule": normalize(raw, known, line=line), "without_rule": normalize(raw, known)}}


LINES: Final = record(
    {
        "lines": listed(
            record(
                {
                    "line_id": TEXT,
                    "name": MAYBE_TEXT,
                    "phone_number": MAYBE_TEXT,
                    "site_code": MAYBE_TEXT,
                    "incoming_transform": MAYBE_TEXT,
                }
            )
        ),
        "test": record({"raw": TEXT, "with_rule": MAYBE_TEXT, "without_rule": MAYBE_TEXT}),
    },
    optional=("test",),
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/lines/{number}",
        summary="The lines; with `raw`, also what this number becomes on a line",
        handle=show,
        gives=LINES,
        query=obj({"raw": text(100), "line_id": text(100), "incoming_transform": _RULE}),
    ),
    Operation(
        method="PUT",
        path="/lines/{number}",
        summary="Change lines; what is not sent of a line stays",
        handle=save,
        gives=LINES,
        body=obj(
            {
                "lines": {
                    "type": "array",
                    "maxItems": 500,
                    "items": obj(
                        {
                            "line_id": text(100, least=1),
                            "name": _TEXT,
                            "phone_number": _TEXT,
                            "site_code": _TEXT,
                            "incoming_transform": _RULE,
                        },
                        required=("line_id",),
                    ),
                }
            },
            required=("lines",),
        ),
    ),
)
