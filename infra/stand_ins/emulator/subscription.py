"""A subscription at work: its settings, backlog and timers, and the consumers that wait for its messages."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from infra.stand_ins.emulator.errors import invalid
from infra.stand_ins.emulator.model import Backlog, Lease, State, parse_ack_id
from infra.stand_ins.emulator.rules import policy_of

PRUNE_EVERY_SECONDS = 60.0


class Subscription:
    """
    `record_acks` is told of every message that is done with, before it is forgotten here; `bury` publishes a lease's
    message to the dead-letter topic and says whether it could.
    """

    def __init__(
        self,
        config: Any,
        *,
        record_acks: Callable[[str, Sequence[int]], None],
        bury: Callable[[Subscription, Lease], bool],
    ) -> None:
        self.config = config
        self.backlog = Backlog(policy_of(config))
        self.deleted = False
        self._record_acks = record_acks
        self._bury = bury
        self._listeners: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pruned_at = time.monotonic()

    @property
    def name(self) -> str:
        return str(self.config.name)

    @property
    def ack_deadline_seconds(self) -> float:
        return float(self.config.ack_deadline_seconds)

    def configure(self, config: Any) -> None:
        self.config = config
        self.backlog.change_policy(policy_of(config))
        if config.detached:
            self.backlog.seek(math.inf)

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners[listener] = None

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        self.listen(listener)
        try:
            yield
        finally:
            self._listeners.pop(listener, None)

    def take(self, limit: int, *, deadline_seconds: float | None) -> list[Lease]:
        leases = self.backlog.take(limit, time.monotonic(), deadline_seconds=deadline_seconds)
        if leases and deadline_seconds is not None:
            self._arm()
        return leases

    def ack(self, ack_ids: Sequence[str]) -> None:
        if self.deleted:
            return
        self._record_acks(self.name, [_checked(ack_id)[0] for ack_id in ack_ids])
        for ack_id in ack_ids:
            self.backlog.ack(ack_id)
        self.wake()

    def nack(self, ack_ids: Sequence[str]) -> None:
        if self.deleted:
            return
        now = time.monotonic()
        for ack_id in ack_ids:
            _checked(ack_id)
            if (exhausted := self.backlog.nack(ack_id, now)) is not None:
                self._lay_to_rest(exhausted)
        self.wake()

    def extend(self, ack_ids: Sequence[str], *, deadline_seconds: float) -> None:
        now = time.monotonic()
        for ack_id in ack_ids:
            _checked(ack_id)
            self.backlog.extend(ack_id, now, deadline_seconds=deadline_seconds)
        self._arm()

    def wake(self) -> None:
        """After a change: fires the timers that are due, notifies the waiting consumers, sets the next timer."""
        now = time.monotonic()
        if now - self._pruned_at > PRUNE_EVERY_SECONDS:
            self._pruned_at = now
            self.backlog.prune(time.time())
        for exhausted in self.backlog.advance(now):
            self._lay_to_rest(exhausted)
        waiting = tuple(self._listeners)
        if len(waiting) > 1:
            self._listeners[waiting[0]] = self._listeners.pop(waiting[0])  # next time another one is asked first
        for listener in waiting:
            listener()
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def delete(self) -> None:
        self.deleted = True
        for listener in tuple(self._listeners):
            listener()
        self.close()

    def figures(self) -> dict[str, Any]:
        counters, backlog = self.backlog.counters, self.backlog
        return {
            "name": self.name,
            "topic": str(self.config.topic),
            "push_endpoint": str(self.config.push_config.push_endpoint),
            "backlog": len(backlog),
            "ready": backlog.count(State.READY),
            "in_flight": backlog.count(State.LEASED),
            "waiting": backlog.count(State.WAITING),
            "blocked": backlog.count(State.BLOCKED),
            "delivered": counters.delivered,
            "acked": counters.acked,
            "nacked": counters.nacked,
            "expired": counters.expired,
            "dead_lettered": counters.dead_lettered,
        }

    def _arm(self) -> None:
        at = self.backlog.next_timer()
        if self._timer is not None:
            if at is not None and self._timer.when() <= at:
                return  # it wakes us in time, if only to set the clock again
            self._timer.cancel()
            self._timer = None
        if at is not None and not self.deleted:
            # The loop's clock is time.monotonic too.
            self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    def _lay_to_rest(self, lease: Lease) -> None:
        if self._bury(self, lease):
            self._record_acks(self.name, [lease.message.sequence])
            self.backlog.bury(lease.ack_id)
        else:
            self.backlog.retry(lease.ack_id, time.monotonic())


def _checked(ack_id: str) -> tuple[int, int]:
    try:
        return parse_ack_id(ack_id)
    except ValueError:
        raise invalid(f"You have passed an invalid ack ID to the service (ack_id={ack_id[:100]}).") from None
