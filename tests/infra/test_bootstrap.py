"""The virtual environment of a new clone, with a package of the test's own instead of a hundred of others."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "infra" / "stand_ins" / "bootstrap.sh"
SHELLS = [shell for shell in ("dash", "bash", "sh") if shutil.which(shell)]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    (tmp_path / "infra" / "stand_ins").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "infra" / "stand_ins")
    wheel = tmp_path / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    require(tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PYTHON", sys.executable)
    return tmp_path


def require(clone, sha256):
    (clone / "requirements-dev.txt").write_text(f"tiny==1.0 --hash=sha256:{sha256}\n")


def bootstrap(clone, shell="sh"):
    return subprocess.run(
        [shell, "infra/stand_ins/bootstrap.sh"], cwd=clone, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_terminal_it_is_one_line_and_the_next_time_none(clone, shell):
    first, second = bootstrap(clone, shell), bootstrap(clone, shell)

    assert (first.returncode, first.stderr) == (0, "")
    [line] = first.stdout.splitlines()
    assert line.startswith("Making .venv with Python 3")
    assert ", 1 packages, once … done in " in line
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert subprocess.run([clone / ".venv/bin/python", "-c", "import tiny"], check=False).returncode == 0


def test_on_a_terminal_the_one_line_says_how_far_it_is(clone):
    ours, its = pty.openpty()
    running = subprocess.Popen(["sh", "infra/stand_ins/bootstrap.sh"], cwd=clone, stdout=its, stderr=its)
    os.close(its)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)

    assert running.wait(100) == 0
    text = written.decode().replace("\r\n", "\n")
    assert text.count("\n") == 1
    assert "1 packages, once: 1 fetched, " in text.rpartition("\r")[2]


def test_a_failure_shows_what_pip_said_and_leaves_it_to_be_done_again(clone):
    require(clone, "0" * 64)

    failed = bootstrap(clone)

    assert failed.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in failed.stderr
    assert "The packages could not be installed; the reason is above" in failed.stderr
    assert not (clone / ".venv" / "requirements-dev.txt").exists()


def test_ctrl_c_ends_pip_too(clone):
    assert bootstrap(clone).returncode == 0
    (clone / "requirements-dev.txt").write_text("tiny==1.0 --hash=sha256:" + "1" * 64 + "\n")
    (clone / ".venv/bin/python").rename(clone / ".venv/bin/real")
    (clone / ".venv/bin/python").write_text(
        '#!/bin/sh\nif [ "$1" = -m ]; then echo $$ > pip.pid; exec sleep 60; fi\nexec .venv/bin/real "$@"\n'
    )
    (clone / ".venv/bin/python").chmod(0o755)
    running = subprocess.Popen(["sh", "infra/stand_ins/bootstrap.sh"], cwd=clone, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (clone / "pip.pid").exists() or not (clone / "pip.pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)

    assert running.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((clone / "pip.pid").read_text()), 0)
