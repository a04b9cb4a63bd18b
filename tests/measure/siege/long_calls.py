"""Calls of another enterprise that grow without end: events of one channel, channels of one bridge."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Final

from tests.measure.siege.attack import Attack, Ground, Marked, Tally, marked
from tests.measure.siege.posting import in_batches, one_by_one

_SIZE: Final = 1_000
_PHONE: Final = "375293000000"
_PHONES: Final = 3_000_001
_LINE: Final = "0001301"


def one_channel(size: int, now: float) -> Sequence[Marked]:
    """A call that rings, and whose channel then tells its caller again and again, each time in other words."""
    unique_id = f"{int(now)}.1"
    told = {
        "UniqueId": unique_id,
        "Channel": f"SIP/{_LINE}-00000001",
        "CallerIDNum": _PHONE,
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "Exten": _LINE,
        "Context": "from-out-office",
    }
    common = {"UniqueId": unique_id, "Phone": _PHONE, "CallType": 0, "Trunk": _LINE}
    return [
        marked(0, "start", common),
        marked(1, "dial", {**common, "Extensions": ["150", "151"]}),
        *(marked(index, "new_callerid", {**told, "CallerIDName": str(index)}) for index in range(2, size + 2)),
    ]


def one_bridge(size: int, now: float) -> Sequence[Marked]:
    """Calls of as many customers, whose channels all enter one bridge."""
    bridge = str(uuid.uuid4())
    events = []
    for index in range(size):
        unique_id, phone = f"{int(now)}.{index + 1}", f"37529{_PHONES + index}"
        start = {"UniqueId": unique_id, "Phone": phone, "CallType": 0, "Trunk": _LINE}
        enters = {
            "UniqueId": unique_id,
            "Channel": f"SIP/{_LINE}-{index + 1:08x}",
            "CallerIDNum": phone,
            "ConnectedLineNum": "150",
            "BridgeUniqueid": bridge,
            "Exten": "",
        }
        events += [marked(2 * index, "start", start), marked(2 * index + 1, "bridge", enters)]
    return events


def _batches(ground: Ground, tally: Tally) -> None:
    in_batches(one_channel(_SIZE, time.time()), ground, tally)


def _posts(ground: Ground, tally: Tally) -> None:
    one_by_one(one_channel(_SIZE, time.time()), ground, tally)


def _bridge(ground: Ground, tally: Tally) -> None:
    in_batches(one_bridge(_SIZE, time.time()), ground, tally)


_CALL: Final = f"another enterprise's one call of {_SIZE:,} new_callerid"
BATCHES: Final = Attack(name="long-call", title=f"{_CALL}, in batches", run=_batches)
POSTS: Final = Attack(name="long-call-posts", title=f"{_CALL}, one by one", run=_posts)
BRIDGE: Final = Attack(name="bridge", title=f"{_SIZE:,} calls of another enterprise under one bridge id", run=_bridge)
