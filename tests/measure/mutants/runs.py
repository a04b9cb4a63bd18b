"""A sample of mutants, each on trial; the tests that killed one in the same module come first for the next."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from tests.measure.mutants import trial
from tests.measure.mutants.mutations import Mutant
from tests.measure.mutants.trial import TestFile

_PROGRESS_EVERY: Final = 10


class Broken(Exception):
    """These tests fail without any mutant."""


def unmutated(paths: Iterable[Path]) -> Sequence[TestFile]:
    """How long each file takes."""
    found = []
    for path in paths:
        tests = [TestFile(path=path)]
        _, status, usage = os.wait4(trial.begin(None, tests), 0)
        ended = trial.end(status, usage, tests)
        if not ended.lived:
            raise Broken(path)
        found.append(TestFile(path=path, seconds=ended.seconds))
    return found


def run(sample: Sequence[Mutant], tests: Sequence[TestFile], jobs: int) -> list[Mutant]:
    """Those that live."""
    began, living, tried = time.monotonic(), [], 0
    kills: Counter[tuple[Path, Path]] = Counter()
    waiting, on_trial = iter(sample), dict[int, tuple[Mutant, Sequence[TestFile]]]()
    while True:
        for mutant in islice(waiting, jobs - len(on_trial)):
            order = sorted(tests, key=lambda test: (-kills[mutant.path, test.path], test.seconds))
            on_trial[trial.begin(mutant, order)] = mutant, order
        if not on_trial:
            return living
        pid, status, usage = os.wait4(-1, 0)
        judged, among = on_trial.pop(pid)
        ended = trial.end(status, usage, among)
        tried += 1
        if ended.failed is not None:
            kills[judged.path, ended.failed.path] += 1
        if ended.lived:
            living.append(judged)
            print(f"lives: {judged}", flush=True)
        if tried % _PROGRESS_EVERY == 0:
            seconds = time.monotonic() - began
            say = f"{seconds:5.0f} s  {tried} of {len(sample)} tried, {tried - len(living)} killed"
            print(say, file=sys.stderr, flush=True)
