"""
`make fuzz`: recorded calls as hosts spoil them, against what always holds.

MINUTES of cases drawn from SEED, on JOBS processes; beside them, cases go through the real intake function, unless PURE=1.
`CASE=n` tries one case again, and says everything about it. Exit code 1 when an invariant was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from contextlib import nullcontext

from tests.measure.fuzz import report, sources
from tests.measure.fuzz.intake import running
from tests.measure.fuzz.runs import one_case, run
from tests.measure.fuzz.verdict import LINKED_EVERY, PLAYED_EVERY


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Calls as hosts spoil them")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 1))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(10**6)))
    parser.add_argument("--case", type=int, default=int(os.environ["CASE"]) if os.environ.get("CASE") else None)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or 2))
    parser.add_argument("--pure", action="store_true", default=os.environ.get("PURE") == "1")
    given = parser.parse_args()
    with nullcontext(None) if given.pure else running() as intake:
        if given.case is not None:
            return 0 if one_case(given.seed, given.case, intake) else 1
        print(f"SEED={given.seed} MINUTES={given.minutes:g} JOBS={given.jobs}, {len(sources.load())} recorded calls")
        total = run(given.seed, given.minutes, given.jobs, intake)
    print(report.summary(given.seed, total.kinds, total.first, total.unblamed))
    print(f"{total.cases} cases of {total.events} events, one in {PLAYED_EVERY} told event by event,", end=" ")
    print(f"one in {LINKED_EVERY} linked one by one; SEED={given.seed}: {'BROKEN' if total.first else 'kept'}")
    return 1 if total.first else 0


if __name__ == "__main__":
    sys.exit(main())
