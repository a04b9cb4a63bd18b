"""Whether a store of ours answers: after one caller waited in vain the others are told at once, and few try again."""

from __future__ import annotations

import threading
import time
from typing import Final

from lib.runtime.errors import Unavailable

# How long nobody asks, and how far apart those stand who then try: a queue of waiters helps nobody.
PAUSE_SECONDS: Final = 0.5


class Availability:
    def __init__(self, store: str) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._away = False
        self._next_try_at = 0.0

    @property
    def is_away(self) -> bool:
        return self._away

    def check(self) -> None:
        """Raises Unavailable while the store is away, unless it is this caller's turn to try."""
        if not self._away:
            return
        with self._lock:
            now = time.monotonic()
            if self._away and now < self._next_try_at:
                raise Unavailable(f"{self._store} did not answer a moment ago")
            self._next_try_at = now + PAUSE_SECONDS

    def silent(self) -> None:
        """A caller waited in vain."""
        with self._lock:
            self._away, self._next_try_at = True, time.monotonic() + PAUSE_SECONDS

    def answered(self) -> None:
        self._away = False
