"""
The processes of a run: started under a mark, watched, and ended with everything that they started.

The mark is in the environment of every process and of its descendants, so that leftovers are found reliably: after a
`kill -9` of the starter, a process id in a file may belong to another process. A keeper (`python -m
infra.stand_ins.processes MARK`) waits for the starter's end and then ends whatever is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

_MARK = "STARTED_FOR"
_LOOPBACK = "127.0.0.1,localhost"
# Variables that other tools leave in a shell and that would change what a function is.
_NOT_OURS = ("DEBUG", "FUNCTION_USE_ASGI", "FUNCTION_SIGNATURE_TYPE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


@dataclass(frozen=True, kw_only=True)
class Command:
    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_signal: signal.Signals = signal.SIGTERM


class Processes:
    """The processes that one run has started. `close` ends all of them, and must always be called."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._running: dict[str, tuple[Command, subprocess.Popen[bytes]]] = {}
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "infra.stand_ins.processes", mark],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def start(self, command: Command) -> None:
        """Starts it in a process group of its own, so that Ctrl-C reaches only the starter."""
        self._running[command.name] = (command, self._spawn(command))

    def run(self, command: Command) -> int:
        """Runs it to its end; the exit code."""
        process = self._spawn(command)
        try:
            return process.wait()
        finally:
            _kill_group(process)

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        command.log.touch(mode=0o600)
        with command.log.open("ab") as log:
            return subprocess.Popen(
                list(command.argv),
                cwd=ROOT,
                env={**environment(), **command.env, _MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                umask=0o077,
            )

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, (_, process) in self._running.items()}

    def exited(self) -> dict[str, int]:
        """Names and exit codes of what has ended by itself since the last call."""
        ended: dict[str, int] = {}
        for name, (_, process) in list(self._running.items()):
            code = process.poll()
            if code is not None:
                _kill_group(process)
                del self._running[name]
                ended[name] = code
        return ended

    def kill(self, name: str) -> None:
        """`kill -9`, of the process and of what it started; it is dead on return."""
        process = self._running[name][1]
        _kill_group(process)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    def stop(self, names: Iterable[str], *, within_seconds: float) -> None:
        """Asks all of them to end, at once, and ends those that do not."""
        stopping = [self._running.pop(name) for name in names if name in self._running]
        for command, process in stopping:
            process.send_signal(command.stop_signal)
        deadline = time.monotonic() + within_seconds
        for _, process in stopping:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _kill_group(process)
            process.wait()

    def close(self) -> None:
        self.stop(list(self._running), within_seconds=5)
        end_marked(self._mark)
        assert self._keeper.stdin is not None  # noqa: S101  (it is a PIPE)
        self._keeper.stdin.close()
        self._keeper.wait()


def environment() -> dict[str, str]:
    """What every process inherits: the caller's environment, loopback never through a proxy."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    direct = ",".join(filter(None, [inherited.get("no_proxy") or inherited.get("NO_PROXY"), _LOOPBACK]))
    return inherited | {"NO_PROXY": direct, "no_proxy": direct, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def end_marked(mark: str) -> None:
    """Ends every process that bears the mark. PostgreSQL is told to, so that it takes its own children along."""
    left = _marked(mark)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT if process.name() == "postgres" else signal.SIGKILL)
    for process in psutil.wait_procs(left, timeout=5)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _keep(mark: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked(mark)


if __name__ == "__main__":
    _keep(sys.argv[1])
