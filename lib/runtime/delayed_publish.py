"""
Messages that are published in a moment: one thread per process waits for all of them.

Nothing depends on it: what is lost with the process, or while Pub/Sub is away, the sweep finds, only later.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

from lib.runtime import pubsub
from lib.runtime.errors import AppError
from lib.runtime.lazy import once

log = logging.getLogger(__name__)

# More than that is a flood, which the sweep takes in steps.
MOST: Final = 1000


class Later:
    def __init__(self) -> None:
        self._due: list[tuple[float, int, str, Mapping[str, object]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="later", daemon=True)
        self._thread.start()

    def publish(self, topic: str, body: Mapping[str, object], *, seconds: float) -> None:
        with self._changed:
            if len(self._due) < MOST:
                heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), topic, body))
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (due := self._next()) is not None:
            topic, body = due
            try:
                pubsub.publish(topic, body)
            except AppError as error:
                log.warning("not published", extra={"reason": str(error)})
            except Exception:
                log.exception("bug")  # the thread is the process's only one

    def _next(self) -> tuple[str, Mapping[str, object]] | None:
        with self._changed:
            while not self._is_over:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    _, _, topic, body = heapq.heappop(self._due)
                    return topic, body
                self._changed.wait(left)
            return None


@once
def later() -> Later:
    return Later()


def close() -> None:
    if later.made is not None:
        later.made.close()
        later.forget()
