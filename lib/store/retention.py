"""
Deleting what is old, a few rows at a time.

Each step finds its rows by an index, passes over those that somebody else has locked, and is a transaction of its
own: any number of them may run at once, beside everything else. A batch goes on `after` the one before it: while a
snapshot anywhere is older than what was deleted, an index still leads to every row that is gone. Ages are measured by
statement_timestamp(): an index cannot be searched by clock_timestamp(), which may be another one for every row. And
whether a row is still needed is asked row by row, in a way that is never planned as a join with the whole ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.sql import SQL, Identifier

from lib.runtime.db import Connection

# Tables whose rows go when their own time has come: by which column, and under which condition else.
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
    "sessions": ("created_at", "last_seen_at < statement_timestamp() - make_interval(days => %(days)s)"),
    "sign_in_attempts": ("attempted_at", "true"),
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
    """What one batch came to: how many, and the age of the youngest, from which the next batch goes on."""

    count: int
    up_to: datetime | None = None


def delete_old(conn: Connection, table: str, *, days: int, after: datetime, limit: int) -> Deleted:
    row = conn.execute(_DELETE[table], {"days": days, "after": after, "limit": limit}).fetchone()
    return Deleted(count=row[0], up_to=row[1]) if row else Deleted(count=0)


def forget_events(conn: Connection, *, days: int, after: datetime, limit: int) -> Deleted:
    """What hosts said of calls that have been at rest so long; the keys of the events stay."""
    with conn.transaction():
        call_ids, deleted = _lock_at_rest(conn, forgotten=False, days=days, after=after, limit=limit)
        if call_ids:
            conn.execute(
                """
                UPDATE call_events SET raw_data = '{}', record_url = NULL WHERE call_id = ANY(%s)
                """,
                [call_ids],
            )
            # No later event finds the way to a call that cannot be understood again.
            conn.execute("DELETE FROM call_links WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("UPDATE calls SET events_forgotten = true WHERE id = ANY(%s)", [call_ids])
    return deleted


def delete_calls(conn: Connection, *, days: int, after: datetime, limit: int) -> Deleted:
    """Calls whose events are forgotten already, with the keys of the events and all that was sent."""
    with conn.transaction():
        call_ids, deleted = _lock_at_rest(conn, forgotten=True, days=days, after=after, limit=limit)
        if call_ids:
            conn.execute("DELETE FROM deliveries WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("DELETE FROM call_events WHERE call_id = ANY(%s)", [call_ids])
            conn.execute("DELETE FROM calls WHERE id = ANY(%s)", [call_ids])
    return deleted


def put_to_rest(conn: Connection, *, days: int, limit: int) -> Deleted:
    """Calls of enterprises that have been gone so long: nothing of them will be sent any more."""
    with conn.transaction():
        rows = conn.execute(
            """
            WITH RECURSIVE numbers (number) AS (
                -- One look-up for each enterprise that has calls with a time.
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
    """Events that no call was made of: their enterprise is gone, or they cannot be understood."""
    deleted = conn.execute(
        """
        WITH RECURSIVE numbers (number) AS (
            -- One look-up for each enterprise that has such events, and the oldest of each: however many wait for
            -- their call at this moment, few are read.
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


def _lock_at_rest(
    conn: Connection, *, forgotten: bool, days: int, after: datetime, limit: int
) -> tuple[list[int], Deleted]:
    """Calls that nothing waits for and nothing has happened to for so long."""
    rows = conn.execute(
        """
        SELECT c.id, c.updated_at FROM calls c
        WHERE c.next_wake_at IS NULL AND c.events_forgotten = %(forgotten)s
          AND c.updated_at >= %(after)s AND c.updated_at < statement_timestamp() - make_interval(days => %(days)s)
          -- Inside of coalesce() this is neither planned as a join nor taken for true of hardly any call, which
          -- would make reading them all look cheaper than the index.
          AND coalesce((SELECT false FROM deliveries d
                        WHERE d.call_id = c.id AND d.state IN ('ready', 'retry', 'leased') LIMIT 1), true)
        ORDER BY c.updated_at LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
        """,
        {"forgotten": forgotten, "days": days, "after": after, "limit": limit},
    ).fetchall()
    return [row[0] for row in rows], Deleted(count=len(rows), up_to=rows[-1][1] if rows else None)
