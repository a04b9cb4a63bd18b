"""Who works at an enterprise: owners of its extensions, statuses of its managers, and whom the CRM does not know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lib.runtime.db import Connection


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
    Of the last thirty days, the latest complaint first; not those to whom a card got through since, by their
    extension or as the manager.
    """
    with conn.cursor(row_factory=class_row(Unknown)) as cursor:
        return cursor.execute(
            """
            WITH complaints AS (
                SELECT words.kind, words.field, named.value, min(l.created_at) AS since, max(l.created_at) AS last_at,
                       count(DISTINCT l.request_data #>> '{event,callExternalId}') AS calls
                FROM integration_logs l
                CROSS JOIN (VALUES ('extension', 'notExistCodes'), ('manager', 'notExistUsers')) AS words (kind, field)
                CROSS JOIN LATERAL jsonb_array_elements_text(
                    CASE WHEN jsonb_typeof(l.response_data #> ARRAY['body', words.field]) = 'array'
                         THEN l.response_data #> ARRAY['body', words.field] ELSE '[]' END) AS named (value)
                WHERE l.enterprise_number = %(number)s AND l.integration_type = 'retailcrm'
                  AND l.created_at > clock_timestamp() - interval '30 days'
                  AND l.event_type IN ('popup', 'hangup')
                  AND l.response_data -> 'body' ?| ARRAY['notExistCodes', 'notExistUsers']
                GROUP BY words.kind, words.field, named.value ORDER BY max(l.created_at) DESC LIMIT 100
            ), named AS (
                SELECT c.*, CASE c.kind
                    WHEN 'extension' THEN c.value
                    ELSE (SELECT e.integrations_config #>> ARRAY['retailcrm', 'user_extensions', c.value]
                          FROM enterprises e WHERE e.number = %(number)s) END AS code,
                    CASE WHEN c.kind = 'manager' AND c.value ~ '^[0-9]{1,18}$' THEN c.value::bigint END AS user_id
                FROM complaints c
            )
            SELECT kind, value, since, last_at, calls FROM named
            WHERE NOT EXISTS (
                SELECT FROM integration_logs later
                WHERE later.enterprise_number = %(number)s AND later.integration_type = 'retailcrm'
                  AND later.created_at > named.last_at AND later.event_type IN ('popup', 'test_popup')
                  AND later.status = 'success' AND later.request_data #>> '{event,type}' <> 'hangup'
                  AND (later.request_data #> '{event,codes}' @> to_jsonb(named.code)
                       AND NOT coalesce(later.response_data #> '{body,notExistCodes}' @> to_jsonb(named.code), false)
                       OR later.request_data #> '{event,userIds}' @> to_jsonb(named.user_id)))
            ORDER BY last_at DESC
            """,
            {"number": enterprise_number},
        ).fetchall()
