"""Calls of another enterprise whose events are as large as they may be, and hold what costs most to read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from tests.measure.siege.attack import Attack, Ground, Marked, Tally, marked
from tests.measure.siege.posting import one_by_one

_EVENTS: Final = 700
# Of a call that never rests.
_DIALS: Final = 90
_PHONE: Final = "375293000000"
_LINE: Final = "0001301"
# With its frame an event has just under 64 kB.
_CHARACTERS: Final = 62_000


def one_call(size: int, now: float, event_type: str, more: dict[str, Any]) -> Sequence[Marked]:
    """A call that rings, and then so many events of its channel, each with `more` in it."""
    common = {"UniqueId": f"{int(now)}.1", "Phone": _PHONE, "CallType": 0, "Trunk": _LINE}
    return [
        marked(0, "start", common),
        marked(1, "dial", {**common, "Extensions": ["150", "151"]}),
        *(marked(index, event_type, {**common, **more}) for index in range(2, size + 2)),
    ]


def _lists(ground: Ground, tally: Tally) -> None:
    one_by_one(one_call(_EVENTS, time.time(), "new_callerid", {"a": [[]] * (_CHARACTERS // 4)}), ground, tally)


def _names(ground: Ground, tally: Tally) -> None:
    one_by_one(one_call(_DIALS, time.time(), "dial", {"Extensions": "a," * (_CHARACTERS // 2)}), ground, tally)


LISTS: Final = Attack(
    name="heavy-call", title=f"another enterprise's one call of {_EVENTS} events of 64 kB of empty lists", run=_lists
)
NAMES: Final = Attack(
    name="heavy-dials", title=f"another enterprise's one call of {_DIALS} dials of 31,000 names each", run=_names
)
