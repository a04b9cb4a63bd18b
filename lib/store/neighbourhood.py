"""
One enterprise's assembly: who is at it, the events that wait, and the calls that they may belong to.

Everything that an event needs is read in one statement, and written in few, so that a busy call is not a long
conversation with the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL, Composed
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store import long_calls
from lib.store.deliveries import MAY_HAVE_ARRIVED, Delivery
from lib.store.events import SUSPECT_AFTER_WAKES, StoredEvent
from lib.store.states import LIVE_SQL

# Of the calls that store one key, so many of those nearest in time, on either side, may be meant.
_NEAREST: Final = 50
# An event finds calls, their events find others, and those once more: what lies farther decides nothing about it. So
# many calls in each of the three steps, and so many more for each event that waits.
_CALLS: Final = 50
_CALLS_EACH: Final = 2
# So many events of calls that no id or bridge leads to, and so many more for each event that waits.
_EVENTS: Final = 1000
_EVENTS_EACH: Final = 20
# So many keys of a call lead on to others.
_KEYS: Final = 1000
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
    """
    A call with what is stored of it. `decisions`: what was decided about it so far, as JSON; `unread`: so many of its
    events are not among `events`.
    """

    id: int
    main_unique_id: str
    decisions: Sequence[Mapping[str, Any]]
    events: Sequence[StoredEvent]
    ledger: Sequence[Delivery]
    unread: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    `home`: the call that the event is part of already; `is_stored`: whether it is in the database at all. `resting`:
    calls that were not read, as they were read a moment ago; `resting_by_key`: those of them to which the id or bridge
    of an event leads. `crowded`: keys that more channels carry than any call has.
    """

    is_stored: bool
    home: int | None
    waiting: Sequence[StoredEvent]
    calls: Sequence[NearCall]
    resting: frozenset[int] = frozenset()
    resting_by_key: Mapping[str, int] = field(default_factory=dict)
    crowded: frozenset[str] = frozenset()


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
    events: int


@dataclass(frozen=True, kw_only=True)
class CallChange:
    """
    `gained`: events that were not part of it, with the call that each was part of (None: it waited); `keys`: link keys
    of events whose links are not stored for it yet; `takes_over`: calls that became part of it and have events that
    nobody read.
    """

    call_id: int
    state: CallState
    gained: Mapping[str, int | None]
    keys: Sequence[Keys]
    forgets_links: bool
    takes_over: Sequence[int] = ()


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
    `is_wide`: the keys are those of other events too, so that they matter even if the event is part of a call already.
    """

    enterprise_number: str
    event_id: str | None = None
    unique_id: str = ""
    awake: int | None = None
    near: datetime | None = None
    keys: Sequence[Keys] = ()
    alone: bool = False
    recovered: int = 0
    is_wide: bool = False


def read(conn: Connection, question: Question, spans: Sequence[Span]) -> Cursor[tuple[Any, ...]]:
    sought = sorted({(*one, keys.moment) for keys in question.keys for one in keys.sought})
    exact = sorted({key for keys in question.keys for key in keys.exact})
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
            "is_wide": question.is_wide,
            "calls": _CALLS + _CALLS_EACH * len(question.keys),
            "events": _EVENTS + _EVENTS_EACH * len(question.keys),
            "exact": exact,
            # Of these it matters whether they tie anything.
            "ties": sorted({*exact, *(key for key, _, _, _ in sought if key.startswith("l:"))}),
            "keys": [key for key, _, _, _ in sought],
            "since": [since for _, since, _, _ in sought],
            "until": [until for _, _, until, _ in sought],
            "moments": [moment for _, _, _, moment in sought],
            "sides": [span.side for span in spans],
            "others": [span.other for span in spans],
            "before": [span.before for span in spans],
            "after": [span.after for span in spans],
        },
    )


def found(cursor: Cursor[tuple[Any, ...]], enterprise_number: str) -> Found:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  (a constant row)
    is_stored, home, waiting, calls, resting, resting_by_key, crowded = row
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
                unread=call["held"] - len(call["events"] or ()),
            )
            for call in calls or ()
        ],
        resting=frozenset(resting or ()),
        resting_by_key=resting_by_key or {},
        crowded=frozenset(crowded or ()),
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


def write_call(
    conn: Connection, enterprise_number: str, change: CallChange, crowded: Collection[str] = ()
) -> Cursor[tuple[int]]:
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
            "crowded": sorted(crowded),
            "events": state.events,
        },
    )


def mark_crowded(conn: Connection, enterprise_number: str, keys: Collection[str]) -> None:
    """Keys that more channels carry than any call has: they lead to no call any more."""
    conn.execute(
        "UPDATE call_links SET is_crowded = true WHERE enterprise_number = %s AND key = ANY(%s) AND NOT is_crowded",
        [enterprise_number, sorted(keys)],
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
# The calls that the keys of the calls of one step lead to.
_STEP: Final = SQL("""
        SELECT next.call_id, bool_or(next.is_exact AND step.is_exact) AS is_exact, min(next.apart) AS apart
        FROM {step} step
        CROSS JOIN LATERAL (
            SELECT 1 FROM calls c
            WHERE c.id = step.call_id AND (%(awake)s::bigint IS NOT NULL OR NOT {rests}) LIMIT 1) c
        CROSS JOIN LATERAL (
            SELECT key, first_at, last_at FROM call_links WHERE call_id = step.call_id AND NOT is_crowded
            ORDER BY last_at DESC LIMIT {links}) mine
        CROSS JOIN LATERAL (
            (SELECT l.call_id, true AS is_exact, interval '0' AS apart FROM call_links l
             WHERE l.enterprise_number = %(number)s AND l.key = mine.key AND left(mine.key, 2) IN ('u:', 'b:')
             ORDER BY l.last_at DESC LIMIT {nearest})
            UNION ALL
            SELECT near.call_id, false, near.apart
            FROM spans s
            CROSS JOIN LATERAL (
                (SELECT l.call_id, greatest(l.first_at - mine.last_at, interval '0') AS apart FROM call_links l
                 WHERE l.enterprise_number = %(number)s AND l.key = s.other || substr(mine.key, 3) AND NOT l.is_crowded
                   AND l.last_at >= mine.first_at AND l.first_at <= mine.last_at + s.after
                 ORDER BY l.last_at LIMIT {nearest})
                UNION ALL
                (SELECT l.call_id, mine.first_at - l.last_at FROM call_links l
                 WHERE l.enterprise_number = %(number)s AND l.key = s.other || substr(mine.key, 3) AND NOT l.is_crowded
                   AND l.last_at >= mine.first_at - s.before AND l.last_at < mine.first_at
                 ORDER BY l.last_at DESC LIMIT {nearest})) near
            WHERE s.side = left(mine.key, 2)
        ) next
        WHERE next.call_id <> ALL(ARRAY({before}))
        GROUP BY next.call_id ORDER BY is_exact DESC, apart LIMIT %(calls)s""")


def _step(step: LiteralString, *, before: LiteralString) -> Composed:
    return _STEP.format(
        step=SQL(step),
        before=SQL(before),
        rests=SQL(long_calls.RESTS),
        nearest=SQL(str(_NEAREST)),
        links=SQL(str(_KEYS)),
    )


_READ: Final = SQL("""
    -- Who has not the turn reads next to nothing.
    WITH turn AS MATERIALIZED (
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
        (SELECT id FROM call_events
         WHERE enterprise_number = %(number)s AND call_id IS NULL
           AND (event_id = %(event_id)s::uuid
                OR unique_id = %(unique_id)s AND unique_id <> '' AND wake_at < 'infinity'
                   AND (NOT %(alone)s OR wakes < %(suspect)s))
         ORDER BY event_id = %(event_id)s::uuid DESC, received_at LIMIT {waiting})
        UNION
        -- The lane of recovered events (lib.store.recovered).
        (SELECT id FROM call_events
         WHERE (SELECT is_ours FROM turn) AND enterprise_number = %(number)s AND call_id IS NULL
           AND wake_at = 'infinity'
         ORDER BY received_at, id LIMIT %(recovered)s)
    ), asks AS MATERIALIZED (
        -- Of an event that is part of a call already, nothing is to be found out.
        SELECT (SELECT is_ours FROM turn) AND (%(is_wide)s OR NOT EXISTS (
            SELECT 1 FROM call_events WHERE event_id = %(event_id)s::uuid AND call_id IS NOT NULL)) AS calls
    ), spans AS (
        SELECT * FROM unnest(%(sides)s::text[], %(others)s::text[], %(before)s::interval[], %(after)s::interval[])
            AS one (side, other, before, after)
    ), first_step AS MATERIALIZED (
        SELECT found.call_id, bool_or(found.is_exact) AS is_exact, min(found.apart) AS apart
        FROM (
            SELECT %(awake)s::bigint AS call_id, true AS is_exact, interval '0' AS apart
            UNION ALL
            -- The same channel or bridge.
            SELECT near.call_id, true, interval '0'
            FROM unnest(%(exact)s::text[]) AS asked (key)
            CROSS JOIN LATERAL (
                SELECT l.call_id FROM call_links l
                WHERE l.enterprise_number = %(number)s AND l.key = asked.key AND NOT l.is_crowded
                ORDER BY l.last_at DESC LIMIT {nearest}) near
            UNION ALL
            SELECT near.call_id, false, near.apart
            FROM unnest(%(keys)s::text[], %(since)s::timestamptz[], %(moments)s::timestamptz[],
                        %(until)s::timestamptz[]) AS s (key, since, moment, until)
            CROSS JOIN LATERAL (
                (SELECT l.call_id, greatest(l.first_at - s.moment, interval '0') AS apart FROM call_links l
                 WHERE l.enterprise_number = %(number)s AND l.key = s.key AND NOT l.is_crowded
                   AND l.last_at >= s.moment AND l.first_at <= s.until
                 ORDER BY l.last_at LIMIT {nearest})
                UNION ALL
                (SELECT l.call_id, s.moment - l.last_at FROM call_links l
                 WHERE l.enterprise_number = %(number)s AND l.key = s.key AND NOT l.is_crowded
                   AND l.last_at >= s.since AND l.last_at < s.moment
                 ORDER BY l.last_at DESC LIMIT {nearest})) near
        ) found
        WHERE found.call_id IS NOT NULL AND (SELECT calls FROM asks)
        GROUP BY found.call_id ORDER BY is_exact DESC, apart LIMIT %(calls)s
    ), second_step AS MATERIALIZED ({second}
    ), third_step AS MATERIALIZED ({third}
    ), near AS MATERIALIZED (
        SELECT c.id, c.rests, n.is_exact,
               sum(c.events) FILTER (WHERE NOT c.rests AND NOT n.is_exact)
                   OVER (ORDER BY n.step, n.is_exact DESC, n.apart, n.call_id) AS events
        FROM (SELECT 1 AS step, call_id, is_exact, apart FROM first_step
              UNION ALL SELECT 2, call_id, is_exact, apart FROM second_step
              UNION ALL SELECT 3, call_id, is_exact, apart FROM third_step) n
        -- One by one: nobody knows beforehand that so few are reached, and all calls would be read to find them.
        CROSS JOIN LATERAL (
            SELECT c.id, {rests} AND %(awake)s::bigint IS NULL AS rests,
                   least(greatest(c.events, 1), {most}) AS events
            FROM calls c
            WHERE c.id = n.call_id AND c.enterprise_number = %(number)s AND NOT c.events_forgotten LIMIT 1) c
    ), chosen AS MATERIALIZED (
        SELECT id FROM near WHERE NOT rests AND (is_exact OR events <= %(events)s)
    )
    SELECT EXISTS (SELECT 1 FROM call_events WHERE event_id = %(event_id)s::uuid),
           (SELECT call_id FROM call_events WHERE event_id = %(event_id)s::uuid),
           (SELECT json_agg({event}) FROM waiting JOIN call_events e USING (id)),
           (SELECT json_agg(json_build_object(
                'id', c.id, 'main', c.main_unique_id, 'decisions', c.decisions,
                'events', (SELECT json_agg({event}) FROM (
                    SELECT e.event_id, e.unique_id, e.event_type, e.raw_data, e.record_url, e.data_source,
                           e.received_at, e.call_id
                    FROM call_events e WHERE e.call_id = c.id {read}) e),
                'held', (SELECT count(*) FROM call_events e WHERE e.call_id = c.id),
                'ledger', (SELECT json_agg(json_build_object(
                    'id', d.id, 'crm', d.crm, 'effect', d.effect, 'external_id', d.external_id,
                    'extensions', d.extensions, 'content', d.content, 'state', d.state, 'reason', d.reason,
                    'run_at', d.run_at, 'expires_at', d.expires_at, 'attempts_made', d.attempts_made,
                    'may_have_arrived', {may_have_arrived}) ORDER BY d.id)
                    FROM deliveries d WHERE d.call_id = c.id)) ORDER BY c.id)
            FROM calls c WHERE c.id = ANY(ARRAY(SELECT id FROM chosen))),
           (SELECT json_agg(id) FROM near WHERE rests),
           (SELECT json_object_agg(l.key, l.call_id) FROM call_links l
            WHERE l.call_id = ANY(ARRAY(SELECT id FROM near WHERE rests)) AND l.enterprise_number = %(number)s
              AND l.key = ANY(%(exact)s::text[])),
           (SELECT json_agg(tie.key) FROM (
                SELECT asked.key FROM unnest(%(ties)s::text[]) AS asked (key)
                WHERE (SELECT calls FROM asks)
                  AND EXISTS (SELECT 1 FROM call_links l
                              WHERE l.enterprise_number = %(number)s AND l.key = asked.key AND l.is_crowded)
                UNION
                SELECT l.key FROM call_links l
                WHERE l.call_id = ANY(ARRAY(SELECT id FROM chosen)) AND l.is_crowded) tie)
""").format(
    event=_EVENT,
    may_have_arrived=MAY_HAVE_ARRIVED,
    rests=SQL(long_calls.RESTS),
    read=SQL(long_calls.READ),
    most=SQL(str(long_calls.READ_AT_MOST)),
    waiting=SQL(str(WAITING)),
    nearest=SQL(str(_NEAREST)),
    second=_step("first_step", before="SELECT call_id FROM first_step"),
    third=_step("second_step", before="SELECT call_id FROM first_step UNION ALL SELECT call_id FROM second_step"),
)
_WRITE: Final = SQL("""
    WITH call AS (
        INSERT INTO calls (id, enterprise_number, main_unique_id, kind, customer, line_id, result, owner_extension,
                           started_at, first_event_at, last_event_at, over_at, due_at, next_wake_at, decisions, events)
            OVERRIDING SYSTEM VALUE
        VALUES (%(id)s, %(number)s, %(main_unique_id)s, %(kind)s, %(customer)s, %(line_id)s, %(result)s,
                %(owner_extension)s, %(started_at)s, %(first_event_at)s, %(last_event_at)s, %(over_at)s, %(due_at)s,
                least(%(due_at)s::timestamptz, (
                    SELECT min(one.at) FROM (
                        SELECT coalesce(min(d.lease_until), min(d.run_at)) AS at FROM deliveries d
                        WHERE d.call_id = %(id)s AND d.effect <> 'upload' AND d.state IN {live}
                        GROUP BY d.crm) one)),
                %(decisions)s, %(events)s)
        ON CONFLICT (id) DO UPDATE
        SET main_unique_id = excluded.main_unique_id, kind = excluded.kind, customer = excluded.customer,
            line_id = excluded.line_id, result = excluded.result, owner_extension = excluded.owner_extension,
            started_at = excluded.started_at, first_event_at = excluded.first_event_at,
            last_event_at = excluded.last_event_at, over_at = excluded.over_at, due_at = excluded.due_at,
            next_wake_at = excluded.next_wake_at, wakes = 0, decisions = excluded.decisions, events = excluded.events,
            updated_at = clock_timestamp()
    ), links AS (
        INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at, is_crowded)
        SELECT %(number)s, key, %(id)s, min(moment), max(moment), key = ANY(%(crowded)s::text[])
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
