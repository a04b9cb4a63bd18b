"""What the hosts of an enterprise do that loses calls or has to be guessed at: from the events of its last calls."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from lib.calls.doctor.examination import examine
from lib.calls.doctor.finding import Finding, Seen
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import directory
from lib.ledger.derive import parsed
from lib.runtime import db
from lib.store import host_events

# What a person who waits before the page is not kept waiting for.
EVENTS_AT_MOST: Final = 5000
DAYS_AT_MOST: Final = 31


def examine_host(enterprise_number: str, *, since: datetime | None, events_at_most: int) -> dict[str, Any]:
    """
    `{"since", "until", "events", "calls", "is_capped", "findings": [{"code", "weight", "count", "of", "facts",
    "examples"}]}`. `since` None: a day; at most DAYS_AT_MOST days. `is_capped`: only the last calls were read, up to
    `events_at_most` events, and `since` is when the first of them began to come.

    Raises NotFound, Unavailable.
    """
    enterprise = enterprise_cache().by_number(enterprise_number)
    with db.transaction() as conn:
        now = db.now(conn)
        begin = max(since or now - timedelta(days=1), now - timedelta(days=DAYS_AT_MOST))
        last = host_events.read_last_calls(conn, enterprise_number, since=begin, events_at_most=events_at_most)
    calls = [[Seen(event=parsed(one), raw=one.raw, copies=one.copies) for one in call] for call in last.calls]
    found = examine(calls, directory(enterprise, None), now)
    received = [event.received_at for call in last.calls for event in call]
    return {
        "since": min(received, default=begin) if last.is_capped else begin,
        "until": now,
        "events": len(received),
        "calls": len(calls),
        "is_capped": last.is_capped,
        "findings": [_as_data(finding) for finding in found],
    }


def _as_data(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "weight": finding.weight,
        "count": finding.count,
        "of": finding.of,
        "facts": dict(finding.facts),
        "examples": [asdict(example) for example in finding.examples],
    }
