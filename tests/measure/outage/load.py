"""Missed calls at a steady rate, spread over enterprises; every call has a customer's number of its own."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.measure.bench.load import Event, Poster

_ZONE: Final = timedelta(hours=3)  # Europe/Minsk
_RINGS_SECONDS: Final = 2.0
_SENDERS: Final = 8


@dataclass(kw_only=True)
class Call:
    """
    `dialled_at`: when its phone was due to ring; `acknowledged`: how many of its three events were; `is_dialled`: that
    one of them was of which its pop-up is made.
    """

    number: str
    phone: str
    unique_id: str
    dialled_at: float
    acknowledged: int = 0
    is_dialled: bool = False
    refused: int = 0


@dataclass(order=True)
class _Due:
    at: float
    order: int
    call: Call = field(compare=False)
    event: Event = field(compare=False)


class Load:
    """Calls begin until `stop`, which returns when all that began are over."""

    def __init__(self, url: str, tokens: Mapping[str, str], *, calls_per_second: float) -> None:
        self.calls: list[Call] = []
        self._url = url
        self._tokens = dict(tokens)
        self._pause = 1 / calls_per_second
        self._due: list[_Due] = []
        self._posts: queue.Queue[_Due | None] = queue.Queue()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post, name=f"sender-{index}") for index in range(_SENDERS)]
        self._threads.append(threading.Thread(target=self._begin, name="load"))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        self._threads[-1].join()
        for _ in range(_SENDERS):
            self._posts.put(None)
        for thread in self._threads:
            thread.join()

    def of(self, numbers: Sequence[str], *, since: float = 0.0, until: float = float("inf")) -> list[Call]:
        """Those of these enterprises whose phone rang in this time."""
        return [call for call in self.calls if call.number in numbers and since <= call.dialled_at < until]

    def _begin(self) -> None:
        numbers, order = itertools.cycle(self._tokens), itertools.count()
        next_at = time.time()
        while self._due or not self._over.is_set():
            now = time.time()
            if now >= next_at and not self._over.is_set():
                for at, call, event in self._call(next(numbers), next(order), now):
                    heapq.heappush(self._due, _Due(at, next(order), call, event))
                next_at += self._pause
            while self._due and self._due[0].at <= now:
                self._posts.put(heapq.heappop(self._due))
            time.sleep(0.005)

    def _call(self, number: str, index: int, now: float) -> list[tuple[float, Call, Event]]:
        call = Call(number=number, phone=f"37529{1_000_000 + index}", unique_id=f"{int(now)}.{index}", dialled_at=now)
        self.calls.append(call)
        common: dict[str, Any] = {
            "Token": self._tokens[number],
            "UniqueId": call.unique_id,
            "Phone": call.phone,
            "CallType": 0,
            "Trunk": "0001301",
        }
        began, ended = (_local(at) for at in (now, now + _RINGS_SECONDS))
        times = {"StartTime": began, "DateReceived": began, "EndTime": ended}
        return [
            (now, call, ("/start", common)),
            (now + 0.01, call, ("/dial", {**common, "Extensions": ["150", "151"]})),
            (now + _RINGS_SECONDS, call, ("/hangup", {**common, "Extensions": [""], "CallStatus": "0", **times})),
        ]

    def _post(self) -> None:
        poster = Poster(self._url)
        while (due := self._posts.get()) is not None:
            if poster.post(due.event) in {200, 202}:
                due.call.acknowledged += 1
                due.call.is_dialled |= due.event[0] == "/dial"
            else:
                due.call.refused += 1
            # The server ends connections that idle; who writes on one at that moment loses the event.
            poster.close()


def _local(at: float) -> str:
    return (datetime.fromtimestamp(at, UTC) + _ZONE).strftime("%Y-%m-%d %H:%M:%S")
