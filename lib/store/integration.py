"""What an enterprise is known by on both sides of a click, and whether its CRM has switched us on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.runtime.errors import NotFound


def find_number_by_client_id(conn: Connection, client_id: str) -> str | None:
    """By the clientId, or by the number where the enterprise lets that stand for it."""
    row = conn.execute(
        """
        SELECT number FROM enterprises WHERE client_id = %(client_id)s
        UNION ALL
        SELECT number FROM enterprises
        WHERE number = %(client_id)s
          AND integrations_config -> 'retailcrm' -> 'accept_number_as_client_id' = 'true'
        LIMIT 1
        """,
        {"client_id": client_id},
    ).fetchone()
    return row[0] if row else None


def get_secret(conn: Connection, enterprise_number: str) -> str:
    """What the Asterisk service knows the enterprise by. Raises NotFound."""
    row = conn.execute("SELECT secret FROM enterprises WHERE number = %s", [enterprise_number]).fetchone()
    if row is None:
        raise NotFound(f"No enterprise {enterprise_number}", code="unknown_enterprise")
    secret: str = row[0]
    return secret


def merge_retailcrm(conn: Connection, enterprise_number: str, changes: Mapping[str, Any]) -> bool:
    """Merges into `integrations_config.retailcrm` as the next version; False when nothing would change."""
    updated = conn.execute(
        """
        UPDATE enterprises
        SET integrations_config = integrations_config || jsonb_build_object('retailcrm',
                coalesce(integrations_config -> 'retailcrm', '{}') || %(changes)s || jsonb_build_object('version',
                    coalesce((integrations_config #>> '{retailcrm,version}')::bigint, 0) + 1)),
            updated_at = clock_timestamp()
        WHERE number = %(number)s AND NOT coalesce(integrations_config -> 'retailcrm', '{}') @> %(changes)s
        """,
        {"number": enterprise_number, "changes": Jsonb(changes)},
    )
    return updated.rowcount > 0
