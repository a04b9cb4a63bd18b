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
_LINE: Final = "0001301"


def one_channel(size: int, now: float) -> Sequence[Marked]:
    """A call that begins, and whose channel then tells its caller again and again, each time in other words."""
    unique_id = f"{int(now)}.1"
    start = marked(0, "start", {"UniqueId": unique_id, "Phone": _PHONE, "CallType": 0, "Trunk": _LINE})
    told = {
        "UniqueId": unique_id,
        "Channel": f"SIP/{_LINE}-00000001",
        "CallerIDNum": _PHONE,
        "CallerIDName": "",
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "Exten": _LINE,
        "Context": "from-out-office",
    }
    return [start, *(marked(index + 1, "new_callerid", told) for index in range(size))]


def one_bridge(size: int, now: float) -> Sequence[Marked]:
    bridge = str(uuid.uuid4())
    return [
        marked(
            index,
            "bridge",
            {
                "UniqueId": f"{int(now)}.{index + 1}",
                "Channel": f"SIP/{_LINE}-{index + 1:08x}",
                "CallerIDNum": f"37529{3_000_000 + index}",
                "ConnectedLineNum": "150",
                "BridgeUniqueid": bridge,
                "Exten": "",
            },
        )
        for index in range(size)
    ]


def _batches(ground: Ground, tally: Tally) -> None:
    in_batches(one_channel(_SIZE, time.time()), ground, tally)


def _posts(ground: Ground, tally: Tally) -> None:
    one_by_one(one_channel(_SIZE, time.time()), ground, tally)


def _bridge(ground: Ground, tally: Tally) -> None:
    in_batches(one_bridge(_SIZE, time.time()), ground, tally)


_CALL: Final = f"another enterprise's one call of {_SIZE:,} new_callerid"
BATCHES: Final = Attack(name="long-call", title=f"{_CALL}, in batches", run=_batches)
POSTS: Final = Attack(name="long-call-posts", title=f"{_CALL}, one by one", run=_posts)
BRIDGE: Final = Attack(
    name="bridge", title=f"{_SIZE:,} channels of another enterprise under one bridge id", run=_bridge
)
