"""What an enterprise's host shows of its clocks, call by call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from lib.runtime.db import Connection

# Often enough to be true, seldom enough not to make one row the busiest of the table.
FRESH_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class HostClock:
    """`lag_seconds`: receipt after the epoch in the id; `wall_seconds`: local times against that epoch."""

    lag_seconds: float | None
    wall_seconds: float | None
    observed_at: datetime


def observe(conn: Connection, enterprise_number: str, *, lag_seconds: float | None, wall_seconds: float | None) -> None:
    """Keeps what this call showed, unless a call of the last minute showed about the same."""
    conn.execute(
        """
        INSERT INTO host_clocks (enterprise_number, lag_seconds, wall_seconds)
        SELECT %(number)s, %(lag)s::float8, %(wall)s::float8
        WHERE NOT EXISTS (
            SELECT 1 FROM host_clocks
            WHERE enterprise_number = %(number)s
              AND observed_at > clock_timestamp() - make_interval(secs => %(fresh)s)
              AND abs(coalesce(lag_seconds, 0) - coalesce(%(lag)s::float8, 0)) < 5
              AND abs(coalesce(wall_seconds, 0) - coalesce(%(wall)s::float8, 0)) < 5)
        ON CONFLICT (enterprise_number) DO UPDATE
        SET lag_seconds = coalesce(excluded.lag_seconds, host_clocks.lag_seconds),
            wall_seconds = coalesce(excluded.wall_seconds, host_clocks.wall_seconds),
            observed_at = excluded.observed_at
        """,
        {"number": enterprise_number, "lag": lag_seconds, "wall": wall_seconds, "fresh": FRESH_SECONDS},
    )


def find(conn: Connection, enterprise_number: str) -> HostClock | None:
    with conn.cursor(row_factory=class_row(HostClock)) as cursor:
        return cursor.execute(
            "SELECT lag_seconds, wall_seconds, observed_at FROM host_clocks WHERE enterprise_number = %s",
            [enterprise_number],
        ).fetchone()
