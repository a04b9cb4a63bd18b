"""What processes use: memory, and processor time by part."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import psutil


def memory_mb(pids: Iterable[int]) -> float:
    """Of processes and their children, shared pages counted once (PSS), in MiB."""
    total = 0
    for pid in pids:
        for process in _family(pid):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Processor seconds by part since it began, of the whole machine, and when that was."""

    parts: Mapping[str, float]
    machine: float
    at: float

    @classmethod
    def now(cls, parts: Mapping[str, int]) -> Self:
        times = psutil.cpu_times()
        idle = times.idle + times.iowait
        return cls(
            parts={name: processor_seconds(pid) for name, pid in parts.items()},
            machine=sum(times) - idle - times.guest - times.guest_nice,
            at=time.monotonic(),
        )


@dataclass(frozen=True, kw_only=True)
class Used:
    """Between two snapshots: processor seconds by part and of the machine, in so many seconds."""

    parts: Mapping[str, float]
    machine: float
    seconds: float

    @property
    def cores(self) -> float:
        """How many were busy, with whatever."""
        return self.machine / self.seconds if self.seconds else 0.0


def between(before: Snapshot, after: Snapshot) -> Used:
    return Used(
        parts={name: max(0.0, value - before.parts.get(name, 0.0)) for name, value in after.parts.items()},
        machine=after.machine - before.machine,
        seconds=after.at - before.at,
    )


def processor_seconds(pid: int) -> float:
    """Of a process and all its children, also those that have ended."""
    total = 0.0
    for process in _family(pid):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []
