"""
What no process knows alone, for `GET /metrics` of sweep-calls: backlogs and their age, what came to nothing, accounts
that take nothing. Every look is bounded by an index, and by COUNTED_AT_MOST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row
from psycopg.sql import SQL

from lib.runtime.db import Connection
from lib.store.states import LIVE_SQL

COUNTED_AT_MOST: Final = 100_000
# What was finished in this time is counted: an alert about it is over so long after the last one.
FINISHED_SECONDS: Final = 900.0
# Messages that nobody replayed are news for so long.
REJECTED_SECONDS: Final = 86_400.0
# How dead letters say that they are (functions/sweep-calls).
_GIVEN_UP: Final = "Given up by "


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """`lane`: live, recovered (events), rows; `oldest_seconds` 0 where nothing waits."""

    lane: str
    count: int
    oldest_seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    effect: str
    state: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Not replayed, of the last REJECTED_SECONDS. Dead letters of ticks do not count: later ticks did their work."""

    dead_letters: int
    others: int


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """`away_seconds`: of the one that is away longest; `paused`: enterprises that wait for a key or an account."""

    asked: int
    away: int
    away_seconds: float
    paused: Mapping[str, int]
    paused_seconds: float


def list_waiting(conn: Connection) -> Sequence[Waiting]:
    """Events that are part of no call yet, but for those of enterprises that are gone, and rows that are not sent."""
    with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            SQL("""
            WITH live AS (
                SELECT received_at AS since FROM call_events e
                WHERE call_id IS NULL AND wake_at < 'infinity'
                  AND EXISTS (SELECT 1 FROM enterprises WHERE number = e.enterprise_number) LIMIT %(most)s
            ), recovered AS (
                SELECT received_at AS since FROM call_events
                WHERE call_id IS NULL AND wake_at = 'infinity' LIMIT %(most)s
            ), rows AS (
                SELECT id FROM deliveries WHERE effect = 'upload' AND state IN {live} LIMIT %(most)s
            ), found AS (
                SELECT 'live' AS lane, count(*) AS count, min(since) AS since FROM live
                UNION ALL SELECT 'recovered', count(*), min(since) FROM recovered
                UNION ALL SELECT 'rows', count(*),
                                 (SELECT created_at FROM deliveries WHERE id = (SELECT min(id) FROM rows)) FROM rows
            )
            SELECT lane, count,
                   coalesce(greatest(extract(epoch FROM statement_timestamp() - since), 0), 0)::float AS oldest_seconds
            FROM found
            """).format(live=LIVE_SQL),
            {"most": COUNTED_AT_MOST},
        ).fetchall()


def list_finished(conn: Connection) -> Sequence[Finished]:
    """Deliveries that were finished within FINISHED_SECONDS, by effect and state."""
    with conn.cursor(row_factory=class_row(Finished)) as cursor:
        return cursor.execute(
            """
            SELECT effect, state, count(*) AS count FROM deliveries
            WHERE finished_at > statement_timestamp() - make_interval(secs => %s) GROUP BY effect, state
            """,
            [FINISHED_SECONDS],
        ).fetchall()


def count_rejected(conn: Connection) -> Rejected:
    with conn.cursor(row_factory=class_row(Rejected)) as cursor:
        found = cursor.execute(
            """
            SELECT count(*) FILTER (WHERE starts_with(reason, %(given_up)s)
                                          AND NOT starts_with(reason, %(given_up)s || 'ticks.')) AS dead_letters,
                   count(*) FILTER (WHERE NOT starts_with(reason, %(given_up)s)) AS others
            FROM rejected_messages
            WHERE replayed_at IS NULL AND received_at > statement_timestamp() - make_interval(secs => %(seconds)s)
            """,
            {"given_up": _GIVEN_UP, "seconds": REJECTED_SECONDS},
        ).fetchone()
    assert found is not None  # noqa: S101  (a constant row)
    return found


def count_accounts(conn: Connection) -> Accounts:
    row = conn.execute(
        """
        SELECT count(*), count(away_since),
               coalesce(extract(epoch FROM statement_timestamp() - min(away_since)), 0)::float
        FROM crm_gates
        """
    ).fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    # One that was written before there were reasons is of a refused key.
    paused = conn.execute(
        """
        SELECT coalesce(pause ->> 'reason', 'authentication'), count(*),
               extract(epoch FROM statement_timestamp() - min((pause ->> 'since')::timestamptz))::float
        FROM crm_gates CROSS JOIN LATERAL jsonb_each(pauses) AS one (number, pause)
        WHERE pauses <> '{}' GROUP BY 1
        """
    ).fetchall()
    return Accounts(
        asked=row[0],
        away=row[1],
        away_seconds=row[2],
        paused={reason: count for reason, count, _ in paused},
        paused_seconds=max((seconds for _, _, seconds in paused), default=0.0),
    )
