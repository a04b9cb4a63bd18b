"""
The lane of recovered events: assembled in small bites, in turn over the enterprises, while live calls go first.

A host that recovers a day posts thousands of events at once. Nobody waits for them, so they take what is left: one bite
at a time in a process, after each a pause as long as it took, and none of an enterprise while a live event of it waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from psycopg import errors

from lib.intake.messages import recovered_message
from lib.ledger import deliver
from lib.ledger.assemble import Bite, Round, assemble_recovered
from lib.ledger.crm import CRM
from lib.ledger.wake import announce, hand_on
from lib.runtime import db, pubsub
from lib.runtime.combine import by_halves
from lib.runtime.errors import InvalidPayload, NotFound, TransientError, Unavailable
from lib.store import events, recovered
from lib.store.events import NewEvent, Stored

log = logging.getLogger(__name__)

# A live event of the enterprise waits for a bite at most: of so many events, fewer where they took longer than this.
BITE_EVENTS: Final = 20
BITE_SECONDS: Final = 0.2
# With the longest bite this is within the ack deadline; then the lane is woken by a message of its own.
LANE_SECONDS: Final = 10.0
# Where a live event goes first, or another process is at the enterprise.
PAUSE_SECONDS: Final = 0.02
# A live event that nobody could assemble for so long does not stop the lane any more.
LIVE_SECONDS: Final = 2.0


def store(new: Sequence[NewEvent]) -> None:
    """
    Those that the database does not have: intake could not store them, or a failover lost them.

    Raises Unavailable, and InvalidPayload for one that can never be stored, when the others are.
    """
    with db.connection() as conn:
        missing = events.find_missing(conn, [event.event_id for event in new])
    unstored = [event for event in new if event.event_id in missing]
    if not unstored:
        return
    try:
        refused = [one for one in by_halves(_store, unstored, on=InvalidPayload) if isinstance(one, InvalidPayload)]
    except errors.UniqueViolation as error:
        raise Unavailable("The same message is being stored at this moment") from error
    if refused:
        raise refused[0]


def _store(new: Sequence[NewEvent]) -> list[Stored]:
    with db.connection() as conn:
        return events.insert_events(conn, new)


class RecoveredLane:
    """One process's part of the work: where it is among the enterprises, and how large their bites are."""

    def __init__(self, crms: Mapping[str, CRM]) -> None:
        self._crms = crms
        self._lock = threading.Lock()
        self._is_at_work = False
        self._is_called = False
        self._after = ""
        self._sizes: dict[str, int] = {}

    def work(self) -> None:
        """
        Takes bites until nothing waits, or for LANE_SECONDS; then a message goes on. A thread that comes meanwhile
        leaves it to this one. Raises Unavailable.
        """
        until = time.monotonic() + LANE_SECONDS
        while self._begin():
            try:
                is_empty = self._take_bites(until)
            finally:
                is_called = self._end()
            if not is_empty:
                deliver.publish_soon(pubsub.RECOVERED_EVENTS, recovered_message())
            if not (is_empty and is_called):
                return

    def _begin(self) -> bool:
        with self._lock:
            self._is_called = self._is_at_work
            if self._is_at_work:
                return False
            self._is_at_work = True
            return True

    def _end(self) -> bool:
        """Whether somebody came meanwhile, perhaps behind the last look."""
        with self._lock:
            self._is_at_work = False
            return self._is_called

    def _take_bites(self, until: float) -> bool:
        """Whether nothing waits any more."""
        while time.monotonic() < until:
            with db.connection() as conn:
                found = recovered.find_next(conn, after=self._after, live_within_seconds=LIVE_SECONDS)
            if found is None:
                self._sizes.clear()
                return True
            self._after = found.enterprise_number
            began = time.monotonic()
            done = None if found.has_live else self._bite(found.enterprise_number)
            spent = time.monotonic() - began
            if done is not None and done.is_ours:
                log.info("assembled", extra={"enterprise": found.enterprise_number, "calls": done.calls})
                self._resize(found.enterprise_number, spent)
                _tell(done, found.enterprise_number)
            time.sleep(max(PAUSE_SECONDS, min(spent, BITE_SECONDS)))
        return False

    def _bite(self, number: str) -> Round | None:
        """None: nothing was assembled; the next bite is smaller, or the event that is at fault has left the lane."""
        size = self._sizes.get(number, BITE_EVENTS)
        try:
            return assemble_recovered(Bite(enterprise_number=number, most=size), crms=self._crms)
        except NotFound:
            with db.connection() as conn:
                recovered.give_up_all(conn, number)
            return None
        except TransientError as error:
            log.warning("bite put off", extra={"enterprise": number, "reason": str(error)})
            return None
        except Exception:
            # Two calls that are one, both being told of, too: whoever joins them alone waits for that.
            log.exception("bite failed", extra={"enterprise": number, "events": size})
        if size > 1:
            self._sizes[number] = size // 2
            return None
        with db.connection() as conn:
            event_id = recovered.give_up_first(conn, number)
        log.error("left to the sweep", extra={"enterprise": number, "event_id": event_id})
        return None

    def _resize(self, number: str, spent: float) -> None:
        size = self._sizes.get(number, BITE_EVENTS)
        self._sizes[number] = max(1, size // 2) if spent > BITE_SECONDS else min(BITE_EVENTS, size * 2)


def _tell(done: Round, number: str) -> None:
    announce(done, number)
    if done.left is not None:
        hand_on(done.left)
