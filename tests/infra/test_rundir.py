"""The state directory: whose it is, what is secret in it, what it says of a running stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.stand_ins import rundir
from infra.stand_ins.rundir import Secrets, StartError


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path):
    first = Secrets.of(tmp_path)

    assert Secrets.of(tmp_path) == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert first.operator_token not in repr(first)


def test_two_directories_share_no_secret(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = Secrets.of(tmp_path / "a"), Secrets.of(tmp_path / "b")

    assert not set(vars(a).values()) & set(vars(b).values())


def test_a_directory_belongs_to_one_at_a_time(tmp_path):
    with (
        rundir.owned(tmp_path / "new"),
        pytest.raises(StartError, match=f"process {os.getpid()}"),
        rundir.owned(tmp_path / "new"),
    ):
        pass

    with rundir.owned(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "_FREE_BYTES", 2**60)

    with pytest.raises(StartError, match=r"^\d+ MB are free for .*, \d+ MB are needed$"), rundir.owned(tmp_path):
        pass


def test_a_stack_that_is_gone_does_not_count_as_running(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    rundir.write_description(tmp_path, {"pid": os.getpid(), "urls": {}})
    assert rundir.read_description(tmp_path)["pid"] == os.getpid()
    rundir.write_description(tmp_path, {"pid": ended.pid, "urls": {}})
    with pytest.raises(StartError, match="make run"):
        rundir.read_description(tmp_path)


@pytest.mark.parametrize(("environment_file", "told"), [(True, True), (False, False)])
def test_who_runs_the_composition_is_told_where_its_commands_are(tmp_path, environment_file, told):
    if environment_file:
        (tmp_path / ".env").touch()
    ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "infra.stand_ins.inside", "infra.commands.explain"]

    ended = subprocess.run(command, cwd=tmp_path, env=ours, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ("docker compose run --rm operator python -m infra.commands.explain" in ended.stderr) == told
