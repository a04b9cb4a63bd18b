"""`make mutants` tells the mutants that tests notice from those that they do not, and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FARES = "def is_full(age):\n    return age >= 18\n"
NOTICES_SOME = (
    "from fares.rules import is_full\n\ndef test_fares():\n    assert is_full(30)\n    assert not is_full(5)\n"
)
NOTICES_ALL = NOTICES_SOME + "    assert is_full(18)\n    assert not is_full(17)\n"


@pytest.fixture
def mutants(tmp_path):
    """Runs the program on a package of one rule, judged by this test."""
    code, tests = tmp_path / "fares", tmp_path / "checks"
    code.mkdir()
    tests.mkdir()
    (code / "__init__.py").touch()
    (code / "rules.py").write_text(FARES)

    def run(test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tests / "test_fares.py").write_text(test)
        command = [sys.executable, "-m", "tests.measure.mutants", "--code", "fares", "--tests", "checks", *arguments]
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    yield run
    assert (code / "rules.py").read_text() == FARES


def test_a_mutant_that_no_test_notices_is_named(mutants):
    ended = mutants(NOTICES_SOME, "--seed", "3")

    *_, share, first, second = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stderr
    assert share == "1 of 3 killed (33.3%)"
    assert {first, second} == {
        "lives: fares/rules.py:2: age >= 18  →  age > 18",
        "lives: fares/rules.py:2: 18  →  19",
    }


def test_a_test_that_notices_them_kills_all(mutants):
    assert mutants(NOTICES_ALL, "--jobs", "2").stdout.splitlines()[-1] == "3 of 3 killed (100.0%)"


def test_tests_that_fail_by_themselves_judge_nothing(mutants):
    ended = mutants(NOTICES_ALL.replace("17", "18"))

    assert (ended.returncode, "test_fares.py" in ended.stderr) == (1, True)


def test_only_the_mutants_of_one_place_are_tried_on_request(mutants):
    assert mutants(NOTICES_ALL, "--at", "fares/rules.py:2:").stdout.splitlines()[-1] == "3 of 3 killed (100.0%)"
    assert "nothing to mutate at fares/rules.py:1:" in mutants(NOTICES_ALL, "--at", "fares/rules.py:1:").stderr
