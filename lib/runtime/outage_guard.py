"""Guards callers against a store that is away: after one timeout others fail at once, and one at a time probes it."""

from __future__ import annotations

import threading
import time
from typing import Final

from lib.runtime.errors import Unavailable

# The time without requests after a timeout, and between two probes.
PAUSE_SECONDS: Final = 0.5


class OutageGuard:
    def __init__(self, store: str) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._away = False
        self._next_probe_at = 0.0

    @property
    def is_away(self) -> bool:
        return self._away

    def check(self) -> None:
        """Raises Unavailable while the store is away, unless this caller is to probe it."""
        if not self._away:
            return
        with self._lock:
            now = time.monotonic()
            if self._away and now < self._next_probe_at:
                raise Unavailable(f"{self._store} did not answer a moment ago")
            self._next_probe_at = now + PAUSE_SECONDS

    def silent(self) -> None:
        """A caller ran into its timeout."""
        with self._lock:
            self._away, self._next_probe_at = True, time.monotonic() + PAUSE_SECONDS

    def answered(self) -> None:
        self._away = False
