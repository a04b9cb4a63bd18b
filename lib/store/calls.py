"""Calls that were assembled: found, woken, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class DueCall:
    """`unique_id`: its main one, for the log."""

    enterprise_number: str
    id: int
    unique_id: str


def find_by_unique_id(conn: Connection, enterprise_number: str, unique_id: str) -> int | None:
    """The call that has a channel of this id, or that goes by this id where a host gave its own to another call too."""
    row = conn.execute(
        """
        SELECT call_id FROM call_events
        WHERE enterprise_number = %s AND unique_id = %s AND call_id IS NOT NULL
        ORDER BY id LIMIT 1
        """,
        [enterprise_number, unique_id],
    ).fetchone()
    if row is None:
        row = conn.execute(
            "SELECT id FROM calls WHERE enterprise_number = %s AND main_unique_id = %s ORDER BY id LIMIT 1",
            [enterprise_number, unique_id],
        ).fetchone()
    return row[0] if row else None


def find_decisions(conn: Connection, call_id: int) -> list[dict[str, Any]] | None:
    """What was decided about the call; None when its events are not kept any more."""
    row = conn.execute("SELECT decisions FROM calls WHERE id = %s AND NOT events_forgotten", [call_id]).fetchone()
    return row[0] if row else None


def claim_due(conn: Connection, *, limit: int, each: int = 10) -> list[DueCall]:
    """
    Calls whose time has come; each is left alone for a while, so that a second sweep does not
    wake it too, and woken again, later each time, should nothing come of it.

    In turn: the first of every enterprise before the second of any, no more than `each` of those that wait longest and
    of those whose time has just come, so that neither a backlog nor the calls behind it starve anybody.
    """
    with conn.cursor(row_factory=class_row(DueCall)) as cursor:
        return cursor.execute(
            """
            WITH due AS (
                SELECT due.id, min(due.turn) AS turn
                FROM enterprises e
                CROSS JOIN LATERAL (
                    (SELECT c.id, row_number() OVER (ORDER BY c.next_wake_at) AS turn FROM calls c
                     WHERE c.enterprise_number = e.number AND c.next_wake_at <= now()
                     ORDER BY c.next_wake_at LIMIT %(each)s)
                    UNION ALL
                    (SELECT c.id, row_number() OVER (ORDER BY c.next_wake_at DESC) FROM calls c
                     WHERE c.enterprise_number = e.number AND c.next_wake_at <= now()
                     ORDER BY c.next_wake_at DESC LIMIT %(each)s)
                ) due
                GROUP BY due.id ORDER BY turn, random() LIMIT %(limit)s
            ), chosen AS (
                SELECT c.id, due.turn FROM calls c JOIN due ON due.id = c.id
                WHERE c.next_wake_at <= now() FOR UPDATE OF c SKIP LOCKED
            ), woken AS (
                UPDATE calls c
                SET wakes = c.wakes + 1,
                    next_wake_at = clock_timestamp()
                        + least(interval '10 seconds' * 2 ^ least(c.wakes, 10), interval '10 minutes')
                FROM chosen WHERE chosen.id = c.id
                RETURNING c.enterprise_number, c.id, c.main_unique_id, chosen.turn
            )
            SELECT enterprise_number, id, main_unique_id AS unique_id FROM woken ORDER BY turn, id
            """,
            {"limit": limit, "each": each},
        ).fetchall()


def give_back(conn: Connection, call_ids: Sequence[int]) -> None:
    """Claimed, and not woken: at the next tick again, and as if this one had not been."""
    conn.execute(
        """
        UPDATE calls SET wakes = greatest(wakes - 1, 0), next_wake_at = least(next_wake_at, clock_timestamp())
        WHERE id = ANY(%s) AND next_wake_at IS NOT NULL
        """,
        [list(call_ids)],
    )
