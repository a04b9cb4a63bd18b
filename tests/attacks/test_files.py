"""
Whoever has another account on the machine, and looks into what a stack leaves behind.

Logs, the simulators' state and the description of a running stack have names, numbers and tokens. What must hold:
nobody but their owner reads any of it, whatever the umask of whoever started the stack.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stand_ins import rundir
from infra.stand_ins.emulator.journal import Journal
from infra.stand_ins.processes import Command, Processes
from infra.stand_ins.retailcrm_simulator.state import StateFile


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """Of somebody who lets everybody read."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [f"{path}: {mode:o}" for path in found if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077]


def test_a_state_directory_is_its_owners_only(tmp_path):
    with rundir.owned(tmp_path / "run"):
        rundir.write_description(tmp_path / "run", {"pid": 1})

        assert open_to_others(tmp_path / "run") == []


def test_a_directory_that_somebody_made_for_something_else_stays_as_it_is(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)

    with rundir.owned(tmp_path / "shared"):
        assert open_to_others(tmp_path / "shared") == [f"{tmp_path / 'shared'}: 755"]


def test_logs_and_whatever_a_process_writes_are_its_owners_only(tmp_path):
    (folder := tmp_path / "run").mkdir(mode=0o700)
    program = f"import pathlib; pathlib.Path({str(folder / 'state')!r}).write_text('+375291111111'); print('done')"
    processes = Processes(str(folder))
    try:
        processes.run(Command(name="writer", argv=[sys.executable, "-c", program], log=folder / "writer.log"))
    finally:
        processes.close()

    assert {path.name for path in folder.iterdir()} == {"state", "writer.log"}
    assert open_to_others(folder) == []


def test_the_state_of_simulator_and_emulator_is_their_owners_only(tmp_path):
    (tmp_path / "crm").mkdir(mode=0o700)
    (tmp_path / "crm" / "old.jsonl").touch()
    for name in ("old.jsonl", "new.jsonl"):
        state = StateFile(tmp_path / "crm" / name)
        state.open()
        state.append({"phone": "+375291111111"})
        state.close()
    journal = Journal(tmp_path / "emulator")
    journal.close()

    assert open_to_others(tmp_path / "crm") == []
    assert open_to_others(tmp_path / "emulator") == []
