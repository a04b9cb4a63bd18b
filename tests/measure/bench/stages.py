"""
`python -m tests.measure.bench.stages --rate 20`: where each millisecond of event → CRM goes.

The whole stack as `make run` starts it, with timers around the marks of `trace/marks.py` in its processes. A stage is
what its callables took by themselves; `route` is what is left of a request inside the function, `outside` what the
server, the framework and the socket took. Timers cost time: the table says where it goes, not how much it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from infra.stand_ins.processes import ROOT, Processes
from tests.measure.bench import crm, gateway
from tests.measure.bench.calls import PROFILES, schedule
from tests.measure.bench.crm import Crm
from tests.measure.bench.figures import percentile, table
from tests.measure.bench.gateway import Gateway
from tests.measure.bench.latency import Numbers, delays_ms, warm_up
from tests.measure.bench.load import open_loop
from tests.measure.bench.trace.marks import PROCESSES
from tests.measure.bench.usage import Snapshot, between

_TRACE: Final = Path(__file__).with_name("trace")
# Timers write their lines twice a second.
_WRITTEN_SECONDS: Final = 1.5

PUSH: Final = "push call-events.retailcrm-deliver"

Lines = Sequence[Mapping[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.bench.stages")
    parser.add_argument("--rate", type=float, default=20, help="events/s (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="(default: %(default)s)")
    parser.add_argument("--events", type=int, choices=sorted(PROFILES), default=3, help="of a call")
    given = parser.parse_args()
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        traces = folder / "traces"
        traces.mkdir()
        processes = Processes(str(folder / "beside"))
        cleanup.callback(processes.close)
        told = crm.start(processes, folder)
        settings = {"PYTHONPATH": f"{_TRACE}:{ROOT}", "TRACE_DIR": str(traces)}
        stack = cleanup.enter_context(gateway.stack_telling(told, folder, settings))
        measure(Gateway(stack=stack), told, traces, rate=given.rate, seconds=given.seconds, events=given.events)
        for name in ("dispatch-call-event", "retailcrm-deliver", "emulator"):
            lost = [line for line in stack.layout.log(name).read_text().splitlines() if line.startswith("trace:")]
            print("\n".join(sorted(set(lost))), file=sys.stderr)
    return 0


def measure(running: Gateway, told: Crm, traces: Path, *, rate: float, seconds: float, events: int) -> None:
    numbers, profile = Numbers(), PROFILES[events]
    warm_up(running, told, numbers, tells_crm=True)
    time.sleep(_WRITTEN_SECONDS)
    seen = {name: len(_lines(traces, name)) for name, _ in PROCESSES.values()}
    wanted = schedule(profile, per_second=rate, seconds=seconds, first=numbers.some(), begin=time.time())
    parts = running.parts()
    before = Snapshot.now(parts)
    outcome = open_loop(running.url, wanted.events)
    told.wait_for_rows(outcome, seconds=30)
    used = between(before, Snapshot.now(parts))
    time.sleep(_WRITTEN_SECONDS)
    lines = {name: _lines(traces, name)[seen[name] :] for name, _ in PROCESSES.values()}
    print(f"\n{profile.size} events a call, {rate:.0f} events/s for {seconds:.0f} s\n")
    ends = {"ack as the host sees it": outcome.latencies_ms(), "event→CRM": delays_ms(outcome, told.told().popups)}
    print(table(["", "p50 ms", "p99 ms"], [[name, *_percentiles(values)] for name, values in ends.items()]))
    print("\n" + report(lines, events=len(wanted.events)))
    print("\n" + report_outside(lines, outcome.latencies_ms()))
    each = {name: seconds * 1000 / len(wanted.events) for name, seconds in used.parts.items()}
    print("\nProcessor, ms an event: " + ", ".join(f"{name} {value:.2f}" for name, value in each.items()))
    print(f"Cores busy, with whatever: {used.cores:.2f}")


def report(lines: Mapping[str, Lines], *, events: int) -> str:
    """Of every stage: how often, what it took when it was passed, and what that is for an event on average."""
    rows = []
    for process, found in lines.items():
        kinds = {"deliver": _deliveries(found)}.get(process, {"": found})
        for kind, some in kinds.items():
            for stage, values in by_stage(some).items():
                name = f"{process}{kind}: {stage}"
                rows.append([name, str(len(values)), *_percentiles(values), f"{sum(values) / events:.2f}"])
    return table(["stage", "times", "p50 ms", "p99 ms", "ms an event"], rows)


def report_outside(lines: Mapping[str, Lines], acks_ms: Sequence[float]) -> str:
    """On average, what is outside of the functions: servers, framework, sockets, and waiting for a thread."""
    pushes = [value for line in lines["emulator"] for stage, value in line.items() if stage == PUSH]
    rows = [
        [name, f"{mean(whole):.2f}", f"{mean(inside):.2f}", f"{mean(whole) - mean(inside):.2f}"]
        for name, whole, inside in (
            ("ack", acks_ms, [sum(line.values()) for line in lines["ack"]]),
            (PUSH, pushes, [sum(line.values()) for line in lines["deliver"]]),
        )
    ]
    return table(["", "as its caller sees it, ms", "inside the function, ms", "outside, ms"], rows)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def by_stage(lines: Lines) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        for stage, milliseconds in line.items():
            found[stage].append(milliseconds)
    return found


def _deliveries(lines: Lines) -> Mapping[str, Lines]:
    """Messages after which the CRM was asked, and the others."""
    asked = [line for line in lines if "HTTP" in line]
    return {", CRM asked": asked, ", nothing to tell": [line for line in lines if "HTTP" not in line]}


def _percentiles(values: Sequence[float]) -> Iterable[str]:
    found = [percentile(values, rank) for rank in (50, 99)]
    return ["—" if value is None else f"{value:.2f}" for value in found]


def _lines(traces: Path, name: str) -> list[dict[str, float]]:
    files = sorted(traces.glob(f"{name}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
