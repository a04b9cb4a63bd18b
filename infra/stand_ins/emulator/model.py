"""
The messages of one subscription that are not acknowledged: pure state, the time is an argument.

A message is ready, leased (with a subscriber), waiting (for its back-off), or blocked (behind an earlier message
of its ordering key) until it is acknowledged. Timers and queues are never searched: every change of an entry gives
it a new stamp, and what was queued under an older stamp is skipped when it comes up.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

# Acknowledged messages are kept in memory for seeks: a long load test must not exhaust it.
RETAINED_ACKED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    sequence: int
    published_at: float
    ordering_key: str
    size: int
    content: Any  # wire.PubsubMessage


@dataclass(frozen=True, kw_only=True)
class Policy:
    ordered: bool = False
    retain_acked: bool = False
    retention_seconds: float = 7 * 86_400.0
    min_backoff_seconds: float = 0.0
    max_backoff_seconds: float = 0.0
    max_attempts: int | None = None

    def backoff_seconds(self, attempt: int) -> float:
        return min(self.max_backoff_seconds, self.min_backoff_seconds * 2.0 ** min(attempt - 1, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    ack_id: str
    message: Message
    attempt: int


@dataclass(slots=True)
class Counters:
    delivered: int = 0
    acked: int = 0
    nacked: int = 0
    expired: int = 0
    dead_lettered: int = 0


class State(Enum):
    READY = auto()
    LEASED = auto()
    WAITING = auto()
    BLOCKED = auto()
    GONE = auto()


@dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    state: State = State.BLOCKED
    stamp: int = 0
    lease: int = 0
    attempt: int = 0


@dataclass(slots=True)
class _Retained:
    """Acknowledged messages, oldest acknowledgement first."""

    messages: deque[Message] = field(default_factory=deque)
    size: int = 0

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.size += message.size
        while self.size > RETAINED_ACKED_BYTES:
            self.size -= self.messages.popleft().size

    def prune(self, oldest: float) -> None:
        self.messages = deque(message for message in self.messages if message.published_at >= oldest)
        self.size = sum(message.size for message in self.messages)


class Backlog:
    def __init__(self, policy: Policy) -> None:
        self.counters = Counters()
        self._policy = policy
        self._numbers = itertools.count(1)
        self._retained = _Retained()
        self._reset()

    def _reset(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._keys: dict[str, deque[_Entry]] = {}
        self._ready: deque[tuple[int, _Entry]] = deque()
        self._timers: list[tuple[float, int, _Entry]] = []
        self._counts = dict.fromkeys(State, 0)

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, state: State) -> int:
        return self._counts[state]

    def unacked(self) -> Iterator[Message]:
        return (entry.message for entry in self._entries.values())

    def retained(self) -> Iterator[Message]:
        return iter(self._retained.messages)

    def change_policy(self, policy: Policy) -> None:
        self._policy = policy
        if not policy.retain_acked:
            self._retained = _Retained()

    def add(self, message: Message) -> None:
        entry = _Entry(message)
        self._entries[message.sequence] = entry
        self._counts[entry.state] += 1
        if self._policy.ordered and message.ordering_key:
            queue = self._keys.setdefault(message.ordering_key, deque())
            queue.append(entry)
            if queue[0] is not entry:
                return
        self._make_ready(entry)

    def take(self, limit: int, now: float, *, deadline_seconds: float | None) -> list[Lease]:
        """Lease up to `limit` messages; without a deadline the taker itself promises to ack or nack."""
        leases: list[Lease] = []
        while self._ready and len(leases) < limit:
            stamp, entry = self._ready.popleft()
            if entry.stamp != stamp:
                continue
            self._move(entry, State.LEASED)
            entry.lease = entry.stamp
            entry.attempt += 1
            self.counters.delivered += 1
            if deadline_seconds is not None:
                heapq.heappush(self._timers, (now + deadline_seconds, entry.stamp, entry))
            leases.append(_lease(entry))
        return leases

    def holds(self, ack_id: str) -> bool:
        """Whether the lease is still the message's current one."""
        return self._leased(ack_id) is not None

    def ack(self, ack_id: str) -> Message | None:
        """Even a late acknowledgement counts, as long as nobody else's did."""
        entry = self._entries.get(parse_ack_id(ack_id)[0])
        if entry is None:
            return None
        self.counters.acked += 1
        return self._finish(entry)

    def bury(self, ack_id: str) -> Message | None:
        """Acknowledges a message that was moved to the dead-letter topic."""
        entry = self._leased(ack_id)
        if entry is None:
            return None
        self.counters.dead_lettered += 1
        return self._finish(entry)

    def forget(self, sequence: int) -> None:
        """Acknowledge by message, as a journal does."""
        entry = self._entries.get(sequence)
        if entry is not None:
            self._finish(entry)

    def nack(self, ack_id: str, now: float) -> Lease | None:
        """Give a message back; the lease is returned when that was its last attempt."""
        entry = self._leased(ack_id)
        if entry is None:
            return None
        self.counters.nacked += 1
        return self._give_back(entry, now)

    def extend(self, ack_id: str, now: float, *, deadline_seconds: float) -> None:
        entry = self._leased(ack_id)
        if entry is not None:
            self._move(entry, State.LEASED)
            heapq.heappush(self._timers, (now + deadline_seconds, entry.stamp, entry))

    def retry(self, ack_id: str, now: float) -> None:
        """Deliver again after the back-off, whatever the number of attempts."""
        entry = self._leased(ack_id)
        if entry is not None:
            self._retry(entry, now)

    def advance(self, now: float) -> list[Lease]:
        """Fire what is due: ends of back-offs and of leases; exhausted leases are returned."""
        exhausted: list[Lease] = []
        while (at := self.next_timer()) is not None and at <= now:
            entry = heapq.heappop(self._timers)[2]
            if entry.state is State.WAITING:
                self._make_ready(entry)
                continue
            self.counters.expired += 1
            if (lease := self._give_back(entry, now)) is not None:
                exhausted.append(lease)
        return exhausted

    def next_timer(self) -> float | None:
        while self._timers and self._timers[0][1] != self._timers[0][2].stamp:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def seek(self, at: float) -> None:
        """Everything published before `at` counts as acknowledged, everything after it that is still kept does not."""
        everything = sorted((*self.unacked(), *self.retained()), key=lambda message: message.sequence)
        self._reset()
        self._retained = _Retained()
        for message in everything:
            if message.published_at >= at:
                self.add(message)
            elif self._policy.retain_acked:
                self._retained.add(message)

    def prune(self, wall_clock: float) -> None:
        oldest = wall_clock - self._policy.retention_seconds
        self._retained.prune(oldest)
        too_old = itertools.takewhile(lambda entry: entry.message.published_at < oldest, self._entries.values())
        for entry in tuple(too_old):
            self._remove(entry)

    def _leased(self, ack_id: str) -> _Entry | None:
        sequence, lease = parse_ack_id(ack_id)
        entry = self._entries.get(sequence)
        return entry if entry is not None and entry.state is State.LEASED and entry.lease == lease else None

    def _move(self, entry: _Entry, state: State) -> None:
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state = state
        entry.stamp = next(self._numbers)

    def _make_ready(self, entry: _Entry) -> None:
        self._move(entry, State.READY)
        self._ready.append((entry.stamp, entry))

    def _give_back(self, entry: _Entry, now: float) -> Lease | None:
        if self._policy.max_attempts is not None and entry.attempt >= self._policy.max_attempts:
            self._move(entry, State.LEASED)  # the stamp of its deadline must not fire a second time
            return _lease(entry)
        self._retry(entry, now)
        return None

    def _retry(self, entry: _Entry, now: float) -> None:
        wait = self._policy.backoff_seconds(entry.attempt)
        if wait <= 0:
            self._make_ready(entry)
            return
        self._move(entry, State.WAITING)
        heapq.heappush(self._timers, (now + wait, entry.stamp, entry))

    def _finish(self, entry: _Entry) -> Message:
        self._remove(entry)
        if self._policy.retain_acked:
            self._retained.add(entry.message)
        return entry.message

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.message.sequence]
        self._move(entry, State.GONE)
        queue = self._keys.get(entry.message.ordering_key)
        if queue is None or queue[0] is not entry:
            return
        while queue and queue[0].state is State.GONE:
            queue.popleft()
        if queue:
            self._make_ready(queue[0])
        else:
            del self._keys[entry.message.ordering_key]


def _lease(entry: _Entry) -> Lease:
    return Lease(ack_id=f"{entry.message.sequence}-{entry.lease}", message=entry.message, attempt=entry.attempt)


def parse_ack_id(ack_id: str) -> tuple[int, int]:
    """The message's sequence and the lease's number; raises ValueError for an id that is not of this emulator."""
    sequence, lease = ack_id.split("-")
    return int(sequence), int(lease)
