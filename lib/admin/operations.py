"""What the operator may ask for: who is connected, and that every instance reads the configuration anew."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from lib.admin import answers
from lib.admin.operation import Call, Operation
from lib.enterprises.cache import enterprise_cache
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.runtime.http import Answer
from lib.store import enterprises
from lib.store.integration import RETAILCRM


def list_active(_: Call) -> Answer:
    with db.connection() as conn:
        active = [asdict(found) for found in enterprises.list_connected(conn, RETAILCRM)]
    return {"enterprises": active, "count": len(active)}, 200


def refresh(call: Call) -> Answer:
    number = call.arguments["number"]
    with db.connection() as conn:
        if enterprises.find_packed(conn, number) is None:
            raise NotFound("There is no such enterprise", code="unknown_enterprise")
        enterprises.notify_changed(conn, [number])
    enterprise_cache().invalidate(number)
    return {"success": True, "enterprise_number": number}, 200


def refresh_all(_: Call) -> Answer:
    with db.connection() as conn:
        enterprises.notify_changed(conn, enterprises.list_numbers(conn))
    return {"success": True, "enterprises": enterprise_cache().refresh()}, 200


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/active-enterprises",
        summary="Enterprises that are connected to RetailCRM and switched on",
        handle=list_active,
        gives=answers.ACTIVE,
        access="operator",
    ),
    Operation(
        method="POST",
        path="/config-cache/refresh/{number}",
        summary="Make every instance read this enterprise anew",
        handle=refresh,
        gives=answers.REFRESHED,
        access="operator",
    ),
    Operation(
        method="POST",
        path="/config-cache/refresh-all",
        summary="Make every instance read every enterprise anew",
        handle=refresh_all,
        gives=answers.ALL_REFRESHED,
        access="operator",
    ),
)
