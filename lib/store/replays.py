"""Sending again what the CRM did not get: another generation of a delivery, and who wanted it, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lib.runtime.db import Connection


@dataclass(frozen=True, kw_only=True)
class Replayable:
    """A delivery of a call. `is_latest`: no later generation of it is there."""

    id: int
    crm: str
    effect: str
    state: str
    reason: str | None
    external_id: str
    extensions: list[str]
    generation: int
    is_latest: bool
    requested_by: str | None
    requested_at: datetime | None
    request_reason: str | None


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """A row of history that came to nothing; `unique_id` names its call."""

    id: int
    enterprise_number: str
    call_id: int
    unique_id: str
    state: str
    reason: str | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Span:
    """Of the given-up rows: [since, until), of one enterprise or of all."""

    since: datetime
    until: datetime
    enterprise_number: str | None = None


def lock_call(conn: Connection, call_id: int) -> None:
    """The call before its deliveries, as everybody else does; one whose events are forgotten too."""
    conn.execute("SELECT FROM calls WHERE id = %s FOR NO KEY UPDATE", [call_id])


def find_call(conn: Connection, delivery_id: int) -> tuple[str, int, str] | None:
    """Enterprise, id and main unique id of the delivery's call."""
    return conn.execute(
        """
        SELECT c.enterprise_number, c.id, c.main_unique_id
        FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE d.id = %s
        """,
        [delivery_id],
    ).fetchone()


def list_for_call(conn: Connection, enterprise_number: str, call_id: int) -> list[Replayable]:
    with conn.cursor(row_factory=class_row(Replayable)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.crm, d.effect, d.state, d.reason, d.external_id, d.extensions, d.generation,
                   r.requested_by,
                   r.created_at AS requested_at, r.reason AS request_reason,
                   NOT EXISTS (SELECT 1 FROM deliveries later
                               WHERE later.call_id = d.call_id AND later.crm = d.crm AND later.effect = d.effect
                                 AND later.external_id = d.external_id AND later.extensions = d.extensions
                                 AND later.generation > d.generation) AS is_latest
            FROM deliveries d LEFT JOIN replays r ON r.delivery_id = d.id
            WHERE d.enterprise_number = %s AND d.call_id = %s ORDER BY d.id
            """,
            [enterprise_number, call_id],
        ).fetchall()


def list_given_up(
    conn: Connection, span: Span, *, after: tuple[datetime, int] | None = None, limit: int
) -> list[GivenUp]:
    """Those that nobody has sent again yet, the oldest first; the next page goes on `after` the last of this one."""
    with conn.cursor(row_factory=class_row(GivenUp)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.enterprise_number, d.call_id, c.main_unique_id AS unique_id, d.state, d.reason, d.finished_at
            FROM deliveries d JOIN calls c ON c.id = d.call_id
            WHERE d.effect = 'upload' AND d.state IN ('failed', 'expired', 'in_doubt')
              AND d.finished_at >= %(since)s AND d.finished_at < %(until)s
              AND (d.finished_at, d.id) > (%(at)s, %(id)s)
              AND (%(number)s::text IS NULL OR d.enterprise_number = %(number)s)
              AND NOT EXISTS (SELECT 1 FROM deliveries later
                              WHERE later.enterprise_number = d.enterprise_number AND later.crm = d.crm
                                AND later.effect = 'upload' AND later.external_id = d.external_id
                                AND later.generation > d.generation)
            ORDER BY d.finished_at, d.id LIMIT %(limit)s
            """,
            {
                "since": span.since,
                "until": span.until,
                "number": span.enterprise_number,
                "at": after[0] if after else span.since,
                "id": after[1] if after else -1,
                "limit": limit,
            },
        ).fetchall()


def insert_generation(conn: Connection, delivery_id: int) -> int | None:
    """
    The same delivery once more, due now and wanted for as long as it was; None when somebody else has entered it at the
    same moment. It is derived again before it is sent, as long as that is possible.
    """
    row = conn.execute(
        """
        INSERT INTO deliveries (enterprise_number, call_id, crm, effect, external_id, extensions, generation, content,
                                expires_at, is_stale)
        SELECT d.enterprise_number, d.call_id, d.crm, d.effect, d.external_id, d.extensions, d.generation + 1,
               d.content, clock_timestamp() + (d.expires_at - d.created_at), NOT c.events_forgotten
        FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE d.id = %s
        ON CONFLICT DO NOTHING RETURNING id
        """,
        [delivery_id],
    ).fetchone()
    return row[0] if row else None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """`subject` says in words what was sent again: it stays when the delivery or the message is gone."""

    enterprise_number: str | None
    subject: str
    requested_by: str
    reason: str
    delivery_id: int | None = None
    rejected_message_id: int | None = None
    session_id: int | None = None


def insert_replay(conn: Connection, replay: Replay) -> None:
    conn.execute(
        """
        INSERT INTO replays (enterprise_number, subject, requested_by, reason, delivery_id, rejected_message_id,
                             session_id)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            replay.enterprise_number,
            replay.subject,
            replay.requested_by,
            replay.reason,
            replay.delivery_id,
            replay.rejected_message_id,
            replay.session_id,
        ],
    )
