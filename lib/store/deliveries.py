"""The ledger: effects wanted, who is at work on them (lease and fence), and every attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import errors
from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.runtime.errors import Unavailable

# RetailCRM takes so many rows of history at once.
BATCH: Final = 50
# In one statement, when a CRM is back; the others keep their own time.
BROUGHT_FORWARD: Final = 2000
STATES: Final = ("ready", "leased", "retry", "in_doubt", "held", "delivered", "failed", "expired", "superseded")
FINISHED_SPAN_SECONDS: Final = 3600
# Why a row of history is not sent any more, that may be wanted again when the call turns out otherwise.
WITHDRAWN: Final = "withdrawn"
# A row of history (`d`) of the enterprise `number` that is due and may go: nothing of its call is first.
_MAY_GO: Final = SQL("""
    d.enterprise_number = %(number)s AND d.effect = 'upload' AND d.state IN ('ready', 'retry')
    AND d.run_at <= now() AND (d.expires_at IS NULL OR d.expires_at > now()) AND NOT d.is_stale
    AND NOT EXISTS (SELECT 1 FROM deliveries notice
                    WHERE notice.call_id = d.call_id AND notice.effect <> 'upload'
                      AND notice.state IN ('ready', 'retry') AND notice.expires_at > now())
""")


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    effect: str
    external_id: str
    content: Mapping[str, Any]
    extensions: Sequence[str] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    id: int
    enterprise_number: str
    call_id: int
    effect: str
    external_id: str
    extensions: list[str]
    content: Mapping[str, Any]
    state: str
    reason: str | None
    run_at: datetime
    expires_at: datetime | None
    attempts_made: int
    may_have_arrived: bool = True

    @property
    def is_waiting_row(self) -> bool:
        """A row of history that RetailCRM surely does not have: it may still be changed."""
        waits = self.state in {"ready", "retry"} or (self.state == "superseded" and self.reason == WITHDRAWN)
        return self.effect == "upload" and waits and not self.may_have_arrived


@dataclass(frozen=True, kw_only=True)
class Attempt:
    delivery_id: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    http_status: int | None
    error: str | None
    request: Mapping[str, Any]
    response: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """
    A delivery that this process may attempt until `lease_until`; only its fence may record the result.

    After a failover that lost commits ids and fences come again: what is recorded is compared by what it is, too.
    """

    delivery: Delivery
    fence: int
    batch_limit: int = 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """
    What an attempt came to. `state` is the delivery's next one; with `retry`, `retry_in_seconds` says when, and
    `batch_limit`, if there is one, with how many others at most.
    """

    outcome: str
    state: str
    reason: str | None = None
    retry_in_seconds: float | None = None
    http_status: int | None = None
    error: str | None = None
    response: str | None = None
    batch_limit: int | None = None


def list_deliveries(conn: Connection, call_ids: Sequence[int]) -> list[Delivery]:
    with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(
            """
            SELECT id, enterprise_number, call_id, effect, external_id, extensions, content, state, reason, run_at,
                   expires_at, attempts_made,
                   EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = deliveries.id
                           AND (a.outcome IS NULL OR a.outcome IN ('done', 'in_doubt'))) AS may_have_arrived
            FROM deliveries WHERE call_id = ANY(%s) ORDER BY id
            """,
            [list(call_ids)],
        ).fetchall()


def list_attempts(conn: Connection, call_id: int) -> list[Attempt]:
    with conn.cursor(row_factory=class_row(Attempt)) as cursor:
        return cursor.execute(
            """
            SELECT a.delivery_id, a.started_at, a.finished_at, a.outcome, a.http_status, a.error, a.request, a.response
            FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
            WHERE d.call_id = %s ORDER BY a.started_at
            """,
            [call_id],
        ).fetchall()


def list_of_same_call(conn: Connection, delivery_id: int) -> list[Delivery]:
    """Everything that the delivery's call was told, whatever call that is by now."""
    row = conn.execute("SELECT call_id FROM deliveries WHERE id = %s", [delivery_id]).fetchone()
    return list_deliveries(conn, [row[0]]) if row else []


def insert_deliveries(conn: Connection, enterprise_number: str, call_id: int, wanted: Sequence[NewDelivery]) -> None:
    """Enters what is wanted; what the ledger already holds stays as it is."""
    for delivery in wanted:
        conn.execute(
            """
            INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, extensions, content, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT DO NOTHING
            """,
            [
                enterprise_number,
                call_id,
                delivery.effect,
                delivery.external_id,
                list(delivery.extensions),
                Jsonb(delivery.content),
                delivery.expires_at,
            ],
        )


def renew_row(conn: Connection, call_id: int, wanted: NewDelivery) -> None:
    """The row of history that waits under this id says this from now on, also one that was withdrawn."""
    conn.execute(
        """
        UPDATE deliveries
        SET content = %(content)s, finished_at = NULL,
            state = CASE state WHEN 'superseded' THEN 'ready' ELSE state END,
            reason = CASE state WHEN 'superseded' THEN NULL ELSE reason END,
            run_at = CASE state WHEN 'superseded' THEN clock_timestamp() ELSE run_at END
        WHERE call_id = %(call_id)s AND effect = 'upload' AND external_id = %(external_id)s
          AND (state = 'superseded' AND reason = %(withdrawn)s
               OR state IN ('ready', 'retry') AND content <> %(content)s
                  AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = deliveries.id
                                  AND (a.outcome IS NULL OR a.outcome IN ('done', 'in_doubt'))))
        """,
        {
            "call_id": call_id,
            "external_id": wanted.external_id,
            "content": Jsonb(wanted.content),
            "withdrawn": WITHDRAWN,
        },
    )


def mark_stale_rows(conn: Connection, call_id: int) -> None:
    """
    The call was looked at: a row that is being sent at this moment was not derived again, and if it does not arrive it
    only goes with its own call's wake-up, which does that first.
    """
    conn.execute(
        """
        UPDATE deliveries SET is_stale = (state = 'leased')
        WHERE call_id = %s AND effect = 'upload' AND is_stale <> (state = 'leased')
        """,
        [call_id],
    )


def withdraw_rows(conn: Connection, call_id: int, external_ids: Sequence[str]) -> None:
    """Rows of history that wait under these ids are not sent."""
    conn.execute(
        """
        UPDATE deliveries SET state = 'superseded', reason = %s, finished_at = clock_timestamp()
        WHERE call_id = %s AND effect = 'upload' AND external_id = ANY(%s) AND state IN ('ready', 'retry')
        """,
        [WITHDRAWN, call_id, list(external_ids)],
    )


def withdraw_popups(conn: Connection, call_id: int, *, reason: str) -> None:
    """Expires the pop-ups that nobody has begun to send."""
    conn.execute(
        """
        UPDATE deliveries SET state = 'expired', reason = %s, finished_at = clock_timestamp()
        WHERE call_id = %s AND effect = 'popup' AND state IN ('ready', 'retry')
        """,
        [reason, call_id],
    )


def claim_next(conn: Connection, call_id: int, *, lease_seconds: float) -> Claim | None:
    """
    The call's next delivery that is due, leased: pop-ups before the hangup before the row, one at a time.

    The call's timer is set behind the lease, so that the sweep finds what a crash leaves. None: nothing is due,
    or another process is at it and will go on when it is done.
    """
    call = _lock_call(conn, call_id)
    row = _claim_next(conn, call_id, lease_seconds, is_over=call.is_over) if call else None
    return _claim(row) if row else None


def claim_more_rows(conn: Connection, first: Claim, *, lease_seconds: float) -> list[Claim]:
    """
    The oldest rows of history of the same enterprise that are due too and may go into one request with this one.

    Calls that somebody is at are passed over, so nobody is waited for.
    """
    due = conn.execute(
        SQL("""
        SELECT d.id, d.call_id, d.batch_limit FROM deliveries d JOIN calls c ON c.id = d.call_id
        WHERE {may_go} AND d.call_id <> %(call_id)s
        ORDER BY d.id LIMIT %(limit)s FOR NO KEY UPDATE OF c SKIP LOCKED
        """).format(may_go=_MAY_GO),
        {
            "number": first.delivery.enterprise_number,
            "call_id": first.delivery.call_id,
            "limit": first.batch_limit - 1,
        },
    ).fetchall()
    most, chosen = first.batch_limit, dict[int, int]()
    for delivery_id, call_id, batch_limit in due:
        if len(chosen) + 2 > min(most, batch_limit):
            break
        most = min(most, batch_limit)
        chosen.setdefault(call_id, delivery_id)
    if not chosen:
        return []
    rows = conn.execute(
        """
        WITH claimed AS (
            UPDATE deliveries d
            SET state = 'leased', fence = d.fence + 1, attempts_made = d.attempts_made + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
            WHERE d.id = ANY(%(ids)s) AND d.call_id = ANY(%(call_ids)s) AND d.state IN ('ready', 'retry')
              AND NOT EXISTS (SELECT 1 FROM deliveries busy WHERE busy.call_id = d.call_id AND busy.state = 'leased')
            RETURNING d.*
        ), timer AS (
            UPDATE calls SET next_wake_at = least(next_wake_at, claimed.lease_until)
            FROM claimed WHERE calls.id = claimed.call_id
        )
        SELECT id, enterprise_number, call_id, effect, external_id, extensions, content, state, reason, run_at,
               expires_at, attempts_made, fence, batch_limit
        FROM claimed ORDER BY id
        """,
        {"ids": list(chosen.values()), "call_ids": list(chosen), "lease_seconds": lease_seconds},
    ).fetchall()
    return [_claim(row) for row in rows]


def _claim(row: tuple[Any, ...]) -> Claim:
    return Claim(
        delivery=Delivery(
            id=row[0],
            enterprise_number=row[1],
            call_id=row[2],
            effect=row[3],
            external_id=row[4],
            extensions=row[5],
            content=row[6],
            state=row[7],
            reason=row[8],
            run_at=row[9],
            expires_at=row[10],
            attempts_made=row[11],
        ),
        fence=row[12],
        batch_limit=row[13],
    )


def find_call_with_due_row(conn: Connection, enterprise_number: str) -> int | None:
    """The call of the oldest row of history of the enterprise that is due and may go."""
    row = conn.execute(
        SQL("SELECT d.call_id FROM deliveries d WHERE {may_go} ORDER BY d.id LIMIT 1").format(may_go=_MAY_GO),
        {"number": enterprise_number},
    ).fetchone()
    return row[0] if row else None


def count_due_rows_before(conn: Connection, claim: Claim, *, limit: int) -> int:
    """How many older rows of history of the enterprise are due, so that this one goes with them; at most `limit`."""
    row = conn.execute(
        """
        SELECT count(*) FROM (
            SELECT FROM deliveries
            WHERE enterprise_number = %(number)s AND id < %(id)s AND effect = 'upload' AND state IN ('ready', 'retry')
              AND run_at <= now() AND (expires_at IS NULL OR expires_at > now()) AND NOT is_stale
              AND NOT EXISTS (SELECT 1 FROM deliveries own WHERE own.id = %(id)s AND own.is_stale)
            ORDER BY id LIMIT %(limit)s
        ) due
        """,
        {"number": claim.delivery.enterprise_number, "id": claim.delivery.id, "limit": limit},
    ).fetchone()
    return int(row[0]) if row else 0


def wake_next_row(conn: Connection, enterprise_number: str, *, seconds: float) -> bool:
    """The call of the oldest row of history that may go, and nobody is at, wakes after so long at most; if any."""
    woken = conn.execute(
        SQL("""
        WITH next AS (
            SELECT c.id FROM deliveries d JOIN calls c ON c.id = d.call_id
            WHERE {may_go} ORDER BY d.id LIMIT 1 FOR NO KEY UPDATE OF c SKIP LOCKED
        )
        UPDATE calls SET next_wake_at = least(next_wake_at, clock_timestamp() + make_interval(secs => %(seconds)s))
        FROM next WHERE calls.id = next.id
        """).format(may_go=_MAY_GO),
        {"number": enterprise_number, "seconds": seconds},
    )
    return woken.rowcount > 0


def bring_forward(conn: Connection, enterprise_number: str) -> int:
    """
    Rows of history that failed, or waited, while their CRM was away are due now, the oldest first: their own pauses,
    which have grown to minutes and hours, say nothing of a CRM that is back. How many.

    Calls that somebody is at are passed over, so nobody is waited for.
    """
    return conn.execute(
        """
        WITH waiting AS (
            SELECT d.id, d.call_id FROM deliveries d JOIN calls c ON c.id = d.call_id
            WHERE d.enterprise_number = %s AND d.effect = 'upload' AND d.state = 'retry'
              AND (d.reason IN ('unavailable', 'busy', 'in_doubt') AND d.run_at > now()
                   OR d.reason = 'crm_away' AND c.next_wake_at > now())
            ORDER BY d.id LIMIT %s FOR NO KEY UPDATE OF c SKIP LOCKED
        ), due AS (
            UPDATE deliveries d SET run_at = clock_timestamp() FROM waiting
            WHERE d.id = waiting.id AND d.call_id = waiting.call_id AND d.state = 'retry'
            RETURNING d.call_id
        )
        UPDATE calls SET next_wake_at = least(next_wake_at, clock_timestamp())
        WHERE id IN (SELECT call_id FROM due)
        """,
        [enterprise_number, BROUGHT_FORWARD],
    ).rowcount


def put_off(conn: Connection, claim: Claim, *, seconds: float, reason: str) -> None:
    """
    Undoes a claim of this transaction: the CRM was not to be asked, which is no attempt.

    A row of history keeps its place among those that are due, and goes with the next request that may be sent; only
    its call is not woken before, unless something else of it becomes due. What is due already had to wait for this one.
    """
    conn.execute(
        """
        WITH later AS (
            UPDATE deliveries
            SET state = 'retry', reason = %(reason)s, lease_until = NULL, attempts_made = attempts_made - 1,
                run_at = CASE effect WHEN 'upload' THEN run_at
                         ELSE clock_timestamp() + make_interval(secs => %(seconds)s) END
            WHERE id = %(id)s
        )
        UPDATE calls SET next_wake_at = least(due_at, clock_timestamp() + make_interval(secs => %(seconds)s), (
            SELECT min(coalesce(d.lease_until, d.run_at)) FROM deliveries d
            WHERE d.call_id = calls.id AND d.id <> %(id)s AND d.state IN ('ready', 'retry', 'leased')
              AND coalesce(d.lease_until, d.run_at) > clock_timestamp()))
        WHERE id = %(call_id)s
        """,
        {"id": claim.delivery.id, "call_id": claim.delivery.call_id, "seconds": seconds, "reason": reason},
    )


@dataclass(frozen=True, kw_only=True)
class LockedCall:
    id: int
    is_over: bool


def _lock_call(conn: Connection, call_id: int) -> LockedCall | None:
    """The call before its deliveries: assembly locks in this order too, so neither waits for the other in a ring."""
    with conn.cursor(row_factory=class_row(LockedCall)) as cursor:
        return cursor.execute(
            "SELECT id, over_at IS NOT NULL AS is_over FROM calls WHERE id = %s FOR NO KEY UPDATE", [call_id]
        ).fetchone()


def _claim_next(conn: Connection, call_id: int, lease_seconds: float, *, is_over: bool) -> tuple[Any, ...] | None:
    return conn.execute(
        """
        WITH expired AS (
            UPDATE deliveries SET state = 'expired', reason = 'expired', finished_at = clock_timestamp()
            WHERE call_id = %(call_id)s AND state IN ('ready', 'retry')
              AND (expires_at < clock_timestamp()
                   OR (effect = 'popup' AND %(is_over)s AND content ->> 'synthetic' IS DISTINCT FROM 'true'))
            RETURNING id
        ), next AS (
            SELECT d.id FROM deliveries d
            WHERE d.call_id = %(call_id)s AND d.state IN ('ready', 'retry') AND d.run_at <= clock_timestamp()
              AND d.id NOT IN (SELECT id FROM expired)
              AND NOT EXISTS (SELECT 1 FROM deliveries busy WHERE busy.call_id = %(call_id)s AND busy.state = 'leased')
              AND (d.effect <> 'hangup' OR NOT EXISTS (
                  SELECT 1 FROM deliveries popup
                  WHERE popup.call_id = %(call_id)s AND popup.effect = 'popup' AND popup.state IN ('ready', 'retry')
                    AND popup.id NOT IN (SELECT id FROM expired)))
              AND (d.effect <> 'upload' OR NOT EXISTS (
                  SELECT 1 FROM deliveries notice
                  WHERE notice.call_id = %(call_id)s AND notice.effect <> 'upload'
                    AND notice.state IN ('ready', 'retry') AND notice.id NOT IN (SELECT id FROM expired)))
            ORDER BY array_position(ARRAY['popup', 'hangup', 'upload'], d.effect), d.id
            LIMIT 1
            FOR UPDATE OF d
        ), claimed AS (
            UPDATE deliveries d
            SET state = 'leased', fence = d.fence + 1, attempts_made = d.attempts_made + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
            FROM next WHERE d.id = next.id
            RETURNING d.*
        ), timer AS (
            UPDATE calls SET next_wake_at = least(next_wake_at, claimed.lease_until)
            FROM claimed WHERE calls.id = claimed.call_id
        )
        SELECT id, enterprise_number, call_id, effect, external_id, extensions, content, state, reason, run_at,
               expires_at, attempts_made, fence, batch_limit
        FROM claimed
        """,
        {"call_id": call_id, "lease_seconds": lease_seconds, "is_over": is_over},
    ).fetchone()


def begin_attempts(conn: Connection, claims: Sequence[Claim], requests: Sequence[Mapping[str, Any]]) -> set[int]:
    """
    The attempts stand before their first byte goes out, so that no attempt is silent; ids of the deliveries.

    One that is missing: this process slept too long, and it is somebody else's by now, or no news any more.
    """
    begun = conn.execute(
        """
        INSERT INTO attempts (delivery_id, fence, request)
        SELECT d.id, d.fence, one.request
        FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::jsonb[])
            AS one (id, fence, external_id, effect, request)
        JOIN deliveries d ON d.id = one.id AND d.fence = one.fence
             AND d.external_id = one.external_id AND d.effect = one.effect
        WHERE d.state = 'leased' AND d.lease_until > clock_timestamp()
          AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
        RETURNING delivery_id
        """,
        [
            [claim.delivery.id for claim in claims],
            [claim.fence for claim in claims],
            [claim.delivery.external_id for claim in claims],
            [claim.delivery.effect for claim in claims],
            [Jsonb(request) for request in requests],
        ],
    ).fetchall()
    return {row[0] for row in begun}


def finish(conn: Connection, claim: Claim, result: Result) -> bool:
    """Records the result; False when somebody else holds the delivery by now, and nothing was changed."""
    return bool(finish_all(conn, [claim], [result]))


def finish_all(conn: Connection, claims: Sequence[Claim], results: Sequence[Result]) -> set[int]:
    """
    Records the result of each; the ids of those that were still ours. An attempt keeps its result in any case.

    A delivery's call may be another one since it was claimed, or since we waited: calls become one.
    """
    finished = set[int]()
    while True:
        call_ids = _lock_calls_of(conn, claims)
        finished |= _finish(conn, claims, results, call_ids)
        settle_timers(conn, call_ids)
        if len(finished) == len(claims) or not _have_moved(conn, claims, call_ids):
            return finished


def _lock_calls_of(conn: Connection, claims: Sequence[Claim]) -> list[int]:
    rows = conn.execute(
        """
        SELECT id FROM calls WHERE id IN (SELECT call_id FROM deliveries WHERE id = ANY(%s))
        ORDER BY id FOR NO KEY UPDATE
        """,
        [[claim.delivery.id for claim in claims]],
    ).fetchall()
    return [row[0] for row in rows]


def _finish(conn: Connection, claims: Sequence[Claim], results: Sequence[Result], call_ids: Sequence[int]) -> set[int]:
    rows = conn.execute(
        """
        WITH results AS (
            SELECT r.*
            FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[], %(external_ids)s::text[], %(effects)s::text[],
                        %(states)s::text[], %(reasons)s::text[], %(retries_in)s::float[], %(batch_limits)s::smallint[],
                        %(outcomes)s::text[], %(statuses)s::integer[], %(errors)s::text[], %(responses)s::text[])
                AS r (id, fence, external_id, effect, state, reason, retry_in, batch_limit, outcome, http_status,
                      error, response)
            JOIN deliveries d ON d.id = r.id AND d.external_id = r.external_id AND d.effect = r.effect
        ), attempted AS (
            UPDATE attempts a
            SET finished_at = clock_timestamp(), outcome = r.outcome, http_status = r.http_status, error = r.error,
                response = r.response
            FROM results r WHERE a.delivery_id = r.id AND a.fence = r.fence
        )
        UPDATE deliveries d
        SET state = r.state, reason = r.reason, lease_until = NULL,
            batch_limit = coalesce(r.batch_limit, d.batch_limit),
            run_at = CASE WHEN r.state = 'retry'
                     THEN clock_timestamp() + make_interval(secs => r.retry_in) ELSE d.run_at END,
            finished_at = CASE WHEN r.state = 'retry' THEN NULL ELSE clock_timestamp() END
        FROM results r
        WHERE d.id = r.id AND d.fence = r.fence AND d.state = 'leased' AND d.call_id = ANY(%(call_ids)s)
        RETURNING d.id
        """,
        {
            "call_ids": list(call_ids),
            "ids": [claim.delivery.id for claim in claims],
            "fences": [claim.fence for claim in claims],
            "external_ids": [claim.delivery.external_id for claim in claims],
            "effects": [claim.delivery.effect for claim in claims],
            "states": [result.state for result in results],
            "reasons": [result.reason for result in results],
            "retries_in": [result.retry_in_seconds or 0 for result in results],
            "batch_limits": [result.batch_limit for result in results],
            "outcomes": [result.outcome for result in results],
            "statuses": [result.http_status for result in results],
            "errors": [result.error for result in results],
            "responses": [result.response for result in results],
        },
    ).fetchall()
    return {row[0] for row in rows}


def _have_moved(conn: Connection, claims: Sequence[Claim], call_ids: Sequence[int]) -> bool:
    row = conn.execute(
        """
        SELECT EXISTS (SELECT 1 FROM unnest(%s::bigint[], %s::bigint[]) AS c (id, fence)
                       JOIN deliveries d ON d.id = c.id AND d.fence = c.fence
                       WHERE d.state = 'leased' AND d.call_id <> ALL(%s))
        """,
        [[claim.delivery.id for claim in claims], [claim.fence for claim in claims], list(call_ids)],
    ).fetchone()
    return bool(row and row[0])


def settle_timer(conn: Connection, call_id: int) -> None:
    """The call's next wake-up: its own, or the next of its deliveries that is due or leased."""
    settle_timers(conn, [call_id])


def settle_timers(conn: Connection, call_ids: Sequence[int]) -> None:
    conn.execute(
        """
        UPDATE calls SET next_wake_at = least(due_at, (
            SELECT min(coalesce(d.lease_until, d.run_at)) FROM deliveries d
            WHERE d.call_id = calls.id AND d.state IN ('ready', 'retry', 'leased')))
        WHERE id = ANY(%s)
        """,
        [list(call_ids)],
    )


def move_deliveries(conn: Connection, delivery_ids: Sequence[int], call_id: int) -> None:
    """
    When calls turn out to be one, or one to be two, what was sent goes with the main id it was sent under.

    Raises Unavailable while both calls are being told of: one at a time, also when they are one.
    """
    try:
        conn.execute("UPDATE deliveries SET call_id = %s WHERE id = ANY(%s)", [call_id, list(delivery_ids)])
    except errors.UniqueViolation as error:
        raise Unavailable("Two calls that are one are being told of at this moment") from error


def settle_lost_leases(conn: Connection, call_ids: Sequence[int]) -> None:
    """
    Settles what a dead worker left: a history row is sent again, because RetailCRM knows it by its id; what may
    have reached a person's screen, or may not, is in doubt and is not repeated.
    """
    conn.execute(
        """
        WITH lost AS (
            SELECT d.id, d.fence, EXISTS (SELECT 1 FROM attempts a
                                          WHERE a.delivery_id = d.id AND a.fence = d.fence) AS was_begun
            FROM deliveries d
            WHERE d.call_id = ANY(%s) AND d.state = 'leased' AND d.lease_until < clock_timestamp()
            FOR UPDATE
        ), doubted AS (
            UPDATE attempts a
            SET outcome = 'in_doubt', finished_at = clock_timestamp(),
                error = 'The worker ended before the answer was recorded'
            FROM lost WHERE a.delivery_id = lost.id AND a.fence = lost.fence AND a.outcome IS NULL
        )
        UPDATE deliveries d
        SET state = CASE WHEN lost.was_begun AND d.effect <> 'upload' THEN 'in_doubt' ELSE 'retry' END,
            fence = d.fence + 1, reason = 'worker_lost', run_at = clock_timestamp(), lease_until = NULL
        FROM lost WHERE d.id = lost.id
        """,
        [list(call_ids)],
    )


def count_by_state(conn: Connection, *, finished_seconds: float = FINISHED_SPAN_SECONDS) -> dict[str, int]:
    """
    How many deliveries are in each state: all that are live, and those that were finished within so many seconds.

    Counting every finished delivery would mean reading the whole ledger.
    """
    counted = conn.execute(
        """
        SELECT state, count(*) FROM deliveries
        WHERE state IN ('ready', 'leased', 'retry', 'in_doubt', 'held') GROUP BY state
        UNION ALL
        SELECT state, count(*) FROM deliveries
        WHERE state IN ('delivered', 'failed', 'expired', 'superseded')
          AND finished_at > statement_timestamp() - make_interval(secs => %s) GROUP BY state
        """,
        [finished_seconds],
    ).fetchall()
    return dict.fromkeys(STATES, 0) | dict(counted)
