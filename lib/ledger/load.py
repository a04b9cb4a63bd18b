"""
What goes first when more comes than this process can take: a phone that rings, before an end, before everything else.

An event that is passed over is stored already. Whoever assembles its enterprise next takes it along, and the sweep
sees to it that somebody does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from lib.runtime import db
from lib.runtime.combine import Combiner
from lib.store import events
from lib.store.events import NewEvent

# More than the threads of a process never ask at the same time.
_ASKED: Final = 100
_ASK_SECONDS: Final = 2.0

# Nobody looks at a screen for the others.
_RINGS: Final = "dial"
_ENDS: Final = "hangup"


def may_pass_over(event: NewEvent, *, under_way: int, threads: int) -> bool:
    """
    Whether this event gives way, while so many messages, its own too, occupy so many threads; 0: nobody knows how many
    there are.
    """
    if not threads:
        return False
    if event.event_type == _RINGS and event.data_source == "live":
        return False
    if event.event_type == _ENDS and event.data_source == "live":
        return under_way >= threads
    return under_way > max(1, threads // 2)


def is_stored(event: NewEvent) -> bool:
    """Whether the database has it now: after a failover that lost commits Pub/Sub alone may. Raises Unavailable."""
    return _finding.run(event.event_id, within_seconds=_ASK_SECONDS)


def _find(event_ids: Sequence[str], seconds: float) -> list[bool]:
    """Those who ask together share a statement: a flood that is passed over costs little."""
    with db.connection(within_seconds=seconds) as conn:
        missing = events.find_missing(conn, event_ids)
    return [event_id not in missing for event_id in event_ids]


_finding = Combiner(_find, limit=_ASKED)


class Load:
    """How many messages are under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self.passed_over = 0

    @contextmanager
    def message(self) -> Iterator[int]:
        """Yields how many there are with this one."""
        with self._lock:
            self._under_way += 1
            under_way = self._under_way
        try:
            yield under_way
        finally:
            with self._lock:
                self._under_way -= 1

    def pass_over(self) -> None:
        with self._lock:
            self.passed_over += 1
