"""API keys as they are stored, sealed: read and replaced one by one, by whoever changes the key that seals them."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class SealedKey:
    enterprise_number: str
    sealed: str = field(repr=False)


def list_sealed(conn: Connection, *, after: str, limit: int) -> list[SealedKey]:
    """In order of the enterprises' numbers, those beyond `after`."""
    with conn.cursor(row_factory=class_row(SealedKey)) as cursor:
        return cursor.execute(
            """
            SELECT number AS enterprise_number, integrations_config #>> '{retailcrm,api_key}' AS sealed
            FROM enterprises
            WHERE number > %s AND coalesce(integrations_config #>> '{retailcrm,api_key}', '') <> ''
            ORDER BY number LIMIT %s
            """,
            [after, limit],
        ).fetchall()


def replace(conn: Connection, key: SealedKey, sealed: str) -> bool:
    """False when another key was saved meanwhile: that one stays."""
    return (
        conn.execute(
            """
            UPDATE enterprises
            SET integrations_config = jsonb_set(integrations_config, '{retailcrm,api_key}', to_jsonb(%s::text))
            WHERE number = %s AND integrations_config #>> '{retailcrm,api_key}' = %s
            """,
            [sealed, key.enterprise_number, key.sealed],
        ).rowcount
        == 1
    )
