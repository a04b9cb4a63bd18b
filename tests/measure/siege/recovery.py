"""A day of another enterprise's calls at once: a host that was cut off posts as much when it is back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tests.measure.siege.attack import Attack, Ground, Marked, Tally, marked
from tests.measure.siege.posting import BATCH, in_batches

BATCHES: Final = 24
_DAY_SECONDS: Final = 86_400
_PHONES: Final = 2_000_000


def starts(count: int, *, first_at: float, last_at: float) -> Sequence[Marked]:
    """The first events of so many calls, evenly between two times since the epoch."""
    return [
        marked(
            index,
            "start",
            {
                "UniqueId": f"{int(first_at + (last_at - first_at) * index / count)}.{index + 1}",
                "Phone": f"37529{_PHONES + index}",
                "CallType": 0,
                "Trunk": "0001301",
            },
        )
        for index in range(count)
    ]


def _live(ground: Ground, tally: Tally) -> None:
    now = time.time()
    in_batches(starts(BATCHES * BATCH, first_at=now, last_at=now), ground, tally)


def _download(ground: Ground, tally: Tally) -> None:
    now = time.time()
    in_batches(starts(BATCHES * BATCH, first_at=now - _DAY_SECONDS, last_at=now), ground, tally, origin="download")


_WHAT: Final = f"another enterprise's {BATCHES} batches of {BATCH} starts, 8 at a time"
LIVE: Final = Attack(name="batches", title=_WHAT, run=_live)
DOWNLOAD: Final = Attack(name="download", title=f"{_WHAT}, as a recovered day", run=_download)
