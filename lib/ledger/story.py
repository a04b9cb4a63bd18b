"""The whole story of one call: its events, who rang and talked, what was decided and why, what the CRM was told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lib.calls.call import Call, assemble
from lib.calls.decision import Decision
from lib.calls.explain import explain
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import directory, settings
from lib.ledger import codec
from lib.ledger.derive import parsed
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.store import calls, clicks, deliveries, events, host_clocks
from lib.store.deliveries import Attempt, Delivery


def tell(enterprise_number: str, unique_id: str, *, crm: str) -> dict[str, Any]:
    """
    The story as JSON-able data (`lib.calls.explain`), as one CRM was told it, found by the id of any of the call's
    channels.

    Raises NotFound, Unavailable.
    """
    enterprise = enterprise_cache().by_number(enterprise_number)
    with db.transaction() as conn:
        call_id = calls.find_by_unique_id(conn, enterprise_number, unique_id)
        if call_id is None:
            raise NotFound(f"Enterprise {enterprise_number} has no call with {unique_id}", code="unknown_call")
        decided = calls.find_decisions(conn, call_id)
        if decided is None:
            raise NotFound(
                f"What the host said of call {unique_id} is not kept any more (RETENTION_EVENTS_DAYS)",
                code="events_forgotten",
            )
        now = db.now(conn)
        stored = events.list_events(conn, call_id)
        ledger = deliveries.list_deliveries(conn, [call_id], crm=crm)
        attempts = deliveries.list_attempts(conn, call_id, crm=crm)
        clock = host_clocks.find(conn, enterprise_number)
    members = [parsed(event) for event in stored]
    call = assemble(members, directory(enterprise, crm), settings(enterprise, crm), now)
    told = [_delivery(delivery, attempts, call.started_at) for delivery in ledger]
    decisions = _decisions(decided, call, crm)
    story = explain(call, members, told, decisions)
    # Only beside the earlier call of this id is it seen that the host gave it again.
    again = next((one.params["external_id"] for one in decisions if one.code == "id_began_again"), None)
    story["unique_id"] = again or story["unique_id"]
    story["host_clock"] = (
        {
            "lag_seconds": clock.lag_seconds,
            "wall_seconds": clock.wall_seconds,
            "observed_at": clock.observed_at.isoformat(),
        }
        if clock
        else None
    )
    story["click"] = _click(enterprise_number, call)
    return story


def _decisions(decided: Sequence[Mapping[str, Any]], call: Call, crm: str) -> list[Decision]:
    """As decided then: derived now, they would come from today's mapping and settings. Warnings are told apart."""
    warnings = {warning.code for warning in call.warnings}
    return [one for one in codec.decisions_of(decided, crm) if one.code not in warnings]


def _click(enterprise_number: str, call: Call) -> dict[str, Any] | None:
    """The click in the CRM that an outgoing call came from."""
    caller = call.owner_extension or next((name for ring in call.rings for name in ring.extensions), None)
    if call.kind != "out" or caller is None or call.customer is None:
        return None
    with db.connection() as conn:
        click = clicks.find_click(conn, enterprise_number, extension=caller, phone=call.customer, at=call.started_at)
    if click is None:
        return None
    answer = click.answer or {}
    error = answer.get("error")
    return {
        "clicked_at": click.clicked_at.isoformat(),
        "user_id": click.user_id,
        "extension": click.extension,
        "phone": click.phone,
        "http_status": click.http_status,
        "message": error.get("message") if isinstance(error, dict) else answer.get("message"),
    }


def _delivery(delivery: Delivery, attempts: list[Attempt], began: datetime) -> dict[str, Any]:
    mine = [attempt for attempt in attempts if attempt.delivery_id == delivery.id]
    return {
        "id": delivery.id,
        "effect": delivery.effect,
        "state": delivery.state,
        "reason": delivery.reason,
        "external_id": delivery.external_id,
        "extensions": delivery.extensions or list(_named(delivery)),
        "at": _since(mine[0].started_at, began) if mine else None,
        "attempts": [
            {
                "started_at": attempt.started_at.isoformat(),
                "finished_at": attempt.finished_at.isoformat() if attempt.finished_at else None,
                "at": _since(attempt.started_at, began),
                "outcome": attempt.outcome,
                "http_status": attempt.http_status,
                "error": attempt.error,
                "request": attempt.request,
                "response": attempt.response,
            }
            for attempt in mine
        ],
    }


def _named(delivery: Delivery) -> Iterator[str]:
    """Whom an end or a row is about: the ledger keeps it in what is said. A row may have gone without its owner."""
    content = delivery.content
    yield from content.get("extensions") or ()
    if content.get("extension") and delivery.reason != "owner_refused":
        yield content["extension"]


def _since(moment: datetime, began: datetime) -> float:
    return round((moment - began).total_seconds(), 1)
