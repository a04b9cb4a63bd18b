"""A value that is made once per process, however many threads ask for it first at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801  (a decorator, like functools.cache, which makes one value per racing thread)
    """`@lazy` before a function without arguments; `made` is the value if there is one, `forget()` drops it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    @property
    def made(self) -> T | None:
        return self._made[0] if self._made else None

    def forget(self) -> None:
        with self._lock:
            self._made.clear()
