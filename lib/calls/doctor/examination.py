"""All findings of the stored events of an enterprise, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lib.calls.directory import Directory
from lib.calls.doctor import bridges, records, times, values
from lib.calls.doctor.finding import WEIGHTS, Finding, Seen, Stream

_ORDER: Final = {code: place for place, code in enumerate(WEIGHTS)}


def examine(calls: Sequence[Sequence[Seen]], directory: Directory, now: datetime) -> list[Finding]:
    """`calls`: the events of each call, whole, in any order; `now`: when they were read."""
    streams: list[Stream] = [sorted(call, key=lambda seen: seen.event.order) for call in calls if call]
    found = [
        *times.findings(streams, directory),
        *records.findings(streams, now),
        *values.findings(streams, directory),
        *bridges.findings(streams, now),
    ]
    return sorted(found, key=lambda finding: _ORDER[finding.code])
