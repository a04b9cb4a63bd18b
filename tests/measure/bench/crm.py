"""What the CRM of the bench received, and how it is told to be slow."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from infra.stand_ins.postgres import free_port
from infra.stand_ins.processes import Command, Processes
from tests.measure.bench.load import Outcome

_START_SECONDS = 15.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Told:
    """`popups`: phone → when the first pop-up about it was received; `rows`: phone → how many history rows were."""

    popups: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Crm:
    url: str

    def told(self) -> Told:
        popups: dict[str, float] = {}
        rows: Counter[str] = Counter()
        for entry in requests.get(f"{self.url}/_stub/received", timeout=30).json()["received"]:
            if entry["kind"] == "row":
                rows[entry["phone"]] += 1
            elif entry["type"] == "in":
                popups.setdefault(entry["phone"], entry["received_at"])
        return Told(popups=popups, rows=rows)

    def clear(self) -> None:
        requests.delete(f"{self.url}/_stub/received", timeout=10)

    @contextmanager
    def slow(self, milliseconds: int) -> Iterator[None]:
        """As a real one on a bad day."""
        requests.post(f"{self.url}/_stub/delay/{milliseconds}", timeout=10)
        try:
            yield
        finally:
            requests.post(f"{self.url}/_stub/delay/0", timeout=10)

    def wait_for_rows(self, outcome: Outcome, *, seconds: float) -> Told:
        """Until every acknowledged hangup has a row, or the time is over."""
        wanted = outcome.phones("/hangup")
        deadline = time.monotonic() + seconds
        while not wanted <= (told := self.told()).rows.keys() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return told


def start(processes: Processes, folder: Path) -> Crm:
    port = free_port()
    argv = [sys.executable, "-m", "tests.measure.bench.crm_stub", f"--port={port}"]
    processes.start(Command(name="crm", argv=argv, log=folder / "crm.log"))
    wait_for(f"http://127.0.0.1:{port}/_stub/received", seconds=_START_SECONDS)
    return Crm(url=f"http://127.0.0.1:{port}")


def wait_for(url: str, *, seconds: float) -> None:
    """Until something answers there. Raises RuntimeError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            requests.get(url, timeout=1)
        except requests.RequestException:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nothing answers at {url}")
