"""Every exchange with a CRM, in the table that the platform's other systems read too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from lib.db import Connection


def insert(
    conn: Connection,
    *,
    enterprise_number: str,
    event_type: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    error: str | None,
    integration_type: str = "retailcrm",
) -> None:
    """`error` None means success."""
    conn.execute(
        """
        INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data,
                                      status, error_message)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            enterprise_number,
            integration_type,
            event_type,
            Jsonb(request),
            Jsonb(response),
            "success" if error is None else "error",
            error,
        ],
    )
