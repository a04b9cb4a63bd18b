"""The events of the last calls of an enterprise as they were sent, whole calls, up to a number of events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from lib.runtime.db import Connection
from lib.store.events import StoredEvent

# Of one statement: each looks up the events of so many calls, by the call.
_CALLS: Final = 100


@dataclass(frozen=True, kw_only=True)
class HostEvent(StoredEvent):
    """`copies`: how often it came again."""

    call_id: int
    copies: int


@dataclass(frozen=True, kw_only=True)
class LastCalls:
    """`is_capped`: there are more calls since then than were read."""

    calls: list[list[HostEvent]]
    is_capped: bool


def read_last_calls(conn: Connection, enterprise_number: str, *, since: datetime, events_at_most: int) -> LastCalls:
    """
    The latest calls first, along the index of calls by their start. A call whose events do not fit any more is left
    out whole: half a call would look like a host that loses the other half.
    """
    call_ids = _list_calls(conn, enterprise_number, since=since, limit=events_at_most + 1)
    calls: list[list[HostEvent]] = []
    left = events_at_most
    for begin in range(0, len(call_ids), _CALLS):
        batch = call_ids[begin : begin + _CALLS]
        by_call: dict[int, list[HostEvent]] = {call_id: [] for call_id in batch}
        for event in _list_events(conn, batch, limit=left + 1):
            by_call[event.call_id].append(event)
        for call_id in batch:
            left -= len(by_call[call_id])
            if left < 0:
                return LastCalls(calls=calls, is_capped=True)
            calls.append(by_call[call_id])
    return LastCalls(calls=calls, is_capped=len(call_ids) > events_at_most)


def _list_calls(conn: Connection, enterprise_number: str, *, since: datetime, limit: int) -> list[int]:
    rows = conn.execute(
        """
        SELECT id FROM calls
        WHERE enterprise_number = %s AND started_at >= %s AND NOT events_forgotten
        ORDER BY started_at DESC, id DESC LIMIT %s
        """,
        [enterprise_number, since, limit],
    )
    return [row[0] for row in rows.fetchall()]


def _list_events(conn: Connection, call_ids: list[int], *, limit: int) -> list[HostEvent]:
    """In the order of the calls, so that those which fit are whole."""
    with conn.cursor(row_factory=class_row(HostEvent)) as cursor:
        return cursor.execute(
            """
            SELECT e.call_id, e.enterprise_number, e.event_id, e.event_type, e.unique_id, e.raw, e.record_url,
                   e.data_source, e.received_at, e.copies
            FROM unnest(%s::bigint[]) WITH ORDINALITY AS asked (id, place)
            CROSS JOIN LATERAL (
                SELECT call_id, enterprise_number, event_id::text, event_type, unique_id, raw_data AS raw, record_url,
                       data_source, received_at, copies
                FROM call_events WHERE call_id = asked.id LIMIT %s) e
            ORDER BY asked.place LIMIT %s
            """,
            [call_ids, limit, limit],
        ).fetchall()
