"""
Parses what hosts and call services post into events that can be stored.

Two forms: our own envelope (`{token, uniqueId, event_type, raw, …}`) and the hosts' own (`POST /dial`, the token
in a header or in the body), both as `bodies` reads them. Only the frame is checked here, by the schemas that
`lib.intake.document` shows; `lib.calls` interprets the body, and says of a `record_url` that is no address that it is
none.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate, islice
from typing import Any, Final
from uuid import uuid4

from lib.intake import bodies
from lib.runtime import json_schema
from lib.runtime.errors import InvalidPayload
from lib.runtime.http import EVENT_BODY_BYTES
from lib.runtime.json_schema import Schema
from lib.store.events import NewEvent

EVENT_TYPES: Final = (
    "start",
    "dial",
    "bridge",
    "bridge_create",
    "bridge_leave",
    "bridge_destroy",
    "new_callerid",
    "hangup",
    "recording",
)
HOST_EVENT_TYPES: Final = tuple(kind for kind in EVENT_TYPES if kind != "recording")
ORIGINS: Final = ("live", "download", "backfill")
BATCH_SIZE: Final = 500
_TEXT_LENGTH = 255
# What is kept of an event, about as much as it takes in memory: a call is read with all of its events at once. The
# largest one that a host was seen to send takes an eighth of that, one that rings two hundred telephones fits.
KEPT_BYTES: Final = 16_000
LEFT_OUT: Final = "LeftOut"
_NAMED_AT_MOST: Final = 10
# Longer than any address that becomes a link.
_ADDRESS_CHARACTERS: Final = 4_000
# Of a value beside its letters.
_VALUE_BYTES: Final = 60

_ORIGIN: Final[Schema] = {
    "type": ["string", "null"],
    "enum": [*ORIGINS, None],
    "description": f"one of {', '.join(ORIGINS)}",
}
# What may be left out, or be anything, costs a field and not the event.
ENVELOPE: Final[Schema] = {
    "type": "object",
    "required": ["event_type", "uniqueId", "raw"],
    "properties": {
        "event_type": {"type": "string", "enum": [*EVENT_TYPES]},
        "uniqueId": {},
        "raw": {
            "type": ["object", "string"],
            "maxLength": EVENT_BODY_BYTES,
            "maxProperties": EVENT_BODY_BYTES,
            "additionalProperties": True,
            "description": "an object, the event as the host sent it, or its text in JSON",
        },
        "record_url": {},
        "origin": _ORIGIN,
    },
    "additionalProperties": True,
}
BATCH: Final[Schema] = {
    "type": "object",
    "required": ["events"],
    "properties": {
        "events": {
            "type": "array",
            "minItems": 1,
            "maxItems": BATCH_SIZE,
            "description": f"a list of 1 to {BATCH_SIZE} events",
        },
        "origin": _ORIGIN,
    },
    "additionalProperties": True,
}


def check(body: object, schema: Schema) -> None:
    """Raises InvalidPayload that names the first field that is wrong."""
    for field, problem in json_schema.problems(body, schema).items():
        raise InvalidPayload(f"{field}: {problem.message}")


def from_envelope(body: Mapping[str, Any], *, enterprise_number: str, origin: str | None = None) -> NewEvent:
    """An event of `POST /dispatch/call-event` (or of a batch). Raises InvalidPayload that names the field."""
    check(body, ENVELOPE)
    raw = _object(body["raw"])
    if raw is None:
        raise InvalidPayload(f"raw: must be {ENVELOPE['properties']['raw']['description']}")
    data_source = body.get("origin") or origin or "live"
    return NewEvent(
        event_id=str(uuid4()),
        enterprise_number=enterprise_number,
        unique_id=_text(body, "uniqueId"),
        event_type=body["event_type"],
        raw=_kept(_without_token(raw)),
        record_url=_record_url(body.get("record_url")),
        data_source=data_source,
        is_recovered=data_source != "live",
    )


def from_host(event_type: str, body: Mapping[str, Any], *, enterprise_number: str) -> NewEvent:
    """An event in the hosts' own form. Raises InvalidPayload that names the field."""
    return NewEvent(
        event_id=str(uuid4()),
        enterprise_number=enterprise_number,
        unique_id=_text(body, "UniqueId"),
        event_type=event_type,
        raw=_kept(_without_token(body)),
    )


def token_of(body: Mapping[str, Any], *, field: str, header: str = "") -> str:
    """The token of a request. Raises InvalidPayload when there is none."""
    token = header or body.get(field)
    if isinstance(token, int) and not isinstance(token, bool):
        token = str(token)
    if not isinstance(token, str) or not token.strip():
        raise InvalidPayload(f"{field}: is missing or not text")
    return token.strip()


def _object(value: object) -> dict[str, Any] | None:
    """The event that the host sent, or its text."""
    if isinstance(value, str):
        with suppress(InvalidPayload):
            return bodies.parse(value.encode())
    return value if isinstance(value, dict) else None


def _without_token(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the token, which must not be stored with every event or shown in messages and pages."""
    return {name: value for name, value in raw.items() if name.lower() != "token"}


def _kept(raw: dict[str, Any]) -> dict[str, Any]:
    """Its smallest fields, as many as fit, and of the next one its beginning; `LEFT_OUT` names what is not whole."""
    if _size(raw) <= KEPT_BYTES:
        return raw
    names = sorted(raw, key=lambda name: _size(raw[name]))
    taken = list(accumulate((_size(name) + _size(raw[name]) for name in names), initial=_VALUE_BYTES))
    whole = bisect_right(taken, KEPT_BYTES) - 1
    kept = {name: raw[name] for name in names[:whole]}
    left_out = names[whole:]
    if (room := KEPT_BYTES - taken[whole] - _size(left_out[0])) > 0:
        kept[left_out[0]] = _beginning(raw[left_out[0]], room)
    return kept | {LEFT_OUT: [name[:_TEXT_LENGTH] for name in left_out[:_NAMED_AT_MOST]]}


def _beginning(value: Any, room: int) -> Any:
    if isinstance(value, str):
        return value[: max(0, room - _VALUE_BYTES)]
    if isinstance(value, list):
        sizes = accumulate(map(_size, value), initial=_VALUE_BYTES)
        return [item for item, size in zip(value, islice(sizes, 1, None), strict=False) if size <= room]
    return None


def _size(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE_BYTES + len(value)
    if isinstance(value, list):
        return _VALUE_BYTES + sum(map(_size, value))
    if isinstance(value, dict):
        return _VALUE_BYTES + sum(_size(name) + _size(item) for name, item in value.items())
    return _VALUE_BYTES


def _text(body: Mapping[str, Any], field: str) -> str:
    """What cannot be an id is none; the event is kept for what else it says."""
    value = body.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return value.strip() if isinstance(value, str) and len(value) <= _TEXT_LENGTH else ""


def _record_url(value: object) -> str | None:
    """As it was sent, an address or not; of what is longer than any, the beginning."""
    if value is None or value == "":
        return None
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:_ADDRESS_CHARACTERS]
