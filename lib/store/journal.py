"""
Looking back: calls and what became of them in RetailCRM, exchanges with it, numbers for the overview. Pages go by key,
not offset.

Other CRMs have deliveries, decisions and exchanges of their own, which are none of its page's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg.rows import class_row, dict_row
from psycopg.sql import SQL, Composed

from lib.runtime.db import Connection

# Of a delivery that was sent again the last generation counts: no later one `later` of this delivery `d` is there.
_IS_LATEST: Final[LiteralString] = """
    NOT EXISTS (SELECT 1 FROM deliveries later
                WHERE later.call_id = d.call_id AND later.crm = d.crm AND later.effect = d.effect
                  AND later.external_id = d.external_id AND later.extensions = d.extensions
                  AND later.generation > d.generation)
"""


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
    """
    `deliveries`: `{"effect", "state", "reason", "extensions"}` of each one's last generation, in order. `talk_seconds`,
    `waiting_seconds` and `has_recording` are what the history row says, None while there is none. `due_at`: when
    something is decided without a further event, None: never.
    """

    id: int
    unique_id: str
    kind: str
    customer: str | None
    line_id: str | None
    result: str | None
    owner_extension: str | None
    started_at: datetime
    last_event_at: datetime
    over_at: datetime | None
    due_at: datetime | None
    decisions: list[dict[str, Any]]
    talk_seconds: int | None
    waiting_seconds: int | None
    has_recording: bool | None
    deliveries: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What RetailCRM answered last; `http_status` None: nothing, or nothing whole. `body`: an object, or text."""

    status: str
    http_status: int | None
    error: str | None
    body: object
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """When RetailCRM last accepted a pop-up of the latest calls, and a row; None: none of theirs."""

    shown_at: datetime | None
    stored_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    events: int
    since: datetime


def list_logs(
    conn: Connection, enterprise_number: str, chosen: LogFilter, *, after: Key | None, limit: int
) -> list[Log]:
    """The latest first."""
    wanted = _log_conditions(enterprise_number, chosen)
    if after is not None:
        wanted.append(("(created_at, id) < (%(at)s, %(id)s)", {"at": after.at, "id": after.id}))
    with conn.cursor(row_factory=class_row(Log)) as cursor:
        return cursor.execute(
            SQL("""
            SELECT id, event_type, status, error_message, request_data, response_data, created_at
            FROM integration_logs WHERE {conditions}
            ORDER BY created_at DESC, id DESC LIMIT %(limit)s
            """).format(conditions=_all(wanted)),
            _parameters(wanted) | {"limit": limit},
        ).fetchall()


def count_logs(conn: Connection, enterprise_number: str, chosen: LogFilter, *, limit: int) -> int:
    """At most `limit`, which bounds the look too."""
    wanted = _log_conditions(enterprise_number, chosen)
    query = SQL("SELECT count(*) FROM (SELECT 1 FROM integration_logs WHERE {conditions} LIMIT %(limit)s) found")
    return _count(conn, query.format(conditions=_all(wanted)), _parameters(wanted) | {"limit": limit})


def count_calls(conn: Connection, enterprise_number: str, chosen: CallFilter, *, limit: int) -> int:
    """At most `limit`, which bounds the look too."""
    wanted = [("c.enterprise_number = %(number)s", {"number": enterprise_number}), *_conditions(chosen)]
    query = SQL("SELECT count(*) FROM (SELECT 1 FROM calls c WHERE {conditions} LIMIT %(limit)s) found")
    return _count(conn, query.format(conditions=_all(wanted)), _parameters(wanted) | {"limit": limit})


def _count(conn: Connection, query: Composed, parameters: dict[str, Any]) -> int:
    row = conn.execute(query, parameters).fetchone()
    return row[0] if row else 0


def _log_conditions(enterprise_number: str, chosen: LogFilter) -> list[tuple[LiteralString, dict[str, Any]]]:
    wanted: list[tuple[LiteralString, dict[str, Any]]] = [
        ("enterprise_number = %(number)s AND integration_type = 'retailcrm'", {"number": enterprise_number})
    ]
    if chosen.event_type is not None:
        wanted.append(("event_type = %(event_type)s", {"event_type": chosen.event_type}))
    if chosen.status is not None:
        wanted.append(("status = %(status)s", {"status": chosen.status}))
    if chosen.since is not None:
        wanted.append(("created_at >= %(since)s", {"since": chosen.since}))
    if chosen.until is not None:
        wanted.append(("created_at < %(until)s", {"until": chosen.until}))
    return wanted


def list_calls(
    conn: Connection, enterprise_number: str, chosen: CallFilter, *, after: Key | None, limit: int
) -> list[FoundCall]:
    """The latest first. Only what is asked for is a condition: a page is then a walk along one index."""
    wanted = [("c.enterprise_number = %(number)s", {"number": enterprise_number}), *_conditions(chosen)]
    if after is not None:
        wanted.append(("(c.started_at, c.id) < (%(at)s, %(id)s)", {"at": after.at, "id": after.id}))
    with conn.cursor(row_factory=class_row(FoundCall)) as cursor:
        return cursor.execute(
            SQL("""
            SELECT c.id, c.main_unique_id AS unique_id, c.kind, c.customer, c.line_id, c.result, c.owner_extension,
                   c.started_at, c.last_event_at, c.over_at, c.due_at,
                   jsonb_path_query_array(c.decisions, '$[*] ? (!exists(@.crm) || @.crm == "retailcrm")') AS decisions,
                   said.talk_seconds, said.waiting_seconds, said.has_recording,
                   coalesce(said.deliveries, '[]') AS deliveries
            FROM calls c
            CROSS JOIN LATERAL (
                SELECT jsonb_agg(jsonb_build_object('effect', d.effect, 'state', d.state, 'reason', d.reason,
                                                    'extensions', d.extensions) ORDER BY d.id) AS deliveries,
                       max((d.content ->> 'duration')::float) FILTER (WHERE d.effect = 'upload')::int AS talk_seconds,
                       max((d.content ->> 'waiting')::float) FILTER (WHERE d.effect = 'upload')::int
                           AS waiting_seconds,
                       bool_or(d.content ->> 'record_url' IS NOT NULL) FILTER (WHERE d.effect = 'upload')
                           AS has_recording
                FROM deliveries d WHERE d.call_id = c.id AND d.crm = 'retailcrm' AND {is_latest}
            ) said
            WHERE {conditions}
            ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s
            """).format(conditions=_all(wanted), is_latest=SQL(_IS_LATEST)),
            _parameters(wanted) | {"limit": limit},
        ).fetchall()


_ONLY_CHANNELS: Final[LiteralString] = '$[*] ? (@.code == "only_channels")'


def _conditions(chosen: CallFilter) -> list[tuple[LiteralString, dict[str, Any]]]:
    found: list[tuple[LiteralString, dict[str, Any]]] = []
    if chosen.phone is not None:
        found.append(("strpos(c.customer, %(phone)s) > 0", {"phone": chosen.phone}))
    if chosen.kind is not None:
        found.append(("c.kind = %(kind)s", {"kind": chosen.kind}))
    else:
        # Channels that a host uses for itself are no calls; whoever looks for them asks for the kind `unknown`.
        found.append((f"NOT (c.kind = 'unknown' AND c.decisions @? '{_ONLY_CHANNELS}')", {}))
    if chosen.result is not None:
        # Of a call that goes on it is not known yet, unless somebody has answered.
        known = "c.result = %(result)s AND (c.over_at IS NOT NULL OR c.result = 'answered')"
        found.append((known, {"result": chosen.result}))
    if chosen.since is not None:
        found.append(("c.started_at >= %(since)s", {"since": chosen.since}))
    if chosen.until is not None:
        found.append(("c.started_at < %(until)s", {"until": chosen.until}))
    delivery = "EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = c.id AND d.crm = 'retailcrm' AND {})".format
    if chosen.extension is not None:
        told = delivery("%(extension)s = ANY(d.extensions)")
        found.append((f"(c.owner_extension = %(extension)s OR {told})", {"extension": chosen.extension}))
    if chosen.reason is not None:
        decided = """
            jsonb_path_exists(c.decisions, '$[*] ? (@.code == $code && (!exists(@.crm) || @.crm == "retailcrm"))',
                              jsonb_build_object('code', %(reason)s::text))
        """
        found.append(
            (f"({decided} OR {delivery(f'd.reason = %(reason)s AND {_IS_LATEST}')})", {"reason": chosen.reason})
        )
    if chosen.state is not None:
        found.append((delivery(f"d.state = %(state)s AND {_IS_LATEST}"), {"state": chosen.state}))
    return found


def _all(wanted: list[tuple[LiteralString, dict[str, Any]]]) -> Composed:
    """The conditions are texts of this module; what people enter is in the parameters."""
    return SQL(" AND ").join(SQL(condition) for condition, _ in wanted)


def _parameters(wanted: list[tuple[LiteralString, dict[str, Any]]]) -> dict[str, Any]:
    return {name: value for _, parameters in wanted for name, value in parameters.items()}


def count_today(conn: Connection, enterprise_number: str, *, timezone: str) -> dict[str, Any]:
    """Calls by kind and deliveries by effect and state since midnight in this zone."""
    row = conn.execute(
        SQL("""
        WITH midnight AS (
            SELECT date_trunc('day', clock_timestamp() AT TIME ZONE %(zone)s) AT TIME ZONE %(zone)s AS at
        )
        SELECT
            (SELECT coalesce(jsonb_object_agg(kind, n), '{{}}') FROM (
                SELECT c.kind, count(*) AS n FROM calls c, midnight
                WHERE c.enterprise_number = %(number)s AND c.started_at >= midnight.at GROUP BY c.kind) by_kind),
            (SELECT coalesce(jsonb_agg(jsonb_build_object('effect', effect, 'state', state, 'count', n)
                                       ORDER BY effect, state), '[]') FROM (
                SELECT d.effect, d.state, count(*) AS n
                FROM calls c JOIN deliveries d ON d.call_id = c.id AND d.crm = 'retailcrm', midnight
                WHERE c.enterprise_number = %(number)s AND c.started_at >= midnight.at AND {is_latest}
                GROUP BY d.effect, d.state) by_state),
            (SELECT max(c.last_event_at) FROM (
                SELECT last_event_at FROM calls WHERE enterprise_number = %(number)s
                ORDER BY started_at DESC LIMIT 100) c)
        """).format(is_latest=SQL(_IS_LATEST)),
        {"zone": timezone, "number": enterprise_number},
    ).fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    return {"calls": row[0], "deliveries": row[1], "last_event_at": row[2]}


def list_delays(conn: Connection, enterprise_number: str) -> list[dict[str, Any]]:
    """
    How long pop-ups of the last hour took, from the receipt of the event that rang to RetailCRM's answer: steps of
    five minutes, empty ones too.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            WITH popups AS (
                SELECT d.created_at, 1000 * extract(epoch FROM d.finished_at - rang.received_at) AS ms
                FROM calls c
                JOIN deliveries d ON d.call_id = c.id AND d.crm = 'retailcrm'
                CROSS JOIN LATERAL (
                    SELECT max(e.received_at) AS received_at FROM call_events e
                    WHERE e.call_id = c.id AND e.event_type IN ('dial', 'hangup') AND e.received_at <= d.created_at
                ) rang
                WHERE c.enterprise_number = %(number)s AND c.started_at > clock_timestamp() - interval '6 hours'
                  AND d.effect = 'popup' AND d.state = 'delivered'
                  AND d.created_at > clock_timestamp() - interval '1 hour' AND rang.received_at IS NOT NULL
            )
            SELECT step.at, count(popups.ms) AS count,
                   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY popups.ms)::numeric, 1)::float AS p50_ms,
                   round(max(popups.ms)::numeric, 1)::float AS worst_ms
            FROM generate_series(date_bin('5 minutes', clock_timestamp() - interval '1 hour', 'epoch'),
                                 clock_timestamp(), interval '5 minutes') AS step (at)
            LEFT JOIN popups ON date_bin('5 minutes', popups.created_at, 'epoch') = step.at
            GROUP BY step.at ORDER BY step.at
            """,
            {"number": enterprise_number},
        ).fetchall()


def find_last_exchange(conn: Connection, enterprise_number: str) -> Exchange | None:
    """RetailCRM's last word of this day, to whatever it was told."""
    with conn.cursor(row_factory=class_row(Exchange)) as cursor:
        return cursor.execute(
            """
            SELECT status, (response_data ->> 'http_status')::int AS http_status, error_message AS error,
                   response_data -> 'body' AS body, created_at AS at
            FROM integration_logs
            WHERE enterprise_number = %s AND integration_type = 'retailcrm'
              AND created_at > clock_timestamp() - interval '1 day'
              AND event_type IN ('popup', 'hangup', 'upload', 'register_module', 'test_popup')
              AND jsonb_typeof(response_data) = 'object' AND response_data ? 'http_status'
            ORDER BY created_at DESC, id DESC LIMIT 1
            """,
            [enterprise_number],
        ).fetchone()


def find_arrived(conn: Connection, enterprise_number: str) -> Arrived:
    with conn.cursor(row_factory=class_row(Arrived)) as cursor:
        found = cursor.execute(
            """
            SELECT max(d.finished_at) FILTER (WHERE d.effect = 'popup') AS shown_at,
                   max(d.finished_at) FILTER (WHERE d.effect = 'upload') AS stored_at
            FROM (SELECT id FROM calls WHERE enterprise_number = %s ORDER BY started_at DESC LIMIT 100) latest
            JOIN deliveries d ON d.call_id = latest.id AND d.crm = 'retailcrm' AND d.state = 'delivered'
            """,
            [enterprise_number],
        ).fetchone()
    assert found is not None  # noqa: S101  (an aggregate has a row)
    return found


def find_backlog(conn: Connection, enterprise_number: str, *, older_seconds: float) -> Backlog | None:
    """Live events that were stored that long ago and are part of no call yet; None: nothing is behind."""
    with conn.cursor(row_factory=class_row(Backlog)) as cursor:
        return cursor.execute(
            """
            SELECT count(*) AS events, min(received_at) AS since FROM (
                SELECT received_at FROM call_events
                WHERE enterprise_number = %s AND call_id IS NULL AND wake_at < 'infinity'
                  AND received_at < clock_timestamp() - make_interval(secs => %s)
                ORDER BY received_at LIMIT 10000) waiting
            HAVING count(*) > 0
            """,
            [enterprise_number, older_seconds],
        ).fetchone()


def find_recovered(conn: Connection, enterprise_number: str, *, older_seconds: float) -> Backlog | None:
    """Recovered events that have waited that long, for which no live call waits; None: there are none."""
    with conn.cursor(row_factory=class_row(Backlog)) as cursor:
        return cursor.execute(
            """
            SELECT count(*) AS events, min(received_at) AS since FROM (
                SELECT received_at FROM call_events
                WHERE enterprise_number = %s AND call_id IS NULL AND wake_at = 'infinity'
                  AND received_at < clock_timestamp() - make_interval(secs => %s)
                ORDER BY received_at LIMIT 10000) waiting
            HAVING count(*) > 0
            """,
            [enterprise_number, older_seconds],
        ).fetchone()


def list_unknown_lines(conn: Connection, enterprise_number: str) -> list[str]:
    """Lines of calls of the last seven days that the enterprise does not have."""
    rows = conn.execute(
        """
        SELECT DISTINCT c.line_id FROM calls c
        WHERE c.enterprise_number = %(number)s AND c.started_at > clock_timestamp() - interval '7 days'
          AND c.kind IN ('in', 'out') AND c.line_id <> ''
          AND NOT EXISTS (SELECT 1 FROM lines l WHERE l.enterprise_number = %(number)s AND l.line_id = c.line_id)
        ORDER BY c.line_id LIMIT 20
        """,
        {"number": enterprise_number},
    )
    return [row[0] for row in rows.fetchall()]


def is_unusually_quiet(conn: Connection, enterprise_number: str) -> bool:
    """Whether there was no call for two hours in which there were calls on three of the last seven days or more."""
    row = conn.execute(
        """
        SELECT bool_and(n = 0) FILTER (WHERE day = 0) AND count(*) FILTER (WHERE day > 0 AND n > 0) >= 3
        FROM (
            SELECT day, (SELECT count(*) FROM (
                SELECT 1 FROM calls c
                WHERE c.enterprise_number = %s
                  AND c.started_at > clock_timestamp() - make_interval(days => day, hours => 2)
                  AND c.started_at <= clock_timestamp() - make_interval(days => day) LIMIT 1) found) AS n
            FROM generate_series(0, 7) AS day
        ) days
        """,
        [enterprise_number],
    ).fetchone()
    return bool(row and row[0])


def list_failed_rows(
    conn: Connection, enterprise_number: str, *, since: datetime, limit: int
) -> list[tuple[int, datetime]]:
    """Calls since then, the oldest first, whose history row RetailCRM does not have and nobody is sending."""
    rows = conn.execute(
        SQL("""
        SELECT DISTINCT c.started_at, c.id FROM deliveries d JOIN calls c ON c.id = d.call_id
        WHERE d.enterprise_number = %s AND d.crm = 'retailcrm' AND d.effect = 'upload'
          AND d.state IN ('failed', 'expired', 'in_doubt')
          AND c.started_at >= %s
          AND {is_latest}
        ORDER BY c.started_at, c.id LIMIT %s
        """).format(is_latest=SQL(_IS_LATEST)),
        [enterprise_number, since, limit],
    )
    return [(call_id, started_at) for started_at, call_id in rows.fetchall()]
