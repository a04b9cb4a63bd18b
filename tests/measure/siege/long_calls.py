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
    """A call that rings, and whose channel then tells its caller again and again, each time in other words."""
    told = {
        "UniqueId": _main(now),
        "Channel": f"SIP/{_LINE}-00000001",
        "CallerIDNum": _PHONE,
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "Exten": _LINE,
        "Context": "from-out-office",
    }
    return [
        *_ringing(now),
        *(marked(index, "new_callerid", {**told, "CallerIDName": str(index)}) for index in range(2, size + 2)),
    ]


def one_bridge(size: int, now: float) -> Sequence[Marked]:
    """A call that rings, and channels that enter one bridge with its customer."""
    bridge = str(uuid.uuid4())
    return [
        *_ringing(now),
        *(
            marked(
                index,
                "bridge",
                {
                    "UniqueId": f"{int(now)}.{index}",
                    "Channel": f"SIP/150-{index:08x}",
                    "CallerIDNum": "150",
                    "ConnectedLineNum": _PHONE,
                    "BridgeUniqueid": bridge,
                    "Exten": "",
                },
            )
            for index in range(2, size + 2)
        ),
    ]


def _ringing(now: float) -> Sequence[Marked]:
    common = {"UniqueId": _main(now), "Phone": _PHONE, "CallType": 0, "Trunk": _LINE}
    return [marked(0, "start", common), marked(1, "dial", {**common, "Extensions": ["150", "151"]})]


def _main(now: float) -> str:
    return f"{int(now)}.1"


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
