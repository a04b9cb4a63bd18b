"""Lines: their names, numbers and shops, and a test of the rule that completes an incoming number."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Any, Final

from lib.admin import audit, guard, orders, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import MAYBE_TEXT, TEXT, listed, obj, record, text
from lib.calls.directory import Line
from lib.calls.numbers import normalize
from lib.enterprises.rules import directory
from lib.retailcrm import shops, trouble
from lib.retailcrm.account import account_of
from lib.retailcrm.shops import Shop
from lib.retailcrm.trouble import Trouble
from lib.runtime import db
from lib.runtime.errors import ConfigError
from lib.runtime.http import Answer
from lib.runtime.json_schema import Problem, Schema
from lib.store import enterprises, lines, module_commands
from lib.store.enterprises import Enterprise

TIMEOUT_SECONDS: Final = 5.0
_RULE: Final[Schema] = {
    "type": ["string", "null"],
    "maxLength": 30,
    "pattern": r"^([+0-9]*\{[0-9]{1,2}\})?$",
    "description": "a prefix and a length, as +375{9}, or nothing",
    "x-problem": "number_rule",
}
_NO_LINE: Final = Problem(code="no_such_line", message="is not a line of this enterprise")
_TEXT: Final[Schema] = {"type": ["string", "null"], "maxLength": 100}


def show(request: AdminRequest) -> Answer:
    return _shown(request.enterprise) | _tested(request), 200


def save(request: AdminRequest) -> Answer:
    """
    All or nothing. A shop that the account does not have is refused; where RetailCRM cannot say which it has, the shops
    are saved unchecked. The CRM is told of the numbers of the shops.
    """
    number, given = request.enterprise.number, request.body["lines"]
    unchecked = _require_shops(request)
    with db.transaction() as conn:
        unknown = [index for index, line in enumerate(given) if not lines.update_line(conn, number, line)]
        guard.refuse({f"lines[{index}].line_id": _NO_LINE for index in unknown})
        changed = enterprises.find_enterprise(conn, number)
        assert changed is not None  # noqa: S101  (the session's own, found by the guard)
        command = None
        if changed.lines != request.enterprise.lines:
            command = module_commands.insert_command(conn, number, "push_mapping")
            audit.remember(conn, request, "lines", {"lines": given})
    if command:
        orders.wake(number)
    return {**_shown(changed), "unchecked": troubles.as_json(unchecked)}, 200


def list_shops(request: AdminRequest) -> Answer:
    found, unknown = _shops(request.enterprise)
    return {"shops": [asdict(shop) for shop in found], "trouble": troubles.as_json(unknown)}, 200


def _require_shops(request: AdminRequest) -> Trouble | None:
    """Why the shops could not be checked, if so. Raises InvalidPayload for a shop that is not there."""
    saved = {line["line_id"]: line["site_code"] for line in request.enterprise.lines}
    chosen = {
        index: line["site_code"]
        for index, line in enumerate(request.body["lines"])
        if line.get("site_code") and line["site_code"] != saved.get(line["line_id"])
    }
    if not chosen:
        return None
    found, unknown = _shops(request.enterprise)
    if unknown is None:
        codes = {shop.code for shop in found}
        guard.refuse(
            {f"lines[{index}].site_code": _no_shop(code) for index, code in chosen.items() if code not in codes}
        )
    return unknown


def _no_shop(code: str) -> Problem:
    return Problem(code="no_such_shop", message=f"{code} is no shop of the account", params={"shop": code})


def _shops(enterprise: Enterprise) -> tuple[list[Shop], Trouble | None]:
    try:
        account = account_of(enterprise)
    except ConfigError as error:
        return [], trouble.of_settings(error)
    reply = shops.get(account, timeout_seconds=TIMEOUT_SECONDS)
    if reply.outcome != "done":
        return [], trouble.of(reply)
    return shops.read(reply.details), None


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
        "unchecked": troubles.MAYBE_TROUBLE,
    },
    optional=("test", "unchecked"),
)
SHOPS: Final = record({"shops": listed(record({"code": TEXT, "name": TEXT})), "trouble": troubles.MAYBE_TROUBLE})

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
        method="GET",
        path="/shops/{number}",
        summary="The shops of the account, or why RetailCRM does not say which there are",
        handle=list_shops,
        gives=SHOPS,
    ),
    Operation(
        method="PUT",
        path="/lines/{number}",
        summary="Change lines; what is not sent of a line stays; `unchecked`: why its shops could not be checked",
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
