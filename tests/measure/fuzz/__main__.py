"""
`make fuzz`: calls as hosts spoil them, against what always holds.

MINUTES of cases drawn from SEED, on JOBS processes; every hundredth case also goes through the real intake function.
`CASE=n` tries one case again, and says everything about it. Exit code 1 when an invariant was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field

from tests.measure.fuzz import report, sources
from tests.measure.fuzz.case import Case, draw
from tests.measure.fuzz.intake import Intake, running
from tests.measure.fuzz.shrink import Shrinker, kind
from tests.measure.fuzz.verdict import LINKED_EVERY, PLAYED_EVERY, judge

CHUNK = 200
PROGRESS_SECONDS = 10.0
# Of one invariant in one chunk; the others are counted with the first ones.
BLAMED_AT_MOST = 4

Kind = tuple[str, ...]


@dataclass(kw_only=True)
class Tried:
    """`first`: of each kind of finding, the number of a case; `unblamed`: findings whose kind was not looked for."""

    cases: int = 0
    events: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    first: dict[Kind, int] = field(default_factory=dict)
    unblamed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tried) -> list[Kind]:
        """The kinds that are new."""
        new = [one for one in other.first if one not in self.first]
        self.cases, self.events = self.cases + other.cases, self.events + other.events
        self.kinds += other.kinds
        self.unblamed += other.unblamed
        self.first = {**other.first, **self.first}
        return new


def attempt(seed: int, numbers: range) -> Tried:
    tried = Tried()
    blamed: Counter[str] = Counter()
    for number in numbers:
        case = draw(seed, number)
        tried.cases, tried.events = tried.cases + 1, tried.events + len(case.stream)
        for invariant in dict.fromkeys(found.invariant for found in judge(case)):
            blamed[invariant] += 1
            if blamed[invariant] > BLAMED_AT_MOST:
                tried.unblamed[invariant] += 1
                continue
            found = kind(invariant, Shrinker(case, invariant).blame())
            tried.kinds[found] += 1
            tried.first.setdefault(found, number)
    return tried


def smallest(seed: int, number: int, invariant: str) -> str:
    case = Shrinker(draw(seed, number), invariant).smallest()
    return report.finding(invariant, case, judge(case))


def run(seed: int, minutes: float, jobs: int, intake: Intake | None) -> Tried:
    began, said = time.monotonic(), 0.0
    until = began + minutes * 60
    total, shown = Tried(), set[Kind]()
    chunks = (range(first, first + CHUNK) for first in _count(CHUNK))
    with ProcessPoolExecutor(jobs) as pool:
        tasks: dict[Future, str] = {pool.submit(attempt, seed, next(chunks)): "" for _ in range(jobs)}
        while tasks:
            done, _ = wait(tasks, timeout=1, return_when=FIRST_COMPLETED)
            for task in done:
                if tasks.pop(task):
                    print(task.result(), flush=True)
                    continue
                for new in set(total.add(task.result())) - shown:
                    shown.add(new)
                    tasks[pool.submit(smallest, seed, total.first[new], new[0])] = new[0]
                if time.monotonic() < until:
                    tasks[pool.submit(attempt, seed, next(chunks))] = ""
            if intake is not None and time.monotonic() < until:
                _through(intake, draw(seed, -1 - total.cases), total)
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                report.progress(said - began, total.cases, total.events, len(total.first))
    return total


def _count(step: int) -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += step


def _through(intake: Intake, case: Case, total: Tried) -> None:
    for found in intake.findings(case):
        one = (found.invariant, "intake", *sorted({one.name for one in case.spoilings}))
        total.kinds[one] += 1
        if one not in total.first:
            total.first[one] = case.number
            print(report.at_intake(found, case), flush=True)


def one_case(seed: int, number: int) -> int:
    case = draw(seed, number)
    print(report.case(case))
    found = judge(case)
    for invariant in dict.fromkeys(one.invariant for one in found):
        print(smallest(seed, number, invariant))
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Calls as hosts spoil them")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 1))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(10**6)))
    parser.add_argument("--case", type=int, default=int(os.environ["CASE"]) if os.environ.get("CASE") else None)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or 2))
    parser.add_argument("--pure", action="store_true", default=os.environ.get("PURE") == "1")
    given = parser.parse_args()
    if given.case is not None:
        return one_case(given.seed, given.case)
    print(f"SEED={given.seed} MINUTES={given.minutes:g} JOBS={given.jobs}, {len(sources.load())} recorded calls")
    with nullcontext(None) if given.pure else running() as intake:
        total = run(given.seed, given.minutes, given.jobs, intake)
    print(report.summary(given.seed, total.kinds, total.first, total.unblamed))
    print(f"{total.cases} cases of {total.events} events, one in {PLAYED_EVERY} told event by event,", end=" ")
    print(f"one in {LINKED_EVERY} linked one by one; SEED={given.seed}: {'BROKEN' if total.first else 'kept'}")
    return 1 if total.first else 0


if __name__ == "__main__":
    sys.exit(main())
