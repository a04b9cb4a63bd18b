"""`make run` as a process: how it starts, how it ends, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from infra.stand_ins.parts import OFFSETS, free_base_port
from infra.stand_ins.processes import ROOT
from infra.stand_ins.stack import Crashed, Stack

pytestmark = pytest.mark.e2e

START_SECONDS = 60
STOP_SECONDS = 40.0


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """A child inherits what is ignored: the tests may run behind nohup themselves."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@dataclass
class Run:
    """`python -m infra.stand_ins.run`, and everything that it has said."""

    process: subprocess.Popen[str]
    run_dir: Path
    base_port: int
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))
        self.process.stdout.close()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def description(self) -> Any:
        return json.loads((self.run_dir / "stack.json").read_text())

    def wait_for(self, text: str, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self, seconds: float = STOP_SECONDS) -> int:
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def processes(self) -> list[str]:
        """Everything that still runs because of this stack: it names the state directory, or was started for it."""
        found = []
        for process in psutil.process_iter():
            try:
                about = " ".join([*process.cmdline(), *process.environ().values()])
            except psutil.Error:
                continue
            if str(self.run_dir) in about and process.pid not in {os.getpid(), self.process.pid}:
                found.append(f"{process.pid} {process.name()}")
        return found

    def is_gone(self, seconds: float = 10) -> bool:
        deadline = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def running(run_dir: Path, *arguments: str, base_port: int | None = None, **environment: str) -> Iterator[Run]:
    port = base_port or free_base_port()
    env = os.environ | {"RUN_DIR": str(run_dir), "PORT": str(port), "PUBSUB_EMULATOR_HOST": ""} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.stand_ins.run", *arguments],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    run = Run(process, run_dir, port)
    try:
        yield run
    finally:
        process.terminate()
        try:
            run.end(15)
        finally:
            process.kill()


def get(url: str) -> int:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        answer.read()
        return int(answer.status)


def written(run_dir: Path) -> list[Path]:
    """All of it; PostgreSQL closes its own folder, in which files come and go."""
    cluster = run_dir / "postgres"
    return [path for path in run_dir.rglob("*") if cluster not in path.parents]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_everything_within_seconds(tmp_path, number):
    with running(tmp_path, "--no-demo") as run:
        run.wait_for("It stays up")
        assert get(f"http://127.0.0.1:{run.base_port}/health") == 200
        assert {"secrets.json", "stack.json", "postgres.password", "logs"} <= {path.name for path in tmp_path.iterdir()}
        assert [path for path in written(tmp_path) if path.stat().st_mode & 0o077] == []

        run.process.send_signal(number)

        assert run.end() == 0
        assert run.processes() == []
        assert not (tmp_path / "stack.json").exists()
        for offset in OFFSETS.values():
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", run.base_port + offset)) != 0


def test_behind_nohup_it_outlives_its_terminal(tmp_path):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with running(tmp_path, "--no-demo") as run:
        run.wait_for("It stays up")

        run.process.send_signal(signal.SIGHUP)

        with pytest.raises(subprocess.TimeoutExpired):
            run.process.wait(2)
        assert "Stopping" not in run.said
        assert get(f"http://127.0.0.1:{run.base_port}/health") == 200


def test_a_stop_while_it_starts_ends_everything(tmp_path):
    with running(tmp_path, "--no-demo") as run:
        run.wait_for("postgres ready")

        run.process.send_signal(signal.SIGINT)

        assert run.end() == 0
        assert run.processes() == []


def test_kill_9_leaves_nothing_behind_and_the_next_start_finds_its_data(tmp_path):
    with running(tmp_path, "--no-demo") as first:
        first.wait_for("It stays up")
        environment = first.description()["environment"]
        with psycopg.connect(environment["DATABASE_URL"]) as conn:
            conn.execute("INSERT INTO enterprises (number, name, token, secret) VALUES ('kept', 'Kept', 'a', 'b')")
        first.process.kill()
        first.end()
        assert first.is_gone(), first.processes()

    with running(tmp_path, "--no-demo") as second:
        began = time.monotonic()
        second.wait_for("It stays up")
        assert time.monotonic() - began < 20
        again = second.description()["environment"]
        with psycopg.connect(again["DATABASE_URL"]) as conn:
            assert conn.execute("SELECT number FROM enterprises").fetchone() == ("kept",)
        for name in ("VAULT_KEYS", "OPERATOR_TOKEN"):
            assert again[name] == environment[name]


def test_leftovers_of_a_killed_run_and_keeper_do_not_hinder_the_next_start(tmp_path):
    with running(tmp_path, "--no-demo") as first:
        first.wait_for("It stays up")
        for child in psutil.Process(first.process.pid).children():
            if "infra.stand_ins.processes" in child.cmdline():
                child.kill()
        first.process.kill()
        first.end()
        assert first.processes()

    with running(tmp_path, "--no-demo", base_port=first.base_port) as second:
        second.wait_for("It stays up")


@pytest.mark.parametrize("part", ["postgres", "emulator", "dispatch-call-event", "gateway", "ticker"])
def test_a_part_that_crashes_ends_the_run_and_is_named(tmp_path, part):
    with running(tmp_path, "--no-demo") as run:
        run.wait_for("It stays up")

        os.kill(run.description()["pids"][part], signal.SIGKILL)

        assert run.end() == 1
        assert f"{part} ended by itself (signal 9)" in run.said
        assert run.is_gone(1), run.processes()


def test_a_part_that_crashes_is_started_again_when_asked_for(tmp_path):
    with running(tmp_path, "--no-demo", RESTART="1") as run:
        run.wait_for("It stays up")
        before = run.description()["pids"]

        for part in ("sweep-calls", "emulator", "postgres"):
            os.kill(before[part], signal.SIGKILL)
            run.wait_for(f"{part} ended (signal 9) and is started again", 5)
        run.wait_for("started again", 5)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert get(f"http://127.0.0.1:{run.base_port}/health") == 200
                break
            except OSError:
                assert time.monotonic() < deadline, run.said
                time.sleep(0.1)

        after = run.description()["pids"]
        assert {part for part in after if after[part] != before[part]} == {"sweep-calls", "emulator", "postgres"}
        assert run.process.poll() is None


def test_a_function_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path):
    for name in ("dispatch-call-event", "retailcrm-deliver", "retailcrm-upload", "sweep-calls"):
        (tmp_path / "functions" / name).mkdir(parents=True)
        (tmp_path / "functions" / name / "main.py").write_text("raise RuntimeError('no such thing here')")

    with (
        pytest.raises(Crashed, match=r"(?s)ended by itself \(exit code 1\).*RuntimeError: no such thing here"),
        Stack(tmp_path / "run", free_base_port(), functions_dir=tmp_path / "functions"),
    ):
        pass


def refusal(run: Run) -> str:
    assert run.end(START_SECONDS) == 1
    assert "Traceback" not in run.said
    return run.lines[-1]


def test_a_port_in_use_is_said_in_one_sentence(tmp_path):
    base = free_base_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + OFFSETS["retailcrm-simulator"]))
        taken.listen()
        with running(tmp_path, base_port=base) as run:
            said = refusal(run)

    assert said.startswith(f"Port {base + 1} for retailcrm-simulator is in use")
    assert "PORT=" in said


def test_a_state_directory_in_use_is_said_in_one_sentence(tmp_path):
    with Stack(tmp_path, free_base_port()), running(tmp_path) as run:
        said = refusal(run)

    assert f"(process {os.getpid()})" in said
    assert "RUN_DIR" in said


def test_a_state_directory_that_cannot_be_made_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with running(tmp_path / "file" / "run") as run:
        assert "cannot be written" in refusal(run)


@pytest.mark.parametrize("port", ["eighty", "0", "99999"])
def test_a_port_that_is_none_is_said_in_one_sentence(tmp_path, port):
    with running(tmp_path, PORT=port) as run:
        assert f"PORT={port}" in refusal(run)


def test_an_emulator_that_is_there_is_used(tmp_path):
    base = free_base_port()
    host, control = f"127.0.0.1:{base}", base + 1
    emulator = subprocess.Popen(
        [sys.executable, "-m", "infra.stand_ins.emulator", "--port", str(base), "--control-port", str(control)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                get(f"http://127.0.0.1:{control}/health")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with running(tmp_path, "--no-demo", PUBSUB_EMULATOR_HOST=host) as run:
            run.wait_for("It stays up")

            assert f"the emulator at {host}" in run.said
            assert "emulator" not in run.description()["pids"]
            assert run.description()["environment"]["PUBSUB_EMULATOR_HOST"] == host
    finally:
        emulator.terminate()
        emulator.wait(10)


def ask(run_dir: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_call_is_played_and_reported_and_the_other_verbs_find_the_stack(tmp_path):
    (tmp_path / "other.json").write_text(
        json.dumps({"number": "0400", "name": "Other", "token": "375290000400", "secret": "a-secret", "lines": []})
    )
    with running(tmp_path / "run") as run:
        run.wait_for("It stays up", 90)
        provisioned = ask(
            run.run_dir, "infra.stand_ins.inside", "infra.commands.provision", str(tmp_path / "other.json")
        )
        called = ask(run.run_dir, "infra.stand_ins.call", "--run-dir", str(run.run_dir), "--speed", "20", "2-2-doc")
        stranger = ask(
            run.run_dir, "infra.stand_ins.call", "--run-dir", str(run.run_dir), "--enterprise", "0999", "2-2-doc"
        )

    assert "pop-up          +375291111111 for 150, 151, 152" in run.said
    assert "ms after the phones began to ring" in run.said
    assert "The history row is in." in run.said
    assert "login admin, password " in run.said
    assert (provisioned.returncode, provisioned.stderr) == (0, "")
    assert (called.returncode, called.stderr) == (0, "")
    assert "The history row is in." in called.stdout
    assert (stranger.returncode, "no enterprise 0999" in stranger.stderr) == (1, True)


def test_the_verbs_say_when_no_stack_runs(tmp_path):
    assert (
        "start one with `make run`"
        in ask(tmp_path, "infra.stand_ins.inside", "infra.commands.provision", "x.json").stderr
    )
    assert (
        "start one with `make run`" in ask(tmp_path, "infra.stand_ins.call", "--run-dir", str(tmp_path), "1-1").stderr
    )
