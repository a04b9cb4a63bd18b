"""
One trial: a forked process has the mutant in place of its module, and runs tests until one fails.

Nothing is written. Limits are of computing time, so that a machine that is busy, or stops the process, kills no mutant.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import hypothesis
import pytest

from tests.measure.mutants.mutations import Mutant

# A mutant that does not end takes all of this; a slow one must not.
_SECONDS: Final = 20
_TIMES_AS_LONG: Final = 10
_MOST_MEMORY: Final = 4 * 1024**3
# Several runs in one process.
_IMPORTED_ALREADY: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
_OPTIONS: Final = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0", *_IMPORTED_ALREADY)


@dataclass(frozen=True, kw_only=True)
class TestFile:
    """`seconds`: of computing, without a mutant."""

    __test__ = False

    path: Path
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class End:
    """`failed`: the file with the test that failed; `stopped`: it took too long or too much."""

    failed: TestFile | None = None
    stopped: bool = False
    seconds: float

    @property
    def lived(self) -> bool:
        return self.failed is None and not self.stopped


def begin(mutant: Mutant | None, tests: Sequence[TestFile], *, is_quiet: bool = True) -> int:
    """The process's id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os._exit(_run(mutant, tests, is_quiet=is_quiet))
    except BaseException:  # noqa: BLE001  (whatever the mutant did, this process ends here)
        traceback.print_exc()
        os._exit(1)


def end(status: int, usage: resource.struct_rusage, tests: Sequence[TestFile]) -> End:
    """As `os.wait4` says it."""
    code, seconds = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
    if code < 0:
        return End(stopped=True, seconds=seconds)
    return End(failed=tests[code - 1] if code else None, seconds=seconds)


def _run(mutant: Mutant | None, tests: Sequence[TestFile], *, is_quiet: bool) -> int:
    """0, or the place of the file whose test failed, from 1."""
    if is_quiet:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    if mutant is not None:
        sys.meta_path.insert(0, _InPlaceOf(mutant.path, mutant.code()))
    _without_luck()
    for place, test in enumerate(tests, start=1):
        if mutant is not None:
            used = resource.getrusage(resource.RUSAGE_SELF)
            most = used.ru_utime + used.ru_stime + _SECONDS + _TIMES_AS_LONG * test.seconds
            resource.setrlimit(resource.RLIMIT_CPU, (int(most), resource.RLIM_INFINITY))
        if pytest.main([*_OPTIONS, str(test.path)]):
            return place
    return 0


def _without_luck() -> None:
    """The same examples each time, no clock, and no search for the smallest one that fails."""
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    hypothesis.settings.load_profile("mutants")


class _InPlaceOf(MetaPathFinder):
    """Finds the module of this path with other code."""

    def __init__(self, path: Path, code: CodeType) -> None:
        self._path, self._code = path, code

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin != str(self._path):
            return None
        spec.loader = _Mutated(name, spec.origin, self._code)
        return spec


class _Mutated(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
