"""
`make bench`: how fast the gateway is and how much it bears, beside services that do less.

Beside a function that does nothing and a service that keeps nothing; with `PEERS=1` also beside services with a durable
queue. One run, one machine; figures of different machines do not compare, the ratios do. docs/performance.md says how
to read the tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from infra.stand_ins.postgres import free_port
from infra.stand_ins.processes import Processes
from tests.measure.bench import capacity, crm, gateway, latency
from tests.measure.bench.calls import PROFILES
from tests.measure.bench.capacity import Ladder
from tests.measure.bench.crm import Crm
from tests.measure.bench.latency import Measured
from tests.measure.bench.peers import environment
from tests.measure.bench.peers.subjects import Bench
from tests.measure.bench.peers.subjects import subjects as peers
from tests.measure.bench.service import Service, Subject

KEY = "key-of-0367"


@dataclass(frozen=True, kw_only=True)
class Options:
    """`hold`: one rate for a minute in place of everything else; 0: not."""

    seconds: float
    rounds: int
    rates: Sequence[float]
    events: int
    hold: float
    with_peers: bool
    tables: AbstractSet[str]
    only: str


def main() -> int:
    options = _parse()
    # PostgreSQL runs as a user of its own, who must reach the folder of the stack.
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        processes = Processes(str(folder / "beside"))
        cleanup.callback(processes.close)
        told = crm.start(processes, folder)
        stack = cleanup.enter_context(gateway.stack_telling(told, folder))
        subjects = [Subject(name="this gateway", running=gateway.Gateway(stack=stack).started)]
        subjects += _simple(processes, folder, told)
        if options.with_peers:
            bench = Bench(
                processes=processes,
                folder=folder,
                python=environment.python(say),
                database_url=stack.database_url,
                postgres_pid=gateway.pids(stack)["postgres"],
                telling=_telling(told),
            )
            subjects += peers(bench, say)
        subjects = [subject for subject in subjects if options.only in subject.name]
        _measure(options, subjects, told)
    return 0


def _measure(options: Options, subjects: Sequence[Subject], told: Crm) -> None:
    numbers = latency.Numbers()
    wanted = {"capacity"} if options.hold else options.tables
    found = [Measured(subject=subject) for subject in subjects]
    if "latency" in wanted:
        latency.measure(found, told, numbers, rounds=options.rounds, seconds=options.seconds, say=say)
    if "losses" in wanted:
        latency.measure_losses(found, told, numbers, say=say)
    if wanted & {"latency", "losses"}:
        print(f"\nMedians of {options.rounds} rounds of {options.seconds:.0f} s, {latency.RATE:.0f} events/s\n")
        print(latency.report(found), flush=True)
    if "capacity" in wanted:
        ladder = Ladder(
            profile=PROFILES[options.events],
            rates=[options.hold] if options.hold else options.rates,
            seconds=capacity.HOLD_SECONDS if options.hold else capacity.SECONDS,
        )
        rungs = capacity.climb(subjects, told, numbers, ladder, say)
        print(f"\n{ladder.profile.name}: an event of a call every two seconds, {ladder.seconds:.0f} s at each rate\n")
        print(capacity.report(rungs))
        print("\n" + capacity.report_usage(rungs))


def _simple(processes: Processes, folder: Path, told: Crm) -> list[Subject]:
    ports = free_port(), free_port()
    nothing = ["functions_framework", "--source=tests/measure/bench/do_nothing.py", "--target=do_nothing"]
    forget = ["uvicorn", "tests.measure.bench.fire_and_forget:app", "--no-access-log"]
    services = [
        Service(
            processes=processes,
            commands={name: [sys.executable, "-m", *command, "--host=127.0.0.1", f"--port={port}"]},
            port=port,
            environment={**_telling(told), "THREADS": "8", "WORKERS": "1"},
            folder=folder,
        )
        for name, command, port in zip(("do-nothing", "fire-and-forget"), (nothing, forget), ports, strict=True)
    ]
    return [
        Subject(name="do-nothing function", running=services[0].started, tells_crm=False),
        Subject(name="fire and forget", running=services[1].started, is_durable=False),
    ]


def _telling(told: Crm) -> dict[str, str]:
    return {"CRM_URL": told.url, "CRM_KEY": KEY}


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--seconds", type=float, default=20, help="how long a round lasts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the first table (default: %(default)s)")
    parser.add_argument(
        "--rates", default=",".join(f"{rate:.0f}" for rate in capacity.RATES), help="of the second table"
    )
    parser.add_argument(
        "--events", type=int, choices=sorted(PROFILES), default=3, help="of a call (default: %(default)s)"
    )
    parser.add_argument("--hold", type=float, default=0, help="hold one rate for a minute, and nothing else")
    parser.add_argument("--peers", action="store_true", help="beside services with a durable queue too (PEERS=1)")
    parser.add_argument("--tables", default="latency,losses,capacity", help="(default: %(default)s)")
    parser.add_argument("--only", default="", help="those whose name contains this")
    given = parser.parse_args()
    return Options(
        seconds=given.seconds,
        rounds=given.rounds,
        rates=[float(rate) for rate in given.rates.split(",")],
        events=given.events,
        hold=given.hold,
        with_peers=given.peers,
        tables=set(given.tables.split(",")),
        only=given.only,
    )


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
