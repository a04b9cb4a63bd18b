"""Every exchange with a CRM, in the table that the platform's other systems read too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.integration import RETAILCRM


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was asked of a CRM, or by it, and what came of it. `error` None means success."""

    integration_type: str
    enterprise_number: str
    event_type: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    error: str | None


def insert(
    conn: Connection,
    *,
    enterprise_number: str,
    event_type: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    error: str | None,
) -> None:
    """An exchange with RetailCRM. `error` None means success."""
    insert_exchange(
        conn,
        Exchange(
            integration_type=RETAILCRM,
            enterprise_number=enterprise_number,
            event_type=event_type,
            request=request,
            response=response,
            error=error,
        ),
    )


def insert_exchange(conn: Connection, exchange: Exchange) -> None:
    conn.execute(
        """
        INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data,
                                      status, error_message)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            exchange.enterprise_number,
            exchange.integration_type,
            exchange.event_type,
            Jsonb(exchange.request),
            Jsonb(exchange.response),
            "success" if exchange.error is None else "error",
            exchange.error,
        ],
    )


def lock(conn: Connection, enterprise_number: str, event_type: str) -> None:
    """Until the end of the transaction nobody else counts this kind of rows before adding one."""
    conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('integration_logs ' || %s || ' ' || %s, 0))",
        [enterprise_number, event_type],
    )


def find_refused_last_hour(
    conn: Connection, enterprise_number: str, event_type: str, code: str
) -> tuple[int, datetime] | None:
    """How many requests of this kind were refused by this code, and since when; None: not one."""
    row = conn.execute(
        """
        SELECT count(*), min(created_at) FROM integration_logs
        WHERE enterprise_number = %s AND created_at > clock_timestamp() - interval '1 hour'
          AND event_type = %s AND status = 'error' AND response_data ->> 'code' = %s
        """,
        [enterprise_number, event_type, code],
    ).fetchone()
    return (row[0], row[1]) if row and row[0] else None


def count_last_minute(conn: Connection, enterprise_number: str, event_type: str) -> int:
    """Requests of people, not the exchanges that came of them."""
    row = conn.execute(
        """
        SELECT count(*) FROM integration_logs
        WHERE enterprise_number = %s AND event_type = %s AND created_at > clock_timestamp() - interval '1 minute'
          AND request_data ? 'by'
        """,
        [enterprise_number, event_type],
    ).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always returns a row)
    count: int = row[0]
    return count
