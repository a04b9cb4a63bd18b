"""The whole story of one call: its events, who rang and talked, what was decided and why, what the CRM was told."""

from __future__ import annotations

from typing import Any

from lib import db, notices
from lib.assembly import parsed
from lib.cache import enterprise_cache
from lib.calls.call import assemble
from lib.calls.explain import explain
from lib.calls.plan import plan
from lib.enterprise import directory, settings
from lib.errors import NotFound
from lib.store import calls, deliveries, events, host_clocks
from lib.store.deliveries import Attempt, Delivery


def tell(enterprise_number: str, unique_id: str) -> dict[str, Any]:
    """
    The story as JSON-able data (`lib.calls.explain`), found by the id of any of the call's channels.

    Raises NotFound, Unavailable.
    """
    enterprise = enterprise_cache().by_number(enterprise_number)
    with db.transaction() as conn:
        call_id = calls.find_by_unique_id(conn, enterprise_number, unique_id)
        if call_id is None:
            raise NotFound(f"Enterprise {enterprise_number} has no call with {unique_id}", code="unknown_call")
        now = db.now(conn)
        stored = events.list_events(conn, [call_id])
        ledger = deliveries.list_deliveries(conn, [call_id])
        attempts = deliveries.list_attempts(conn, call_id)
        clock = host_clocks.find(conn, enterprise_number)
    policy = settings(enterprise)
    members = [parsed(event) for event in stored]
    call = assemble(members, directory(enterprise), policy, now)
    planned = plan(call, [notices.told(delivery) for delivery in ledger], now, policy)
    told = [_delivery(delivery, attempts) for delivery in ledger]
    story = explain(call, members, told, planned.decisions)
    story["host_clock"] = (
        {
            "lag_seconds": clock.lag_seconds,
            "wall_seconds": clock.wall_seconds,
            "observed_at": clock.observed_at.isoformat(),
        }
        if clock
        else None
    )
    return story


def _delivery(delivery: Delivery, attempts: list[Attempt]) -> dict[str, Any]:
    mine = [attempt for attempt in attempts if attempt.delivery_id == delivery.id]
    return {
        "effect": delivery.effect,
        "state": delivery.state,
        "reason": delivery.reason,
        "external_id": delivery.external_id,
        "extensions": delivery.extensions,
        "attempts": [
            {
                "started_at": attempt.started_at.isoformat(),
                "finished_at": attempt.finished_at.isoformat() if attempt.finished_at else None,
                "outcome": attempt.outcome,
                "http_status": attempt.http_status,
                "error": attempt.error,
                "request": attempt.request,
                "response": attempt.response,
            }
            for attempt in mine
        ],
    }
