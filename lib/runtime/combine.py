"""
Group commit, for whatever costs one round trip however much it carries: who comes while a batch is under way waits,
and all who waited are the next batch.

There is no timer, no thread and no queue that outlives its callers: one of those who wait leads the batch on its own
thread, and an answer is given only after its batch is done. Alone, an item goes at once, as if nothing were here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from lib.runtime.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
Fault = TypeVar("Fault", bound=Exception)
# work(items, seconds): one result per item, in order, within so many seconds. An error says nothing of a single item.
Work = Callable[[Sequence[Item], float], Sequence[Result]]

# A leader that takes longer is not waited for: the next batch goes beside it.
PATIENCE_SECONDS: Final = 0.1


class _Entry(Generic[Item, Result]):
    """One caller's item; `changed` is set when it is settled, or when it stands first."""

    def __init__(self, item: Item, until: float) -> None:
        self.item, self.until = item, until
        self.changed = threading.Event()
        self.is_settled = False
        self.results: list[Result] = []  # of this item, or nothing when its batch failed


class Combiner(Generic[Item, Result]):
    """Several instances of `work` run at a time only while one takes longer than PATIENCE_SECONDS."""

    def __init__(self, work: Work[Item, Result], *, limit: int) -> None:
        self._work, self._limit = work, limit
        self._lock = threading.Lock()
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._leader: _Entry[Item, Result] | None = None
        self._overtaken_at = 0.0

    def run(self, item: Item, *, within_seconds: float) -> Result:
        """
        The result of this item, by whichever batch it went with.

        Raises Unavailable after `within_seconds` (its batch may still succeed then), and what `work` raises for this
        item alone: after the failure of a batch each of its members goes by itself, on its own thread.
        """
        entry: _Entry[Item, Result] = _Entry(item, time.monotonic() + within_seconds)
        with self._lock:
            self._waiting.append(entry)
        try:
            while (batch := self._turn(entry)) is None and not entry.is_settled:
                self._wait(entry)
        except BaseException:
            self._withdraw(entry)
            raise
        if batch is not None:
            self._lead(entry, batch)
        if entry.results:
            return entry.results[0]
        if (left := entry.until - time.monotonic()) <= 0:
            raise Unavailable("There was no time left to try alone")
        return self._work([item], left)[0]

    def _turn(self, entry: _Entry[Item, Result]) -> list[_Entry[Item, Result]] | None:
        """The batch that this caller leads now, if it is the first of those who wait and nobody leads for long."""
        now = time.monotonic()
        with self._lock:
            is_first = bool(self._waiting) and self._waiting[0] is entry
            if not is_first or (self._leader is not None and now < self._overtaken_at):
                return None
            batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            self._leader, self._overtaken_at = entry, now + PATIENCE_SECONDS
            self._call_first()
            return batch

    def _wait(self, entry: _Entry[Item, Result]) -> None:
        """Until something changed, or the leader is to be overtaken. Raises Unavailable when the time is over."""
        with self._lock:
            is_first = bool(self._waiting) and self._waiting[0] is entry
            until = min(entry.until, self._overtaken_at) if is_first and self._leader else entry.until
        entry.changed.wait(max(0.0, until - time.monotonic()))
        with self._lock:
            entry.changed.clear()
        if not entry.is_settled and time.monotonic() >= entry.until:
            raise Unavailable("Those who went before took too long")

    def _withdraw(self, entry: _Entry[Item, Result]) -> None:
        """Whoever is not there any more must not be waited for to lead."""
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._call_first()

    def _lead(self, entry: _Entry[Item, Result], batch: list[_Entry[Item, Result]]) -> None:
        results: Sequence[Result] = []
        try:
            results = self._work([member.item for member in batch], max(0.001, entry.until - time.monotonic()))
        except Exception:
            if len(batch) == 1:
                raise
        finally:
            with self._lock:
                for place, member in enumerate(batch):
                    member.results = list(results[place : place + 1])
                    member.is_settled = True
                    member.changed.set()
                if self._leader is entry:
                    self._leader = None
                    self._call_first()

    def _call_first(self) -> None:
        if self._waiting:
            self._waiting[0].changed.set()


def by_halves(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], *, on: type[Fault]
) -> list[Result | Fault]:
    """One result per item, or what `work` raised for it alone: a batch that fails is tried again in halves."""
    try:
        return list(work(items))
    except on as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return by_halves(work, items[:half], on=on) + by_halves(work, items[half:], on=on)
