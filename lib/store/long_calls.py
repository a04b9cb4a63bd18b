"""
Calls with more events than any real one has: read again only after a rest, and only so far.

An event of a call that rests becomes part of it without anybody reading the call; its timer then has it read. So a call
that gains a thousand events is read a few times, and not a thousand times.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL

from lib.runtime.db import Connection

# Twice the largest call that was recorded, of 45 events (docs/decisions/0016-long-calls.md). Smaller ones never rest.
LONG: Final = 100
# For each event of the call. To read and fold it costs a tenth of that, so one call keeps no processor busy.
REST_SECONDS: Final = 0.002
# Of one call. What ends it, and then what rings, comes before the earliest others.
READ_AT_MOST: Final = 1000

# When a call `c` may be read again because of one more event.
REST_ENDS: Final[LiteralString] = (
    f"c.updated_at + least(c.events, {READ_AT_MOST}) * make_interval(secs => {REST_SECONDS})"
)
RESTS: Final[LiteralString] = f"(c.events >= {LONG} AND {REST_ENDS} > clock_timestamp())"
# The events `e` of one call that are read.
READ: Final[LiteralString] = f"""
    ORDER BY CASE WHEN e.event_type IN ('start', 'hangup', 'recording') THEN 0 WHEN e.event_type = 'dial' THEN 1 ELSE 2
             END, e.received_at, e.id
    LIMIT {READ_AT_MOST}
"""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Events that become part of a call which rests, with the link keys of all of them and their moments."""

    call_id: int
    event_ids: Sequence[str]
    keys: Sequence[tuple[str, datetime]]


def gain(conn: Connection, enterprise_number: str, gained: Gain, crowded: Collection[str]) -> Cursor[tuple[int]]:
    """
    Without reading the call, which is locked; it is woken when its rest is over, unless it has more events than are
    read. Returns a row for each event that moved.
    """
    return conn.execute(
        SQL("""
        WITH links AS (
            INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at, is_crowded)
            SELECT %(number)s, key, %(id)s, min(moment), max(moment), key = ANY(%(crowded)s::text[])
            FROM unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS k (key, moment) GROUP BY key
            ON CONFLICT (enterprise_number, key, call_id)
                DO UPDATE SET first_at = least(call_links.first_at, excluded.first_at),
                              last_at = greatest(call_links.last_at, excluded.last_at)
                WHERE call_links.first_at > excluded.first_at OR call_links.last_at < excluded.last_at
        ), moved AS (
            UPDATE call_events SET call_id = %(id)s WHERE event_id = ANY(%(event_ids)s::uuid[]) AND call_id IS NULL
            RETURNING event_type
        ), call AS (
            UPDATE calls c
            SET events = c.events + (SELECT count(*) FROM moved),
                due_at = CASE WHEN one.counts THEN least(c.due_at, {rest_ends}) ELSE c.due_at END,
                next_wake_at = CASE WHEN one.counts THEN least(c.next_wake_at, {rest_ends}) ELSE c.next_wake_at END,
                -- What is not read is no reason to read the call.
                updated_at = CASE WHEN one.counts THEN c.updated_at ELSE clock_timestamp() END
            FROM (SELECT EXISTS (SELECT 1 FROM calls WHERE id = %(id)s AND events < {most})
                      OR EXISTS (SELECT 1 FROM moved WHERE event_type IN ('start', 'dial', 'hangup', 'recording'))
                         AS counts) one
            WHERE c.id = %(id)s
        )
        SELECT 1 FROM moved
        """).format(rest_ends=SQL(REST_ENDS), most=SQL(str(READ_AT_MOST))),
        {
            "number": enterprise_number,
            "id": gained.call_id,
            "event_ids": list(gained.event_ids),
            "keys": [key for key, _ in gained.keys],
            "moments": [moment for _, moment in gained.keys],
            "crowded": sorted(crowded),
        },
    )


def wake_after_rest(conn: Connection, call_ids: Collection[int]) -> None:
    """For calls that were left out where an event may belong to one of them; they are locked."""
    conn.execute(
        SQL("""
        UPDATE calls c SET due_at = least(c.due_at, {rest_ends}), next_wake_at = least(c.next_wake_at, {rest_ends})
        WHERE c.id = ANY(%s)
        """).format(rest_ends=SQL(REST_ENDS)),
        [sorted(call_ids)],
    )


def take_over(conn: Connection, call_id: int, gone: Sequence[int]) -> None:
    """The events that nobody read, of calls that became part of this one."""
    conn.execute("UPDATE call_events SET call_id = %s WHERE call_id = ANY(%s)", [call_id, list(gone)])
