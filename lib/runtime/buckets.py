"""How much may happen in which time, counted by key: a leaky bucket for each, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

KEYS: Final = 10_000


class Buckets:
    """
    Each key may use `burst` at once, and `per_second` for as long as it likes. Of more than `keys` keys, those that
    were used longest ago are forgotten, as if they had used nothing.
    """

    def __init__(
        self, *, per_second: float, burst: float, keys: int = KEYS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._keys, self._clock = per_second, burst, keys, clock
        self._lock = threading.Lock()
        # How full a bucket was, and when.
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def level(self, key: Hashable) -> float:
        """What is in the bucket now; 0 for a key that used nothing."""
        level, at = self._levels.get(key, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) * self._per_second)

    def is_full(self, key: Hashable) -> bool:
        """Nothing of size 1 fits."""
        return self.level(key) + 1 > self._burst

    def take(self, key: Hashable, amount: float = 1.0) -> float:
        """0 if it fits, and is taken; else the seconds until it would fit. More than `burst` fits an empty bucket."""
        with self._lock:
            level = self.level(key)
            excess = level + amount - max(self._burst, amount)
            if excess > 0:
                return excess / self._per_second
            self._levels[key] = level + amount, self._clock()
            self._levels.move_to_end(key)
            if len(self._levels) > self._keys:
                self._levels.popitem(last=False)
            return 0.0
