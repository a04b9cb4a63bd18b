"""
The second table: how many events a second each bears, by what the CRM received in the end.

A rung of the ladder is a rate; each service takes it in turn. Whoever has not told the CRM of every call within a
minute after the load is not asked for more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.measure.bench.calls import Profile, Schedule, schedule
from tests.measure.bench.crm import Crm, Told
from tests.measure.bench.figures import percentile, table, with_ratio
from tests.measure.bench.latency import Numbers, warm_up
from tests.measure.bench.load import Outcome, open_loop
from tests.measure.bench.service import Running, Subject
from tests.measure.bench.usage import Snapshot, Used, between

RATES: Final = (50.0, 75.0, 100.0, 150.0, 200.0, 400.0)
SECONDS: Final = 15.0
HOLD_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 60.0
# Later than this a pop-up helps nobody: in the load, the caller has hung up by then.
IN_TIME_SECONDS: Final = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Rates, each held for so many seconds by calls of a kind."""

    profile: Profile
    rates: Sequence[float]
    seconds: float

    def schedule(self, rate: float, first: int) -> Schedule:
        return schedule(self.profile, per_second=rate, seconds=self.seconds, first=first, begin=time.time())


@dataclass(frozen=True, kw_only=True)
class Rung:
    """
    `due`: dials while the rate was full; `delays_ms`: of their pop-ups that came; `rows`, `hangups`: of the whole load;
    `used`: until the last row; `busy_cores`: of the machine, while the load lasted.
    """

    name: str
    rate: float
    due: int
    delays_ms: Sequence[float]
    rows: int
    hangups: int
    refused: int
    late_ms: float
    used: Used
    events: int
    busy_cores: float

    @property
    def has_all(self) -> bool:
        return self.rows >= self.hangups and not self.refused


def climb(subjects: Sequence[Subject], crm: Crm, numbers: Numbers, ladder: Ladder, say: Say) -> list[Rung]:
    found: list[Rung] = []
    left = [subject for subject in subjects if subject.tells_crm]
    for rate in ladder.rates:
        for subject in list(left):
            say(f"{subject.name}: {rate:.0f} events/s for {ladder.seconds:.0f} s")
            with subject.running() as running:
                warm_up(running, crm, numbers, tells_crm=True)
                rung = _rung(subject, running, crm, ladder.schedule(rate, numbers.some()), rate)
                running.wait_until_quiet()
                crm.clear()
            found.append(rung)
            say(f"  {len(rung.delays_ms)} of {rung.due} pop-ups, {rung.rows} of {rung.hangups} rows")
            if not rung.has_all:
                left.remove(subject)
    return found


def _rung(subject: Subject, running: Running, crm: Crm, wanted: Schedule, rate: float) -> Rung:
    parts = dict(running.parts())
    before = Snapshot.now(parts)
    outcome = open_loop(running.url, wanted.events)
    busy = between(before, Snapshot.now(parts)).cores
    told = crm.wait_for_rows(outcome, seconds=SETTLED_SECONDS)
    used = between(before, Snapshot.now(parts))
    due = due_at_full_rate(wanted, outcome.began_at)
    delays = sorted((told.popups[phone] - at) * 1000 for phone, at in due.items() if phone in told.popups)
    return Rung(
        name=subject.name,
        rate=rate,
        due=len(due),
        delays_ms=delays,
        rows=_rows(outcome, told),
        hangups=sum(path == "/hangup" for _, (path, _) in wanted.events),
        refused=outcome.refused,
        late_ms=outcome.late * 1000,
        used=used,
        events=len(wanted.events),
        busy_cores=busy,
    )


def due_at_full_rate(wanted: Schedule, began_at: float) -> Mapping[str, float]:
    """Phone → when its dial was due, of those while the rate was full, acknowledged or not."""
    return {
        body["Phone"]: began_at + at
        for at, (path, body) in wanted.events
        if path == "/dial" and wanted.full_from <= at < wanted.full_until
    }


def _rows(outcome: Outcome, told: Told) -> int:
    return len(outcome.phones("/hangup") & told.rows.keys())


def report(rungs: Sequence[Rung]) -> str:
    """`base`: the first that took a rate, which is this gateway while it climbs."""
    head = ["events/s", "", "pop-ups in 2 s", "came", "p50", "p99", "rows", "refused", "cores busy"]
    first = rungs[0].name if rungs else ""
    bases = {rung.rate: rung for rung in rungs if rung.name == first}
    rows = []
    for rung in rungs:
        base = bases.get(rung.rate)
        in_time = sum(delay <= IN_TIME_SECONDS * 1000 for delay in rung.delays_ms)
        rows.append(
            [
                f"{rung.rate:.0f}",
                rung.name,
                f"{in_time} of {rung.due}",
                str(len(rung.delays_ms)),
                *(
                    with_ratio(
                        percentile(rung.delays_ms, rank), percentile(base.delays_ms, rank) if base else None, " ms"
                    )
                    for rank in (50, 99)
                ),
                f"{rung.rows} of {rung.hangups}",
                str(rung.refused),
                f"{rung.busy_cores:.2f}",
            ]
        )
    return table(head, rows)


def report_usage(rungs: Sequence[Rung]) -> str:
    """Processor milliseconds of each part for an event, which says what bounds the rate."""
    head = ["events/s", "", "all parts", "by part, ms an event", "load late by, ms"]
    rows = []
    for rung in rungs:
        each = {name: seconds * 1000 / rung.events for name, seconds in rung.used.parts.items()}
        parts = ", ".join(f"{name} {value:.2f}" for name, value in sorted(each.items(), key=lambda item: -item[1]))
        rows.append([f"{rung.rate:.0f}", rung.name, f"{sum(each.values()):.2f} ms", parts, f"{rung.late_ms:.0f}"])
    return table(head, rows)
