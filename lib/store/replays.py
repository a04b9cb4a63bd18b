"""Sending again what the CRM did not get: another generation of a delivery, and who wanted it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lib.db import Connection


@dataclass(frozen=True, kw_only=True)
class Replayable:
    """A delivery of a call. `is_latest`: no later generation of it is there."""

    id: int
    effect: str
    state: str
    reason: str | None
    extensions: list[str]
    generation: int
    is_latest: bool
    requested_by: str | None
    requested_at: datetime | None


def list_for_call(conn: Connection, enterprise_number: str, call_id: int) -> list[Replayable]:
    with conn.cursor(row_factory=class_row(Replayable)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.effect, d.state, d.reason, d.extensions, d.generation, r.requested_by,
                   r.created_at AS requested_at,
                   NOT EXISTS (SELECT 1 FROM deliveries later
                               WHERE later.call_id = d.call_id AND later.effect = d.effect
                                 AND later.external_id = d.external_id AND later.extensions = d.extensions
                                 AND later.generation > d.generation) AS is_latest
            FROM deliveries d LEFT JOIN replays r ON r.delivery_id = d.id
            WHERE d.enterprise_number = %s AND d.call_id = %s ORDER BY d.id
            """,
            [enterprise_number, call_id],
        ).fetchall()


def insert_generation(conn: Connection, delivery_id: int) -> int | None:
    """The same delivery once more, due now; None when somebody else has entered it at the same moment."""
    row = conn.execute(
        """
        INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, extensions, generation, content)
        SELECT enterprise_number, call_id, effect, external_id, extensions, generation + 1, content
        FROM deliveries WHERE id = %s
        ON CONFLICT DO NOTHING RETURNING id
        """,
        [delivery_id],
    ).fetchone()
    return row[0] if row else None


def insert_replay(
    conn: Connection, enterprise_number: str, delivery_id: int, *, session_id: int, requested_by: str
) -> None:
    conn.execute(
        """
        INSERT INTO replays (enterprise_number, delivery_id, session_id, requested_by) VALUES (%s, %s, %s, %s)
        """,
        [enterprise_number, delivery_id, session_id, requested_by],
    )
