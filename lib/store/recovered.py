"""
The lane of recovered events: those that wait in it have `wake_at` infinity, so that no timer wakes them.

An event leaves the lane when it becomes part of a call, or when it cannot be assembled: then it gets a time, and is
woken by the sweep like any other, by itself and ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.runtime.db import Connection

# Of one look at the page or at /stats; more are not counted.
COUNTED_AT_MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class Next:
    """`has_live`: a live event of the enterprise was left to whoever is at it, and is to be assembled first."""

    enterprise_number: str
    has_live: bool


def find_next(conn: Connection, *, after: str, live_within_seconds: float) -> Next | None:
    """
    The enterprise behind this one for which recovered events wait, behind the last one the first; None: nothing waits.

    A live event counts for so many seconds: one that nobody can assemble does not stop the lane.
    """
    row = conn.execute(
        """
        WITH next AS (
            SELECT coalesce(
                (SELECT enterprise_number FROM call_events
                 WHERE call_id IS NULL AND wake_at = 'infinity' AND enterprise_number > %(after)s
                 ORDER BY enterprise_number LIMIT 1),
                (SELECT enterprise_number FROM call_events WHERE call_id IS NULL AND wake_at = 'infinity'
                 ORDER BY enterprise_number LIMIT 1)) AS number
        )
        SELECT number, EXISTS (
            SELECT 1 FROM call_events e
            WHERE e.enterprise_number = next.number AND e.call_id IS NULL AND e.wake_at < 'infinity'
              AND e.wake_at <= clock_timestamp() AND e.wake_at > clock_timestamp() - make_interval(secs => %(within)s))
        FROM next WHERE number IS NOT NULL
        """,
        {"after": after, "within": live_within_seconds},
    ).fetchone()
    return Next(enterprise_number=row[0], has_live=row[1]) if row else None


def is_waiting(conn: Connection, *, older_seconds: float) -> bool:
    """Whether a recovered event of any enterprise has waited that long."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT 1 FROM call_events WHERE call_id IS NULL AND wake_at = 'infinity'
                       AND received_at < clock_timestamp() - make_interval(secs => %s))
        """,
        [older_seconds],
    ).fetchone()
    return bool(row and row[0])


def count_waiting(conn: Connection) -> int:
    """Of all enterprises, COUNTED_AT_MOST at most."""
    row = conn.execute(
        """
        SELECT count(*) FROM (
            SELECT 1 FROM call_events WHERE call_id IS NULL AND wake_at = 'infinity' LIMIT %s) waiting
        """,
        [COUNTED_AT_MOST],
    ).fetchone()
    return row[0] if row else 0


def give_up_first(conn: Connection, enterprise_number: str) -> str | None:
    """The event that would be taken next leaves the lane, because it cannot be assembled; its id."""
    row = conn.execute(
        """
        UPDATE call_events SET wakes = wakes + 1, wake_at = clock_timestamp() + interval '6 seconds'
        WHERE id = (SELECT id FROM call_events
                    WHERE enterprise_number = %s AND call_id IS NULL AND wake_at = 'infinity'
                    ORDER BY received_at, id LIMIT 1)
        RETURNING event_id::text
        """,
        [enterprise_number],
    ).fetchone()
    return row[0] if row else None


def give_up_all(conn: Connection, enterprise_number: str) -> None:
    """The enterprise is gone: the sweep wakes its events should it come back."""
    conn.execute(
        """
        UPDATE call_events SET wake_at = clock_timestamp()
        WHERE enterprise_number = %s AND call_id IS NULL AND wake_at = 'infinity'
        """,
        [enterprise_number],
    )
