"""Calls of a period, counted: all, by hour or day, by manager."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class Counted:
    """
    `part`: local time at which the hour or day begins; `owner_extension`: whose calls. `talk_seconds`: of all talks.
    `wait_seconds`: the median of answered incoming calls, as far as their history rows say.
    """

    grouping: Literal["all", "part", "owner"]
    part: datetime | None
    owner_extension: str | None
    incoming: int
    answered: int
    missed: int
    outgoing: int
    reached: int
    talk_seconds: int
    wait_seconds: float | None


def count(
    conn: Connection,
    enterprise_number: str,
    *,
    since: datetime,
    until: datetime,
    timezone: str,
    step: Literal["hour", "day"],
) -> list[Counted]:
    """Calls with a customer that are over, by when they began. Parts and owners without calls are left out."""
    with conn.cursor(row_factory=class_row(Counted)) as cursor:
        return cursor.execute(
            """
            WITH counted AS (
                SELECT date_trunc(%(step)s, c.started_at AT TIME ZONE %(zone)s) AS part, c.kind, c.owner_extension,
                       c.result = 'answered' AS talked, said.talk, said.waited
                FROM calls c
                LEFT JOIN LATERAL (
                    SELECT (d.content ->> 'duration')::float AS talk, (d.content ->> 'waiting')::float AS waited
                    FROM deliveries d
                    WHERE d.call_id = c.id AND d.crm = 'retailcrm' AND d.effect = 'upload'
                    ORDER BY d.id DESC LIMIT 1) said ON c.result = 'answered'
                WHERE c.enterprise_number = %(number)s AND c.started_at >= %(since)s AND c.started_at < %(until)s
                  AND c.kind IN ('in', 'out') AND c.over_at IS NOT NULL
            )
            SELECT CASE WHEN grouping(part) = 0 THEN 'part' WHEN grouping(owner_extension) = 0 THEN 'owner'
                        ELSE 'all' END AS grouping,
                   part, owner_extension,
                   (count(*) FILTER (WHERE kind = 'in'))::int AS incoming,
                   (count(*) FILTER (WHERE kind = 'in' AND talked))::int AS answered,
                   (count(*) FILTER (WHERE kind = 'in' AND talked IS NOT TRUE))::int AS missed,
                   (count(*) FILTER (WHERE kind = 'out'))::int AS outgoing,
                   (count(*) FILTER (WHERE kind = 'out' AND talked))::int AS reached,
                   coalesce(sum(talk), 0)::int AS talk_seconds,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY waited)
                       FILTER (WHERE kind = 'in' AND talked) AS wait_seconds
            FROM counted
            GROUP BY GROUPING SETS ((), (part), (owner_extension))
            ORDER BY part, owner_extension
            """,
            {"number": enterprise_number, "since": since, "until": until, "zone": timezone, "step": step},
        ).fetchall()
