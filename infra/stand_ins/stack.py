"""
Everything of the gateway, running on one machine.

`with Stack(run_dir, base_port) as stack:` is a running system; whatever happens inside, or to this process, no other
process stays behind. A part that ends by itself ends the stack (Crashed), or is started again with `restart=True`.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from infra.stand_ins import rundir
from infra.stand_ins.parts import PORTS_IN_ALL, Layout, Part, is_free
from infra.stand_ins.postgres import PostgresError
from infra.stand_ins.processes import Processes, end_marked
from infra.stand_ins.rundir import StartError

_READY_SECONDS: Final = 60.0
_RESTARTS: Final = 5
_RESTARTS_WITHIN_SECONDS: Final = 30.0
_LOG_LINES: Final = 15


class Crashed(Exception):
    """A part ended by itself, or did not come up."""


class Stack:
    """`tell` hears one line for every part that is ready; `options` are fields of Layout."""

    def __init__(
        self,
        run_dir: Path,
        base_port: int = 8080,
        *,
        restart: bool = False,
        tell: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self.layout = Layout(run_dir=run_dir.resolve(), base_port=base_port, **options)
        self._restart = restart
        self._tell = tell
        self._parts: dict[str, Part] = {}
        self._over = threading.Event()
        self._crash = ""
        self._killed: set[str] = set()
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def secrets(self) -> rundir.Secrets:
        return rundir.Secrets.of(self.layout.run_dir)

    @property
    def database_url(self) -> str:
        return self.layout.cluster.url

    def url(self, name: str) -> str:
        """Where a part listens: `gateway`, `retailcrm-simulator`, `emulator-control`, a function, …"""
        return self.layout.url(name)

    def pause(self, seconds: float) -> None:
        """Sleeps. Raises Crashed as soon as a part ends by itself."""
        if self._over.wait(seconds):
            raise Crashed(self._crash)

    def kill(self, name: str) -> None:
        """`kill -9` of one part. On purpose, so it does not count as a part that cannot stay up."""
        self._killed.add(name)
        self._processes.kill(name)

    def wait_until_ready(self, name: str, *, within_seconds: float = 20.0) -> None:
        """Waits for a part that was killed to be back."""
        is_ready = self._parts[name].is_ready
        deadline = time.monotonic() + within_seconds
        while is_ready and not is_ready():
            if time.monotonic() > deadline:
                raise Crashed(f"{name} did not come back.{self._log_end(name)}")
            self.pause(0.05)

    def run(self, name: str, module: str, *arguments: str) -> None:
        """Runs a Python module to its end, with the functions' environment. Raises Crashed if it fails."""
        code = self._processes.run(self.layout.job(name, module, *arguments).command)
        if code:
            raise Crashed(f"{name} failed ({_how(code)}).{self._log_end(name)}")

    def _start(self) -> None:
        run_dir = self.layout.run_dir
        self._cleanup.enter_context(rundir.owned(run_dir))
        end_marked(str(run_dir))
        self._check_ports()
        shutil.rmtree(run_dir / "logs", ignore_errors=True)
        (run_dir / "logs").mkdir(mode=0o700)
        try:
            self.layout.cluster.prepare()
        except PostgresError as error:
            raise StartError(str(error)) from error
        self._processes = Processes(str(run_dir))
        self._cleanup.callback(rundir.remove_description, run_dir)
        self._cleanup.callback(self._processes.close)
        self._cleanup.callback(self._stop_in_order)
        parts = self.layout.parts()
        self._parts = {part.name: part for part in parts}
        self._bring_up(parts)
        self._describe()
        watch = threading.Thread(target=self._watch, name="watch", daemon=True)
        watch.start()
        self._cleanup.callback(watch.join)
        self._cleanup.callback(self._over.set)

    def _check_ports(self) -> None:
        if not 1 <= self.layout.base_port <= 65535 - PORTS_IN_ALL:
            raise StartError(f"PORT={self.layout.base_port} is out of range: 1 to {65535 - PORTS_IN_ALL}")
        for name, port in self.layout.used_ports().items():
            if not is_free(port):
                raise StartError(f"Port {port} for {name} is in use: stop what uses it, or choose others with PORT=…")

    def _bring_up(self, parts: Sequence[Part]) -> None:
        """Starts each as soon as what it needs is ready, all others at once, and waits for all."""
        started_at = time.monotonic()
        waiting = {part.name: part for part in parts}
        coming: dict[str, Part] = {}
        while waiting or coming:
            for part in _startable(waiting, coming):
                coming[part.name] = waiting.pop(part.name)
                self._processes.start(part.command)
            for name, how in self._arrived(coming).items():
                del coming[name]
                self._tell(f"{time.monotonic() - started_at:5.1f} s  {name} {how}")
            if time.monotonic() - started_at > _READY_SECONDS:
                late = next(iter(coming))
                raise Crashed(f"{late} was not ready within {_READY_SECONDS:.0f} s.{self._log_end(late)}")
            time.sleep(0.03)

    def _arrived(self, coming: Mapping[str, Part]) -> dict[str, str]:
        """Parts that are done or ready. Raises Crashed when another one ended."""
        arrived: dict[str, str] = {}
        for name, code in self._processes.exited().items():
            if code or name not in coming or coming[name].is_ready:
                raise Crashed(self._obituary(name, code))
            arrived[name] = "done"
        return arrived | {name: "ready" for name, part in coming.items() if part.is_ready and part.is_ready()}

    def _watch(self) -> None:
        """Watches for parts that end by themselves: starts them again, or ends the stack."""
        restarts: list[float] = []
        while not self._over.wait(0.1):
            for name, code in self._processes.exited().items():
                now = time.monotonic()
                on_purpose = {name} & self._killed
                self._killed -= on_purpose
                restarts = [at for at in restarts if now - at < _RESTARTS_WITHIN_SECONDS] + [now] * (not on_purpose)
                if not self._restart or len(restarts) > _RESTARTS:
                    self._crash = self._obituary(name, code)
                    self._over.set()
                    return
                self._tell(f"{name} ended ({_how(code)}) and is started again")
                if name == "postgres":
                    self.layout.cluster.clear_leftovers()
                self._processes.start(self._parts[name].command)
                self._describe()

    def _stop_in_order(self) -> None:
        """Stops in the order of the flow: the entrance first, then the functions, then the services that they use."""
        front = ["gateway", "ticker"]
        simulators = ["retailcrm-simulator", "asterisk-simulator", "emulator"]
        for names in (front, self.layout.functions(), simulators):
            self._processes.stop(names, within_seconds=3)

    def _describe(self) -> None:
        """Writes the description of the running stack for tests, `make call` and `make provision`."""
        layout = self.layout
        content = {
            "pid": os.getpid(),
            "urls": {name: layout.url(name) for name in layout.used_ports()},
            "pids": self._processes.pids(),
            "logs": str(layout.run_dir / "logs"),
            "environment": layout.environment(),
        }
        rundir.write_description(layout.run_dir, content)

    def _obituary(self, name: str, code: int) -> str:
        return f"{name} ended by itself ({_how(code)}).{self._log_end(name)}"

    def _log_end(self, name: str) -> str:
        path = self.layout.log(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = [f"    {line[:400]}" for line in text.splitlines()[-_LOG_LINES:]]
        return "\n".join([f" The end of {path}:", *lines]) if lines else " Its log is empty."


def _startable(waiting: Mapping[str, Part], coming: Mapping[str, Part]) -> list[Part]:
    return [part for part in waiting.values() if not any(need in waiting or need in coming for need in part.needs)]


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
