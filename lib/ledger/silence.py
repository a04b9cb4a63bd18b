"""
What was accepted and led to nothing in RetailCRM: events whose calls it does not hear of, messages that were rejected,
and hosts of which no call ever reaches it. Events that no call holds yet are behind, which is said elsewhere.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from lib.intake import envelope
from lib.runtime import db
from lib.runtime.db import Connection
from lib.runtime.errors import InvalidPayload
from lib.store import rejected, silence
from lib.store.silence import Because, LateCall

HOUR_SECONDS: Final = 3600.0
# A host is judged by its calls of a day, by the last ones where there are very many.
HOST_SECONDS: Final = 86_400.0
HOST_CALLS: Final = 1000
# Fewer may be hidden numbers and colleagues.
HOST_CALLS_AT_LEAST: Final = 3
# The latest of all enterprises: only its content, of up to 256 kB, says whose a message is.
REJECTED_AT_MOST: Final = 500
REJECTED_BYTES: Final = 4 * 1024 * 1024
_SYSTEM: Final = re.compile(r"^(.+)-\d+\.\d+$")

# What tells hosts of an enterprise apart: the system name in their ids, else the line; `enterprise`: all of them.
Source = Literal["enterprise", "system", "line"]


@dataclass(frozen=True, kw_only=True)
class DeafHost:
    """None of so many calls since then led to anything. `unique_id` names the last of them, if it has an id."""

    source: Source
    name: str
    calls: int
    since: datetime
    unique_id: str | None


@dataclass(frozen=True, kw_only=True)
class RejectedOnes:
    """Of the latest messages, those of an enterprise that could not be understood; `reason` is that of the first."""

    count: int
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Silence:
    seconds: float
    because: Sequence[Because] = ()
    rejected: RejectedOnes | None = None
    hosts: Sequence[DeafHost] = ()

    @property
    def events(self) -> int:
        return sum(one.events for one in self.because) + (self.rejected.count if self.rejected else 0)

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.because)


def read(conn: Connection, enterprise_number: str, *, seconds: float = HOUR_SECONDS) -> Silence:
    late = silence.list_late_calls(conn, enterprise_number, seconds=max(seconds, HOST_SECONDS), limit=HOST_CALLS)
    return Silence(
        seconds=seconds,
        because=silence.list_reasons(conn, enterprise_number, seconds=seconds),
        rejected=_rejected(conn, enterprise_number, seconds=seconds),
        hosts=deaf_hosts(late),
    )


def deaf_hosts(late: Sequence[LateCall]) -> list[DeafHost]:
    """`late`: the latest first. Where no call at all led to anything, that is said once, not of every line."""
    by_source: dict[tuple[Source, str], list[LateCall]] = defaultdict(list)
    for call in late:
        for source in _sources(call):
            by_source[source].append(call)
    found = [
        DeafHost(source=source, name=name, calls=len(calls), since=calls[-1].at, unique_id=calls[0].unique_id or None)
        for (source, name), calls in by_source.items()
        if len(calls) >= HOST_CALLS_AT_LEAST and all(call.reason for call in calls)
    ]
    whole = [host for host in found if host.source == "enterprise"]
    return whole or sorted(found, key=lambda host: (host.source, host.name))


def _sources(call: LateCall) -> Iterator[tuple[Source, str]]:
    yield "enterprise", ""
    if system := _SYSTEM.match(call.unique_id):
        yield "system", system[1]
    if call.line_id:
        yield "line", call.line_id


def _rejected(conn: Connection, enterprise_number: str, *, seconds: float) -> RejectedOnes | None:
    since = db.now(conn) - timedelta(seconds=seconds)
    latest = rejected.list_latest(conn, since=since, limit=REJECTED_AT_MOST, bytes_at_most=REJECTED_BYTES)
    mine = [one for one in latest if _enterprise_of(one.headers, one.raw) == enterprise_number]
    return RejectedOnes(count=len(mine), reason=mine[-1].reason, at=mine[-1].received_at) if mine else None


def _enterprise_of(headers: Any, raw: bytes) -> str | None:
    """As the message itself says, in its attributes or its content; None where it cannot be read that far."""
    try:
        push = envelope.parse(headers, raw)
        if named := push.attributes.get("enterprise_number"):
            return named
        body = push.json()
    except InvalidPayload:
        return None
    event = body.get("event")
    said = (event if isinstance(event, dict) else body).get("enterprise_number")
    return said if isinstance(said, str) else None
