"""Which CRM may be asked: a few questions at a time per enterprise, and none for a while after failures in a row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

AT_A_TIME: Final = 3
FAILURES: Final = 3
PAUSE_SECONDS: Final = 10.0


class UsualScheme(Exception):
    """Nobody in particular is rung: a `reason` to be shown, and what went wrong, if anything did."""

    def __init__(self, reason: str, error: str | None = None) -> None:
        super().__init__(error or reason)
        self.reason, self.error = reason, error


class Gate:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._paused_until: dict[str, float] = {}

    @contextmanager
    def entered(self, enterprise_number: str) -> Iterator[None]:
        """Raises UsualScheme at once, rather than let one CRM use up what all enterprises share."""
        with self._lock:
            if time.monotonic() < self._paused_until.get(enterprise_number, 0.0):
                raise UsualScheme(
                    "crm_paused", f"The CRM failed {FAILURES} times in a row and is left alone for a while"
                )
            # After a pause one question finds out, before others may wait for it too.
            most = 1 if self._failures[enterprise_number] >= FAILURES else AT_A_TIME
            if self._inside[enterprise_number] >= most:
                raise UsualScheme("crm_busy", "As many questions as may wait for this CRM are waiting")
            self._inside[enterprise_number] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[enterprise_number] -= 1

    def note(self, enterprise_number: str, *, is_good: bool) -> None:
        with self._lock:
            if is_good:
                self._failures.pop(enterprise_number, None)
                self._paused_until.pop(enterprise_number, None)
                return
            self._failures[enterprise_number] += 1
            if self._failures[enterprise_number] >= FAILURES:
                self._paused_until[enterprise_number] = time.monotonic() + PAUSE_SECONDS
