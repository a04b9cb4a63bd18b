"""
Guessing at a secret, slowed by source and for all.

Who is wrong too often is believed only in what it was right about before: whatever is new from there, right or wrong,
is refused alike, so that a refusal tells nothing. A source that is right for many (a call service that posts for two
hundred enterprises) may be wrong that much oftener. While many sources guess, each has one wrong guess.

Counted in each instance for itself: that costs no round trip, and who guesses has one budget more with each instance.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from lib.runtime.buckets import KEYS, Buckets
from lib.runtime.errors import RateLimited

log = logging.getLogger(__name__)

# A source may be wrong so often at once, and once more in so many seconds.
AT_ONCE: Final = 10
SECONDS_EACH: Final = 30.0
# All sources together; beyond it each of them may be wrong once.
ALL_AT_ONCE: Final = 300
ALL_PER_SECOND: Final = 5.0
# Lines of one kind in the log: of each source one in so many seconds, and of all so many.
SECONDS_BETWEEN_LINES: Final = 60.0
LINES_AT_ONCE: Final = 20
_ALL: Final = "all"

_by_what: dict[str, Guesses] = {}


class Guesses:
    """`what` is guessed: `token`. A source is an address, or all that one sender has of them."""

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._lock = threading.Lock()
        # The same wrong one is one guess: a host with an old token repeats it in every event.
        self._wrong: OrderedDict[Hashable, None] = OrderedDict()
        self._right: OrderedDict[str, set[Hashable]] = OrderedDict()
        self._of_source = Buckets(per_second=1 / SECONDS_EACH, burst=math.inf, clock=clock)  # `check` knows how full
        self._of_all = Buckets(per_second=ALL_PER_SECOND, burst=ALL_AT_ONCE, clock=clock)
        self._lines_of_source = Buckets(per_second=1 / SECONDS_BETWEEN_LINES, burst=1, clock=clock)
        self._lines = Buckets(per_second=LINES_AT_ONCE / SECONDS_BETWEEN_LINES, burst=LINES_AT_ONCE, clock=clock)
        self._counts = {"wrong": 0, "refused": 0, "right_but_refused": 0}
        self._last_source: str | None = None
        _by_what[what] = self

    def is_known(self, source: str, owner: Hashable) -> bool:
        """Whether this source was right about this owner before: then nothing slows it."""
        if owner not in self._right.get(source, ()):
            return False
        with self._lock:
            self._right[source] = self._right.pop(source, {owner})  # the others are older now
        return True

    def check(self, source: str) -> None:
        """Raises RateLimited while nothing new of this source is believed."""
        at_once = 1 if self._of_all.is_full(_ALL) else AT_ONCE
        excess = self._of_source.level(source) + 1 - at_once * (1 + len(self._right.get(source, ())))
        if excess > 0:
            self._counts["refused"] += 1
            self._tell(logging.ERROR, f"the {self._what} is guessed", source)
            message = f"Too many unknown {self._what}s from this address; try again later"
            raise RateLimited(message, retry_after_seconds=excess * SECONDS_EACH)

    def wrong(self, source: str, guess: Hashable) -> None:
        """What was guessed (its hash) is nobody's."""
        with self._lock:
            is_new = guess not in self._wrong
            self._wrong[guess] = self._wrong.pop(guess, None)
            _forget_oldest(self._wrong)
        if is_new:
            self._of_source.take(source)
            self._of_all.take(_ALL)
            self._counts["wrong"] += 1
            self._last_source = source
            self._tell(logging.WARNING, f"unknown {self._what}", source)

    def right(self, source: str, owner: Hashable) -> None:
        """What was said is this owner's."""
        with self._lock:
            self._right.setdefault(source, set()).add(owner)
            _forget_oldest(self._right)

    def right_but_refused(self, source: str, owner: Hashable) -> None:
        """Found by guessing, or sent by its owner for the first time from where somebody else guesses."""
        self._counts["right_but_refused"] += 1
        self._tell(logging.ERROR, f"a {self._what} that is right came among guesses", source, owner=owner)

    def stats(self) -> dict[str, object]:
        """`wrong`: different ones; `refused`: requests, right or wrong; `right_but_refused`: the log says whose."""
        return {**self._counts, "last_source": self._last_source}

    def _tell(self, level: int, message: str, source: str, **more: object) -> None:
        if self._lines_of_source.take((level, source, *more.values())) == 0 and self._lines.take(message) == 0:
            log.log(level, message, extra={"source": source, **self._counts, **more})


def stats() -> dict[str, dict[str, object]]:
    """What was guessed at this process: `{"token": {"wrong": 12, …}}`."""
    return {what: guesses.stats() for what, guesses in _by_what.items()}


def _forget_oldest(kept: OrderedDict[Hashable, None] | OrderedDict[str, set[Hashable]]) -> None:
    while len(kept) > KEYS:
        kept.popitem(last=False)
