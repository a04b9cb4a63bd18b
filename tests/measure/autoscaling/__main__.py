"""
What 1,000 and 10,000 enterprises need in Google Cloud, and what runs short first: `make autoscaling`. By a model
(model.py), with the sizes of infra/cloud and the costs of docs/performance.md; nothing of Google's is asked.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.infra.cloud.evaluated import evaluate
from tests.measure.autoscaling.model import Gateway, Load, Result, Size, percentile

SERVICES = ("dispatch-call-event", "retailcrm-deliver", "retailcrm-upload")
COLUMNS = (
    "enterprises",
    "events/s, jump",
    "cores of Cloud SQL",
    "intake / deliver / upload, most",
    "their connections",
    "database busy",
    "ack p99",
    "pop-up p50 / p99",
    "cards not shown",
    "short of",
)
# A person sees a card that is this late; hosts give up an event after three seconds.
POP_UP_MS = 2000.0
ACK_MS = 3000.0


def sizes_of_terraform() -> dict[str, Size]:
    """Of the functions that an event passes through."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = evaluate(Path(folder))["local.sizes"]
    return {
        name: Size(**{key: int(sizes[name][key]) for key in ("min", "max", "threads", "pool")}) for name in SERVICES
    }


def is_well(result: Result) -> bool:
    """Every phone that rang showed its card in time, and no host was kept waiting."""
    return (
        result.unsent == 0 and percentile(result.pop_ups, 0.99) <= POP_UP_MS and percentile(result.acks, 0.99) <= ACK_MS
    )


def what_is_short(result: Result, sizes: Mapping[str, Size]) -> str:
    full = [
        f"{name} at its {sizes[name].max} instances" for name in SERVICES if result.instances[name] >= sizes[name].max
    ]
    busy = ["the database's processor"] if result.processor > 0.9 else []
    return ", ".join(busy + full) or "nothing at its limit: instances came too late"


def row(load: Load, cores: int, sizes: Mapping[str, Size], seed: int) -> str:
    result = Gateway(load, sizes, cores=cores, seed=seed).run()
    slowest = percentile(result.acks, 0.99)
    cells = [
        f"{load.enterprises:,}",
        f"{load.enterprises * load.calls_an_hour / 3600 * load.events_a_call:.0f}, {load.peak:g} ×",
        str(cores),
        " / ".join(str(result.instances[name]) for name in SERVICES),
        str(result.connections),
        f"{result.processor:.0%}",
        "refused" if math.isinf(slowest) else f"{slowest:.0f} ms",
        f"{percentile(result.pop_ups, 0.5):.0f} / {percentile(result.pop_ups, 0.99):.0f} ms",
        f"{result.unsent} of {result.unsent + len(result.pop_ups)}",
        "nothing" if is_well(result) else what_is_short(result, sizes),
    ]
    return f"| {' | '.join(cells)} |"


def most(text: str) -> tuple[str, int]:
    """For argparse: FUNCTION=INSTANCES."""
    name, _, instances = text.partition("=")
    if name not in SERVICES or not instances.isdigit():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FUNCTION=INSTANCES, with a function of {', '.join(SERVICES)}"
        )
    return name, int(instances)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make autoscaling", description=__doc__)
    parser.add_argument("--enterprises", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 4, 8, 16], help="of Cloud SQL")
    parser.add_argument("--calls", type=float, default=30.0, help="of an enterprise in the busy hour")
    parser.add_argument("--peak", type=float, default=3.0, help="by how much it jumps, for a minute")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=most, action="append", default=[], metavar="FUNCTION=INSTANCES")
    given = parser.parse_args()
    sizes = sizes_of_terraform()
    for name, instances in given.most:
        sizes[name] = replace(sizes[name], max=instances)
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for enterprises in given.enterprises:
        load = Load(enterprises=enterprises, calls_an_hour=given.calls, peak=given.peak, seconds=given.seconds)
        for cores in given.cores:
            print(row(load, cores, sizes, given.seed), flush=True)


if __name__ == "__main__":
    main()
