"""`integrations_config.retailcrm` as it is administered: read under a lock, written whole, every save a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.runtime.errors import NotFound


def lock_retailcrm(conn: Connection, enterprise_number: str) -> dict[str, Any]:
    """The section; until the end of the transaction nobody else changes it. Raises NotFound."""
    row = conn.execute(
        """
        SELECT coalesce(integrations_config -> 'retailcrm', '{}') FROM enterprises WHERE number = %s FOR UPDATE
        """,
        [enterprise_number],
    ).fetchone()
    if row is None:
        raise NotFound("There is no such enterprise", code="unknown_enterprise")
    section: dict[str, Any] = row[0]
    return section


def write_retailcrm(conn: Connection, enterprise_number: str, section: Mapping[str, Any]) -> None:
    """Replaces the section, which the caller has locked."""
    conn.execute(
        """
        UPDATE enterprises
        SET integrations_config = integrations_config || jsonb_build_object('retailcrm', %s::jsonb),
            updated_at = clock_timestamp()
        WHERE number = %s
        """,
        [Jsonb(section), enterprise_number],
    )


def note_sync(conn: Connection, enterprise_number: str, facts: Mapping[str, Any]) -> None:
    """What the CRM said of itself, and when: no new version, for nobody's form shows it."""
    conn.execute(
        """
        UPDATE enterprises
        SET integrations_config = integrations_config || jsonb_build_object('retailcrm',
                coalesce(integrations_config -> 'retailcrm', '{}') || %s::jsonb || jsonb_build_object('last_sync',
                    to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
        WHERE number = %s
        """,
        [Jsonb(facts), enterprise_number],
    )
