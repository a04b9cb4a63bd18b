"""
One enterprise's assembly: who is at it, the events that wait, and the calls that they may belong to.

Everything that an event needs is read in one statement, and written in few, so that a busy call is not a long
conversation with the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import Cursor
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.deliveries import MAY_HAVE_ARRIVED, Delivery
from lib.store.events import SUSPECT_AFTER_WAKES, StoredEvent
from lib.store.states import LIVE_SQL

# An event finds calls, their events find others, and those once more: what lies farther decides nothing about it.
_STEPS: Final = 3
# Of the events that wait, so many of those nearest to one moment are read at once.
WAITING: Final = 500


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


@dataclass(frozen=True, kw_only=True)
class Span:
    """A weak key that begins with `side` seeks those that begin with `other`, so long before and after itself."""

    side: str
    other: str
    before: timedelta
    after: timedelta


@dataclass(frozen=True, kw_only=True)
class Turn:
    """`is_ours`: nobody else assembles this enterprise until the transaction ends. `new_call_id` is nobody's yet."""

    is_ours: bool
    now: datetime
    new_call_id: int


@dataclass(frozen=True, kw_only=True)
class NearCall:
    """A call with everything that is stored of it. `decisions`: what was decided about it so far, as JSON."""

    id: int
    main_unique_id: str
    decisions: Sequence[Mapping[str, Any]]
    events: Sequence[StoredEvent]
    ledger: Sequence[Delivery]


@dataclass(frozen=True, kw_only=True)
class Found:
    """`home`: the call that the event is part of already; `is_stored`: whether it is in the database at all."""

    is_stored: bool
    home: int | None
    waiting: Sequence[StoredEvent]
    calls: Sequence[NearCall]


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
class CallChange:
    """
    `gained`: events that were not part of it, with the call that each was part of (None: it waited); `keys`: link keys
    of events whose links are not stored for it yet.
    """

    call_id: int
    state: CallState
    gained: Mapping[str, int | None]
    keys: Sequence[Keys]
    forgets_links: bool


def take_turn(conn: Connection, enterprise_number: str) -> Cursor[tuple[bool, datetime, int]]:
    """
    Never waits: a process that is refused leaves its event to the holder. `read` uses this answer and does not take the
    lock itself; else a refused process could hold the lock and assemble nothing.
    """
    return conn.execute(
        """
        SELECT set_config('gateway.turn',
                          pg_try_advisory_xact_lock(hashtextextended('assembly ' || %s, 0))::text, true)::boolean,
               clock_timestamp(), nextval(pg_get_serial_sequence('calls', 'id'))
        """,
        [enterprise_number],
    )


def turn(cursor: Cursor[tuple[bool, datetime, int]]) -> Turn:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    return Turn(is_ours=row[0], now=row[1], new_call_id=row[2])


def new_call_ids(conn: Connection, count: int) -> list[int]:
    rows = conn.execute("SELECT nextval(pg_get_serial_sequence('calls', 'id')) FROM generate_series(1, %s)", [count])
    return [row[0] for row in rows.fetchall()]


@dataclass(frozen=True, kw_only=True)
class Question:
    """
    What is read: an event, or a call that woke, the calls that `keys` lead to, and the events that wait, those nearest
    to `near` (None: now). `alone`: of those only the event itself, and others of its channel not woken in vain.
    `recovered`: of the lane of recovered events so many, and nothing of the live one; 0: the other way round.
    """

    enterprise_number: str
    event_id: str | None = None
    unique_id: str = ""
    awake: int | None = None
    near: datetime | None = None
    keys: Sequence[Keys] = ()
    alone: bool = False
    recovered: int = 0


def read(conn: Connection, question: Question, spans: Sequence[Span]) -> Cursor[tuple[Any, ...]]:
    sought = sorted({one for keys in question.keys for one in keys.sought})
    return conn.execute(
        _READ,
        {
            "number": question.enterprise_number,
            "event_id": question.event_id,
            "unique_id": question.unique_id,
            "awake": question.awake,
            "near": question.near,
            "alone": question.alone,
            "suspect": SUSPECT_AFTER_WAKES,
            "half": 0 if question.recovered else WAITING // 2,
            "recovered": question.recovered,
            "steps": _STEPS,
            "exact": sorted({key for keys in question.keys for key in keys.exact}),
            "keys": [key for key, _, _ in sought],
            "since": [since for _, since, _ in sought],
            "until": [until for _, _, until in sought],
            "sides": [span.side for span in spans],
            "others": [span.other for span in spans],
            "before": [span.before for span in spans],
            "after": [span.after for span in spans],
        },
    )


def found(cursor: Cursor[tuple[Any, ...]], enterprise_number: str) -> Found:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    is_stored, home, waiting, calls = row
    return Found(
        is_stored=is_stored,
        home=home,
        waiting=[_event(one, enterprise_number) for one in waiting or ()],
        calls=[
            NearCall(
                id=call["id"],
                main_unique_id=call["main"],
                decisions=call["decisions"],
                events=[_event(one, enterprise_number) for one in call["events"] or ()],
                ledger=[_delivery(one, enterprise_number, call["id"]) for one in call["ledger"] or ()],
            )
            for call in calls or ()
        ],
    )


def lock_calls(conn: Connection, call_ids: Sequence[int]) -> Cursor[tuple[int]]:
    """In order of id, before their deliveries, as everybody does; those that are there with their events."""
    return conn.execute(
        """
        SELECT id FROM (SELECT id, events_forgotten FROM calls WHERE id = ANY(%s) ORDER BY id FOR UPDATE) locked
        WHERE NOT events_forgotten
        """,
        [list(call_ids)],
    )


def write_call(conn: Connection, enterprise_number: str, change: CallChange) -> Cursor[tuple[int]]:
    """
    Writes the call, its links and its events; its timer is that of its notices, if it has any, or its own. Returns a
    row for each event that moved. Fewer than `gained`: another process moved one meanwhile.
    """
    state = change.state
    if change.forgets_links:
        conn.execute("DELETE FROM call_links WHERE call_id = %s", [change.call_id])
    return conn.execute(
        _WRITE,
        {
            "number": enterprise_number,
            "id": change.call_id,
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
            "gained": list(change.gained),
            "homes": list(change.gained.values()),
            "keys": [key for one in change.keys for key in (*one.exact, *one.weak)],
            "moments": [one.moment for one in change.keys for _ in (*one.exact, *one.weak)],
        },
    )


def delete_calls(conn: Connection, call_ids: Sequence[int]) -> None:
    """For calls that became part of another one; their events and deliveries have moved."""
    conn.execute("DELETE FROM calls WHERE id = ANY(%s)", [list(call_ids)])


def leave(conn: Connection, event_id: str) -> None:
    """Whoever is at the enterprise shall go on with this event. The turn must be tried once more after that."""
    conn.execute(
        "UPDATE call_events SET wake_at = clock_timestamp() WHERE event_id = %s AND call_id IS NULL", [event_id]
    )


def find_left(conn: Connection, enterprise_number: str) -> Cursor[tuple[Any, ...]]:
    """
    The event to go on with, where some were left to this process: the newest ring first; not those whose own messages
    are still on their way. After the commit: what was left before, it sees now.
    """
    return conn.execute(
        """
        SELECT event_id::text, unique_id, event_type, raw_data, record_url, data_source, received_at FROM call_events
        WHERE enterprise_number = %s AND call_id IS NULL AND wakes < %s
          AND wake_at < 'infinity' AND wake_at <= clock_timestamp()
        ORDER BY event_type = 'dial' DESC, received_at DESC LIMIT 1
        """,
        [enterprise_number, SUSPECT_AFTER_WAKES],
    )


def find_ring(conn: Connection, enterprise_number: str, *, within_seconds: float) -> Cursor[tuple[Any, ...]]:
    """The newest ring that waits, if it is that new; `left` reads it."""
    return conn.execute(
        """
        SELECT event_id::text, unique_id, event_type, raw_data, record_url, data_source, received_at FROM call_events
        WHERE enterprise_number = %s AND call_id IS NULL AND wakes < %s AND event_type = 'dial' AND data_source = 'live'
          AND wake_at < 'infinity' AND received_at > clock_timestamp() - make_interval(secs => %s)
        ORDER BY received_at DESC LIMIT 1
        """,
        [enterprise_number, SUSPECT_AFTER_WAKES, within_seconds],
    )


def left(cursor: Cursor[tuple[Any, ...]], enterprise_number: str) -> StoredEvent | None:
    row = cursor.fetchone()
    if row is None:
        return None
    event_id, unique_id, event_type, raw, record_url, data_source, received_at = row
    return StoredEvent(
        event_id=event_id,
        enterprise_number=enterprise_number,
        unique_id=unique_id,
        event_type=event_type,
        raw=raw,
        record_url=record_url,
        data_source=data_source,
        received_at=received_at,
        call_id=None,
    )


def _event(one: Mapping[str, Any], enterprise_number: str) -> StoredEvent:
    return StoredEvent(
        event_id=one["event_id"],
        enterprise_number=enterprise_number,
        unique_id=one["unique_id"],
        event_type=one["event_type"],
        raw=one["raw"],
        record_url=one["record_url"],
        data_source=one["data_source"],
        received_at=datetime.fromisoformat(one["received_at"]),
        call_id=one["call_id"],
    )


def _delivery(one: Mapping[str, Any], enterprise_number: str, call_id: int) -> Delivery:
    return Delivery(
        id=one["id"],
        enterprise_number=enterprise_number,
        call_id=call_id,
        crm=one["crm"],
        effect=one["effect"],
        external_id=one["external_id"],
        extensions=one["extensions"],
        content=one["content"],
        state=one["state"],
        reason=one["reason"],
        run_at=datetime.fromisoformat(one["run_at"]),
        expires_at=datetime.fromisoformat(one["expires_at"]) if one["expires_at"] else None,
        attempts_made=one["attempts_made"],
        may_have_arrived=one["may_have_arrived"],
    )


_EVENT: Final = SQL("""
    json_build_object('event_id', e.event_id, 'unique_id', e.unique_id, 'event_type', e.event_type, 'raw', e.raw_data,
                      'record_url', e.record_url, 'data_source', e.data_source, 'received_at', e.received_at,
                      'call_id', e.call_id)
""")
_READ: Final = SQL("""
    -- Who has not the turn reads next to nothing.
    WITH RECURSIVE turn AS MATERIALIZED (
        SELECT current_setting('gateway.turn')::boolean AS is_ours
    ), waiting AS MATERIALIZED (
        (SELECT id FROM call_events
         WHERE (SELECT is_ours FROM turn) AND enterprise_number = %(number)s AND call_id IS NULL AND NOT %(alone)s
           AND wake_at < 'infinity' AND received_at >= coalesce(%(near)s, clock_timestamp())
         ORDER BY received_at LIMIT %(half)s)
        UNION
        (SELECT id FROM call_events
         WHERE (SELECT is_ours FROM turn) AND enterprise_number = %(number)s AND call_id IS NULL AND NOT %(alone)s
           AND wake_at < 'infinity' AND received_at < coalesce(%(near)s, clock_timestamp())
         ORDER BY received_at DESC LIMIT %(half)s)
        UNION
        SELECT id FROM call_events
        WHERE enterprise_number = %(number)s AND call_id IS NULL
          AND (event_id = %(event_id)s::uuid
               OR unique_id = %(unique_id)s AND unique_id <> '' AND wake_at < 'infinity'
                  AND (NOT %(alone)s OR wakes < %(suspect)s))
        UNION
        -- The lane of recovered events (lib.store.recovered).
        (SELECT id FROM call_events
         WHERE (SELECT is_ours FROM turn) AND enterprise_number = %(number)s AND call_id IS NULL
           AND wake_at = 'infinity'
         ORDER BY received_at, id LIMIT %(recovered)s)
    ), spans AS (
        SELECT * FROM unnest(%(sides)s::text[], %(others)s::text[], %(before)s::interval[], %(after)s::interval[])
            AS one (side, other, before, after)
    ), reached (call_id, step) AS (
        SELECT call_id, 1 FROM (
            SELECT %(awake)s::bigint AS call_id
            UNION
            SELECT call_id FROM call_events WHERE event_id = %(event_id)s::uuid
            UNION
            SELECT call_id FROM call_links WHERE enterprise_number = %(number)s AND key = ANY(%(exact)s)
            UNION
            SELECT l.call_id
            FROM unnest(%(keys)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS s (key, since, until)
            JOIN call_links l ON l.enterprise_number = %(number)s AND l.key = s.key
                 AND l.last_at >= s.since AND l.first_at <= s.until
        ) first WHERE call_id IS NOT NULL AND (SELECT is_ours FROM turn)
        UNION
        SELECT next.call_id, reached.step + 1
        FROM reached JOIN call_links mine ON mine.call_id = reached.call_id
        CROSS JOIN LATERAL (
            -- The same channel or bridge.
            SELECT l.call_id FROM call_links l
            WHERE l.enterprise_number = %(number)s AND l.key = mine.key AND left(mine.key, 2) IN ('u:', 'b:')
            UNION ALL
            SELECT l.call_id FROM spans s
            JOIN call_links l ON l.enterprise_number = %(number)s AND l.key = s.other || substr(mine.key, 3)
                 AND l.last_at >= mine.first_at - s.before AND l.first_at <= mine.last_at + s.after
            WHERE s.side = left(mine.key, 2)
        ) next
        WHERE reached.step < %(steps)s AND next.call_id <> reached.call_id
    )
    SELECT EXISTS (SELECT 1 FROM call_events WHERE event_id = %(event_id)s::uuid),
           (SELECT call_id FROM call_events WHERE event_id = %(event_id)s::uuid),
           (SELECT json_agg({event}) FROM waiting JOIN call_events e USING (id)),
           (SELECT json_agg(json_build_object(
                'id', c.id, 'main', c.main_unique_id, 'decisions', c.decisions,
                'events', (SELECT json_agg({event}) FROM call_events e WHERE e.call_id = c.id),
                'ledger', (SELECT json_agg(json_build_object(
                    'id', d.id, 'crm', d.crm, 'effect', d.effect, 'external_id', d.external_id,
                    'extensions', d.extensions, 'content', d.content, 'state', d.state, 'reason', d.reason,
                    'run_at', d.run_at, 'expires_at', d.expires_at, 'attempts_made', d.attempts_made,
                    'may_have_arrived', {may_have_arrived}) ORDER BY d.id)
                    FROM deliveries d WHERE d.call_id = c.id)) ORDER BY c.id)
            FROM calls c
            -- An array: nobody knows beforehand that so few are reached, and all calls would be read to find them.
            WHERE c.id = ANY(ARRAY(SELECT call_id FROM reached)) AND c.enterprise_number = %(number)s
              AND NOT c.events_forgotten)
""").format(event=_EVENT, may_have_arrived=MAY_HAVE_ARRIVED)
_WRITE: Final = SQL("""
    WITH call AS (
        INSERT INTO calls (id, enterprise_number, main_unique_id, kind, customer, line_id, result, owner_extension,
                           started_at, first_event_at, last_event_at, over_at, due_at, next_wake_at, decisions)
            OVERRIDING SYSTEM VALUE
        VALUES (%(id)s, %(number)s, %(main_unique_id)s, %(kind)s, %(customer)s, %(line_id)s, %(result)s,
                %(owner_extension)s, %(started_at)s, %(first_event_at)s, %(last_event_at)s, %(over_at)s, %(due_at)s,
                least(%(due_at)s::timestamptz, (
                    SELECT min(one.at) FROM (
                        SELECT coalesce(min(d.lease_until), min(d.run_at)) AS at FROM deliveries d
                        WHERE d.call_id = %(id)s AND d.effect <> 'upload' AND d.state IN {live}
                        GROUP BY d.crm) one)),
                %(decisions)s)
        ON CONFLICT (id) DO UPDATE
        SET main_unique_id = excluded.main_unique_id, kind = excluded.kind, customer = excluded.customer,
            line_id = excluded.line_id, result = excluded.result, owner_extension = excluded.owner_extension,
            started_at = excluded.started_at, first_event_at = excluded.first_event_at,
            last_event_at = excluded.last_event_at, over_at = excluded.over_at, due_at = excluded.due_at,
            next_wake_at = excluded.next_wake_at, wakes = 0, decisions = excluded.decisions,
            updated_at = clock_timestamp()
    ), links AS (
        INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at)
        SELECT %(number)s, key, %(id)s, min(moment), max(moment)
        FROM unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS k (key, moment) GROUP BY key
        ON CONFLICT (enterprise_number, key, call_id)
            DO UPDATE SET first_at = least(call_links.first_at, excluded.first_at),
                          last_at = greatest(call_links.last_at, excluded.last_at)
            WHERE call_links.first_at > excluded.first_at OR call_links.last_at < excluded.last_at
    )
    UPDATE call_events e SET call_id = %(id)s
    FROM unnest(%(gained)s::uuid[], %(homes)s::bigint[]) AS gained (event_id, home)
    WHERE e.event_id = gained.event_id AND e.call_id IS NOT DISTINCT FROM gained.home
    RETURNING 1
""").format(live=LIVE_SQL)
