"""
Routes that every function has: `GET /health` for anybody, `GET /stats` and `GET /metrics` for the operator.

Reads     deliveries, calls, call_events, rejected_messages, crm_gates: states and times, which `/stats` counts
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Request

from lib import crms
from lib.admin import scrape
from lib.enterprises import rules
from lib.enterprises.cache import enterprise_cache
from lib.runtime import db, guesses
from lib.runtime.auth import require_operator
from lib.runtime.errors import Unavailable
from lib.runtime.http import Answer, Handler
from lib.store import deliveries, gates, recovered, silence
from lib.store.enterprises import Enterprise

SILENT_SECONDS: Final = 3600

_started = time.monotonic()


def routes(
    function: str,
    *,
    works_without_database: bool = False,
    counted: Mapping[str, Callable[[db.Connection], object]] | None = None,
    has_figures: bool = False,
) -> dict[str, Handler]:
    """
    `counted`: what this function alone has in its /stats; `has_figures`: its /metrics tell what the database alone
    knows, those of no other do.
    """

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
            silent = silence.count_all(conn, seconds=SILENT_SECONDS)
            waiting = recovered.count_waiting(conn)
            own = {name: count(conn) for name, count in (counted or {}).items()}
        cached = enterprise_cache().stats()
        return {
            "function": function,
            "cache": cached,
            "cache_stats": cached,
            "uptime_seconds": round(time.monotonic() - _started, 1),
            "database_queries": db.queries.value,
            "deliveries": by_state,
            "deliveries_finished_within_seconds": deliveries.FINISHED_SPAN_SECONDS,
            "accounts": [asdict(account) for account in accounts],
            "guesses": guesses.stats(),
            "recovered_events_waiting": waiting,
            "led_to_nothing": {**asdict(silent), "within_seconds": SILENT_SECONDS},
            **own,
        }, 200

    return {"GET /health": health, "GET /stats": stats, "GET /metrics": scrape.route(has_figures=has_figures)}


def describe(enterprise: Enterprise, age_seconds: float) -> Mapping[str, object]:
    """
    An enterprise for the operator: everything but secrets, and whether each of its integrations works.

    `integrations`: true for a CRM that is served here, switched on, and has an address and a key; `unserved`: those
    that are kept for an enterprise, though no service here works for them.
    """
    integration = enterprise.integration()
    shown = {name: value for name, value in integration.stored.items() if name != "api_key"}
    names = sorted({*crms.CRMS, *enterprise.integrations})
    return {
        "enterprise_number": enterprise.number,
        "integrations": {name: name in crms.CRMS and rules.settings(enterprise, name).enabled for name in names},
        "unserved": crms.unserved(enterprise.integrations),
        "problems": {name: found.problems for name, found in enterprise.integrations.items() if found.problems},
        "cached_at": (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat(timespec="seconds"),
        "age_seconds": round(age_seconds, 1),
        "number": enterprise.number,
        "name": enterprise.name,
        "region": enterprise.region,
        "timezone": enterprise.timezone,
        "internal_phones": enterprise.internal_phones,
        "lines": enterprise.lines,
        "retailcrm": {**shown, "api_key_set": bool(integration.api_key)},
    }
