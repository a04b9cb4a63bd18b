"""API keys as they are stored, sealed: read and replaced one by one, by whoever changes the key that seals them."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class SealedKey:
    enterprise_number: str
    integration: str
    sealed: str = field(repr=False)


def list_sealed(conn: Connection, *, after: tuple[str, str], limit: int) -> list[SealedKey]:
    """In order of the enterprises' numbers and the names of their integrations, those beyond `after`."""
    with conn.cursor(row_factory=class_row(SealedKey)) as cursor:
        return cursor.execute(
            """
            SELECT number AS enterprise_number, integration,
                   integrations_config #>> ARRAY[integration, 'api_key'] AS sealed
            FROM enterprises CROSS JOIN LATERAL jsonb_object_keys(integrations_config) AS integration
            WHERE number >= %(number)s AND (number, integration) > (%(number)s, %(integration)s)
              AND coalesce(integrations_config #>> ARRAY[integration, 'api_key'], '') <> ''
            ORDER BY number, integration LIMIT %(limit)s
            """,
            {"number": after[0], "integration": after[1], "limit": limit},
        ).fetchall()


def replace(conn: Connection, key: SealedKey, sealed: str) -> bool:
    """False when another key was saved meanwhile: that one stays."""
    return (
        conn.execute(
            """
            UPDATE enterprises
            SET integrations_config = jsonb_set(integrations_config, %(path)s, to_jsonb(%(sealed)s::text))
            WHERE number = %(number)s AND integrations_config #>> %(path)s = %(before)s
            """,
            {
                "path": [key.integration, "api_key"],
                "sealed": sealed,
                "number": key.enterprise_number,
                "before": key.sealed,
            },
        ).rowcount
        == 1
    )
