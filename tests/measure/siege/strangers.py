"""Large bodies without a token: what costs a process most memory for a byte."""

from __future__ import annotations

import time
from typing import Final

from tests.measure.siege.attack import Attack, Ground, Tally, side_by_side

_LANES: Final = 8
# Below the largest body that a batch may have, so that nothing but its content is a reason to refuse it.
_BODY: Final = b'{"a":[' + b"{}," * 1_300_000 + b"{}]}"
# No lane sends more of them: refused at once, they would else only measure how fast loopback is.
_EVERY_SECONDS: Final = 1.0


def _run(ground: Ground, tally: Tally) -> None:
    until = time.monotonic() + ground.seconds
    client = ground.stranger()

    def work(_: int) -> None:
        while (began := time.monotonic()) < until:
            tally.count(client.post("/dispatch/call-events", _BODY))
            time.sleep(max(0.0, min(began + _EVERY_SECONDS, until) - time.monotonic()))

    side_by_side(_LANES, work)


ATTACK: Final = Attack(
    name="strangers",
    title="strangers' 4 MB bodies without a token, 8 at a time",
    run=_run,
)
