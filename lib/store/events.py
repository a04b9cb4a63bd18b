"""Call events as they were received: stored once, never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from lib.runtime.db import Connection
from lib.store.long_calls import READ

# An identical event that comes this soon is a copy, unless its channel moved in between (docs/calls.md).
COPY_SECONDS = 10.0
# An event that was woken so often in vain may be why the assembly of its call fails.
SUSPECT_AFTER_WAKES = 3


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    event_id: str
    enterprise_number: str
    unique_id: str
    event_type: str
    raw: Mapping[str, Any]
    record_url: str | None = None
    data_source: str = "live"
    received_at: datetime | None = None  # None: now, by the database's clock
    is_recovered: bool = False  # it waits in the lane of recovered events (lib.store.recovered)


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    event_id: str
    enterprise_number: str
    unique_id: str
    event_type: str
    raw: Mapping[str, Any]
    record_url: str | None
    data_source: str
    received_at: datetime
    call_id: int | None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of an insert; `event_id` is that of the first copy. Inserted again, an event is not its own copy."""

    event_id: str
    received_at: datetime
    is_copy: bool


def insert_event(conn: Connection, event: NewEvent) -> Stored:
    """
    Stores the event, or counts it as a copy: one statement, right however many arrive at once.

    An identical event is a copy when it may happen only once (start, hangup, recording), when it was recovered
    from the host's log, or when it comes within COPY_SECONDS and its channel was in no other bridge event since.
    """
    return insert_events(conn, [event])[0]


def insert_events(conn: Connection, new: Sequence[NewEvent]) -> list[Stored]:
    """
    The same for several, one after another, in one statement.

    Who holds rows that another waits for and waits itself is a deadlock, which costs one of them its transaction: let
    callers sort in the same way, where the order does not say when each was received.
    """
    rows = conn.execute(
        "SELECT event_id::text, received_at, is_copy FROM store_call_events(%s, %s)",
        [Jsonb([_as_json(event) for event in new], dumps=_as_text), COPY_SECONDS],
    )
    return [Stored(event_id=row[0], received_at=row[1], is_copy=row[2]) for row in rows]


# Letters as they are: escaped they would take up to three times the memory.
_as_text = partial(json.dumps, ensure_ascii=False)


def _as_json(event: NewEvent) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "enterprise_number": event.enterprise_number,
        "unique_id": event.unique_id,
        "event_type": event.event_type,
        "raw": event.raw,
        "record_url": event.record_url,
        "data_source": event.data_source,
        "fingerprint": fingerprint(event).hex(),
        "received_at": event.received_at.isoformat() if event.received_at else None,
        "is_recovered": event.is_recovered,
    }


def find_event(conn: Connection, event_id: str) -> StoredEvent | None:
    with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        return cursor.execute(
            """
            SELECT event_id::text, enterprise_number, unique_id, event_type, raw_data AS raw, record_url, data_source,
                   received_at, call_id
            FROM call_events WHERE event_id = %s
            """,
            [UUID(event_id)],
        ).fetchone()


def find_missing(conn: Connection, event_ids: Sequence[str]) -> set[str]:
    """Of these events, those that the database does not have."""
    rows = conn.execute(
        """
        SELECT asked.id::text FROM unnest(%s::uuid[]) AS asked (id)
        WHERE NOT EXISTS (SELECT 1 FROM call_events WHERE event_id = asked.id)
        """,
        [list(event_ids)],
    )
    return {event_id for (event_id,) in rows.fetchall()}


def list_events(conn: Connection, call_id: int) -> list[StoredEvent]:
    """Those that are read of the call."""
    with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        return cursor.execute(
            SQL("""
            SELECT e.event_id::text, e.enterprise_number, e.unique_id, e.event_type, e.raw_data AS raw, e.record_url,
                   e.data_source, e.received_at, e.call_id
            FROM call_events e WHERE e.call_id = %s {read}
            """).format(read=SQL(READ)),
            [call_id],
        ).fetchall()


def claim_unassembled(conn: Connection, *, limit: int) -> list[StoredEvent]:
    """
    Events whose wake-up was lost, longest waiting first; each is left alone for a while, longer each time, so that
    one that cannot be assembled does not come back for ever.
    """
    with conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
        return cursor.execute(
            """
            UPDATE call_events
            SET wakes = wakes + 1,
                wake_at = clock_timestamp() + least(interval '3 seconds' * 2 ^ least(wakes + 1, 12), interval '1 hour')
            WHERE id IN (
                SELECT e.id FROM call_events e
                WHERE e.call_id IS NULL AND e.wake_at <= statement_timestamp()
                  AND EXISTS (SELECT 1 FROM enterprises WHERE number = e.enterprise_number)
                ORDER BY e.wake_at LIMIT %s FOR UPDATE OF e SKIP LOCKED)
            RETURNING event_id::text, enterprise_number, unique_id, event_type, raw_data AS raw, record_url,
                      data_source, received_at, call_id
            """,
            [limit],
        ).fetchall()


def give_back(conn: Connection, event_ids: Sequence[str]) -> None:
    """Claimed, and not woken: at the next tick again, and as if this one had not been."""
    conn.execute(
        """
        UPDATE call_events SET wakes = greatest(wakes - 1, 0), wake_at = clock_timestamp()
        WHERE event_id = ANY(%s::uuid[]) AND call_id IS NULL
        """,
        [list(event_ids)],
    )


def fingerprint(event: NewEvent) -> bytes:
    """Of what the host said: its type and body, whatever the order of the keys and the spelling of the token."""
    body = {key: value for key, value in event.raw.items() if key.lower() != "token"}
    text = json.dumps([event.event_type, event.unique_id, body, event.record_url], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()
