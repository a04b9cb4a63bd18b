"""
Publishes messages after a delay, from one thread per process.

Nothing depends on it: the sweep publishes what is lost with the process, or while Pub/Sub is away.
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
from lib.runtime.lazy import lazy
from lib.runtime.pubsub import Message

log = logging.getLogger(__name__)

# Messages beyond it are left to the sweep, which publishes them in steps.
MOST: Final = 1000


class DelayedPublisher:
    def __init__(self) -> None:
        self._due: list[tuple[float, int, str, Message]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="delayed-publisher", daemon=True)
        self._thread.start()

    def publish(self, topic: str, body: Mapping[str, object], *, seconds: float) -> None:
        message = pubsub.message(body)
        with self._changed:
            if len(self._due) < MOST:
                heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), topic, message))
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (due := self._next()) is not None:
            topic, message = due
            try:
                pubsub.publish_messages(topic, [message])
            except AppError as error:
                log.warning("not published", extra={"reason": str(error)})
            except Exception:
                log.exception("bug")  # the thread is the process's only one

    def _next(self) -> tuple[str, Message] | None:
        with self._changed:
            while not self._is_closed:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    _, _, topic, message = heapq.heappop(self._due)
                    return topic, message
                self._changed.wait(left)
            return None


@lazy
def delayed_publisher() -> DelayedPublisher:
    return DelayedPublisher()


def close() -> None:
    if delayed_publisher.made is not None:
        delayed_publisher.made.close()
        delayed_publisher.forget()
