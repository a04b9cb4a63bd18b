"""Routes that every function has: `GET /health` for anybody, `GET /stats` for the operator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from flask import Request

from lib.enterprises.cache import enterprise_cache
from lib.runtime import db
from lib.runtime.auth import require_operator
from lib.runtime.errors import Unavailable
from lib.runtime.http import Answer, Handler
from lib.store import deliveries, gates
from lib.store.enterprises import Enterprise

_started = time.monotonic()


def routes(function: str, *, works_without_database: bool = False) -> dict[str, Handler]:
    def health(_: Request) -> Answer:
        try:
            with db.connection() as conn:
                conn.execute("SELECT 1")
        except Unavailable as error:
            return {"status": "degraded", "function": function, "dependencies": {"database": str(error)}}, (
                200 if works_without_database else 503
            )
        return {"status": "ok", "function": function, "dependencies": {"database": "ok"}}, 200

    def stats(request: Request) -> Answer:
        require_operator(request.headers.get("Authorization", ""))
        with db.connection() as conn:
            by_state = deliveries.count_by_state(conn)
            accounts = gates.list_accounts(conn)
        return {
            "function": function,
            "cache": enterprise_cache().stats(),
            "uptime_seconds": round(time.monotonic() - _started, 1),
            "database_queries": db.queries.value,
            "deliveries": by_state,
            "accounts": [asdict(account) for account in accounts],
        }, 200

    return {"GET /health": health, "GET /stats": stats}


def describe(enterprise: Enterprise) -> Mapping[str, object]:
    """An enterprise for the operator: everything but secrets."""
    integration = {key: value for key, value in enterprise.retailcrm.items() if key != "api_key"}
    return {
        "number": enterprise.number,
        "name": enterprise.name,
        "region": enterprise.region,
        "timezone": enterprise.timezone,
        "internal_phones": enterprise.internal_phones,
        "lines": enterprise.lines,
        "retailcrm": {**integration, "api_key_set": bool(enterprise.retailcrm.get("api_key"))},
    }
