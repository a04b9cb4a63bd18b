"""Enterprises as the functions see them: one row with everything that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.rows import class_row

from lib.runtime.db import Connection

INTEGRATION_CONFIG_CHANGED = "integration_config_changed"


@dataclass(frozen=True, kw_only=True)
class Enterprise:
    """
    `users`: `{"personal_phone", "phones": [extension, …]}`; `lines`: `{"line_id", "name", "phone_number",
    "site_code", "incoming_transform"}`; `retailcrm`: `integrations_config.retailcrm` as stored.
    """

    number: str
    name: str
    token_sha256: bytes = field(repr=False)
    secret_sha256: bytes = field(repr=False)
    client_id: str = field(repr=False)
    region: str
    timezone: str
    asterisk_url: str | None
    retailcrm: Mapping[str, Any] = field(repr=False)
    internal_phones: list[str]
    users: list[dict[str, Any]] = field(repr=False)
    lines: list[dict[str, Any]]

    @property
    def integrations(self) -> Mapping[str, Any]:
        return {"retailcrm": self.retailcrm}


_SELECT: LiteralString = """
    SELECT e.number, e.name, e.token_sha256, e.secret_sha256, e.client_id, e.region, e.timezone, e.asterisk_url,
           coalesce(e.integrations_config -> 'retailcrm', '{}') AS retailcrm,
           coalesce((SELECT array_agg(p.phone_number ORDER BY p.phone_number)
                     FROM user_internal_phones p WHERE p.enterprise_number = e.number), '{}') AS internal_phones,
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                         'personal_phone', u.personal_phone,
                         'phones', (SELECT coalesce(jsonb_agg(p.phone_number ORDER BY p.phone_number), '[]')
                                    FROM user_internal_phones p WHERE p.user_id = u.id)) ORDER BY u.id)
                     FROM users u WHERE u.enterprise_number = e.number), '[]') AS users,
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                         'line_id', l.line_id, 'name', l.name, 'phone_number', l.phone_number,
                         'site_code', l.site_code, 'incoming_transform', l.incoming_transform) ORDER BY l.line_id)
                     FROM lines l WHERE l.enterprise_number = e.number), '[]') AS lines
    FROM enterprises e
"""


def list_enterprises(conn: Connection) -> list[Enterprise]:
    with conn.cursor(row_factory=class_row(Enterprise)) as cursor:
        return cursor.execute(_SELECT).fetchall()


def find_enterprise(conn: Connection, number: str) -> Enterprise | None:
    with conn.cursor(row_factory=class_row(Enterprise)) as cursor:
        return cursor.execute(_SELECT + " WHERE e.number = %s", [number]).fetchone()


def notify_changed(conn: Connection, numbers: Sequence[str]) -> None:
    """Every instance drops its entries of these enterprises, as after a change."""
    conn.execute(
        """
        SELECT pg_notify(%s, json_build_object('enterprise_number', number, 'integration_type', 'retailcrm')::text)
        FROM unnest(%s::text[]) AS number
        """,
        [INTEGRATION_CONFIG_CHANGED, list(numbers)],
    )


def find_number_by_token(conn: Connection, token_sha256: bytes) -> str | None:
    row = conn.execute(
        """
        SELECT number FROM enterprises WHERE token_sha256 = %(hash)s
        UNION ALL
        SELECT number FROM enterprises WHERE secret_sha256 = %(hash)s
        LIMIT 1
        """,
        {"hash": token_sha256},
    ).fetchone()
    return row[0] if row else None
