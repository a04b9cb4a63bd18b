"""
The messages of topics `call-events` and `recovered-events`.

`call-events`: an event that arrived, or a call to look at again. `{"event": {…}}` carries the whole event, so that it
survives when the database was away at intake; `{"call_id": n, "enterprise_number": "…"}` only wakes: with `"crm": "…"`
that CRM's function, without it those of all.

`recovered-events`: `{"events": [{…}, …]}` carries whole events too, of a batch or recovered one by one; without any it
only wakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeGuard
from uuid import UUID

from lib.intake.forms import EVENT_TYPES, ORIGINS
from lib.runtime import log_context
from lib.runtime.errors import InvalidPayload
from lib.store.events import NewEvent, StoredEvent


@dataclass(frozen=True, kw_only=True)
class WakeCall:
    """`crm` None: whichever CRM there is."""

    enterprise_number: str
    call_id: int
    crm: str | None = None


def bind(message: NewEvent | StoredEvent | WakeCall) -> None:
    """From here on the log says that it is about this message."""
    if isinstance(message, WakeCall):
        log_context.bind(enterprise=message.enterprise_number, call_id=message.call_id)
    else:
        log_context.bind(enterprise=message.enterprise_number, unique_id=message.unique_id, event_id=message.event_id)


def event_message(event: NewEvent | StoredEvent, *, received_at: datetime | None) -> dict[str, object]:
    return {"event": _as_json(event, received_at)}


def recovered_message(events: Sequence[tuple[NewEvent, datetime | None]] = ()) -> dict[str, object]:
    """Of topic `recovered-events`: each event with its time of receipt, None where the database does not have it."""
    return {"events": [_as_json(event, received_at) for event, received_at in events]}


def _as_json(event: NewEvent | StoredEvent, received_at: datetime | None) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "enterprise_number": event.enterprise_number,
        "unique_id": event.unique_id,
        "event_type": event.event_type,
        "raw": event.raw,
        "record_url": event.record_url,
        "data_source": event.data_source,
        "received_at": received_at.isoformat() if received_at else None,
    }


def call_message(wake: WakeCall) -> dict[str, object]:
    message: dict[str, object] = {"call_id": wake.call_id, "enterprise_number": wake.enterprise_number}
    return message | ({"crm": wake.crm} if wake.crm else {})


# The sweep's messages say so: what was passed over once is not passed over again.
SWEEP: Final = "sweep"


def can_wait(
    message: NewEvent | WakeCall, body: Mapping[str, Any], attributes: Mapping[str, str]
) -> TypeGuard[NewEvent]:
    """Whether the message is of an event that is stored, so that it is found again, and comes for the first time."""
    is_stored = isinstance(message, NewEvent) and bool(body["event"]["received_at"])
    return is_stored and attributes.get("origin") != SWEEP


def parse(body: Mapping[str, Any], *, published_at: datetime | None) -> NewEvent | WakeCall:
    """
    The message; an event that the database has no time of receipt for was received when it was published, or, when
    that is not known either, when it is stored.

    Raises InvalidPayload.
    """
    event = body.get("event")
    return _wake(body) if event is None else _event(event, published_at)


def parse_recovered(body: Mapping[str, Any], *, published_at: datetime | None) -> list[NewEvent]:
    """The events of a message of topic `recovered-events`, received as those of `parse` are. Raises InvalidPayload."""
    found = body.get("events")
    if not isinstance(found, list):
        raise InvalidPayload("events: must be a list")
    return [replace(_event(one, published_at), is_recovered=True) for one in found]


def events_in(body: Mapping[str, Any], *, published_at: datetime | None) -> list[NewEvent]:
    """Those that a message of either topic carries. Raises InvalidPayload."""
    if "events" in body:
        return parse_recovered(body, published_at=published_at)
    message = parse(body, published_at=published_at)
    return [message] if isinstance(message, NewEvent) else []


def _event(event: object, published_at: datetime | None) -> NewEvent:
    if not isinstance(event, dict):
        raise InvalidPayload("event: must be an object")
    try:
        received_at = datetime.fromisoformat(event["received_at"]) if event["received_at"] else published_at
        parsed = NewEvent(
            event_id=str(UUID(event["event_id"])),
            enterprise_number=event["enterprise_number"],
            unique_id=event["unique_id"],
            event_type=event["event_type"],
            raw=event["raw"],
            record_url=event["record_url"],
            data_source=event["data_source"],
            received_at=received_at,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidPayload(f"event: {type(error).__name__} {error}") from error
    if (
        parsed.event_type not in EVENT_TYPES
        or parsed.data_source not in ORIGINS
        or not isinstance(parsed.raw, dict)
        or not all(isinstance(text, str) for text in (parsed.enterprise_number, parsed.unique_id))
        or not isinstance(parsed.record_url, str | None)
        or not _is_moment(received_at)
    ):
        raise InvalidPayload("event: a field has a wrong form")
    return parsed


def _is_moment(received_at: datetime | None) -> bool:
    return received_at is None or (received_at.tzinfo is not None and 2000 < received_at.year < 2100)


def _wake(body: Mapping[str, Any]) -> WakeCall:
    call_id, number, crm = body.get("call_id"), body.get("enterprise_number"), body.get("crm")
    if (
        not isinstance(call_id, int)
        or isinstance(call_id, bool)
        or not 0 < call_id < 2**63
        or not isinstance(number, str)
        or not isinstance(crm, str | None)
    ):
        raise InvalidPayload("The message has neither an event nor a call_id with its enterprise_number")
    return WakeCall(enterprise_number=number, call_id=call_id, crm=crm)
