"""
The lane of history: for each enterprise and CRM the rows that wait, and one timer.

Whoever looks for rows to send passes over what somebody else has locked; whoever changes a row of a call waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import Cursor
from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.deliveries import MAY_HAVE_ARRIVED, WITHDRAWN, Claimed, NewDelivery
from lib.store.states import LIVE_SQL, WAITING_SQL

# In one statement, when a CRM is back; the others keep their own time.
BROUGHT_FORWARD: Final = 2000
# A row that waits for the end of its pop-up, or to be derived again, is asked for again so soon.
BLOCKED_SECONDS: Final = 5.0
# Of the oldest rows that wait, so many expire, or say why they wait, at a time.
OLDEST: Final = 500
# A row (`d`) of `number` and `crm` that is due, whatever else is first.
_IS_DUE: Final = SQL("""
    d.enterprise_number = %(number)s AND d.crm = %(crm)s AND d.effect = 'upload' AND d.state IN {waiting}
    AND d.run_at <= clock_timestamp()
""").format(waiting=WAITING_SQL)
# The call's pop-ups and their end come first, as long as they are news.
_IS_BLOCKED: Final = SQL("""
    EXISTS (SELECT 1 FROM deliveries notice
            WHERE notice.call_id = d.call_id AND notice.crm = d.crm AND notice.effect <> 'upload'
              AND (notice.state = 'leased' OR notice.state IN {waiting} AND notice.expires_at > clock_timestamp()))
""").format(waiting=WAITING_SQL)


@dataclass(frozen=True, kw_only=True)
class Lane:
    enterprise_number: str
    crm: str


def wake(conn: Connection, lane: Lane) -> None:
    """The lane wakes now."""
    conn.execute(
        """
        INSERT INTO row_timers (enterprise_number, crm, wake_at) VALUES (%s, %s, clock_timestamp())
        ON CONFLICT (enterprise_number, crm)
            DO UPDATE SET wake_at = least(row_timers.wake_at, excluded.wake_at)
            WHERE row_timers.wake_at IS NULL OR row_timers.wake_at > excluded.wake_at
        """,
        [lane.enterprise_number, lane.crm],
    )


def wake_for_rows(conn: Connection, delivery_ids: Sequence[int]) -> None:
    """The lanes of these rows wake now."""
    conn.execute(
        """
        INSERT INTO row_timers (enterprise_number, crm, wake_at)
        SELECT enterprise_number, crm, clock_timestamp() FROM deliveries WHERE id = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (enterprise_number, crm)
            DO UPDATE SET wake_at = least(row_timers.wake_at, excluded.wake_at)
        """,
        [list(delivery_ids)],
    )


def wake_for_call(conn: Connection, lane: Lane, call_id: int) -> Cursor[tuple[str]]:
    """The lane wakes now if this call has a row that waits; the enterprise then."""
    return conn.execute(
        SQL("""
        UPDATE row_timers SET wake_at = least(wake_at, clock_timestamp())
        WHERE enterprise_number = %(number)s AND crm = %(crm)s
          AND EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = %(call_id)s AND d.crm = %(crm)s
                      AND d.effect = 'upload' AND d.state IN {waiting})
        RETURNING enterprise_number
        """).format(waiting=WAITING_SQL),
        {"number": lane.enterprise_number, "crm": lane.crm, "call_id": call_id},
    )


def free(conn: Connection, lane: Lane) -> None:
    """
    Of the oldest rows those that nobody wants any more expire, and what a dead worker left is due again: the CRM knows
    a row by its id.
    """
    conn.execute(
        SQL("""
        WITH lost AS (
            SELECT d.id, d.fence FROM deliveries d
            WHERE d.enterprise_number = %(number)s AND d.crm = %(crm)s AND d.effect = 'upload'
              AND d.state = 'leased' AND d.lease_until < clock_timestamp()
            FOR UPDATE SKIP LOCKED
        ), doubted AS (
            UPDATE attempts a
            SET outcome = 'in_doubt', finished_at = clock_timestamp(),
                error = 'The worker ended before the answer was recorded'
            FROM lost WHERE a.delivery_id = lost.id AND a.fence = lost.fence AND a.outcome IS NULL
        ), again AS (
            UPDATE deliveries d
            SET state = 'retry', fence = d.fence + 1, reason = 'worker_lost', run_at = clock_timestamp(),
                lease_until = NULL
            FROM lost WHERE d.id = lost.id
        )
        UPDATE deliveries d SET state = 'expired', reason = 'expired', finished_at = clock_timestamp()
        WHERE d.id = ANY(ARRAY(
            SELECT old.id FROM deliveries old
            WHERE old.id = ANY(ARRAY(
                SELECT one.id FROM deliveries one
                WHERE one.enterprise_number = %(number)s AND one.crm = %(crm)s AND one.effect = 'upload'
                  AND one.state IN {live} ORDER BY one.id LIMIT %(oldest)s))
              AND old.state <> 'leased' AND old.expires_at < clock_timestamp()
            FOR UPDATE SKIP LOCKED))
        """).format(live=LIVE_SQL),
        {"number": lane.enterprise_number, "crm": lane.crm, "oldest": OLDEST},
    )


def claim(conn: Connection, lane: Lane, *, limit: int, lease_seconds: float) -> Cursor[Claimed]:
    """The oldest rows that are due and may go into one request, leased."""
    free(conn, lane)
    return conn.cursor(row_factory=class_row(Claimed)).execute(
        SQL("""
        WITH due AS (
            SELECT d.id, d.batch_limit FROM deliveries d
            WHERE {is_due} AND NOT d.is_stale AND NOT {is_blocked}
              AND (d.expires_at IS NULL OR d.expires_at >= clock_timestamp())
            ORDER BY d.id LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
        ), counted AS (
            SELECT id, row_number() OVER by_age AS place, min(batch_limit) OVER by_age AS most
            FROM due WINDOW by_age AS (ORDER BY id)
        ), claimed AS (
            UPDATE deliveries d
            SET state = 'leased', fence = d.fence + 1, attempts_made = d.attempts_made + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
            -- As many as the strictest of them allows.
            FROM counted WHERE d.id = counted.id AND counted.place <= counted.most
            RETURNING d.*
        )
        SELECT id, enterprise_number, call_id, crm, effect, external_id, extensions, content, state, reason, run_at,
               expires_at, attempts_made, fence, batch_limit, is_ownerless
        FROM claimed ORDER BY id
        """).format(is_due=_IS_DUE, is_blocked=_IS_BLOCKED),
        {"number": lane.enterprise_number, "crm": lane.crm, "limit": limit, "lease_seconds": lease_seconds},
    )


def supersede_due(conn: Connection, lane: Lane, *, reason: str) -> None:
    """Every row that is due is not sent, whatever it waits for beside its time."""
    conn.execute(
        SQL("""
        UPDATE deliveries SET state = 'superseded', reason = %(reason)s, finished_at = clock_timestamp()
        WHERE id = ANY(ARRAY(SELECT d.id FROM deliveries d WHERE {is_due} FOR UPDATE SKIP LOCKED))
        """).format(is_due=_IS_DUE),
        {"number": lane.enterprise_number, "crm": lane.crm, "reason": reason},
    )


def settle_timer(
    conn: Connection, lane: Lane, *, account: str | None = None, after_seconds: float = 0.0
) -> Cursor[tuple[bool]]:
    """
    The lane's next wake-up: the first of its rows that waits, or whose lease ends, but not before so many seconds;
    none: never. Whether one is due. `account`: whose return wakes it sooner.

    In a transaction: whoever enters a row holds the timer until its commit, and only a statement that begins after it
    sees the row.
    """
    conn.execute(
        "SELECT FROM row_timers WHERE enterprise_number = %s AND crm = %s FOR UPDATE",
        [lane.enterprise_number, lane.crm],
    )
    return conn.execute(
        SQL("""
        WITH next AS (
            SELECT CASE
                -- In a backlog the first row shows it; all are read only where none may go.
                WHEN (SELECT d.id FROM deliveries d WHERE {is_due} AND NOT d.is_stale AND NOT {is_blocked}
                      ORDER BY d.id LIMIT 1) IS NOT NULL
                THEN clock_timestamp()
                ELSE least(
                    (SELECT min(d.lease_until) FROM deliveries d
                     WHERE d.enterprise_number = %(number)s AND d.crm = %(crm)s AND d.effect = 'upload'
                       AND d.state = 'leased'),
                    -- What is due, and may not go yet, is asked for again soon.
                    (SELECT min(greatest(d.run_at, CASE WHEN d.run_at <= clock_timestamp()
                                    THEN clock_timestamp() + make_interval(secs => %(blocked)s) END))
                     FROM deliveries d
                     WHERE d.enterprise_number = %(number)s AND d.crm = %(crm)s AND d.effect = 'upload'
                       AND d.state IN {waiting})) END AS at
        )
        UPDATE row_timers
        SET wake_at = CASE WHEN next.at IS NOT NULL
                      THEN greatest(next.at, clock_timestamp() + make_interval(secs => %(after)s)) END,
            account = coalesce(%(account)s, account)
        FROM next WHERE enterprise_number = %(number)s AND crm = %(crm)s
        RETURNING coalesce(wake_at <= clock_timestamp(), false)
        """).format(is_due=_IS_DUE, is_blocked=_IS_BLOCKED, waiting=WAITING_SQL),
        {
            "number": lane.enterprise_number,
            "crm": lane.crm,
            "blocked": BLOCKED_SECONDS,
            "after": after_seconds,
            "account": account,
        },
    )


def say_why(conn: Connection, lane: Lane, *, reason: str) -> None:
    """
    The oldest rows that are due wait for this, for whoever looks at their calls. One that failed keeps its own reason.
    """
    conn.execute(
        SQL("""
        UPDATE deliveries SET reason = %(reason)s
        WHERE id = ANY(ARRAY(
            SELECT d.id FROM deliveries d
            WHERE d.id = ANY(ARRAY(SELECT d.id FROM deliveries d WHERE {is_due} ORDER BY d.id LIMIT %(oldest)s))
              AND (d.reason IS NULL
                   OR d.reason IN ('crm_busy', 'crm_away', 'authentication', 'account_refused')
                      AND d.reason <> %(reason)s)
            FOR UPDATE SKIP LOCKED))
        """).format(is_due=_IS_DUE),
        {"number": lane.enterprise_number, "crm": lane.crm, "reason": reason, "oldest": OLDEST},
    )


def put_off_stale(conn: Connection, lane: Lane, *, limit: int) -> Cursor[tuple[int]]:
    """
    Delays the due rows that must be derived again before they are sent, so that the next look does not request them
    again. Returns their calls.
    """
    return conn.execute(
        SQL("""
        UPDATE deliveries SET run_at = clock_timestamp() + make_interval(secs => %(blocked)s)
        WHERE id = ANY(ARRAY(
            SELECT d.id FROM deliveries d WHERE d.is_stale AND {is_due}
            ORDER BY d.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
        RETURNING call_id
        """).format(is_due=_IS_DUE),
        {"number": lane.enterprise_number, "crm": lane.crm, "limit": limit, "blocked": BLOCKED_SECONDS},
    )


def bring_forward(conn: Connection, account: str) -> list[Lane]:
    """
    The account is back: the lanes that wait for it wake now, and their rows that failed meanwhile are due, the oldest
    of each first. Their own pauses, which have grown to minutes, say nothing of a CRM that is back.
    """
    rows = conn.execute(
        """
        WITH woken AS (
            UPDATE row_timers SET wake_at = clock_timestamp()
            WHERE (enterprise_number, crm) IN (
                SELECT enterprise_number, crm FROM row_timers
                WHERE account = %(account)s AND wake_at IS NOT NULL ORDER BY enterprise_number, crm FOR UPDATE)
            RETURNING enterprise_number, crm
        ), waiting AS (
            SELECT d.id FROM woken CROSS JOIN LATERAL (
                SELECT d.id FROM deliveries d
                WHERE d.enterprise_number = woken.enterprise_number AND d.crm = woken.crm AND d.effect = 'upload'
                  AND d.state IN ('ready', 'retry', 'leased') AND d.state = 'retry'
                  AND d.reason IN ('unavailable', 'busy', 'in_doubt') AND d.run_at > now()
                ORDER BY d.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED) d
        ), due AS (
            UPDATE deliveries d SET run_at = clock_timestamp() FROM waiting WHERE d.id = waiting.id
        )
        SELECT enterprise_number, crm FROM woken
        """,
        {"account": account, "limit": BROUGHT_FORWARD},
    ).fetchall()
    return [Lane(enterprise_number=number, crm=crm) for number, crm in rows]


def claim_due_lanes(conn: Connection, *, limit: int, again_seconds: float) -> list[Lane]:
    """Lanes whose time has come; each is woken again after a while, should its message be lost."""
    rows = conn.execute(
        """
        UPDATE row_timers SET wake_at = clock_timestamp() + make_interval(secs => %s)
        WHERE (enterprise_number, crm) IN (
            SELECT enterprise_number, crm FROM row_timers WHERE wake_at <= now()
            ORDER BY wake_at LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING enterprise_number, crm
        """,
        [again_seconds, limit],
    ).fetchall()
    return [Lane(enterprise_number=number, crm=crm) for number, crm in rows]


def give_back(conn: Connection, lanes: Sequence[Lane]) -> None:
    """Claimed, and not woken: at the next tick again."""
    conn.execute(
        """
        UPDATE row_timers t SET wake_at = clock_timestamp()
        FROM unnest(%s::text[], %s::text[]) AS one (enterprise_number, crm)
        WHERE t.enterprise_number = one.enterprise_number AND t.crm = one.crm
        """,
        [[lane.enterprise_number for lane in lanes], [lane.crm for lane in lanes]],
    )


def expire_all(conn: Connection, lane: Lane) -> None:
    """Of an enterprise that is gone: what nobody wants any more expires, whoever held it; the rest waits until then."""
    conn.execute(
        SQL("""
        UPDATE deliveries
        SET state = 'expired', reason = 'enterprise_gone', finished_at = clock_timestamp(), lease_until = NULL
        WHERE enterprise_number = %s AND crm = %s AND effect = 'upload' AND state IN {live}
          AND (state <> 'leased' OR lease_until < clock_timestamp()) AND expires_at < clock_timestamp()
        """).format(live=LIVE_SQL),
        [lane.enterprise_number, lane.crm],
    )


def renew(conn: Connection, call_id: int, wanted: NewDelivery) -> None:
    """The row of history that waits under this id says this from now on, also one that was withdrawn."""
    conn.execute(
        SQL("""
        UPDATE deliveries d
        SET content = %(content)s, finished_at = NULL,
            state = CASE state WHEN 'superseded' THEN 'ready' ELSE state END,
            reason = CASE state WHEN 'superseded' THEN NULL ELSE reason END,
            run_at = CASE state WHEN 'superseded' THEN clock_timestamp() ELSE run_at END
        WHERE call_id = %(call_id)s AND crm = %(crm)s AND effect = 'upload' AND external_id = %(external_id)s
          AND (state = 'superseded' AND reason = %(withdrawn)s
               OR state IN {waiting} AND content <> %(content)s AND NOT {may_have_arrived})
        """).format(waiting=WAITING_SQL, may_have_arrived=MAY_HAVE_ARRIVED),
        {
            "call_id": call_id,
            "crm": wanted.crm,
            "external_id": wanted.external_id,
            "content": Jsonb(wanted.content),
            "withdrawn": WITHDRAWN,
        },
    )


def withdraw(conn: Connection, call_id: int, *, crm: str, external_ids: Sequence[str]) -> None:
    """Rows of history that wait under these ids are not sent."""
    conn.execute(
        SQL("""
        UPDATE deliveries SET state = 'superseded', reason = %s, finished_at = clock_timestamp()
        WHERE call_id = %s AND crm = %s AND effect = 'upload' AND external_id = ANY(%s) AND state IN {waiting}
        """).format(waiting=WAITING_SQL),
        [WITHDRAWN, call_id, crm, list(external_ids)],
    )


def mark_stale(conn: Connection, call_ids: Sequence[int]) -> None:
    """
    These calls were derived again: a row that is being sent at this moment was not, and if it does not arrive it is
    derived again before it goes.
    """
    conn.execute(
        """
        UPDATE deliveries
        SET is_stale = (state = 'leased'),
            -- What was only put off to be derived again is due.
            run_at = CASE WHEN is_stale AND state <> 'leased'
                               AND run_at < clock_timestamp() + make_interval(secs => %s)
                     THEN least(run_at, clock_timestamp()) ELSE run_at END
        WHERE id IN (
            -- In order of id, as whoever has sent a batch locks them.
            SELECT id FROM deliveries
            WHERE call_id = ANY(%s) AND effect = 'upload' AND is_stale <> (state = 'leased') ORDER BY id FOR UPDATE)
        """,
        [BLOCKED_SECONDS, list(call_ids)],
    )


def lock(conn: Connection, delivery_ids: Sequence[int]) -> None:
    conn.execute("SELECT FROM deliveries WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(delivery_ids)])
