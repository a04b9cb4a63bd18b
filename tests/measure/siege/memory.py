"""The most memory that each function had: the kernel's own mark, of a process and its children."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

_EVERY_SECONDS: Final = 0.2
_HIGH_WATER: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@contextmanager
def peaks(pids: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """MiB by name, kept up to date while inside."""
    found: dict[str, float] = {}
    over = threading.Event()

    def look() -> None:
        while True:
            for name, pid in pids.items():
                found[name] = max(found.get(name, 0.0), _peak(pid))
            if over.wait(_EVERY_SECONDS):
                return

    thread = threading.Thread(target=look, name="memory")
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _peak(pid: int) -> float:
    """Pages that processes share count for each of them."""
    total = 0
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                total += sum(int(kilobytes) for kilobytes in _HIGH_WATER.findall(status))
    return total / 1024
