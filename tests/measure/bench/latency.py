"""
The first table: acknowledgement, event → CRM, ingest, memory, and what is lost by a kill.

Rounds go round about: each service once, then all again, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.measure.bench.calls import PROFILES, endless_dials, schedule
from tests.measure.bench.crm import Crm, Told
from tests.measure.bench.figures import median, percentile, table, with_ratio
from tests.measure.bench.load import Outcome, closed_loop, open_loop
from tests.measure.bench.service import Running, Subject, kills
from tests.measure.bench.usage import memory_mb

RATE: Final = 20.0
CONCURRENCY: Final = 16
KILL_RATE: Final = 90.0
KILL_SECONDS: Final = 15.0
SLOW_CRM_MS: Final = 1000
# Calls that a service has seen before it is measured.
WARM_UP_CALLS: Final = 10
ARRIVAL_SECONDS: Final = 30.0
# A peer gives a job of a killed worker out again after half a minute, more than once if it was killed again.
SETTLED_SECONDS: Final = 180.0
NOT_DURABLE_SECONDS: Final = 10.0
# Shared with others' processes: PostgreSQL holds the gateway's tables too.
_SHARED: Final = "postgres"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Round:
    ack_p50: float | None
    ack_p99: float | None
    crm_p50: float | None
    crm_p99: float | None
    ingest: float
    memory_mb: float


@dataclass(kw_only=True)
class Measured:
    subject: Subject
    rounds: list[Round] = field(default_factory=list)
    lost: str = "—"


@dataclass(kw_only=True)
class Numbers:
    """Indexes of calls: none is used twice in a run, so that no customer calls twice."""

    _next: itertools.count[int] = field(default_factory=lambda: itertools.count(1_000_000, 50_000))

    def some(self) -> int:
        """The first of fifty thousand."""
        return next(self._next)


def delays_ms(outcome: Outcome, popups: Mapping[str, float]) -> list[float]:
    """From the moment that a dial was due to the CRM's receipt of its pop-up."""
    return sorted(
        (popups[body["Phone"]] - due) * 1000
        for (path, body), due, _ in outcome.acknowledged
        if path == "/dial" and body["Phone"] in popups
    )


def lost(outcome: Outcome, told: Told) -> str:
    """Acknowledged hangups without a history row."""
    acknowledged = outcome.phones("/hangup")
    return f"{len(acknowledged - told.rows.keys())} of {len(acknowledged)}"


def measure(found: Sequence[Measured], crm: Crm, numbers: Numbers, *, rounds: int, seconds: float, say: Say) -> None:
    for number in range(1, rounds + 1):
        for one in found:
            say(f"round {number} of {rounds}, {one.subject.name}: {RATE:.0f} events/s, then ingest")
            with one.subject.running() as running:
                warm_up(running, crm, numbers, tells_crm=one.subject.tells_crm)
                one.rounds.append(_round(running, crm, numbers, seconds))


def measure_losses(found: Sequence[Measured], crm: Crm, numbers: Numbers, *, say: Say) -> None:
    for one in found:
        if one.subject.tells_crm:
            say(f"{one.subject.name}: killed every five seconds at {KILL_RATE:.0f} events/s, a CRM that takes a second")
            with one.subject.running() as running:
                warm_up(running, crm, numbers, tells_crm=True)
                one.lost = _killed(running, crm, numbers, is_durable=one.subject.is_durable)


def warm_up(running: Running, crm: Crm, numbers: Numbers, *, tells_crm: bool) -> None:
    """Until the CRM has heard of every call: then all processes are up. Raises RuntimeError if it never does."""
    calls = _calls(numbers, per_second=RATE, seconds=WARM_UP_CALLS * 3 / RATE)
    outcome = open_loop(running.url, calls)
    wanted = outcome.phones("/hangup") if tells_crm else set()
    if not wanted <= crm.wait_for_rows(outcome, seconds=ARRIVAL_SECONDS if tells_crm else 0).rows.keys():
        raise RuntimeError(f"what answers at {running.url} does not tell the CRM")
    running.wait_until_quiet()
    crm.clear()


def _round(running: Running, crm: Crm, numbers: Numbers, seconds: float) -> Round:
    steady = open_loop(running.url, _calls(numbers, per_second=RATE, seconds=seconds))
    # Enough for what nobody keeps back; a service that does not tell the CRM has no rows to wait for.
    time.sleep(1)
    to_crm = delays_ms(steady, crm.told().popups)
    memory = memory_mb(pid for name, pid in running.parts().items() if name != _SHARED)
    events = endless_dials(numbers.some(), time.time())
    ingest = closed_loop(running.url, events, concurrency=CONCURRENCY, seconds=seconds / 3)
    running.wait_until_quiet()
    crm.clear()
    acks = steady.latencies_ms()
    return Round(
        ack_p50=percentile(acks, 50),
        ack_p99=percentile(acks, 99),
        crm_p50=percentile(to_crm, 50),
        crm_p99=percentile(to_crm, 99),
        ingest=len(ingest.acknowledged) / ingest.seconds,
        memory_mb=memory,
    )


def _killed(running: Running, crm: Crm, numbers: Numbers, *, is_durable: bool) -> str:
    with crm.slow(SLOW_CRM_MS), kills(partial(running.kill)):
        outcome = open_loop(running.url, _calls(numbers, per_second=KILL_RATE, seconds=KILL_SECONDS))
    told = crm.wait_for_rows(outcome, seconds=SETTLED_SECONDS if is_durable else NOT_DURABLE_SECONDS)
    running.wait_until_quiet()
    crm.clear()
    return f"{lost(outcome, told)}, {outcome.refused} events refused"


def _calls(numbers: Numbers, *, per_second: float, seconds: float):
    """Missed calls from the first moment on, at the full rate between its two ends."""
    wanted = schedule(PROFILES[3], per_second=per_second, seconds=seconds, first=numbers.some(), begin=time.time())
    return wanted.events


def report(found: Sequence[Measured]) -> str:
    head = ["", "ack p50", "ack p99", "event→CRM p50", "event→CRM p99", "ingest/s", "memory MiB", "rows lost by kills"]
    base = found[0]

    def cell(one: Measured, name: str, unit: str, digits: int) -> str:
        return with_ratio(_median(one, name), _median(base, name), unit, digits=digits)

    rows = [
        [
            one.subject.name,
            *(cell(one, name, " ms", 1) for name in ("ack_p50", "ack_p99", "crm_p50", "crm_p99")),
            cell(one, "ingest", "", 0),
            cell(one, "memory_mb", "", 0),
            one.lost,
        ]
        for one in found
    ]
    return table(head, rows)


def _median(one: Measured, name: str) -> float | None:
    return median([getattr(each, name) for each in one.rounds])
