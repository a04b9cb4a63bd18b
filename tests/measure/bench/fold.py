"""`python -m tests.measure.bench.fold`: how long the rules take for each scenario, best of fifty, the slowest first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lib.calls.call import assemble
from lib.calls.event import CallEvent
from lib.calls.linking import group
from lib.calls.settings import Settings
from tests.unit.calls import playback

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)


def milliseconds(events: Sequence[CallEvent]) -> tuple[float, float]:
    """Grouping, and folding what was grouped."""
    now = events[-1].received_at
    began = time.perf_counter()
    groups = group(events, DIRECTORY)
    grouped = time.perf_counter()
    for members in groups:
        assemble(members, DIRECTORY, Settings(), now)
    return (grouped - began) * 1000, (time.perf_counter() - grouped) * 1000


def main() -> None:
    found = []
    for scenario in SCENARIOS:
        events = playback.parsed(scenario)
        measured = [milliseconds(events) for _ in range(50)]
        found.append(
            (min(fold for _, fold in measured), min(link for link, _ in measured), len(events), scenario["id"])
        )
    print("scenario           events  group ms  fold ms")
    for fold, link, events_count, scenario_id in sorted(found, reverse=True)[:10]:
        print(f"{scenario_id:18} {events_count:6} {link:9.2f} {fold:8.2f}")


if __name__ == "__main__":
    main()
