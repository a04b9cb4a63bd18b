"""What the gateway is measured beside: services of one or two processes, which come back at once when killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.stand_ins.processes import Command, Processes
from tests.measure.bench.crm import wait_for

START_SECONDS = 30.0
STOP_SECONDS = 5.0


class Running(Protocol):
    """`parts`: the processes by what they are, for what they use."""

    @property
    def url(self) -> str: ...

    def parts(self) -> Mapping[str, int]: ...

    def kill(self) -> None:
        """`kill -9` of what takes events in and of what tells the CRM; both are started again at once."""

    def wait_until_quiet(self) -> None:
        """Until what was taken in is worked off, so that it does not weigh on what is measured next."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`is_durable`: what it acknowledged may still reach the CRM after it was killed."""

    name: str
    running: Callable[[], AbstractContextManager[Running]]
    tells_crm: bool = True
    is_durable: bool = True


@dataclass(kw_only=True)
class Service:
    """
    Commands by their names; the first one answers HTTP on `port`. `beside`: processes of others that work for it.
    """

    processes: Processes
    commands: Mapping[str, Sequence[str]]
    port: int
    environment: Mapping[str, str]
    folder: Path
    beside: Mapping[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def started(self) -> Iterator[Service]:
        try:
            self._start()
            yield self
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self._log_ends()}") from error
        finally:
            self.processes.stop(self.commands, within_seconds=STOP_SECONDS)

    def parts(self) -> Mapping[str, int]:
        pids = self.processes.pids()
        return {name: pids[name] for name in self.commands} | dict(self.beside)

    def kill(self) -> None:
        for name in self.commands:
            self.processes.kill(name)
        self.processes.exited()
        self._start()

    def wait_until_quiet(self) -> None:
        """It ends after each measurement, and its queue with it."""

    def _log_ends(self) -> str:
        logs = {name: (self.folder / f"{name}.log").read_text(errors="replace") for name in self.commands}
        return "\n".join(f"{name}:\n{text[-2000:]}" for name, text in logs.items())

    def _start(self) -> None:
        for name, argv in self.commands.items():
            log = self.folder / f"{name}.log"
            self.processes.start(Command(name=name, argv=argv, log=log, env=self.environment))
        wait_for(self.url, seconds=START_SECONDS)


@contextmanager
def kills(kill: Callable[[], None], *, every_seconds: float = 5.0) -> Iterator[None]:
    """Kills every few seconds while inside."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(every_seconds):
            kill()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
