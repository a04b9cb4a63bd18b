"""
Sending again, because a person wants it: rows of history that came to nothing, and messages that were rejected.

Pop-ups and their ends are not sent again: they are news while a phone rings. A replay is another generation of a
delivery, which then goes the way of every delivery, or the same message published once more. Each is remembered
with who wanted it, when and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lib.intake import envelope
from lib.intake.envelope import Push
from lib.runtime import db, pubsub
from lib.runtime.db import Connection
from lib.runtime.errors import Conflict, InvalidPayload, NotFound
from lib.store import rejected, replays, rows
from lib.store.rejected import Rejected
from lib.store.replays import Replay, Replayable
from lib.store.states import GIVEN_UP

# Subscriptions are named after their topic: `<topic>.<function>`, and their dead letters `<topic>.<function>.dead`.
_TOPICS: Final = (pubsub.CALL_EVENTS, pubsub.RECOVERED_EVENTS, pubsub.DUE_ROWS, pubsub.MODULE_COMMANDS)


@dataclass(frozen=True, kw_only=True)
class Request:
    """`session_id`: of the administrator, when it was asked for on the page."""

    by: str
    reason: str = ""
    session_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    topic: str
    body: dict[str, Any]


def why_not(item: Replayable) -> str | None:
    """Why this delivery is not sent again; None when it can be."""
    if item.effect != "upload":
        return "a pop-up is news while the phone rings, and that is over"
    if not item.is_latest:
        return "it was sent again already"
    if item.state not in GIVEN_UP:
        return f"it is {item.state}"
    return None


def send_again(
    conn: Connection,
    request: Request,
    *,
    enterprise_number: str,
    call_id: int,
    delivery_id: int | None = None,
    crm: str | None = None,
) -> list[int]:
    """
    One delivery of the call, or every row that did not get through, of one CRM or of all; the new generations. Part of
    the caller's transaction, at the end of which they are due.

    Raises NotFound, and Conflict when there is nothing that could be sent again.
    """
    entered = _enter(
        conn, request, enterprise_number, _chosen(_locked(conn, enterprise_number, call_id, crm), delivery_id)
    )
    rows.wake_for_rows(conn, entered)
    return entered


def send_all_again(
    conn: Connection, request: Request, *, enterprise_number: str, call_ids: Sequence[int], crm: str
) -> list[int]:
    """The rows of several calls that did not get through, as far as they can be sent again; the new generations."""
    entered: list[int] = []
    for call_id in sorted(call_ids):
        with suppress(Conflict):
            entered += _enter(
                conn, request, enterprise_number, _chosen(_locked(conn, enterprise_number, call_id, crm), None)
            )
    # Behind all calls: whoever holds a call may wait for a lane's timer, and never the other way round.
    rows.wake_for_rows(conn, entered)
    return entered


def _locked(conn: Connection, enterprise_number: str, call_id: int, crm: str | None) -> list[Replayable]:
    replays.lock_call(conn, call_id)
    return [one for one in replays.list_for_call(conn, enterprise_number, call_id) if crm in {None, one.crm}]


def _enter(conn: Connection, request: Request, enterprise_number: str, chosen: Sequence[Replayable]) -> list[int]:
    entered = []
    for item in chosen:
        again = replays.insert_generation(conn, item.id)
        if again is not None:
            entered.append(again)
            replays.insert_replay(
                conn,
                Replay(
                    enterprise_number=enterprise_number,
                    subject=f"{item.effect} {item.external_id}, generation {item.generation + 1}",
                    requested_by=request.by,
                    reason=request.reason,
                    delivery_id=again,
                    session_id=request.session_id,
                ),
            )
    return entered


def _chosen(ledger: Sequence[Replayable], delivery_id: int | None) -> list[Replayable]:
    if delivery_id is None:
        chosen = [item for item in ledger if why_not(item) is None]
    else:
        chosen = [item for item in ledger if item.id == delivery_id]
        if not chosen:
            raise NotFound("This call has no such delivery", code="unknown_delivery")
    if not chosen or any(why_not(item) for item in chosen):
        raise Conflict("There is nothing that could be sent again", code="not_replayable")
    return chosen


def publish_again(message_id: int, request: Request) -> None:
    """
    A rejected message, to its topic; should it be rejected again, that is another message.

    Raises NotFound, InvalidPayload when it cannot be read or has no way of its own, Conflict when it was replayed
    already, Unavailable: then nothing is marked, and doing it again does no harm.
    """
    with db.transaction() as conn:
        found = rejected.lock_message(conn, message_id)
        if found is None:
            raise NotFound(f"There is no rejected message {message_id}", code="unknown_message")
        if found.replayed_at is not None:
            raise Conflict(f"Message {message_id} was replayed already, at {found.replayed_at:%Y-%m-%d %H:%M:%S} UTC")
        message = message_of(found)
        pubsub.publish(message.topic, message.body)
        rejected.mark_replayed(conn, found.id)
        replays.insert_replay(
            conn,
            Replay(
                enterprise_number=_enterprise_number(message.body),
                subject=f"rejected message {found.id} of {found.source}",
                requested_by=request.by,
                reason=request.reason,
                rejected_message_id=found.id,
                session_id=request.session_id,
            ),
        )


def message_of(found: Rejected) -> Message:
    """What would be published. Raises InvalidPayload that says why nothing can be."""
    push = envelope.parse(found.headers, found.raw)
    source = push.attributes.get("CloudPubSubDeadLetterSourceSubscription") or found.source
    topic = source.rpartition("/")[2].partition(".")[0]
    if topic == pubsub.TICKS:
        raise InvalidPayload("a tick: every later one did its work")
    if topic not in _TOPICS:
        raise InvalidPayload(f"nothing says which topic it came from ({found.source})")
    body = push.json()
    if "event" in body:
        body["event"] = _received(body["event"], push)
    if isinstance(body.get("events"), list):
        body["events"] = [_received(event, push) for event in body["events"]]
    return Message(topic=topic, body=body)


def _received(event: object, push: Push) -> object:
    """One that only Pub/Sub had was received when it was first published, not now."""
    if isinstance(event, dict) and event.get("received_at") is None:
        return event | {"received_at": _first_published_at(push)}
    return event


def _first_published_at(push: Push) -> str | None:
    told = push.attributes.get("CloudPubSubDeadLetterSourceTopicPublishTime")
    return told or (push.published_at.isoformat() if push.published_at else None)


def _enterprise_number(body: dict[str, Any]) -> str | None:
    several = body.get("events")
    event = several[0] if isinstance(several, list) and several else body.get("event")
    number = event.get("enterprise_number") if isinstance(event, dict) else body.get("enterprise_number")
    return number if isinstance(number, str) else None
