"""Cases by the thousand, on several processes: what they break, by kind, and the smallest stream of each kind."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.measure.fuzz import report
from tests.measure.fuzz.case import Case, draw
from tests.measure.fuzz.intake import Intake
from tests.measure.fuzz.shrink import Shrinker, kind
from tests.measure.fuzz.verdict import judge

CHUNK = 200
PROGRESS_SECONDS = 10.0
# Of one invariant in one chunk; the others are only counted.
BLAMED_AT_MOST = 10
TRIES_AT_INTAKE = 60

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


def attempt(seed: int, numbers: Iterable[int]) -> Tried:
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
    # Not forked: beside intake, this process has threads.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
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
    found = list(intake.findings(case))
    for invariant in dict.fromkeys(one.invariant for one in found):
        shrinker = Shrinker(case, invariant, lambda smaller: list(intake.findings(smaller)), tries=TRIES_AT_INTAKE)
        new = (*kind(invariant, shrinker.blame()), "at intake")
        total.kinds[new] += 1
        if new not in total.first:
            total.first[new] = case.number
            smallest_case = shrinker.smallest()
            print(report.finding(f"{invariant} at intake", smallest_case, intake.findings(smallest_case)), flush=True)


def one_case(seed: int, number: int, intake: Intake | None) -> bool:
    """Says everything about it, and whether nothing was broken."""
    case, total = draw(seed, number), Tried()
    print(report.case(case))
    broken = dict.fromkeys(one.invariant for one in judge(case))
    for invariant in broken:
        print(smallest(seed, number, invariant))
    if intake is not None:
        _through(intake, case, total)
    return not broken and not total.first
