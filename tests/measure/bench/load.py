"""Load on loopback: an open loop by a schedule, and a closed loop at a fixed concurrency. Bounded by time."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.measure.bench.calls import Event
from tests.measure.bench.connection import Connections, encoded

__all__ = ["Event", "Outcome", "Poster", "closed_loop", "open_loop"]


@dataclass(kw_only=True)
class Outcome:
    """
    `acknowledged`: (event, when it was due, when it was answered), seconds since the epoch; `began_at` too; `late`:
    seconds by which the load itself was late with an event, at worst.
    """

    acknowledged: list[tuple[Event, float, float]] = field(default_factory=list)
    refused: int = 0
    began_at: float = 0.0
    seconds: float = 0.0
    late: float = 0.0

    def latencies_ms(self) -> list[float]:
        return sorted((answered - due) * 1000 for _, due, answered in self.acknowledged)

    def phones(self, path: str) -> set[str]:
        """Of the acknowledged events of a kind."""
        return {body["Phone"] for (kind, body), _, _ in self.acknowledged if kind == path}

    def record(self, event: Event, at: float, status: int) -> None:
        if 200 <= status < 300:
            self.acknowledged.append((event, at, time.time()))
        else:
            self.refused += 1


def open_loop(url: str, events: Sequence[tuple[float, Event]]) -> Outcome:
    """Each event at its time, however slow the answers are; times are seconds from the begin."""
    return asyncio.run(_open_loop(url, events))


def closed_loop(url: str, events: Iterator[Event], *, concurrency: int, seconds: float) -> Outcome:
    """As many as get answered, `concurrency` at a time."""
    return asyncio.run(_closed_loop(url, events, concurrency, seconds))


async def _open_loop(url: str, events: Sequence[tuple[float, Event]]) -> Outcome:
    connections, outcome = Connections(url), Outcome()
    ready = [(at, event, encoded(*event)) for at, event in events]
    outcome.began_at = time.time()

    async def post(event: Event, request: bytes, at: float) -> None:
        outcome.record(event, at, await connections.post(request))

    async with asyncio.TaskGroup() as posts:
        for offset, event, request in ready:
            at = outcome.began_at + offset
            ahead = at - time.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            outcome.late = max(outcome.late, time.time() - at)
            posts.create_task(post(event, request, at))
    outcome.seconds = time.time() - outcome.began_at
    connections.close()
    return outcome


async def _closed_loop(url: str, events: Iterator[Event], concurrency: int, seconds: float) -> Outcome:
    connections, outcome = Connections(url), Outcome(began_at=time.time())

    async def work() -> None:
        while time.time() < outcome.began_at + seconds:
            event, at = next(events), time.time()
            status = await connections.post(encoded(*event))
            outcome.record(event, at, status)
            if not status:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(work())
    outcome.seconds = time.time() - outcome.began_at
    connections.close()
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
