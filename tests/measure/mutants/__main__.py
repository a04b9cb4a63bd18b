"""
`make mutants`: COUNT small faults of the rules (`lib/calls`), drawn by SEED, and whether their tests notice each of them.

A fault is a comparison, an and/or, a not, a constant, a sum or a returned value that is another one. The unit tests of
the rules judge it, on JOBS processes, without the fuzz run, which is not theirs alone. `AT=lib/calls/roles.py:243:` tries
those of one line. Exit code 1 when nothing could be tried.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

from tests.measure.mutants.mutations import mutants_of
from tests.measure.mutants.runs import Broken, run, unmutated

FUZZED = "test_fuzzed.py"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description="Small faults of the rules, against their tests")
    parser.add_argument("--count", type=int, default=int(os.environ.get("COUNT") or 300))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 1))
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or 1))
    parser.add_argument("--at", default=os.environ.get("AT") or "")
    parser.add_argument("--code", type=Path, default=Path("lib/calls"))
    parser.add_argument("--tests", type=Path, default=Path("tests/unit/calls"))
    given = parser.parse_args()
    every = [mutant for path in sorted(given.code.resolve().rglob("*.py")) for mutant in mutants_of(path)]
    every = [mutant for mutant in every if str(mutant).startswith(given.at)]
    if not every:
        print(f"nothing to mutate at {given.at or given.code}", file=sys.stderr)
        return 1
    sample = random.Random(given.seed).sample(every, min(given.count, len(every)))
    try:
        tests = unmutated(path for path in sorted(given.tests.rglob("test_*.py")) if path.name != FUZZED)
    except Broken as broken:
        print(f"{broken} fails without any mutant: mend that first", file=sys.stderr)
        return 1
    print(f"SEED={given.seed}: {len(sample)} of {len(every)} mutants, judged by {given.tests}", flush=True)
    living = run(sample, tests, given.jobs)
    killed = len(sample) - len(living)
    print(f"\n{killed} of {len(sample)} killed ({killed / len(sample):.1%})")
    for mutant in sorted(living, key=lambda mutant: (mutant.path, mutant.line)):
        print(f"lives: {mutant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
