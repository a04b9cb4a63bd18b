"""
The ledger: effects that a CRM is to have, who is at work on them (lease and fence), and every attempt.

Here stands what notices (pop-ups and their ends) and rows of history have in common; their lanes are `notices`
and `rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import class_row
from psycopg.sql import SQL, Literal
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.states import LIVE_SQL, STATES, WAITING, WAITING_SQL

FINISHED_SPAN_SECONDS: Final = 3600
# Why a row of history is not sent any more, that may be wanted again when the call turns out otherwise.
WITHDRAWN: Final = "withdrawn"
# Whether the CRM surely does not have a delivery `d`: no attempt of it was answered well, or not answered at all.
MAY_HAVE_ARRIVED: Final = SQL("""
    EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id
            AND (a.outcome IS NULL OR a.outcome IN ('done', 'in_doubt')))
""")
# A pop-up `d` that nobody has begun to send is no news any more, for this `reason`. People whom the CRM did not know
# saw nothing, and for that.
EXPIRE: Final = SQL("""
    state = CASE d.user_ids WHEN '{{}}' THEN 'expired' ELSE 'not_shown' END,
    reason = CASE d.user_ids WHEN '{{}}' THEN {reason} ELSE 'unknown_to_crm' END, finished_at = clock_timestamp()
""")


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    crm: str
    effect: str
    external_id: str
    content: Mapping[str, Any]
    extensions: Sequence[str] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """
    `content`: what is said, as `lib.ledger.codec` writes it. `user_ids`: by which the people of a pop-up are told, in
    the order of their `extensions`, because the CRM did not know these.
    """

    id: int
    enterprise_number: str
    call_id: int
    crm: str
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
    user_ids: Sequence[int] = ()

    @property
    def is_waiting_row(self) -> bool:
        """A row of history that the CRM surely does not have: it may still be changed."""
        waits = self.state in WAITING or (self.state == "superseded" and self.reason == WITHDRAWN)
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
class Claimed(Delivery):
    """
    A delivery with the fence under which this process holds it. `batch_limit` is of rows of history, and so is
    `is_ownerless`: the CRM refused the row for its owner; `popups` of an end: `{"extensions", "user_ids", "state"}` of
    every pop-up of its call.
    """

    fence: int
    batch_limit: int
    is_ownerless: bool = False
    popups: list[dict[str, Any]] | None = None

    @property
    def claim(self) -> Claim:
        return Claim(delivery=self, fence=self.fence, batch_limit=self.batch_limit)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """
    A delivery that this process may attempt until its lease ends; only its fence may record the result.

    After a failover that lost commits ids and fences come again: what is recorded is compared by what it is, too.
    """

    delivery: Delivery
    fence: int
    batch_limit: int = 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """
    What an attempt came to. `state` is the delivery's next one; with `retry`, `retry_in_seconds` says when, and
    `batch_limit`, if there is one, with how many others at most. `is_ownerless`: from now on without an owner.
    """

    outcome: str
    state: str
    reason: str | None = None
    retry_in_seconds: float | None = None
    http_status: int | None = None
    error: str | None = None
    response: str | None = None
    batch_limit: int | None = None
    is_ownerless: bool = False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """
    A delivery whose result was recorded. `is_stale`: its call changed while it was being sent; `finished_at` None: it
    is sent again.
    """

    id: int
    call_id: int
    is_stale: bool
    finished_at: datetime | None


def list_deliveries(conn: Connection, call_ids: Sequence[int], *, crm: str | None = None) -> list[Delivery]:
    """In order of entry; of one CRM, or of all."""
    with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(
            SQL("""
            SELECT id, enterprise_number, call_id, crm, effect, external_id, extensions, content, state, reason, run_at,
                   expires_at, attempts_made, {may_have_arrived} AS may_have_arrived
            FROM deliveries d
            WHERE call_id = ANY(%(call_ids)s) AND (%(crm)s::text IS NULL OR crm = %(crm)s) ORDER BY id
            """).format(may_have_arrived=MAY_HAVE_ARRIVED),
            {"call_ids": list(call_ids), "crm": crm},
        ).fetchall()


def list_attempts(conn: Connection, call_id: int, *, crm: str) -> list[Attempt]:
    with conn.cursor(row_factory=class_row(Attempt)) as cursor:
        return cursor.execute(
            """
            SELECT a.delivery_id, a.started_at, a.finished_at, a.outcome, a.http_status, a.error, a.request, a.response
            FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
            WHERE d.call_id = %s AND d.crm = %s ORDER BY a.started_at
            """,
            [call_id, crm],
        ).fetchall()


def insert_deliveries(conn: Connection, enterprise_number: str, call_id: int, wanted: Sequence[NewDelivery]) -> None:
    """Enters what is wanted; what the ledger already holds stays as it is."""
    conn.execute(
        """
        INSERT INTO deliveries (enterprise_number, call_id, crm, effect, external_id, extensions, content, expires_at)
        SELECT %s, %s, one.crm, one.effect, one.external_id, ARRAY(SELECT jsonb_array_elements_text(one.extensions)),
               one.content, one.expires_at
        FROM jsonb_to_recordset(%s) AS one (crm text, effect text, external_id text, extensions jsonb, content jsonb,
                                            expires_at timestamptz)
        ON CONFLICT DO NOTHING
        """,
        [
            enterprise_number,
            call_id,
            Jsonb(
                [
                    {
                        "crm": new.crm,
                        "effect": new.effect,
                        "external_id": new.external_id,
                        "extensions": list(new.extensions),
                        "content": new.content,
                        "expires_at": new.expires_at.isoformat() if new.expires_at else None,
                    }
                    for new in wanted
                ]
            ),
        ],
    )


def withdraw_popups(conn: Connection, call_id: int, *, crm: str, reason: str) -> None:
    """Expires the pop-ups that nobody has begun to send."""
    conn.execute(
        SQL("""
        UPDATE deliveries d SET {expire} WHERE call_id = %s AND crm = %s AND effect = 'popup' AND state IN {waiting}
        """).format(expire=EXPIRE.format(reason=Literal(reason)), waiting=WAITING_SQL),
        [call_id, crm],
    )


def move_deliveries(conn: Connection, delivery_ids: Sequence[int], call_id: int) -> None:
    """
    When calls turn out to be one, or one to be two, what was sent goes with the main id it was sent under.

    Raises psycopg's UniqueViolation while both calls are being told of: one at a time, also when they are one.
    """
    conn.execute("UPDATE deliveries SET call_id = %s WHERE id = ANY(%s)", [call_id, list(delivery_ids)])


def begin_attempts(conn: Connection, claims: Sequence[Claim], requests: Sequence[Mapping[str, Any]]) -> None:
    """
    The attempts stand before their first byte goes out, so that no attempt is silent.

    In the transaction of the claims: nobody else can hold these deliveries.
    """
    conn.execute(
        """
        INSERT INTO attempts (delivery_id, fence, request)
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::jsonb[])
        """,
        [
            [claim.delivery.id for claim in claims],
            [claim.fence for claim in claims],
            [Jsonb(request) for request in requests],
        ],
    )


def finish(
    conn: Connection, claims: Sequence[Claim], results: Sequence[Result], *, call_id: int | None = None
) -> Cursor[Finished]:
    """
    Records the result of each, where nobody else holds the delivery by now; an attempt keeps its result in any case.

    `call_id`: only as long as they belong to this call.
    """
    return conn.cursor(row_factory=class_row(Finished)).execute(
        """
        WITH results AS (
            SELECT r.*
            FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[], %(external_ids)s::text[], %(effects)s::text[],
                        %(states)s::text[], %(reasons)s::text[], %(retries_in)s::float[], %(batch_limits)s::smallint[],
                        %(outcomes)s::text[], %(statuses)s::integer[], %(errors)s::text[], %(responses)s::text[],
                        %(ownerless)s::boolean[])
                AS r (id, fence, external_id, effect, state, reason, retry_in, batch_limit, outcome, http_status,
                      error, response, is_ownerless)
            JOIN deliveries d ON d.id = r.id AND d.external_id = r.external_id AND d.effect = r.effect
        ), attempted AS (
            UPDATE attempts a
            SET finished_at = clock_timestamp(), outcome = r.outcome, http_status = r.http_status, error = r.error,
                response = r.response
            FROM results r WHERE a.delivery_id = r.id AND a.fence = r.fence
        )
        UPDATE deliveries d
        SET state = r.state, reason = r.reason, lease_until = NULL,
            batch_limit = coalesce(r.batch_limit, d.batch_limit), is_ownerless = d.is_ownerless OR r.is_ownerless,
            run_at = CASE WHEN r.state = 'retry'
                     THEN clock_timestamp() + make_interval(secs => r.retry_in) ELSE d.run_at END,
            finished_at = CASE WHEN r.state = 'retry' THEN NULL ELSE clock_timestamp() END
        FROM results r
        WHERE d.id = r.id AND d.fence = r.fence AND d.state = 'leased'
          AND (%(call_id)s::bigint IS NULL OR d.call_id = %(call_id)s)
        RETURNING d.id, d.call_id, d.is_stale, d.finished_at
        """,
        {
            "call_id": call_id,
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
            "ownerless": [result.is_ownerless for result in results],
        },
    )


def settle_timers(conn: Connection, call_ids: Sequence[int]) -> None:
    """
    When each call wakes next: at its own time, or for a notice: for each CRM at the end of the lease, else when the
    first that waits is due.
    """
    conn.execute(
        SQL("""
        -- A call whose own time has come was woken for it; until its message comes again its timer stays.
        UPDATE calls SET next_wake_at = least(
            CASE WHEN due_at <= clock_timestamp() THEN greatest(due_at, next_wake_at) ELSE due_at END, (
            SELECT min(one.at) FROM (
                SELECT coalesce(min(d.lease_until), min(d.run_at)) AS at FROM deliveries d
                WHERE d.call_id = calls.id AND d.effect <> 'upload' AND d.state IN {live} GROUP BY d.crm) one))
        WHERE id = ANY(%s)
        """).format(live=LIVE_SQL),
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
        WHERE state IN ('delivered', 'failed', 'not_shown', 'expired', 'superseded')
          AND finished_at > statement_timestamp() - make_interval(secs => %s) GROUP BY state
        """,
        [finished_seconds],
    ).fetchall()
    return dict.fromkeys(STATES, 0) | dict(counted)
