"""Who works at an enterprise: owners of its extensions, statuses of its managers, and whom the CRM does not know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.rows import class_row
from psycopg.sql import SQL, Composable

from lib.runtime.db import Connection

# Of one enterprise's exchanges in one look; what is older than so many is not told.
ENTRIES_AT_MOST: Final = 5000


@dataclass(frozen=True, kw_only=True)
class InternalPhone:
    extension: str
    login: str | None
    first_name: str | None
    last_name: str | None


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """An extension or a manager that RetailCRM did not know when we told it of `calls` calls."""

    kind: str
    value: str
    since: datetime
    last_at: datetime
    calls: int


def list_internal_phones(conn: Connection, enterprise_number: str) -> list[InternalPhone]:
    with conn.cursor(row_factory=class_row(InternalPhone)) as cursor:
        return cursor.execute(
            """
            SELECT p.phone_number AS extension, u.login, u.first_name, u.last_name
            FROM user_internal_phones p LEFT JOIN users u ON u.id = p.user_id
            WHERE p.enterprise_number = %s ORDER BY length(p.phone_number), p.phone_number
            """,
            [enterprise_number],
        ).fetchall()


def list_statuses(conn: Connection, enterprise_number: str) -> dict[int, str]:
    rows = conn.execute("SELECT user_id, status FROM user_statuses WHERE enterprise_number = %s", [enterprise_number])
    return dict(rows.fetchall())


def list_unknown_to_crm(conn: Connection, enterprise_number: str) -> list[Unknown]:
    """
    Of the last thirty days and of the latest ENTRIES_AT_MOST exchanges, the latest complaint first; not those to whom
    a card got through since, by their extension or as the manager.
    """
    with conn.cursor(row_factory=class_row(Unknown)) as cursor:
        return cursor.execute(
            SQL("""
            WITH span AS MATERIALIZED (
                SELECT greatest(clock_timestamp() - interval '30 days',
                                (SELECT created_at FROM integration_logs WHERE enterprise_number = %(number)s
                                 ORDER BY created_at DESC OFFSET %(entries)s LIMIT 1)) AS begin
            ), complaints AS MATERIALIZED (
                SELECT words.kind, named.value, min(l.created_at) AS since, max(l.created_at) AS last_at,
                       count(DISTINCT l.request_data #>> '{{event,callExternalId}}') AS calls
                FROM integration_logs l
                CROSS JOIN LATERAL (VALUES ('extension', {unknown_codes}), ('manager', {unknown_users}))
                    AS words (kind, listed)
                CROSS JOIN LATERAL jsonb_array_elements_text(words.listed) AS named (value)
                WHERE l.enterprise_number = %(number)s AND l.integration_type = 'retailcrm'
                  AND l.created_at > (SELECT begin FROM span)
                  AND l.event_type IN ('popup', 'hangup')
                  AND l.response_data -> 'body' ?| ARRAY['notExistCodes', 'notExistUsers']
                GROUP BY words.kind, named.value ORDER BY max(l.created_at) DESC LIMIT 100
            ), shown AS MATERIALIZED (
                -- One pass for all complaints.
                SELECT told.kind, named.value, max(later.created_at) AS at
                FROM integration_logs later
                CROSS JOIN LATERAL (VALUES ('extension', {codes}, {unknown_codes_later}),
                                           ('manager', {users}, {unknown_users_later})) AS told (kind, listed, missed)
                CROSS JOIN LATERAL jsonb_array_elements_text(told.listed) AS named (value)
                WHERE later.enterprise_number = %(number)s AND later.integration_type = 'retailcrm'
                  AND later.created_at > (SELECT min(last_at) FROM complaints)
                  AND later.event_type IN ('popup', 'test_popup') AND later.status = 'success'
                  AND later.request_data #>> '{{event,type}}' <> 'hangup'
                  AND NOT EXISTS (SELECT FROM jsonb_array_elements_text(told.missed) AS unseen (value)
                                  WHERE unseen.value = named.value)
                GROUP BY told.kind, named.value
            ), named AS (
                SELECT c.*, CASE c.kind
                    WHEN 'extension' THEN c.value
                    ELSE (SELECT e.integrations_config #>> ARRAY['retailcrm', 'user_extensions', c.value]
                          FROM enterprises e WHERE e.number = %(number)s) END AS code
                FROM complaints c
            )
            SELECT kind, value, since, last_at, calls FROM named
            WHERE NOT EXISTS (
                SELECT FROM shown
                WHERE shown.at > named.last_at
                  AND (shown.kind = 'extension' AND shown.value = named.code
                       OR shown.kind = named.kind AND shown.value = named.value))
            ORDER BY last_at DESC
            """).format(
                unknown_codes=_listed("l.response_data #> '{body,notExistCodes}'"),
                unknown_users=_listed("l.response_data #> '{body,notExistUsers}'"),
                codes=_listed("later.request_data #> '{event,codes}'"),
                users=_listed("later.request_data #> '{event,userIds}'"),
                unknown_codes_later=_listed("later.response_data #> '{body,notExistCodes}'"),
                unknown_users_later=_listed("later.response_data #> '{body,notExistUsers}'"),
            ),
            {"number": enterprise_number, "entries": ENTRIES_AT_MOST},
        ).fetchall()


def _listed(value: LiteralString) -> Composable:
    """PHP writes a list with gaps as a map."""
    return SQL("""
        CASE jsonb_typeof({value}) WHEN 'array' THEN {value}
            WHEN 'object' THEN jsonb_path_query_array({value}, '$.*') ELSE '[]' END
    """).format(value=SQL(value))
