"""Limits the requests to one enterprise's CRM: a few slots, and a pause after failures in a row. Per process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lib.redirect.choice import UsualScheme

AT_A_TIME: Final = 3
FAILURES: Final = 3
PAUSE_SECONDS: Final = 10.0


class CrmLimit:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_slots: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._paused_until: dict[str, float] = {}

    @contextmanager
    def slot(self, enterprise_number: str) -> Iterator[None]:
        """Raises UsualScheme at once when no slot is free: one slow CRM must not use up all workers."""
        with self._lock:
            if time.monotonic() < self._paused_until.get(enterprise_number, 0.0):
                raise UsualScheme(
                    "crm_paused", f"The CRM failed {FAILURES} times in a row and is left alone for a while"
                )
            # After a pause one request probes the CRM before others may wait for it too.
            most = 1 if self._failures[enterprise_number] >= FAILURES else AT_A_TIME
            if self._in_slots[enterprise_number] >= most:
                raise UsualScheme("crm_busy", "As many questions as may wait for this CRM are waiting")
            self._in_slots[enterprise_number] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_slots[enterprise_number] -= 1

    def record(self, enterprise_number: str, *, is_good: bool) -> None:
        with self._lock:
            if is_good:
                self._failures.pop(enterprise_number, None)
                self._paused_until.pop(enterprise_number, None)
                return
            self._failures[enterprise_number] += 1
            if self._failures[enterprise_number] >= FAILURES:
                self._paused_until[enterprise_number] = time.monotonic() + PAUSE_SECONDS
