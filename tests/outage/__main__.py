"""
`make outage MINUTES=30`: one enterprise's CRM is away in every way, the others' are not; what the CRMs hold is the judge.

A third of the time, at most five minutes, passes without a fault, for comparison. Then the CRM of one enterprise
refuses connections, is silent, answers 500, 429 and 503 with Retry-After, each for its share of MINUTES; then it is
well, and what waited goes out. Exit code 1 when something was lost or doubled, a push was given back, the CRM's
limit was passed, what waited did not go out in time, or the others had to wait for it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from infra import provision
from infra.local.parts import free_base_port
from infra.local.stack import Stack
from lib import config
from lib.vault import vault
from tests.enterprises import enterprise
from tests.outage.load import Call, Load
from tests.proxy import Proxy
from tests.servers import CRM

HEALTHY: Final = ("0101", "0102", "0103", "0104", "0105")
SICK: Final = "0199"
SUBSCRIPTION: Final = "projects/local/subscriptions/call-events.retailcrm-deliver"
TELEPHONY_PER_SECOND: Final = 40
RETRY_AFTER_SECONDS: Final = 5
# The longest pause between two tries of a row, jitter and all, and some time to work.
DRAIN_SECONDS: Final = 660.0
# G8: the others' 99th percentile within this of a time without the outage; below the second figure nobody looks.
WORSE_AT_MOST: Final = 1.2
UNNOTICED_MS: Final = 150.0


@dataclass(frozen=True, kw_only=True)
class Report:
    lines: Sequence[str]
    broken: Sequence[str]


@dataclass
class Site:
    """The running system, its CRMs and what happens to one of them."""

    stack: Stack
    crm: CRM
    sick_crm: CRM
    network: Proxy
    phases: list[tuple[str, float]] = field(default_factory=list)

    def fault(self, name: str) -> None:
        self.phases.append((name, time.time()))
        self.network.refusing = name == "refuses"
        requests.delete(f"{self.sick_crm.url}/_sim/faults", timeout=10)
        match name:
            case "is silent":
                self.sick_crm.fault("hang_before_apply", hang_seconds=60)
            case "500":
                self.sick_crm.fault("error_500")
            case "429" | "503":
                self.sick_crm.fault(f"error_{name}", retry_after=RETRY_AFTER_SECONDS)

    def figures(self) -> Mapping[str, int]:
        state = requests.get(f"{self.stack.url('emulator-control')}/state", timeout=10).json()
        found: Mapping[str, int] = next(one for one in state["subscriptions"] if one["name"] == SUBSCRIPTION)
        return found

    def crm_of(self, number: str) -> CRM:
        return self.sick_crm if number == SICK else self.crm


FAULTS: Final = ("refuses", "is silent", "500", "429", "503")


def run(folder: Path, *, seconds: float, control_seconds: float, calls_per_second: float) -> Report:
    """A time in peace, the outage, and what comes after it."""
    with site(folder) as here:
        load = Load(here.stack.url("dispatch-call-event"), _enrol(here), calls_per_second=calls_per_second)
        load.start()
        try:
            begun = time.time()
            here.stack.pause(control_seconds)
            for fault in FAULTS:
                here.fault(fault)
                here.stack.pause(seconds / len(FAULTS))
            here.fault("well")
            well_at = time.time()
            waiting = _due_calls(here)
            drained = _wait(lambda: _missing(here, load, until=well_at) == [], DRAIN_SECONDS)
        finally:
            load.stop()
        settled = _wait(lambda: _missing(here, load) == [], DRAIN_SECONDS)
        control, outage = (begun, here.phases[0][1]), (here.phases[0][1], well_at)
        return _judge(here, load, control=control, outage=outage, waiting=waiting, drained=drained, settled=settled)


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    with (
        CRM.started() as sick_crm,
        Proxy.started(urlsplit(sick_crm.url).port or 0) as network,
        Stack(folder, free_base_port()) as stack,
    ):
        crm = CRM(url=stack.url("retailcrm-simulator"))
        yield Site(stack=stack, crm=crm, sick_crm=sick_crm, network=network)


def _enrol(here: Site) -> dict[str, str]:
    tokens = {}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in here.stack.layout.environment().items():
            environment.setenv(name, value)
        config.current.cache_clear()
        vault.forget()
        with psycopg.connect(here.stack.database_url) as conn:
            for number in (*HEALTHY, SICK):
                here.crm_of(number).account(number)
                domain = f"http://127.0.0.1:{here.network.port}" if number == SICK else here.crm.url
                tokens[number] = f"token-of-{number}"
                data = enterprise(number, token=tokens[number], domain=domain)
                if problems := provision.check(data):
                    raise AssertionError(problems)
                provision.provision(conn, data)
    config.current.cache_clear()
    vault.forget()
    return tokens


def _missing(here: Site, load: Load, *, until: float = float("inf")) -> list[Call]:
    """Calls that were acknowledged whole, and whose row is not there."""
    # One counter makes the ids of all enterprises, so they do not meet.
    held = {row["externalId"] for crm, number in _accounts(here) for row in crm.rows(number)}
    wanted = [call for call in load.of((*HEALTHY, SICK), until=until) if call.acknowledged == 3]
    return [call for call in wanted if call.unique_id not in held]


def _accounts(here: Site) -> list[tuple[CRM, str]]:
    return [(here.crm_of(number), number) for number in (*HEALTHY, SICK)]


def _due_calls(here: Site) -> int:
    with psycopg.connect(here.stack.database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM deliveries WHERE effect = 'upload' AND state NOT IN ('delivered', 'superseded')"
        ).fetchone()
    return int(row[0]) if row else 0


def _wait(true: Callable[[], bool], seconds: float) -> float | None:
    """How long it took; None when it did not come true."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(1)
    return time.monotonic() - began


def _judge(
    here: Site,
    load: Load,
    *,
    control: tuple[float, float],
    outage: tuple[float, float],
    waiting: int,
    drained: float | None,
    settled: float | None,
) -> Report:
    entries = {number: crm.entries(number) for crm, number in _accounts(here)}
    shown = _shown(entries)
    calm, rough = (_delays(load, shown, *span) for span in (control, outage))
    figures = here.figures()
    given_back = sum(figures[name] for name in ("nacked", "expired", "dead_lettered"))
    lost = [] if settled is not None else _missing(here, load)
    doubled = [key for key, count in _applied(entries).items() if count > 1]
    fastest = _most_in_a_second([entry["received_at"] for entry in entries[SICK]])
    refused = sum(call.refused for call in load.calls)
    phases = [*here.phases, ("", time.time())]
    tries = [
        f"{name} {sum(1 for entry in entries[SICK] if at <= entry['received_at'] < until)}"
        for (name, at), (_, until) in itertools.pairwise(phases)
    ]
    lines = [
        f"calls {len(load.calls)}, of the sick enterprise {len(load.of([SICK]))}; events refused {refused}",
        f"others, event to CRM in ms, without the outage: {_summary(calm)}",
        f"others, event to CRM in ms, during the outage:  {_summary(rough)}",
        f"rows that waited at the end of the outage {waiting}; gone out after {_seconds(drained)}",
        f"requests that reached the sick CRM: {', '.join(tries)}; most within a second {fastest}",
        f"pushes delivered {figures['delivered']}, given back {given_back}",
        f"lost {len(lost)}, doubled {len(doubled)}",
    ]
    rules = {
        "events were lost": bool(lost),
        "effects were doubled": bool(doubled),
        "what waited did not go out in time": drained is None,
        "pushes were given back": given_back > 0,
        "the sick CRM's limit was passed": fastest > TELEPHONY_PER_SECOND + 1,
        "events were refused": refused > 0,
        "the others had to wait": bool(calm)
        and _percentile(rough, 0.99) > max(UNNOTICED_MS, WORSE_AT_MOST * _percentile(calm, 0.99)),
    }
    return Report(lines=lines, broken=[name for name, is_broken in rules.items() if is_broken])


def _shown(entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Call → when its pop-up was received."""
    found: dict[str, float] = {}
    for entry in (one for ledger in entries.values() for one in ledger if one["kind"] == "event" and one["applied"]):
        event = entry["applied"]["event"]
        if event["type"] == "in":
            found.setdefault(event["callExternalId"], entry["received_at"])
    return found


def _delays(load: Load, shown: Mapping[str, float], since: float, until: float) -> list[float]:
    calls = load.of(HEALTHY, since=since, until=until)
    return sorted((shown[call.unique_id] - call.dialled_at) * 1000 for call in calls if call.unique_id in shown)


def _applied(entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> Counter[tuple[str, str]]:
    """How often each effect took place; the ledger knows rows that it had already."""
    counted: Counter[tuple[str, str]] = Counter()
    for entry in (one for ledger in entries.values() for one in ledger if one["applied"]):
        if entry["kind"] == "event":
            event = entry["applied"]["event"]
            counted[event["type"], event["callExternalId"]] += 1
    return counted


def _most_in_a_second(moments: Sequence[float]) -> int:
    ordered, most, first = sorted(moments), 0, 0
    for index, moment in enumerate(ordered):
        while moment - ordered[first] >= 1:
            first += 1
        most = max(most, index - first + 1)
    return most


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _summary(ordered: Sequence[float]) -> str:
    return f"p50 {_percentile(ordered, 0.5):.0f}, p99 {_percentile(ordered, 0.99):.0f} of {len(ordered)} pop-ups"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="One enterprise's CRM is away, the others' are not")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the CRM is away")
    parser.add_argument("--calls-per-second", type=float, default=3.0, help="over all six enterprises")
    given = parser.parse_args()
    seconds = given.minutes * 60
    with tempfile.TemporaryDirectory(prefix="outage-", ignore_cleanup_errors=True) as folder:
        report = run(
            Path(folder),
            seconds=seconds,
            control_seconds=min(300.0, seconds / 3),
            calls_per_second=given.calls_per_second,
        )
    for line in report.lines:
        print(line)
    print("broken: " + "; ".join(report.broken) if report.broken else "all kept")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
