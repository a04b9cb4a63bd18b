"""
At most so many threads of a process for one enterprise, so that a flood of one leaves threads for the others.

A message whose enterprise has its share is parked: a thread that is at this enterprise goes on with it. An event is
parked when it is stored, and only one of them for each enterprise: whoever assembles that one takes along what waits.
Of wake-ups each call is parked once; beyond a bound its timer wakes it. Should the process end, the sweep finds all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Final

from lib.intake.messages import WakeCall, call_message, event_message
from lib.ledger import deliver
from lib.ledger.assemble import stored
from lib.ledger.load import is_stored
from lib.runtime import pubsub
from lib.store.events import NewEvent

log = logging.getLogger(__name__)

Message = NewEvent | WakeCall

# Of one enterprise; the sweep wakes the calls beyond it by their timers.
PARKED_CALLS: Final = 100
# A thread goes on with what is parked for so long; then messages of their own do.
GO_ON_SECONDS: Final = 10.0


def share(threads: int) -> int:
    """Of so many threads the part of one enterprise: a third, rounded up. 0: nobody knows how many there are."""
    return -(-threads // 3)


@dataclass(frozen=True, kw_only=True)
class _Parked:
    """`context`: of its own request, so that the log names its message and not that of the thread that goes on."""

    message: Message
    context: Context

    @property
    def is_ring(self) -> bool:
        return isinstance(self.message, NewEvent) and self.message.event_type == "dial"


@dataclass(kw_only=True)
class _Place:
    """What goes on at one enterprise."""

    threads: int = 0
    event: _Parked | None = None
    calls: dict[tuple[int, str | None], _Parked] = field(default_factory=dict)

    def park(self, message: Message) -> None:
        """A ring before anything else, and the newest before the others: it is the least to wait."""
        parked = _Parked(message=message, context=copy_context())
        if isinstance(message, WakeCall):
            if len(self.calls) < PARKED_CALLS:
                self.calls[message.call_id, message.crm] = parked
        elif self.event is None or parked.is_ring or not self.event.is_ring:
            self.event = parked

    def take(self) -> _Parked | None:
        event, self.event = self.event, None
        if event is None and self.calls:
            return self.calls.pop(next(iter(self.calls)))
        return event


class Shares:
    """`parked`: how many messages were left to another thread so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self.parked = 0

    @contextmanager
    def of(self, message: Message, *, threads: int, work: Callable[[Message], None]) -> Iterator[bool]:
        """
        Yields whether the message is the caller's to work on, or parked; behind its block the caller does the `work` of
        what others parked. Raises Unavailable when an event can neither be worked on nor stored.
        """
        most = share(threads)
        is_ours = self._enter(message, most, may_park=isinstance(message, WakeCall))
        if not is_ours and isinstance(message, NewEvent):
            # Whoever takes along what waits must find it, and Pub/Sub alone may have it.
            message = message if is_stored(message) else stored(message)
            is_ours = self._enter(message, most, may_park=True)
        if not is_ours:
            yield False
            return
        try:
            yield True
        finally:
            self._go_on(message.enterprise_number, work)

    def _enter(self, message: Message, most: int, *, may_park: bool) -> bool:
        """False: the enterprise has its share, and the message is parked if it may be."""
        with self._lock:
            place = self._places.setdefault(message.enterprise_number, _Place())
            if 0 < most <= place.threads:
                if may_park:
                    place.park(message)
                    self.parked += 1
                return False
            place.threads += 1
            return True

    def _go_on(self, number: str, work: Callable[[Message], None]) -> None:
        until = time.monotonic() + GO_ON_SECONDS
        while (parked := self._next(number)) is not None:
            if time.monotonic() > until:
                parked.context.run(_hand_on, parked.message)
                continue
            try:
                parked.context.run(work, parked.message)
            except Exception:
                log.exception("left to the sweep", extra={"enterprise": number})

    def _next(self, number: str) -> _Parked | None:
        """What was parked; None: nothing is, and this thread is at the enterprise no more."""
        with self._lock:
            place = self._places[number]
            parked = place.take()
            if parked is None:
                place.threads -= 1
                if not place.threads:
                    del self._places[number]
            return parked


def _hand_on(message: Message) -> None:
    if isinstance(message, WakeCall):
        deliver.publish_soon(pubsub.CALL_EVENTS, call_message(message))
    else:
        deliver.publish_soon(pubsub.CALL_EVENTS, event_message(message, received_at=message.received_at))
