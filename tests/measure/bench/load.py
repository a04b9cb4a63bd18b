"""Load on loopback: an open loop at a fixed rate, and a closed loop at a fixed concurrency. Bounded by time."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Event = tuple[str, Mapping[str, Any]]


@dataclass(kw_only=True)
class Outcome:
    """`acknowledged`: (event, when it was due, when it was answered), seconds since the epoch."""

    acknowledged: list[tuple[Event, float, float]] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    def latencies_ms(self) -> list[float]:
        return sorted((answered - due) * 1000 for _, due, answered in self.acknowledged)


def open_loop(url: str, events: Sequence[Event], *, per_second: float, senders: int = 16) -> Outcome:
    """Each event at its time, however slow the answers are: time that an event waits for a sender counts."""
    due: queue.Queue[tuple[Event, float] | None] = queue.Queue()
    outcome = Outcome()

    def work() -> None:
        poster = Poster(url)
        while (item := due.get()) is not None:
            event, at = item
            _record(outcome, event, at, poster.post(event))
        poster.close()

    threads = [threading.Thread(target=work) for _ in range(senders)]
    for thread in threads:
        thread.start()
    begin = time.time()
    for index, event in enumerate(events):
        at = begin + index / per_second
        time.sleep(max(0.0, at - time.time()))
        due.put((event, at))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    outcome.seconds = time.time() - begin
    return outcome


def closed_loop(
    url: str, events: Iterator[Event], *, concurrency: int, seconds: float, stop: Callable[[], bool] = lambda: False
) -> Outcome:
    """As many as get answered, `concurrency` at a time."""
    outcome = Outcome()
    lock = threading.Lock()
    end = time.time() + seconds

    def work() -> None:
        poster = Poster(url)
        while time.time() < end and not stop():
            with lock:
                event = next(events)
            at = time.time()
            _record(outcome, event, at, poster.post(event))
        poster.close()

    begin = time.time()
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.seconds = time.time() - begin
    return outcome


class Poster:
    """One kept connection; the status of each post, 0 when there was no answer."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)

    def post(self, event: Event) -> int:
        path, body = event
        try:
            self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0
        return response.status

    def close(self) -> None:
        self._connection.close()


def _record(outcome: Outcome, event: Event, at: float, status: int) -> None:
    if 200 <= status < 300:
        outcome.acknowledged.append((event, at, time.time()))
    else:
        outcome.refused += 1
