"""Customers who called in vain and whom nobody has reached since, and what people said about that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.rows import class_row
from psycopg.sql import SQL

from lib.runtime.db import Connection
from lib.store.journal import Key

DAYS: Final = 14
State = Literal["taken", "closed"]


@dataclass(frozen=True, kw_only=True)
class Callback:
    """
    A customer to be called back. `calls`: those in vain since somebody talked with them; `unique_id`: the last of
    these; `tries`: our calls to them since the first. `owner_extension`: who talked with them last, else whom the last
    call was for. `state`, `said_by`, `said_at`, `note`: who took it; None where nobody did.
    """

    id: int
    unique_id: str
    customer: str
    line_id: str | None
    owner_extension: str | None
    calls: int
    first_at: datetime
    last_at: datetime
    tries: int
    last_try_at: datetime | None
    state: State | None
    said_by: str | None
    said_at: datetime | None
    note: str | None


# A talk that began before the call in vain did not answer it. `closed` holds until the customer calls again.
_OPEN: Final = SQL("""
    WITH missed AS (
        SELECT c.customer, count(*)::int AS calls, min(c.started_at) AS first_at, max(c.started_at) AS last_at,
               (array_agg(c.id ORDER BY c.started_at DESC, c.id DESC))[1] AS id
        FROM calls c
        WHERE c.enterprise_number = %(number)s AND c.kind = 'in' AND c.result = 'no answer'
          AND c.over_at IS NOT NULL AND c.customer IS NOT NULL
          AND c.started_at > statement_timestamp() - make_interval(days => %(days)s)
          AND NOT EXISTS (
              SELECT FROM calls talk
              WHERE talk.enterprise_number = c.enterprise_number AND talk.customer = c.customer
                AND talk.over_at IS NOT NULL AND talk.result = 'answered' AND talk.started_at >= c.started_at)
        GROUP BY c.customer
    ), waiting AS (
        SELECT m.id, m.customer, m.calls, m.first_at, m.last_at, last.main_unique_id AS unique_id, last.line_id,
               coalesce(talk.owner_extension, last.owner_extension) AS owner_extension,
               said.state, said.said_by, said.said_at, said.note
        FROM missed m
        JOIN calls last ON last.id = m.id
        LEFT JOIN callbacks said ON said.enterprise_number = %(number)s AND said.customer = m.customer
        LEFT JOIN LATERAL (
            SELECT c.owner_extension FROM calls c
            WHERE c.enterprise_number = %(number)s AND c.customer = m.customer AND c.result = 'answered'
              AND c.owner_extension IS NOT NULL
            ORDER BY c.started_at DESC LIMIT 1) talk ON true
        WHERE said.state IS DISTINCT FROM 'closed' OR said.said_at < m.last_at
    )
""")


def list_open(
    conn: Connection, enterprise_number: str, *, extension: str | None, after: Key | None, limit: int
) -> list[Callback]:
    """Those of the last DAYS, who called last comes first. `extension`: of the owner, "" for those without one."""
    wanted = {"number": enterprise_number, "days": DAYS, "extension": extension, "limit": limit}
    place: dict[str, Any] = {"at": after.at if after else None, "id": after.id if after else None}
    with conn.cursor(row_factory=class_row(Callback)) as cursor:
        return cursor.execute(
            SQL("""
            {open}
            SELECT w.*, tried.tries, tried.last_try_at
            FROM (
                SELECT * FROM waiting
                WHERE (%(extension)s::text IS NULL OR coalesce(owner_extension, '') = %(extension)s)
                  AND (%(at)s::timestamptz IS NULL OR (last_at, id) < (%(at)s, %(id)s::bigint))
                ORDER BY last_at DESC, id DESC LIMIT %(limit)s) w
            CROSS JOIN LATERAL (
                SELECT count(*)::int AS tries, max(c.started_at) AS last_try_at FROM calls c
                WHERE c.enterprise_number = %(number)s AND c.customer = w.customer AND c.over_at IS NOT NULL
                  AND c.kind = 'out' AND c.started_at >= w.first_at) tried
            ORDER BY w.last_at DESC, w.id DESC
            """).format(open=_OPEN),
            wanted | place,
        ).fetchall()


@dataclass(frozen=True, kw_only=True)
class Count:
    owner_extension: str | None
    customers: int
    since: datetime


def count_open(conn: Connection, enterprise_number: str) -> list[Count]:
    """By owner, who has most of them first. `since`: when the one who waits longest called first."""
    with conn.cursor(row_factory=class_row(Count)) as cursor:
        return cursor.execute(
            SQL("""
            {open}
            SELECT owner_extension, count(*)::int AS customers, min(first_at) AS since FROM waiting
            GROUP BY owner_extension ORDER BY customers DESC, owner_extension
            """).format(open=_OPEN),
            {"number": enterprise_number, "days": DAYS},
        ).fetchall()


def say(
    conn: Connection, enterprise_number: str, *, call_id: int, state: State | None, by: str, note: str | None
) -> str | None:
    """
    What somebody says about the customer of this call; state None takes it back. The customer; None where the call has
    none.
    """
    row = conn.execute(
        "SELECT customer FROM calls WHERE id = %s AND enterprise_number = %s", [call_id, enterprise_number]
    ).fetchone()
    customer: str | None = row[0] if row else None
    if customer is None:
        return None
    if state is None:
        conn.execute(
            "DELETE FROM callbacks WHERE enterprise_number = %s AND customer = %s", [enterprise_number, customer]
        )
        return customer
    conn.execute(
        """
        INSERT INTO callbacks (enterprise_number, customer, state, said_by, note) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (enterprise_number, customer) DO UPDATE
        SET state = excluded.state, said_by = excluded.said_by, note = excluded.note, said_at = clock_timestamp()
        """,
        [enterprise_number, customer, state, by, note],
    )
    return customer
