"""What attacks have in common: where they take place, what became of their requests, and requests side by side."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from tests.measure.siege.http_posts import Answer, Client

# Each of them is another sender to whoever counts by address; the victim's is 127.0.0.1.
STRANGERS_ADDRESS: Final = "127.0.0.66"
ATTACKERS_ADDRESS: Final = "127.0.0.67"
BYSTANDERS_ADDRESS: Final = "127.0.0.68"
PATIENCE_SECONDS: Final = 10.0
# What is refused is posted again, as a host does that has something to recover; but not for ever.
TIMES_AS_LONG: Final = 2.0
_AGAIN_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Bystander:
    """Another enterprise, that has its first event, or its first click, while the attack lasts."""

    token: str = field(repr=False)
    client_id: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """
    Where it takes place, and for how long. `token`: of an enterprise that attacks the others; `bystanders`: of whom
    no process knows yet.
    """

    gateway: str
    seconds: float
    token: str = field(default="", repr=False)
    bystanders: Sequence[Bystander] = ()

    def stranger(self) -> Client:
        return Client(url=self.gateway, source=STRANGERS_ADDRESS, patience_seconds=PATIENCE_SECONDS)

    def attacker(self) -> Client:
        return Client(url=self.gateway, source=ATTACKERS_ADDRESS, patience_seconds=PATIENCE_SECONDS, token=self.token)


class Tally:
    """
    What became of an attack's requests, counted by many threads. `accepted`: the marks of events; `others_refused`:
    requests of other enterprises, made while it lasted, that were not answered as they should be.
    """

    def __init__(self) -> None:
        self.offered = 0
        self.accepted: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.others_refused = 0
        self._lock = threading.Lock()

    def count(self, answer: Answer, accepted: Sequence[str] = ()) -> None:
        with self._lock:
            self.answers[answer.status] += 1
            self.accepted.update(accepted)

    def count_other(self, answer: Answer) -> None:
        with self._lock:
            self.others_refused += not answer.is_accepted


@dataclass(frozen=True, kw_only=True)
class Attack:
    """`bystanders`: how many it wants. `run` returns when it is over."""

    name: str
    title: str
    run: Callable[[Ground, Tally], None]
    bystanders: int = 0


@dataclass(frozen=True, kw_only=True)
class Marked:
    """An event in our own form; the mark stands in it, so that it is found again, and no two are copies."""

    mark: str
    event: dict[str, Any]


def marked(index: int, event_type: str, raw: dict[str, Any]) -> Marked:
    mark = f"mark-{index}"
    return Marked(
        mark=mark, event={"uniqueId": raw["UniqueId"], "event_type": event_type, "raw": {**raw, "Mark": mark}}
    )


def side_by_side(lanes: int, work: Callable[[int], None]) -> None:
    """`work` of each lane at once, to the end of all."""
    with ThreadPoolExecutor(lanes, thread_name_prefix="attack") as pool:
        for done in [pool.submit(work, lane) for lane in range(lanes)]:
            done.result()


def at_a_rate(per_second: float, seconds: float, ask: Callable[[], None], *, lanes: int = 16) -> None:
    """`ask` so often, as long as answers are not slower than the lanes can bear."""
    begin = time.monotonic()

    def work(lane: int) -> None:
        for turn in range(int(seconds * per_second / lanes)):
            due_at = begin + (turn + lane / lanes) * lanes / per_second
            time.sleep(max(0.0, due_at - time.monotonic()))
            if time.monotonic() > begin + seconds:
                return
            ask()

    side_by_side(lanes, work)


def post_all(
    posts: Sequence[Sequence[Marked]],
    post: Callable[[Sequence[Marked]], tuple[Answer, list[str]]],
    ground: Ground,
    tally: Tally,
    *,
    lanes: int,
) -> None:
    """Each of `posts`, some at a time; what was refused of it is posted again, after the time that the answer names."""
    tally.offered = sum(map(len, posts))
    waiting = deque(posts)
    until = time.monotonic() + ground.seconds * TIMES_AS_LONG

    def work(_: int) -> None:
        while waiting and time.monotonic() < until:
            try:
                events = waiting.popleft()
            except IndexError:  # another lane took the last one
                return
            answer, accepted = post(events)
            tally.count(answer, accepted)
            left = [one for one in events if one.mark not in accepted]
            if left:
                pause = max(_AGAIN_SECONDS, answer.retry_after_seconds)
                time.sleep(max(0.0, min(pause, until - time.monotonic())))
                waiting.append(left)

    side_by_side(lanes, work)
