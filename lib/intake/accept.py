"""
Accepting events: stored or published is accepted, neither is refused.

Stored first, because the database's clock gives the time of receipt; the message carries the whole event, so
that it survives when only Pub/Sub took it. Events that come while others are being stored or published share the
next round trip (`lib.runtime.combine`); each is answered for itself, after its own commit.

Recovered events, and whatever comes in a batch, go to a topic of their own, so that no live event waits behind them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import psycopg

from lib.intake.messages import event_message, recovered_message
from lib.runtime import config, db, failpoints, log_context, pubsub
from lib.runtime.combine import Combiner, by_halves
from lib.runtime.errors import AppError, InvalidPayload, Unavailable
from lib.runtime.pubsub import Message
from lib.store import events
from lib.store.events import NewEvent, Stored

log = logging.getLogger(__name__)

# With the database's own limit, a host has its answer within a second even when both are away.
UNSTORED_SECONDS: Final = 0.4
# Who sends hundreds at once can wait longer than who sends one.
BATCH_SECONDS: Final = 2.0
# More than the threads of a process never wait at the same time.
SHARED_EVENTS: Final = 100
# Of a batch, so many go into one message: it is parsed at once, and Pub/Sub takes ten megabytes.
MESSAGE_EVENTS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """
    `is_stored` False: the database was away, and Pub/Sub has it; `message`: what is still to be published, to `topic`;
    None: nothing is.
    """

    event_id: str
    is_copy: bool
    is_stored: bool = True
    message: Message | None = None
    topic: str = pubsub.CALL_EVENTS

    @property
    def answer(self) -> str:
        """For `/metrics`."""
        if self.is_copy:
            return "copy"
        return "stored" if self.is_stored else "published"

    def as_json(self) -> dict[str, object]:
        if self.is_copy:
            return {"success": True, "status": "ignored", "reason": "duplicate"}
        return {"success": True, "event_id": self.event_id}


def accept(event: NewEvent) -> Accepted:
    """
    An event that is stored is accepted, and `publish` follows behind its answer; one that is not is published first.

    Raises Unavailable when it could be neither stored nor published, InvalidPayload when it never can be.
    """
    log_context.bind(unique_id=event.unique_id, event_id=event.event_id)
    stored = None
    try:
        stored = _storing.run(event, within_seconds=db.QUICK_SECONDS)
        failpoints.hit("event_committed")
    except Unavailable as error:
        log.warning("not stored", extra={"event_id": event.event_id, "reason": str(error)})
    except psycopg.Error:  # a schema that is out of date, a missing grant: the event can still be published
        log.exception("not stored", extra={"event_id": event.event_id})
    if stored is not None and stored.is_copy:
        log_context.bind(event_id=stored.event_id)
        return Accepted(event_id=stored.event_id, is_copy=True)
    if stored is not None:
        message = _message([(event, stored)])
        return Accepted(event_id=event.event_id, is_copy=False, message=message, topic=_topic(event))
    patience = min(config.current(config.PubSub).pubsub_publish_timeout_seconds, UNSTORED_SECONDS)
    try:
        _publishing[_topic(event)].run(_message([(event, None)]), within_seconds=patience)
    except Unavailable as error:
        raise _lost() from error
    failpoints.hit("event_published")
    return Accepted(event_id=event.event_id, is_copy=False, is_stored=False)


def publish(accepted: Accepted) -> None:
    """Wakes whoever assembles the event. Nothing depends on it: what is not published now, the sweep publishes."""
    if accepted.message is None:
        return
    try:
        patience = config.current(config.PubSub).pubsub_publish_timeout_seconds
        _publishing[accepted.topic].run(accepted.message, within_seconds=patience)
    except Unavailable as error:
        log.warning("not published, the sweep will", extra={"event_id": accepted.event_id, "reason": str(error)})
    failpoints.hit("event_published")


def accept_all(new: Sequence[NewEvent]) -> list[Accepted | AppError]:
    """
    What became of each event of a batch, in order: one round trip to the database, and as few messages and requests to
    Pub/Sub as fit.
    """
    new = [replace(event, is_recovered=True) for event in new]
    log_context.add("unique_ids", (event.unique_id for event in new))
    stored = _store_all(new)
    fresh = {
        place: one
        for place, one in enumerate(stored)
        if not isinstance(one, InvalidPayload) and not (one is not None and one.is_copy)
    }
    places = list(fresh)
    parts = [places[first : first + MESSAGE_EVENTS] for first in range(0, len(places), MESSAGE_EVENTS)]
    messages = [_message([(new[place], fresh[place]) for place in part]) for part in parts]
    refused: set[int] = set()
    for part, refusal in zip(parts, pubsub.publish_each(pubsub.RECOVERED_EVENTS, messages), strict=True):
        if refusal:
            log.warning("not published, the sweep will", extra={"events": len(part), "reason": str(refusal)})
            refused |= set(part)
    failpoints.hit("event_published")
    return [
        _outcome(event, one, is_published=place not in refused)
        for place, (event, one) in enumerate(zip(new, stored, strict=True))
    ]


def _outcome(event: NewEvent, stored: Stored | InvalidPayload | None, *, is_published: bool) -> Accepted | AppError:
    if stored is None:
        return Accepted(event_id=event.event_id, is_copy=False, is_stored=False) if is_published else _lost()
    if isinstance(stored, InvalidPayload):
        return stored
    return Accepted(event_id=stored.event_id, is_copy=stored.is_copy)


def _store_all(new: Sequence[NewEvent]) -> list[Stored | InvalidPayload | None]:
    """None for each when the database is away. What cannot be stored is found by halves and harms no other."""
    try:
        stored = by_halves(_store_in_order, new, on=InvalidPayload)
        failpoints.hit("event_committed")
    except Unavailable as error:
        log.warning("not stored", extra={"events": len(new), "reason": str(error)})
    except psycopg.Error:
        log.exception("not stored", extra={"events": len(new)})
    else:
        return [*stored]
    return [None] * len(new)


def _store_in_order(new: Sequence[NewEvent]) -> list[Stored]:
    """A batch is one host's: its events are received in the order in which they stand."""
    with db.connection(within_seconds=BATCH_SECONDS) as conn:
        failpoints.soon("event_inserting")
        return events.insert_events(conn, new)


def _store(new: Sequence[NewEvent], seconds: float) -> list[Stored]:
    """Channels in one order everywhere, so that instances that store the same copies do not deadlock."""
    order = sorted(range(len(new)), key=lambda place: (new[place].enterprise_number, new[place].unique_id))
    with db.connection(within_seconds=seconds) as conn:
        failpoints.soon("event_inserting")
        if len(new) == 1:
            return [events.insert_event(conn, new[0])]
        stored = dict(zip(order, events.insert_events(conn, [new[place] for place in order]), strict=True))
    return [stored[place] for place in range(len(new))]


def _publish(topic: str, messages: Sequence[Message], seconds: float) -> list[None]:
    pubsub.publish_messages(topic, messages, within_seconds=seconds)
    return [None] * len(messages)


def _topic(event: NewEvent) -> str:
    return pubsub.RECOVERED_EVENTS if event.is_recovered else pubsub.CALL_EVENTS


def _message(events_: Sequence[tuple[NewEvent, Stored | None]]) -> Message:
    """Of one live event, or of recovered ones of one enterprise."""
    event, _ = events_[0]
    timed = [(one, stored.received_at if stored else None) for one, stored in events_]
    if event.is_recovered:
        return pubsub.message(recovered_message(timed), enterprise_number=event.enterprise_number)
    return pubsub.message(
        event_message(event, received_at=timed[0][1]),
        event_type=event.event_type,
        enterprise_number=event.enterprise_number,
    )


def _lost() -> Unavailable:
    return Unavailable("The event was neither stored nor published; send it again")


_storing = Combiner(_store, limit=SHARED_EVENTS)
_publishing = {
    topic: Combiner(partial(_publish, topic), limit=SHARED_EVENTS)
    for topic in (pubsub.CALL_EVENTS, pubsub.RECOVERED_EVENTS)
}
