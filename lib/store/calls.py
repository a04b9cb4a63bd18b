"""
Calls and what links events to them.

Concurrency: whoever adds an event first locks the event's link keys, then the rows of every call that they lead
to, so two processes that could form one call are never at it at once (docs/decisions/0003-linking-by-keys.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class StoredCall:
    """`decisions`: what was decided about it so far, as JSON."""

    id: int
    main_unique_id: str
    decisions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class CallState:
    """What the fold made of the call's events, as far as it is searched and shown."""

    main_unique_id: str
    kind: str
    customer: str | None
    line_id: str | None
    result: str | None
    owner_extension: str | None
    started_at: datetime
    first_event_at: datetime
    last_event_at: datetime
    over_at: datetime | None
    due_at: datetime | None
    decisions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """
    Link keys of one event (`lib.calls.linking`): `exact` ones are sought and stored whatever the time; `weak` ones
    are stored for `moment`, `sought` ones looked for among the weak ones of others within (since, until).
    """

    exact: Sequence[str]
    weak: Sequence[str]
    sought: Sequence[tuple[str, datetime, datetime]]
    moment: datetime


def lock_keys(conn: Connection, enterprise_number: str, names: Sequence[str]) -> datetime:
    """Waits until nobody else works on these names; the database's time then."""
    row = conn.execute(
        """
        SELECT count(pg_advisory_xact_lock(hash)), clock_timestamp() FROM (
            SELECT DISTINCT hashtextextended(%s || ' ' || name, 0) AS hash FROM unnest(%s::text[]) name ORDER BY 1
        ) hashes
        """,
        [enterprise_number, list(names)],
    ).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always returns a row)
    now: datetime = row[1]
    return now


def find_linked(conn: Connection, enterprise_number: str, keys: Sequence[Keys]) -> set[int]:
    """The calls that these keys lead to: look-ups in one index, bounded by key and time, not by history."""
    spans = sorted({span for one in keys for span in one.sought})
    rows = conn.execute(
        """
        SELECT call_id FROM call_links WHERE enterprise_number = %(number)s AND key = ANY(%(exact)s)
        UNION
        SELECT l.call_id
        FROM unnest(%(keys)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS s (key, since, until)
        JOIN call_links l ON l.enterprise_number = %(number)s AND l.key = s.key
             AND l.last_at >= s.since AND l.first_at <= s.until
        """,
        {
            "number": enterprise_number,
            "exact": sorted({key for one in keys for key in one.exact}),
            "keys": [key for key, _, _ in spans],
            "since": [since for _, since, _ in spans],
            "until": [until for _, _, until in spans],
        },
    ).fetchall()
    return {row[0] for row in rows}


def lock_calls(conn: Connection, enterprise_number: str, call_ids: Collection[int]) -> list[StoredCall]:
    """Locks those that are still there and whose events are, in order of id."""
    with conn.cursor(row_factory=class_row(StoredCall)) as cursor:
        return cursor.execute(
            """
            SELECT id, main_unique_id, decisions FROM calls
            WHERE enterprise_number = %s AND id = ANY(%s) AND NOT events_forgotten ORDER BY id FOR UPDATE
            """,
            [enterprise_number, sorted(call_ids)],
        ).fetchall()


def find_by_unique_id(conn: Connection, enterprise_number: str, unique_id: str) -> int | None:
    """The call that has a channel of this id."""
    row = conn.execute(
        """
        SELECT call_id FROM call_events
        WHERE enterprise_number = %s AND unique_id = %s AND call_id IS NOT NULL
        ORDER BY id LIMIT 1
        """,
        [enterprise_number, unique_id],
    ).fetchone()
    return row[0] if row else None


def find_decisions(conn: Connection, call_id: int) -> list[dict[str, Any]] | None:
    """What was decided about the call; None when its events are not kept any more."""
    row = conn.execute("SELECT decisions FROM calls WHERE id = %s AND NOT events_forgotten", [call_id]).fetchone()
    return row[0] if row else None


def insert_call(conn: Connection, enterprise_number: str, state: CallState) -> int:
    row = conn.execute(
        """
        INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, line_id, result, owner_extension,
                           started_at, first_event_at, last_event_at, over_at, due_at, next_wake_at, decisions)
        VALUES (%(number)s, %(main_unique_id)s, %(kind)s, %(customer)s, %(line_id)s, %(result)s, %(owner_extension)s,
                %(started_at)s, %(first_event_at)s, %(last_event_at)s, %(over_at)s, %(due_at)s, %(due_at)s,
                %(decisions)s)
        RETURNING id
        """,
        _parameters(state) | {"number": enterprise_number},
    ).fetchone()
    assert row is not None  # noqa: S101  (an insert returns its row)
    call_id: int = row[0]
    return call_id


def update_call(conn: Connection, call_id: int, state: CallState) -> None:
    conn.execute(
        """
        UPDATE calls
        SET main_unique_id = %(main_unique_id)s, kind = %(kind)s, customer = %(customer)s, line_id = %(line_id)s,
            result = %(result)s, owner_extension = %(owner_extension)s, started_at = %(started_at)s,
            first_event_at = %(first_event_at)s, last_event_at = %(last_event_at)s, over_at = %(over_at)s,
            due_at = %(due_at)s, next_wake_at = %(due_at)s, wakes = 0, decisions = %(decisions)s,
            updated_at = clock_timestamp()
        WHERE id = %(id)s
        """,
        _parameters(state) | {"id": call_id},
    )


def delete_calls(conn: Connection, call_ids: Sequence[int]) -> None:
    """For calls that became part of another one; their events and deliveries have moved."""
    conn.execute("DELETE FROM calls WHERE id = ANY(%s)", [list(call_ids)])


def upsert_links(conn: Connection, enterprise_number: str, call_id: int, keys: Sequence[Keys]) -> None:
    conn.execute(
        """
        INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at)
        SELECT %(number)s, key, %(call_id)s, min(moment), max(moment)
        FROM unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS k (key, moment) GROUP BY key
        ON CONFLICT (enterprise_number, key, call_id)
            DO UPDATE SET first_at = least(call_links.first_at, excluded.first_at),
                          last_at = greatest(call_links.last_at, excluded.last_at)
            WHERE call_links.first_at > excluded.first_at OR call_links.last_at < excluded.last_at
        """,
        {
            "number": enterprise_number,
            "call_id": call_id,
            "keys": [key for one in keys for key in (*one.exact, *one.weak)],
            "moments": [one.moment for one in keys for _ in (*one.exact, *one.weak)],
        },
    )


def delete_links(conn: Connection, call_ids: Sequence[int]) -> None:
    conn.execute("DELETE FROM call_links WHERE call_id = ANY(%s)", [list(call_ids)])


def claim_due(conn: Connection, *, limit: int, each: int = 10) -> list[tuple[str, int]]:
    """
    Calls whose time has come, as (enterprise, id); each is left alone for a while, so that a second sweep does not
    wake it too, and woken again, later each time, should nothing come of it.

    In turn: the first of every enterprise before the second of any, no more than `each` of those that wait longest and
    of those whose time has just come, so that neither a backlog nor the calls behind it starve anybody.
    """
    return conn.execute(
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
            RETURNING c.enterprise_number, c.id, chosen.turn
        )
        SELECT enterprise_number, id FROM woken ORDER BY turn, id
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


def _parameters(state: CallState) -> dict[str, object]:
    return {
        "main_unique_id": state.main_unique_id,
        "kind": state.kind,
        "customer": state.customer,
        "line_id": state.line_id,
        "result": state.result,
        "owner_extension": state.owner_extension,
        "started_at": state.started_at,
        "first_event_at": state.first_event_at,
        "last_event_at": state.last_event_at,
        "over_at": state.over_at,
        "due_at": state.due_at,
        "decisions": Jsonb(list(state.decisions)),
    }
