"""Messages that could not be understood, with their bytes, so that a person can look and replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lib.runtime import db
from lib.runtime.db import Connection

# An event of 64 kB in base64, with its envelope.
RAW_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """`source`: the subscription that it came by, or the path when it named none."""

    id: int
    source: str
    reason: str
    raw: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    received_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """By ids, or those of a source (a part of its name) in [since, until) that were not replayed yet."""

    until: datetime
    ids: Sequence[int] = ()
    source: str = ""
    since: datetime | None = None


def insert(*, source: str, reason: str, raw: bytes, headers: Mapping[str, str]) -> None:
    """Keeps at most RAW_BYTES of the message. Raises Unavailable."""
    printable = {key: value.replace("\x00", "") for key, value in headers.items()}
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO rejected_messages (source, reason, raw, headers) VALUES (%s, %s, %s, %s)",
            [source.replace("\x00", "")[:200], reason[:500], raw[:RAW_BYTES], Jsonb(printable)],
        )


def list_messages(
    conn: Connection, chosen: Chosen, *, after: tuple[datetime, int] | None = None, limit: int
) -> list[Rejected]:
    """The oldest first; the next page goes on `after` the last of this one."""
    with conn.cursor(row_factory=class_row(Rejected)) as cursor:
        return cursor.execute(
            """
            SELECT id, source, reason, raw, headers, received_at, replayed_at FROM rejected_messages
            WHERE received_at < %(until)s AND (received_at, id) > (%(at)s, %(id)s)
              AND (id = ANY(%(ids)s)
                   OR %(ids)s::bigint[] = '{}' AND replayed_at IS NULL AND strpos(source, %(source)s) > 0
                      AND received_at >= coalesce(%(since)s::timestamptz, '-infinity'))
            ORDER BY received_at, id LIMIT %(limit)s
            """,
            {
                "until": chosen.until,
                "ids": list(chosen.ids),
                "source": chosen.source,
                "since": chosen.since,
                "at": after[0] if after else "-infinity",
                "id": after[1] if after else -1,
                "limit": limit,
            },
        ).fetchall()


def list_latest(conn: Connection, *, since: datetime, limit: int, bytes_at_most: int) -> list[Rejected]:
    """Those that were not replayed yet, the latest first: so many at most, and so many bytes of content in all."""
    with conn.cursor(row_factory=class_row(Rejected)) as cursor:
        return cursor.execute(
            """
            SELECT id, source, reason, raw, headers, received_at, replayed_at
            FROM (SELECT latest.*, sum(octet_length(raw)) OVER (ORDER BY received_at DESC, id DESC) AS bytes
                  FROM (SELECT * FROM rejected_messages WHERE received_at >= %s AND replayed_at IS NULL
                        ORDER BY received_at DESC, id DESC LIMIT %s) latest) added
            WHERE bytes <= %s ORDER BY received_at DESC, id DESC
            """,
            [since, limit, bytes_at_most],
        ).fetchall()


def lock_message(conn: Connection, message_id: int) -> Rejected | None:
    """Until the end of the transaction nobody else replays it."""
    with conn.cursor(row_factory=class_row(Rejected)) as cursor:
        return cursor.execute(
            """
            SELECT id, source, reason, raw, headers, received_at, replayed_at FROM rejected_messages
            WHERE id = %s FOR UPDATE
            """,
            [message_id],
        ).fetchone()


def mark_replayed(conn: Connection, message_id: int) -> None:
    conn.execute("UPDATE rejected_messages SET replayed_at = clock_timestamp() WHERE id = %s", [message_id])
