"""Rate slots of an account: all requests to it, deliveries or others, share its limits (`lib.runtime.gate`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from lib.runtime import config, db
from lib.runtime.errors import Unavailable
from lib.runtime.gate import Answer, Limits
from lib.store import gates
from lib.store.gates import LaneName, Place

# How long a request of the page, or of a command, may wait for a slot.
PATIENCE_SECONDS: Final = 1.5
# A slot is released when its request ends, or by this much after its timeout, should the process die.
_MARGIN_SECONDS: Final = 2.0


def delivery_limits() -> Limits:
    settings = config.current(config.Gate)
    return Limits(per_second=settings.retailcrm_telephony_per_second, at_once=settings.retailcrm_deliveries_at_once)


@contextmanager
def taken(base_url: str, path: str, *, timeout_seconds: float, patience_seconds: float) -> Iterator[bool]:
    """Yields False when no slot became free in time: then nothing may be sent. Raises Unavailable."""
    settings = config.current(config.Gate)
    is_telephony = path.startswith("/api/v5/telephony")
    lane: LaneName = "telephony" if is_telephony else "other"
    limits = Limits(
        per_second=settings.retailcrm_telephony_per_second if is_telephony else settings.retailcrm_other_per_second
    )
    place = _wait(base_url, lane, limits, timeout_seconds=timeout_seconds, patience_seconds=patience_seconds)
    try:
        yield place is not None
    finally:
        if place is not None:
            with suppress(Unavailable), db.transaction() as conn:
                gates.leave(conn, place, limits, key=None, answer=Answer(outcome="done"))


def _wait(
    base_url: str, lane: LaneName, limits: Limits, *, timeout_seconds: float, patience_seconds: float
) -> Place | None:
    until = time.monotonic() + patience_seconds
    while True:
        with db.transaction() as conn:
            place = gates.enter(conn, base_url, limits, lane=lane, seconds=timeout_seconds + _MARGIN_SECONDS, key=None)
        if isinstance(place, Place):
            return place
        if time.monotonic() + place.seconds > until:
            return None
        time.sleep(place.seconds)
