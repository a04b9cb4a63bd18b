"""
Calls whose events were accepted and of which RetailCRM hears nothing.

The age of a call is that of its last assembly, `updated_at`: a host's clock, and events that were recovered days later,
hide nothing. Everything here walks along `calls_without_effect_idx`, or along a bounded part of another index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.rows import class_row
from psycopg.sql import SQL

from lib.runtime.db import Connection
from lib.store.long_calls import READ_AT_MOST

# Why, as decided. A call between internal numbers is none of these: nothing is missing in the CRM.
REASONS: Final = ("no_phone", "only_channels", "no_date", "integration_disabled")
# Two colleagues talk that long before their hangup says that the call is internal.
TALK_SECONDS: Final = 900.0
# Of one enterprise in one look; more are not counted.
CALLS_AT_MOST: Final = 1000
EVENTS_AT_MOST: Final = 10_000
ENTERPRISES_AT_MOST: Final = 20

# The path is that of calls_without_effect_idx, which serves a query that has the same text.
_DECIDED: Final[LiteralString] = (
    '$[*] ? ((!exists(@.crm) || @.crm == "retailcrm") && (@.code == "no_phone" || @.code == "only_channels"'
    ' || @.code == "no_date" || @.code == "integration_disabled"))'
)
_SILENT: Final[LiteralString] = f"c.next_wake_at IS NULL AND c.kind <> 'internal' AND c.decisions @? '{_DECIDED}'"
_REASON: Final[LiteralString] = f"jsonb_path_query_first(c.decisions, '{_DECIDED}') ->> 'code'"
# A row that was told before the integration was switched off is something.
_UNTOLD: Final[LiteralString] = """
    NOT EXISTS (SELECT 1 FROM deliveries d
                WHERE d.call_id = c.id AND d.crm = 'retailcrm' AND d.state NOT IN ('superseded', 'expired'))
"""


@dataclass(frozen=True, kw_only=True)
class Because:
    """
    What led to nothing for one reason: so many calls with so many events. `unique_id` names the first of them, None
    where none of its events has an id.
    """

    reason: str
    calls: int
    events: int
    unique_id: str | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class LateCall:
    """One of the last calls. `reason`: why the CRM hears nothing of it, None where it does, or may."""

    unique_id: str
    line_id: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Figures:
    """
    Of all enterprises. `calls` by reason; `enterprises`: those with the most of these calls; `rejected`: messages that
    could not be understood; `waiting`: events that no call holds after a minute, counted up to EVENTS_AT_MOST.
    """

    calls: dict[str, int]
    enterprises: list[str]
    rejected: int
    waiting: int


def list_reasons(conn: Connection, enterprise_number: str, *, seconds: float) -> list[Because]:
    """
    Of calls that came to rest within so many seconds, the reason with the most events first; and of calls that have
    more events than are read, those that nobody reads.
    """
    with conn.cursor(row_factory=class_row(Because)) as cursor:
        silent = cursor.execute(
            SQL("""
            WITH silent AS MATERIALIZED (
                SELECT c.id, c.main_unique_id, c.updated_at, {reason} AS reason
                FROM calls c
                WHERE c.enterprise_number = %(number)s AND {silent}
                  AND c.updated_at > statement_timestamp() - make_interval(secs => %(seconds)s)
                ORDER BY c.updated_at LIMIT %(limit)s
            )
            SELECT c.reason, count(*) AS calls, sum(came.events)::int AS events,
                   (array_agg(nullif(c.main_unique_id, '') ORDER BY c.updated_at, c.id))[1] AS unique_id,
                   min(c.updated_at) AS at
            FROM silent c
            CROSS JOIN LATERAL (SELECT count(*) AS events FROM call_events e WHERE e.call_id = c.id) came
            WHERE {untold} AND (c.reason <> 'only_channels'
                                OR c.updated_at < statement_timestamp() - make_interval(secs => %(talk)s))
            GROUP BY c.reason
            """).format(reason=SQL(_REASON), silent=SQL(_SILENT), untold=SQL(_UNTOLD)),
            {"number": enterprise_number, "seconds": seconds, "limit": CALLS_AT_MOST, "talk": TALK_SECONDS},
        ).fetchall()
        # Of the last calls: no index is kept for what hardly ever is.
        unread = cursor.execute(
            """
            SELECT 'too_many_events' AS reason, count(*) AS calls, sum(c.events - %(read)s)::int AS events,
                   (array_agg(nullif(c.main_unique_id, '') ORDER BY c.updated_at, c.id))[1] AS unique_id,
                   min(c.updated_at) AS at
            FROM (
                SELECT id, main_unique_id, events, updated_at FROM calls
                WHERE enterprise_number = %(number)s AND started_at > statement_timestamp() - interval '1 day'
                ORDER BY started_at DESC, id DESC LIMIT %(limit)s
            ) c
            WHERE c.events > %(read)s AND c.updated_at > statement_timestamp() - make_interval(secs => %(seconds)s)
            HAVING count(*) > 0
            """,
            {"number": enterprise_number, "seconds": seconds, "limit": CALLS_AT_MOST, "read": READ_AT_MOST},
        ).fetchall()
    return sorted((*silent, *unread), key=lambda because: (-because.events, because.reason))


def list_late_calls(conn: Connection, enterprise_number: str, *, seconds: float, limit: int) -> list[LateCall]:
    """
    The last calls that are not internal, the latest first. Left out: what may still turn out to be a talk of
    colleagues, and what the host cannot help, an integration that is switched off.
    """
    with conn.cursor(row_factory=class_row(LateCall)) as cursor:
        return cursor.execute(
            SQL("""
            SELECT c.unique_id, c.line_id, CASE WHEN c.reason IS NOT NULL AND {untold} THEN c.reason END AS reason, c.at
            FROM (
                SELECT c.id, c.main_unique_id AS unique_id, c.line_id, c.started_at AS at, c.updated_at,
                       CASE WHEN {silent} THEN {reason} END AS reason
                FROM calls c
                WHERE c.enterprise_number = %(number)s AND c.kind <> 'internal'
                  AND c.started_at > statement_timestamp() - make_interval(secs => %(seconds)s)
                ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s
            ) c
            WHERE c.reason IS DISTINCT FROM 'integration_disabled'
              AND (c.reason IS DISTINCT FROM 'only_channels'
                   OR c.updated_at < statement_timestamp() - make_interval(secs => %(talk)s))
            ORDER BY c.at DESC, c.id DESC
            """).format(reason=SQL(_REASON), silent=SQL(_SILENT), untold=SQL(_UNTOLD)),
            {"number": enterprise_number, "seconds": seconds, "limit": limit, "talk": TALK_SECONDS},
        ).fetchall()


def count_all(conn: Connection, *, seconds: float) -> Figures:
    """For the operator: one index search for each enterprise that has such calls, and at most CALLS_AT_MOST of each."""
    rows: Sequence[tuple[str, str, int]] = conn.execute(
        SQL("""
        WITH RECURSIVE numbers (number) AS (
            (SELECT c.enterprise_number FROM calls c WHERE {silent} ORDER BY c.enterprise_number LIMIT 1)
            UNION ALL
            SELECT (SELECT c.enterprise_number FROM calls c
                    WHERE {silent} AND c.enterprise_number > n.number
                    ORDER BY c.enterprise_number LIMIT 1)
            FROM numbers n WHERE n.number IS NOT NULL
        )
        SELECT n.number, silent.reason, count(*)
        FROM numbers n CROSS JOIN LATERAL (
            SELECT {reason} AS reason, c.updated_at FROM calls c
            WHERE c.enterprise_number = n.number AND {silent}
              AND c.updated_at > statement_timestamp() - make_interval(secs => %(seconds)s) AND {untold}
            ORDER BY c.updated_at LIMIT %(limit)s) silent
        WHERE silent.reason <> 'only_channels'
           OR silent.updated_at < statement_timestamp() - make_interval(secs => %(talk)s)
        GROUP BY n.number, silent.reason
        """).format(reason=SQL(_REASON), silent=SQL(_SILENT), untold=SQL(_UNTOLD)),
        {"seconds": seconds, "limit": CALLS_AT_MOST, "talk": TALK_SECONDS},
    ).fetchall()
    further = conn.execute(
        """
        SELECT (SELECT count(*) FROM rejected_messages
                WHERE received_at > statement_timestamp() - make_interval(secs => %(seconds)s)),
               (SELECT count(*) FROM (
                   SELECT 1 FROM call_events
                   WHERE call_id IS NULL AND wake_at < 'infinity'
                     AND received_at < statement_timestamp() - interval '1 minute'
                   LIMIT %(limit)s) waiting)
        """,
        {"seconds": seconds, "limit": EVENTS_AT_MOST},
    ).fetchone()
    assert further is not None  # noqa: S101  (a constant row)
    calls, by_enterprise = dict.fromkeys(REASONS, 0), dict[str, int]()
    for number, reason, count in rows:
        calls[reason] += count
        by_enterprise[number] = by_enterprise.get(number, 0) + count
    most = sorted(by_enterprise, key=lambda number: (-by_enterprise[number], number))
    return Figures(calls=calls, enterprises=most[:ENTERPRISES_AT_MOST], rejected=further[0], waiting=further[1])
