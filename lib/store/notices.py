"""
The lane of notices: pop-ups and their ends, one at a time for each call and CRM.

Whoever claims or finishes one locks its call first, as assembly does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg import Cursor
from psycopg.rows import class_row
from psycopg.sql import SQL, Literal
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.deliveries import EXPIRE, Claim, Claimed
from lib.store.states import WAITING_SQL


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of the people of a pop-up those who fared alike; `user_ids` where they are told by these, in the same order."""

    extensions: Sequence[str]
    user_ids: Sequence[int]
    state: str
    reason: str | None


def lock_calls(conn: Connection, call_ids: Sequence[int]) -> None:
    """In order of id, so that nobody waits in a ring."""
    conn.execute("SELECT FROM calls WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [list(call_ids)])


def claim(conn: Connection, crm: str, call_ids: Sequence[int], *, lease_seconds: float) -> Cursor[Claimed]:
    """
    The next notice of each call that is due, leased: pop-ups before the end, one at a time.

    Notices that are no news any more expire. `settle_timers` must follow, so that the sweep finds what a crash leaves.
    A call that is missing has nothing due, or another process is at it and will go on.
    """
    return conn.cursor(row_factory=class_row(Claimed)).execute(
        SQL("""
        WITH expired AS (
            UPDATE deliveries d SET {expire}
            FROM calls c
            WHERE d.call_id = ANY(%(call_ids)s) AND d.crm = %(crm)s AND d.effect <> 'upload' AND d.state IN {waiting}
              AND c.id = d.call_id
              AND (d.expires_at < clock_timestamp()
                   OR (d.effect = 'popup' AND c.over_at IS NOT NULL
                       AND d.content ->> 'synthetic' IS DISTINCT FROM 'true'))
            RETURNING d.id
        ), next AS (
            SELECT DISTINCT ON (d.call_id) d.id FROM deliveries d
            WHERE d.call_id = ANY(%(call_ids)s) AND d.crm = %(crm)s AND d.effect <> 'upload' AND d.state IN {waiting}
              AND d.run_at <= clock_timestamp() AND d.id NOT IN (SELECT id FROM expired)
              AND NOT EXISTS (
                  SELECT 1 FROM deliveries busy
                  WHERE busy.call_id = d.call_id AND busy.crm = d.crm AND busy.effect <> 'upload'
                    AND busy.state = 'leased')
              -- The end comes behind every pop-up, also behind one that waits for its retry.
              AND (d.effect <> 'hangup' OR NOT EXISTS (
                  SELECT 1 FROM deliveries popup
                  WHERE popup.call_id = d.call_id AND popup.crm = d.crm AND popup.effect = 'popup'
                    AND popup.state IN {waiting} AND popup.id NOT IN (SELECT id FROM expired)))
            ORDER BY d.call_id, d.effect <> 'popup', d.id
        ), claimed AS (
            UPDATE deliveries d
            SET state = 'leased', fence = d.fence + 1, attempts_made = d.attempts_made + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
            FROM next WHERE d.id = next.id
            RETURNING d.*
        )
        SELECT id, enterprise_number, call_id, crm, effect, external_id, extensions, content, state, reason, run_at,
               expires_at, attempts_made, user_ids, fence, batch_limit,
               (SELECT json_agg(json_build_object(
                    'extensions', popup.extensions,
                    'user_ids', popup.user_ids,
                    'state', CASE WHEN popup.id IN (SELECT id FROM expired) THEN 'expired' ELSE popup.state END))
                FROM deliveries popup
                WHERE claimed.effect = 'hangup' AND popup.call_id = claimed.call_id AND popup.crm = claimed.crm
                  AND popup.effect = 'popup') AS popups
        FROM claimed ORDER BY effect <> 'popup', id
        """).format(expire=EXPIRE.format(reason=Literal("expired")), waiting=WAITING_SQL),
        {"crm": crm, "call_ids": list(call_ids), "lease_seconds": lease_seconds},
    )


def divide(conn: Connection, claim_: Claim, extensions: Sequence[str], others: Sequence[Part], *, call_id: int) -> None:
    """
    The claimed pop-up keeps these extensions, and the others get deliveries of their own; before its result is
    recorded, while the claim holds, and as long as it belongs to this call.
    """
    conn.execute(
        """
        WITH mine AS (
            UPDATE deliveries SET extensions = %(extensions)s
            WHERE id = %(id)s AND fence = %(fence)s AND external_id = %(external_id)s AND effect = 'popup'
              AND state = 'leased' AND call_id = %(call_id)s
            RETURNING *
        )
        INSERT INTO deliveries (enterprise_number, call_id, crm, effect, external_id, extensions, user_ids, generation,
                                content, state, reason, expires_at, finished_at)
        SELECT mine.enterprise_number, mine.call_id, mine.crm, mine.effect, mine.external_id, people.extensions,
               people.user_ids, mine.generation + 1,
               jsonb_set(mine.content, '{extensions}', to_jsonb(people.extensions)), other.state, other.reason,
               mine.expires_at, CASE other.state WHEN 'ready' THEN NULL ELSE clock_timestamp() END
        FROM mine
        CROSS JOIN jsonb_to_recordset(%(others)s) AS other (extensions jsonb, user_ids jsonb, state text, reason text)
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT jsonb_array_elements_text(other.extensions)) AS extensions,
                   ARRAY(SELECT jsonb_array_elements_text(other.user_ids)::bigint) AS user_ids
        ) people
        ON CONFLICT DO NOTHING
        """,
        {
            "id": claim_.delivery.id,
            "fence": claim_.fence,
            "external_id": claim_.delivery.external_id,
            "call_id": call_id,
            "extensions": list(extensions),
            "others": Jsonb([asdict(other) for other in others]),
        },
    )


def put_off(conn: Connection, delivery_id: int, *, seconds: float, reason: str) -> None:
    """Undoes a claim of this transaction: the CRM was not to be asked, which is no attempt."""
    conn.execute(
        """
        UPDATE deliveries
        SET state = 'retry', reason = %s, lease_until = NULL, attempts_made = attempts_made - 1,
            run_at = clock_timestamp() + make_interval(secs => %s)
        WHERE id = %s
        """,
        [reason, seconds, delivery_id],
    )


def settle_lost_leases(conn: Connection, call_ids: Sequence[int]) -> None:
    """
    Settles what a dead worker left: what may have reached a person's screen, or may not, is in doubt and is not
    repeated; what was never begun waits again.
    """
    conn.execute(
        """
        WITH lost AS (
            SELECT d.id, d.fence, EXISTS (SELECT 1 FROM attempts a
                                          WHERE a.delivery_id = d.id AND a.fence = d.fence) AS was_begun
            FROM deliveries d
            WHERE d.call_id = ANY(%s) AND d.effect <> 'upload' AND d.state = 'leased'
              AND d.lease_until < clock_timestamp()
            FOR UPDATE
        ), doubted AS (
            UPDATE attempts a
            SET outcome = 'in_doubt', finished_at = clock_timestamp(),
                error = 'The worker ended before the answer was recorded'
            FROM lost WHERE a.delivery_id = lost.id AND a.fence = lost.fence AND a.outcome IS NULL
        )
        UPDATE deliveries d
        SET state = CASE WHEN lost.was_begun THEN 'in_doubt' ELSE 'retry' END, finished_at = NULL,
            fence = d.fence + 1, reason = 'worker_lost', run_at = clock_timestamp(), lease_until = NULL
        FROM lost WHERE d.id = lost.id
        """,
        [list(call_ids)],
    )


def find_due(conn: Connection, crm: str, call_id: int) -> Cursor[tuple[bool]]:
    """Whether the call has a notice that is due."""
    return conn.execute(
        SQL("""
        SELECT EXISTS (SELECT 1 FROM deliveries d
                       WHERE d.call_id = %s AND d.crm = %s AND d.effect <> 'upload' AND d.state IN {waiting}
                         AND d.run_at <= clock_timestamp())
        """).format(waiting=WAITING_SQL),
        [call_id, crm],
    )


def find_call(conn: Connection, claim_: Claim) -> int | None:
    """The call that the claimed delivery belongs to now; None when the claim holds no more."""
    row = conn.execute(
        """
        SELECT call_id FROM deliveries
        WHERE id = %s AND fence = %s AND external_id = %s AND effect = %s AND state = 'leased'
        """,
        [claim_.delivery.id, claim_.fence, claim_.delivery.external_id, claim_.delivery.effect],
    ).fetchone()
    return row[0] if row else None
