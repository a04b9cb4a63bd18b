"""Looking back: calls and what became of them, exchanges, numbers for the overview. Pages go by key, not offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from lib.db import Connection


@dataclass(frozen=True, kw_only=True)
class Key:
    """Of the last row of the page before."""

    at: datetime
    id: int


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    event_type: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Log:
    id: int
    event_type: str
    status: str
    error_message: str | None
    request_data: Mapping[str, Any] | None
    response_data: Mapping[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class CallFilter:
    """`phone`: digits that stand in the number; `extension`: who owns the call, or was to be told of it."""

    phone: str | None = None
    extension: str | None = None
    kind: str | None = None
    result: str | None = None
    reason: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FoundCall:
    """`deliveries`: `{"effect", "state", "reason", "extensions"}`, in order."""

    id: int
    unique_id: str
    kind: str
    customer: str | None
    line_id: str | None
    result: str | None
    owner_extension: str | None
    started_at: datetime
    over_at: datetime | None
    decisions: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]


def list_logs(
    conn: Connection, enterprise_number: str, chosen: LogFilter, *, after: Key | None, limit: int
) -> list[Log]:
    """The latest first."""
    with conn.cursor(row_factory=class_row(Log)) as cursor:
        return cursor.execute(
            """
            SELECT id, event_type, status, error_message, request_data, response_data, created_at
            FROM integration_logs
            WHERE enterprise_number = %(number)s AND integration_type = 'retailcrm'
              AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s)
              AND (%(status)s::text IS NULL OR status = %(status)s)
              AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
              AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
              AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::bigint))
            ORDER BY created_at DESC, id DESC LIMIT %(limit)s
            """,
            {
                "number": enterprise_number,
                "event_type": chosen.event_type,
                "status": chosen.status,
                "since": chosen.since,
                "until": chosen.until,
                "at": after.at if after else None,
                "id": after.id if after else None,
                "limit": limit,
            },
        ).fetchall()


def list_calls(
    conn: Connection, enterprise_number: str, chosen: CallFilter, *, after: Key | None, limit: int
) -> list[FoundCall]:
    """The latest first."""
    with conn.cursor(row_factory=class_row(FoundCall)) as cursor:
        return cursor.execute(
            """
            SELECT c.id, c.main_unique_id AS unique_id, c.kind, c.customer, c.line_id, c.result, c.owner_extension,
                   c.started_at, c.over_at, c.decisions,
                   coalesce((SELECT jsonb_agg(jsonb_build_object('effect', d.effect, 'state', d.state,
                                 'reason', d.reason, 'extensions', d.extensions) ORDER BY d.id)
                             FROM deliveries d WHERE d.call_id = c.id), '[]') AS deliveries
            FROM calls c
            WHERE c.enterprise_number = %(number)s
              AND (%(phone)s::text IS NULL OR strpos(c.customer, %(phone)s) > 0)
              AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
              AND (%(result)s::text IS NULL OR c.result = %(result)s)
              AND (%(since)s::timestamptz IS NULL OR c.started_at >= %(since)s)
              AND (%(until)s::timestamptz IS NULL OR c.started_at < %(until)s)
              AND (%(at)s::timestamptz IS NULL OR (c.started_at, c.id) < (%(at)s, %(id)s::bigint))
              AND (%(extension)s::text IS NULL OR c.owner_extension = %(extension)s OR EXISTS (
                  SELECT 1 FROM deliveries d WHERE d.call_id = c.id AND %(extension)s = ANY(d.extensions)))
              AND (%(reason)s::text IS NULL OR c.decisions @> %(decision)s OR EXISTS (
                  SELECT 1 FROM deliveries d WHERE d.call_id = c.id AND d.reason = %(reason)s))
              AND (%(state)s::text IS NULL OR EXISTS (
                  SELECT 1 FROM deliveries d WHERE d.call_id = c.id AND d.state = %(state)s))
            ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s
            """,
            {
                "number": enterprise_number,
                "phone": chosen.phone,
                "extension": chosen.extension,
                "kind": chosen.kind,
                "result": chosen.result,
                "reason": chosen.reason,
                "decision": Jsonb([{"code": chosen.reason}]),
                "state": chosen.state,
                "since": chosen.since,
                "until": chosen.until,
                "at": after.at if after else None,
                "id": after.id if after else None,
                "limit": limit,
            },
        ).fetchall()


def count_today(conn: Connection, enterprise_number: str, *, timezone: str) -> dict[str, Any]:
    """Calls by kind and deliveries by effect and state since midnight in this zone."""
    row = conn.execute(
        """
        WITH midnight AS (
            SELECT date_trunc('day', clock_timestamp() AT TIME ZONE %(zone)s) AT TIME ZONE %(zone)s AS at
        )
        SELECT
            (SELECT coalesce(jsonb_object_agg(kind, n), '{}') FROM (
                SELECT c.kind, count(*) AS n FROM calls c, midnight
                WHERE c.enterprise_number = %(number)s AND c.started_at >= midnight.at GROUP BY c.kind) by_kind),
            (SELECT coalesce(jsonb_agg(jsonb_build_object('effect', effect, 'state', state, 'count', n)
                                       ORDER BY effect, state), '[]') FROM (
                SELECT d.effect, d.state, count(*) AS n
                FROM calls c JOIN deliveries d ON d.call_id = c.id, midnight
                WHERE c.enterprise_number = %(number)s AND c.started_at >= midnight.at
                GROUP BY d.effect, d.state) by_state),
            (SELECT max(c.last_event_at) FROM (
                SELECT last_event_at FROM calls WHERE enterprise_number = %(number)s
                ORDER BY started_at DESC LIMIT 100) c)
        """,
        {"zone": timezone, "number": enterprise_number},
    ).fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    return {"calls": row[0], "deliveries": row[1], "last_event_at": row[2]}


def list_delays(conn: Connection, enterprise_number: str) -> list[dict[str, Any]]:
    """How long pop-ups of the last hour took from the plan to RetailCRM's answer, in steps of five minutes."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT date_bin('5 minutes', d.created_at, 'epoch') AS at, count(*) AS popups,
                   round(percentile_cont(0.5) WITHIN GROUP (
                       ORDER BY extract(epoch FROM d.finished_at - d.created_at))::numeric, 3)::float AS median_seconds,
                   round(percentile_cont(0.95) WITHIN GROUP (
                       ORDER BY extract(epoch FROM d.finished_at - d.created_at))::numeric, 3)::float AS p95_seconds
            FROM calls c JOIN deliveries d ON d.call_id = c.id
            WHERE c.enterprise_number = %(number)s AND c.started_at > clock_timestamp() - interval '3 hours'
              AND d.effect = 'popup' AND d.state = 'delivered'
              AND d.created_at > clock_timestamp() - interval '1 hour'
            GROUP BY 1 ORDER BY 1
            """,
            {"number": enterprise_number},
        ).fetchall()


def find_last_refusal(conn: Connection, enterprise_number: str) -> str | None:
    """What RetailCRM said against the API key, if that is its last word of this day."""
    row = conn.execute(
        """
        SELECT CASE WHEN (response_data ->> 'http_status') IN ('401', '403') THEN error_message END
        FROM integration_logs
        WHERE enterprise_number = %s AND created_at > clock_timestamp() - interval '1 day'
          AND event_type IN ('popup', 'hangup', 'upload', 'register_module')
        ORDER BY created_at DESC, id DESC LIMIT 1
        """,
        [enterprise_number],
    ).fetchone()
    return row[0] if row else None
