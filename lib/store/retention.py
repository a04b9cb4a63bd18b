"""
Deletes old rows, one bounded batch per function.

A batch finds its rows by an index, skips rows that another session has locked, and is one transaction: any number of
batches may run at once. It starts at `after`, the end of the batch before it, because deleted rows stay in the index
while an older snapshot is in use anywhere. Ages are compared with statement_timestamp(), which an index can be searched
by; clock_timestamp() could differ for every row. Whether a row is still needed is a subquery for each row, written so
that the planner never joins the whole ledger for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.sql import SQL, Identifier

from lib.runtime.db import Connection

# Tables whose rows are deleted by their own age: the column that has it, and a further condition.
_BY_AGE: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "attempts": (
        "started_at",
        """
        (SELECT d.state FROM deliveries d WHERE d.id = old.delivery_id) NOT IN ('ready', 'retry', 'leased')
        """,
    ),
    "integration_logs": ("created_at", "true"),
    "rejected_messages": ("received_at", "true"),
    "clicks": ("clicked_at", "true"),
    "callbacks": ("said_at", "true"),
    "sessions": ("created_at", "last_seen_at < statement_timestamp() - make_interval(days => %(days)s)"),
    "sign_in_attempts": ("attempted_at", "true"),
    "known_browsers": ("seen_at", "true"),
    "module_commands": ("finished_at", "true"),
    "replays": ("created_at", "true"),
}
_DELETE: Final = {
    table: SQL("""
        WITH deleted AS (
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT old.ctid FROM {table} old
                WHERE old.{column} >= %(after)s
                  AND old.{column} < statement_timestamp() - make_interval(days => %(days)s) AND {condition}
                ORDER BY old.{column} LIMIT %(limit)s FOR UPDATE OF old SKIP LOCKED))
            RETURNING {column}
        )
        SELECT count(*), max({column}) FROM deleted
    """).format(table=Identifier(table), column=Identifier(column), condition=SQL(condition))
    for table, (column, condition) in _BY_AGE.items()
}


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The size of one batch, and the time of its youngest row, where the next batch starts."""

    count: int
    up_to: datetime | None = None


def delete_old(conn: Connection, table: str, *, days: int, after: datetime, limit: int) -> Deleted:
    row = conn.execute(_DELETE[table], {"days": days, "after": after, "limit": limit}).fetchone()
    return Deleted(count=row[0], up_to=row[1]) if row else Deleted(count=0)


def forget_events(conn: Connection, *, days: int, after: datetime, limit: int) -> Deleted:
    """Empties the events of calls that have had no work and no change for so long; the keys of the events stay."""
    with conn.transaction():
        call_ids, deleted = _lock_old_calls(conn, forgotten=False, days=days, after=after, limit=limit)
        if call_ids:
            conn.execute(
                """
                UPDATE call_events SET raw_data = '{}', record_url = NULL WHERE call_id = ANY(%s)
                """,
                [call_ids],
            )
            # No later event may join a call that cannot be derived from its events again.
            conn.execute("DELETE FROM call_links WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("UPDATE calls SET events_forgotten = true WHERE id = ANY(%s)", [call_ids])
    return deleted


def delete_calls(conn: Connection, *, days: int, after: datetime, limit: int) -> Deleted:
    """Deletes calls whose events are emptied already, with their deliveries, attempts and the keys of their events."""
    with conn.transaction():
        call_ids, deleted = _lock_old_calls(conn, forgotten=True, days=days, after=after, limit=limit)
        if call_ids:
            conn.execute("DELETE FROM deliveries WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("DELETE FROM call_events WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("DELETE FROM calls WHERE id = ANY(%s)", [call_ids])
    return deleted


def abandon_calls(conn: Connection, *, days: int, limit: int) -> Deleted:
    """Ends the pending work of calls that is overdue by so long, because their enterprise was deleted."""
    with conn.transaction():
        rows = conn.execute(
            """
            WITH RECURSIVE numbers (number) AS (
                -- One index search for each enterprise that has calls with a timer.
                (SELECT enterprise_number FROM calls WHERE next_wake_at IS NOT NULL ORDER BY enterprise_number LIMIT 1)
                UNION ALL
                SELECT (SELECT c.enterprise_number FROM calls c
                        WHERE c.next_wake_at IS NOT NULL AND c.enterprise_number > n.number
                        ORDER BY c.enterprise_number LIMIT 1)
                FROM numbers n WHERE n.number IS NOT NULL
            )
            SELECT id FROM calls WHERE next_wake_at IS NOT NULL AND id = ANY(ARRAY(
                SELECT head.id FROM numbers n CROSS JOIN LATERAL (
                    SELECT c.id, c.next_wake_at FROM calls c
                    WHERE c.enterprise_number = n.number AND c.next_wake_at IS NOT NULL
                    ORDER BY c.next_wake_at LIMIT %(limit)s) head
                WHERE NOT EXISTS (SELECT 1 FROM enterprises e WHERE e.number = n.number)
                  AND head.next_wake_at < statement_timestamp() - make_interval(days => %(days)s)))
            FOR UPDATE SKIP LOCKED
            """,
            {"days": days, "limit": limit},
        ).fetchall()
        call_ids = [row[0] for row in rows]
        if call_ids:
            conn.execute(
                """
                UPDATE deliveries
                SET state = 'expired', reason = 'enterprise_gone', lease_until = NULL, fence = fence + 1,
                    finished_at = clock_timestamp()
                WHERE call_id = ANY(%s) AND state IN ('ready', 'retry', 'leased')
                """,
                [call_ids],
            )
            conn.execute("UPDATE calls SET due_at = NULL, next_wake_at = NULL WHERE id = ANY(%s)", [call_ids])
    return Deleted(count=len(call_ids))


def delete_unassembled(conn: Connection, *, days: int, limit_each: int) -> Deleted:
    """Deletes events without a call: their enterprise was deleted, or they cannot be understood."""
    deleted = conn.execute(
        """
        WITH RECURSIVE numbers (number) AS (
            -- One index search for each enterprise that has such events, then its oldest ones: however many events
            -- wait for assembly at this moment, few are read.
            (SELECT enterprise_number FROM call_events WHERE call_id IS NULL ORDER BY enterprise_number LIMIT 1)
            UNION ALL
            SELECT (SELECT e.enterprise_number FROM call_events e
                    WHERE e.call_id IS NULL AND e.enterprise_number > n.number
                    ORDER BY e.enterprise_number LIMIT 1)
            FROM numbers n WHERE n.number IS NOT NULL
        )
        DELETE FROM call_events
        WHERE call_id IS NULL AND ctid = ANY(ARRAY(
            SELECT head.ctid FROM numbers n CROSS JOIN LATERAL (
                SELECT e.ctid, e.received_at FROM call_events e
                WHERE e.enterprise_number = n.number AND e.call_id IS NULL
                ORDER BY e.received_at LIMIT %(limit)s) head
            WHERE head.received_at < statement_timestamp() - make_interval(days => %(days)s)))
        """,
        {"days": days, "limit": limit_each},
    )
    return Deleted(count=deleted.rowcount)


def _lock_old_calls(
    conn: Connection, *, forgotten: bool, days: int, after: datetime, limit: int
) -> tuple[list[int], Deleted]:
    """Locks calls without a timer or a live delivery that were not changed for so long."""
    rows = conn.execute(
        """
        SELECT c.id, c.updated_at FROM calls c
        WHERE c.next_wake_at IS NULL AND c.events_forgotten = %(forgotten)s
          AND c.updated_at >= %(after)s AND c.updated_at < statement_timestamp() - make_interval(days => %(days)s)
          -- The planner turns a plain NOT EXISTS into a join, and takes `count(*) = 0` for so rare that it would
          -- rather read all calls than use the index; of coalesce() it expects that every second call passes.
          AND coalesce((SELECT false FROM deliveries d
                        WHERE d.call_id = c.id AND d.state IN ('ready', 'retry', 'leased') LIMIT 1), true)
        ORDER BY c.updated_at LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
        """,
        {"forgotten": forgotten, "days": days, "after": after, "limit": limit},
    ).fetchall()
    return [row[0] for row in rows], Deleted(count=len(rows), up_to=rows[-1][1] if rows else None)
