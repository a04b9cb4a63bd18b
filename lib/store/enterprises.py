"""Enterprises as the functions see them: one row with everything that belongs to it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

from psycopg.rows import class_row

from lib.runtime.db import Connection
from lib.runtime.errors import NotFound
from lib.store.integration import RETAILCRM, Integration, absent

INTEGRATION_CONFIG_CHANGED = "integration_config_changed"


@dataclass(frozen=True, kw_only=True)
class Enterprise:
    """
    `users`: `{"personal_phone", "phones": [extension, …]}`; `lines`: `{"line_id", "name", "phone_number",
    "site_code", "incoming_transform"}`; `integrations`: those that `integrations_config` names, by their names.
    `next_token_sha256`: of the token that replaces the present one, while both are known. `host_networks`: from where
    its hosts may speak, as `203.0.113.0/24`; empty: from everywhere.

    `derived`: what was concluded from this row (`lib.enterprises.rules`), kept for as long as the row itself.
    """

    number: str
    name: str
    token_sha256: bytes = field(repr=False)
    secret_sha256: bytes = field(repr=False)
    next_token_sha256: bytes | None = field(repr=False)
    client_id: str = field(repr=False)
    region: str
    timezone: str
    asterisk_url: str | None
    host_networks: list[str]
    integrations: Mapping[str, Integration] = field(repr=False)
    internal_phones: list[str]
    users: list[dict[str, Any]] = field(repr=False)
    lines: list[dict[str, Any]]
    derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def integration(self, name: str = RETAILCRM) -> Integration:
        """Empty and switched off where there is none."""
        return self.integrations.get(name) or absent(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """An enterprise as an instance keeps thousands of: found by its hashes, the rest compressed until it is wanted."""

    number: str
    token_sha256: bytes
    secret_sha256: bytes
    next_token_sha256: bytes | None
    content: bytes

    @property
    def hashes(self) -> tuple[bytes, ...]:
        known = (self.token_sha256, self.secret_sha256, self.next_token_sha256)
        return tuple(hashed for hashed in known if hashed is not None)

    def unpack(self) -> Enterprise:
        content = json.loads(zlib.decompress(self.content))
        sections: dict[str, object] = content.pop("integrations_config")
        return Enterprise(
            number=self.number,
            token_sha256=self.token_sha256,
            secret_sha256=self.secret_sha256,
            next_token_sha256=self.next_token_sha256,
            integrations={name: Integration.from_config(name, section) for name, section in sections.items()},
            **content,
        )


@dataclass(frozen=True, kw_only=True)
class Connected:
    """`managers`: how many have an extension."""

    enterprise_number: str
    name: str
    domain: str | None
    managers: int
    last_sync: str | None


_SELECT: Final[LiteralString] = """
    SELECT e.number, e.token_sha256, e.secret_sha256,
           (SELECT r.next_token_sha256 FROM token_rotations r WHERE r.enterprise_number = e.number),
           json_build_object(
               'name', e.name, 'client_id', e.client_id, 'region', e.region, 'timezone', e.timezone,
               'asterisk_url', e.asterisk_url, 'integrations_config', e.integrations_config,
               'host_networks', to_json(e.host_networks),
               'internal_phones', coalesce((
                   SELECT json_agg(p.phone_number ORDER BY p.phone_number)
                   FROM user_internal_phones p WHERE p.enterprise_number = e.number), '[]'),
               'users', coalesce((
                   SELECT json_agg(json_build_object(
                       'personal_phone', u.personal_phone,
                       'phones', (SELECT coalesce(json_agg(p.phone_number ORDER BY p.phone_number), '[]')
                                  FROM user_internal_phones p WHERE p.user_id = u.id)) ORDER BY u.id)
                   FROM users u WHERE u.enterprise_number = e.number), '[]'),
               'lines', coalesce((
                   SELECT json_agg(json_build_object(
                       'line_id', l.line_id, 'name', l.name, 'phone_number', l.phone_number,
                       'site_code', l.site_code, 'incoming_transform', l.incoming_transform) ORDER BY l.line_id)
                   FROM lines l WHERE l.enterprise_number = e.number), '[]'))::text
    FROM enterprises e
"""


def list_packed(conn: Connection, *, after: str, limit: int) -> list[Packed]:
    """In order of their numbers, those beyond `after`."""
    rows = conn.execute(_SELECT + " WHERE e.number > %s ORDER BY e.number LIMIT %s", [after, limit])
    return [_packed(*row) for row in rows]


def find_packed(conn: Connection, number: str) -> Packed | None:
    row = conn.execute(_SELECT + " WHERE e.number = %s", [number]).fetchone()
    return _packed(*row) if row else None


def find_enterprise(conn: Connection, number: str) -> Enterprise | None:
    packed = find_packed(conn, number)
    return packed.unpack() if packed else None


def list_numbers(conn: Connection) -> list[str]:
    return [number for (number,) in conn.execute("SELECT number FROM enterprises ORDER BY number")]


def list_connected(conn: Connection, integration: str) -> list[Connected]:
    """Those that have an API key of this integration and did not switch it off, in order of their numbers."""
    with conn.cursor(row_factory=class_row(Connected)) as cursor:
        return cursor.execute(
            """
            SELECT number AS enterprise_number, name, section ->> 'domain' AS domain,
                   section ->> 'last_sync' AS last_sync,
                   (SELECT count(*) FROM jsonb_each_text(
                        CASE jsonb_typeof(section -> 'user_extensions')
                            WHEN 'object' THEN section -> 'user_extensions' ELSE '{}' END) AS held
                    WHERE held.value <> '') AS managers
            FROM enterprises CROSS JOIN LATERAL (SELECT integrations_config -> %s AS section) AS of_it
            WHERE coalesce(section ->> 'api_key', '') <> '' AND coalesce(section ->> 'enabled', '') <> 'false'
            ORDER BY number
            """,
            [integration],
        ).fetchall()


def notify_changed(conn: Connection, numbers: Sequence[str]) -> None:
    """Every instance drops its entries of these enterprises, as after a change of all that they have."""
    conn.execute(
        """
        SELECT pg_notify(%s, json_build_object(
                   'enterprise_number', number, 'integration_type', coalesce(section.name, 'retailcrm'))::text)
        FROM enterprises LEFT JOIN LATERAL jsonb_object_keys(integrations_config) AS section (name) ON true
        WHERE number = ANY(%s)
        """,
        [INTEGRATION_CONFIG_CHANGED, list(numbers)],
    )


def find_number_by_token(conn: Connection, token_sha256: bytes) -> str | None:
    row = conn.execute(
        """
        SELECT number FROM enterprises WHERE token_sha256 = %(hash)s
        UNION ALL
        SELECT number FROM enterprises WHERE secret_sha256 = %(hash)s
        UNION ALL
        SELECT enterprise_number FROM token_rotations WHERE next_token_sha256 = %(hash)s
        LIMIT 1
        """,
        {"hash": token_sha256},
    ).fetchone()
    return row[0] if row else None


def find_number_by_client_id(conn: Connection, client_id: str, *, number_accepted: str) -> str | None:
    """By the clientId, or by the number where the enterprise's setting of this name lets that stand for it."""
    row = conn.execute(
        """
        SELECT number FROM enterprises WHERE client_id = %(client_id)s
        UNION ALL
        SELECT number FROM enterprises
        WHERE number = %(client_id)s AND integrations_config -> 'retailcrm' -> %(number_accepted)s = 'true'
        LIMIT 1
        """,
        {"client_id": client_id, "number_accepted": number_accepted},
    ).fetchone()
    return row[0] if row else None


def get_secret(conn: Connection, number: str) -> str:
    """What the Asterisk service knows the enterprise by. Raises NotFound."""
    row = conn.execute("SELECT secret FROM enterprises WHERE number = %s", [number]).fetchone()
    if row is None:
        raise NotFound(f"No enterprise {number}", code="unknown_enterprise")
    secret: str = row[0]
    return secret


def _packed(
    number: str, token_sha256: bytes, secret_sha256: bytes, next_token_sha256: bytes | None, content: str
) -> Packed:
    return Packed(
        number=number,
        token_sha256=bytes(token_sha256),
        secret_sha256=bytes(secret_sha256),
        next_token_sha256=None if next_token_sha256 is None else bytes(next_token_sha256),
        content=zlib.compress(content.encode()),
    )
