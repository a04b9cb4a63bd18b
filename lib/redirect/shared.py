"""A cache of answers of the CRM, with single flight: callers at the same time share one request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    def __init__(self, *, fresh_seconds: float, entries: int = 10_000) -> None:
        self._fresh_seconds, self._most = fresh_seconds, entries
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._flights: dict[Hashable, Future[T]] = {}

    def find(self, key: Hashable) -> T | None:
        known = self._known.get(key)
        return known[1] if known is not None and time.monotonic() - known[0] < self._fresh_seconds else None

    def get(self, key: Hashable, ask: Callable[[], T], *, deadline: float) -> T:
        """Raises what `ask` raises, in whichever thread it was called, and TimeoutError after the deadline."""
        with self._lock:
            known = self.find(key)
            if known is not None:
                return known
            flight = self._flights.get(key)
            is_first = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not is_first:
            return flight.result(timeout=max(0.0, deadline - time.monotonic()))
        try:
            value = ask()
        except BaseException as error:
            self._land(key)
            flight.set_exception(error)
            raise
        with self._lock:
            self._keep(key, value)
        self._land(key)
        flight.set_result(value)
        return value

    def _land(self, key: Hashable) -> None:
        with self._lock:
            del self._flights[key]

    def _keep(self, key: Hashable, value: T) -> None:
        self._known[key] = (time.monotonic(), value)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
