"""Operations of the operator: list the connected enterprises, and make every instance reload the configuration."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, FLAG, MAYBE_TEXT, TEXT, listed, record
from lib.enterprises.cache import enterprise_cache
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.runtime.http import Answer
from lib.store import enterprises
from lib.store.integration import RETAILCRM


def list_active(_: AdminRequest) -> Answer:
    with db.connection() as conn:
        active = [asdict(found) for found in enterprises.list_connected(conn, RETAILCRM)]
    return {"enterprises": active, "count": len(active)}, 200


def refresh(request: AdminRequest) -> Answer:
    number = request.arguments["number"]
    with db.connection() as conn:
        if enterprises.find_packed(conn, number) is None:
            raise NotFound("There is no such enterprise", code="unknown_enterprise")
        enterprises.notify_changed(conn, [number])
    enterprise_cache().invalidate(number)
    return {"success": True, "enterprise_number": number}, 200


def refresh_all(_: AdminRequest) -> Answer:
    with db.connection() as conn:
        enterprises.notify_changed(conn, enterprises.list_numbers(conn))
    return {"success": True, "enterprises": enterprise_cache().refresh()}, 200


ACTIVE: Final = record(
    {
        "enterprises": listed(
            record(
                {
                    "enterprise_number": TEXT,
                    "name": TEXT,
                    "domain": MAYBE_TEXT,
                    "managers": COUNT,
                    "last_sync": MAYBE_TEXT,
                }
            )
        ),
        "count": COUNT,
    }
)
REFRESHED: Final = record({"success": FLAG, "enterprise_number": TEXT})
ALL_REFRESHED: Final = record({"success": FLAG, "enterprises": COUNT})

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/active-enterprises",
        summary="Enterprises that are connected to RetailCRM and switched on",
        handle=list_active,
        gives=ACTIVE,
        access="operator",
    ),
    Operation(
        method="POST",
        path="/config-cache/refresh/{number}",
        summary="Make every instance read this enterprise anew",
        handle=refresh,
        gives=REFRESHED,
        access="operator",
    ),
    Operation(
        method="POST",
        path="/config-cache/refresh-all",
        summary="Make every instance read every enterprise anew",
        handle=refresh_all,
        gives=ALL_REFRESHED,
        access="operator",
    ),
)
