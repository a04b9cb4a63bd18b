"""
What one enterprise may post to an instance, so that the others' events find a thread, memory and a database.

The busiest host known sends 6,481 events on its busiest day, and 45 for its longest call; what it could not send waits
in a queue of 10,000 that one thread empties. So an enterprise may post 10,000 events at once and 200 a second, which is
a thousand times its busy hour, and the same once more in batches. Counted in each instance for itself: shared counts
would cost every live event a round trip to the database that they are to spare.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from lib.runtime import config
from lib.runtime.buckets import Buckets
from lib.runtime.errors import RateLimited
from lib.runtime.lazy import lazy

log = logging.getLogger(__name__)

Form = Literal["single", "batch"]

# How many seconds' worth may come at once: at 200 a second, all that a host keeps.
BURST_SECONDS: Final = 50
# Of the threads of an instance, those that batches may have.
_BATCHES_SHARE: Final = 4
_RETRY_BATCH_SECONDS: Final = 1.0
_SECONDS_BETWEEN_LINES: Final = 60.0


class Limits:
    """A setting of 0 is no limit. Single events and batches are counted apart: neither uses up what the other may."""

    def __init__(self, settings: config.Intake, *, threads: int = 0) -> None:
        self._buckets = {
            "events": _buckets(settings.intake_events_per_second),
            "bytes": _buckets(settings.intake_bytes_per_second),
        }
        shared = max(1, threads // _BATCHES_SHARE) if threads else settings.intake_batches_at_once
        self._batches_at_once = min(shared, settings.intake_batches_at_once)
        self._lines = Buckets(per_second=1 / _SECONDS_BETWEEN_LINES, burst=1)
        self._lock = threading.Lock()
        self._with_batch: set[str] = set()
        # Whoever is told to wait and does not, takes no place from others.
        self._batch_again_at: dict[str, float] = {}

    def take(self, enterprise_number: str, form: Form, *, events: int, size: int) -> None:
        """Raises RateLimited when this is more than the enterprise may post now; `size` in bytes."""
        for what, amount in (("bytes", size), ("events", events)):
            buckets = self._buckets[what]
            wait = buckets.take((enterprise_number, form), amount) if buckets is not None else 0.0
            if wait:
                self._tell(enterprise_number, what)
                if form == "batch":
                    self._batch_again_at[enterprise_number] = time.monotonic() + wait
                raise RateLimited(
                    f"Too many {what} of this enterprise; send this again later", retry_after_seconds=wait
                )

    def _tell(self, enterprise_number: str, what: str) -> None:
        if self._lines.take((enterprise_number, what)) == 0:
            log.warning("an enterprise posts too much", extra={"enterprise": enterprise_number, "what": what})

    @contextmanager
    def batch(self, enterprise_number: str) -> Iterator[None]:
        """
        While a batch is read and stored: one of an enterprise at a time, and few of all. Raises RateLimited, also for
        one that comes before the time that the enterprise was told.
        """
        if (wait := self._batch_again_at.get(enterprise_number, 0.0) - time.monotonic()) > 0:
            raise RateLimited("This enterprise was told to send its batches later", retry_after_seconds=wait)
        with self._lock:
            if enterprise_number in self._with_batch:
                raise _later("A batch of this enterprise is being stored")
            if len(self._with_batch) >= self._batches_at_once:
                raise _later("Batches of others are being stored")
            self._with_batch.add(enterprise_number)
        try:
            yield
        finally:
            with self._lock:
                self._with_batch.remove(enterprise_number)


def _buckets(per_second: int) -> Buckets | None:
    return Buckets(per_second=per_second, burst=per_second * BURST_SECONDS) if per_second else None


def _later(what: str) -> RateLimited:
    return RateLimited(f"{what}; send this one again in a second", retry_after_seconds=_RETRY_BATCH_SECONDS)


@lazy
def limits() -> Limits:
    return Limits(config.current(config.Intake), threads=config.current(config.Platform).threads)
