"""
What a message of `call-events` sets going: its calls are assembled, their pop-ups and ends are sent, and what came
meanwhile is not forgotten.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from lib.intake import messages
from lib.intake.messages import WakeCall, event_message
from lib.ledger import deliver
from lib.ledger.assemble import Round, assemble
from lib.ledger.crm import CRM
from lib.runtime import db, failpoints, log_context, pubsub
from lib.store import neighbourhood
from lib.store.events import NewEvent, StoredEvent

log = logging.getLogger(__name__)

# With the longest request this is within the ack deadline; then the event that remains is published once more.
WAKE_SECONDS: Final = 20.0
# A call that woke while its enterprise was being assembled wakes again.
BUSY_SECONDS: Final = 0.1
# A telephone that began to ring longer ago is no news any more.
RINGING_SECONDS: Final = 15.0


def wake(message: NewEvent | WakeCall, *, crm: CRM, crms: Mapping[str, CRM], is_busy: bool = False) -> None:
    """
    `is_busy`: more comes than this process can take, so that the enterprise's newest ring goes first, whichever message
    came. Raises NotFound for an enterprise that is not there, Unavailable.
    """
    if isinstance(message, WakeCall) and message.crm not in {None, crm.name}:
        return
    until = time.monotonic() + WAKE_SECONDS
    if is_busy and (ring := _newest_ring(message)):
        _tell(assemble(ring, crm=crm, crms=crms), crm, message.enterprise_number)
    # Also then: this event may be one that only Pub/Sub has.
    done = assemble(message, crm=crm, crms=crms)
    if not done.is_ours and isinstance(message, WakeCall):
        _wake_behind_others(message, crm)
        return
    left = _tell_first(done, until, crm, message.enterprise_number)
    while left is not None and (more := _go_on(left, crm, crms)):
        left = _tell_first(more, until, crm, message.enterprise_number)


def _tell_first(done: Round, until: float, crm: CRM, enterprise_number: str) -> NewEvent | None:
    """Pop-ups first, while somebody else goes on with what came; the event to go on with, if nobody else does."""
    has_to_send = bool(done.admitted.outgoing) or time.monotonic() > until
    if done.left is not None and has_to_send:
        hand_on(done.left)
    _tell(done, crm, enterprise_number)
    return _as_new(done.left) if done.left is not None and not has_to_send else None


def _go_on(left: NewEvent, crm: CRM, crms: Mapping[str, CRM]) -> Round | None:
    """
    None: it could not be assembled, keeps its mark, and is woken by the sweep. The pushed message is not nacked for it:
    its own event is assembled.
    """
    messages.bind(left)
    try:
        return assemble(left, crm=crm, crms=crms)
    except Exception:
        log.exception("left to the sweep", extra={"event_id": left.event_id})
        return None


def _newest_ring(message: NewEvent | WakeCall) -> NewEvent | None:
    """What waits of a telephone that may still ring; None where the message itself is of one, or is not of an event."""
    if isinstance(message, WakeCall) or message.event_type == "dial":
        return None
    with db.connection() as conn:
        number = message.enterprise_number
        ring = neighbourhood.left(neighbourhood.find_ring(conn, number, within_seconds=RINGING_SECONDS), number)
    return _as_new(ring) if ring else None


def announce(done: Round, enterprise_number: str) -> None:
    """Wakes whoever goes on: the functions of the other CRMs, and the lanes of rows."""
    for other, call_id in done.others:
        # Its own message of the same event may have come while this process was at the enterprise.
        deliver.wake_call(other, enterprise_number, call_id, seconds=0.0)
    for lane in done.lanes:
        deliver.wake_lane(lane)


def hand_on(left: StoredEvent) -> None:
    """Somebody else goes on with this event."""
    deliver.publish_soon(pubsub.CALL_EVENTS, event_message(left, received_at=left.received_at))


def _tell(done: Round, crm: CRM, enterprise_number: str) -> None:
    log_context.add("calls", done.calls)
    announce(done, enterprise_number)
    if done.admitted.outgoing:
        failpoints.hit("attempt_committed")
    deliver.send_all(done.admitted, crm=crm, enterprise_number=enterprise_number)


def _wake_behind_others(message: WakeCall, crm: CRM) -> None:
    """What the call has due needs no turn; what its time asks for is derived when the turn is free."""
    # This CRM's function alone: were all to wake, one of them would lose its turn to another, for ever.
    deliver.wake_call(crm.name, message.enterprise_number, message.call_id, seconds=BUSY_SECONDS)
    deliver.deliver_due(crm, message.enterprise_number, [message.call_id])


def _as_new(left: StoredEvent) -> NewEvent:
    return NewEvent(
        event_id=left.event_id,
        enterprise_number=left.enterprise_number,
        unique_id=left.unique_id,
        event_type=left.event_type,
        raw=left.raw,
        record_url=left.record_url,
        data_source=left.data_source,
        received_at=left.received_at,
    )
