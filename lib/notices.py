"""What the CRM must hear, between the plan (typed) and the ledger (JSON)."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final

from lib.calls.plan import CallRow, EndNotice, RingNotice, Told
from lib.store.deliveries import Delivery, NewDelivery

Notice = RingNotice | EndNotice | CallRow

_EFFECTS: Final[dict[type[Notice], str]] = {RingNotice: "popup", EndNotice: "hangup", CallRow: "upload"}
_TYPES: Final = {effect: kind for kind, effect in _EFFECTS.items()}


def new_delivery(notice: Notice) -> NewDelivery:
    return NewDelivery(
        effect=_EFFECTS[type(notice)],
        external_id=notice.call_id,
        extensions=notice.extensions if isinstance(notice, RingNotice) else (),
        content=content(notice),
        expires_at=None if isinstance(notice, CallRow) else notice.expires_at,
    )


def content(notice: Notice) -> dict[str, Any]:
    """The notice as JSON."""
    return {key: _encode(value) for key, value in dataclasses.asdict(notice).items()}


def decode(delivery: Delivery) -> Notice:
    kind = _TYPES[delivery.effect]
    moments = {field.name for field in dataclasses.fields(kind) if "datetime" in str(field.type)}
    return kind(**{key: _decode(value, is_moment=key in moments) for key, value in delivery.content.items()})


def told(delivery: Delivery) -> Told:
    return Told(
        effect=delivery.effect,
        extensions=tuple(delivery.extensions),
        state=delivery.state,
        content=delivery.content,
    )


def _encode(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _decode(value: object, *, is_moment: bool) -> Any:
    if is_moment and isinstance(value, str):
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) else value
