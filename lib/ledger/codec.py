"""What the CRM must hear, between the plan (typed) and the ledger (JSON)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from lib.calls.decision import Decision
from lib.calls.plan import CallRow, EndNotice, RingNotice, Told, row_content
from lib.runtime.errors import InvalidPayload
from lib.store.deliveries import Delivery, NewDelivery
from lib.store.rows import Lane

Notice = RingNotice | EndNotice | CallRow

# A card that stays open a minute too long is not worth closing any more.
END_IS_NEWS: Final = timedelta(minutes=1)
# A CRM that was away for longer gets its rows by replay, when a person wants it.
ROW_IS_WANTED: Final = timedelta(days=7)


def rows_message(lane: Lane) -> dict[str, object]:
    """Of topic `due-rows`."""
    return {"enterprise_number": lane.enterprise_number, "crm": lane.crm}


def lane_of(body: Mapping[str, Any]) -> Lane:
    """Raises InvalidPayload."""
    number, crm = body.get("enterprise_number"), body.get("crm")
    if not isinstance(number, str) or not isinstance(crm, str):
        raise InvalidPayload("The message has no enterprise_number, or no crm")
    return Lane(enterprise_number=number, crm=crm)


def new_delivery(crm: str, notice: Notice, now: datetime) -> NewDelivery:
    match notice:
        case RingNotice():
            return NewDelivery(
                crm=crm,
                effect="popup",
                external_id=notice.call_id,
                extensions=notice.extensions,
                content=_content(notice),
                expires_at=notice.expires_at,
            )
        case EndNotice():
            return NewDelivery(
                crm=crm,
                effect="hangup",
                external_id=notice.call_id,
                content=_content(notice),
                expires_at=now + END_IS_NEWS,
            )
        case CallRow():
            return NewDelivery(
                crm=crm,
                effect="upload",
                external_id=notice.external_id,
                content=row_content(notice),
                expires_at=now + ROW_IS_WANTED,
            )


def decode(delivery: Delivery) -> Notice:
    content = dict(delivery.content)
    match delivery.effect:
        case "popup":
            moment = datetime.fromisoformat(content.pop("expires_at"))
            return RingNotice(
                **{**content, "extensions": tuple(content["extensions"])},
                expires_at=moment,
                user_ids=tuple(delivery.user_ids),
            )
        case "hangup":
            return EndNotice(**{**content, "extensions": tuple(content["extensions"])})
        case _:
            return CallRow(**{**content, "date": datetime.fromisoformat(content["date"])})


def told(delivery: Delivery) -> Told:
    return Told(
        effect=delivery.effect,  # type: ignore[arg-type]  # the column's CHECK has the same words
        extensions=tuple(delivery.extensions),
        state=delivery.state,
        content=delivery.content,
        waiting=delivery.is_waiting_row,
    )


def decision_as_json(decision: Decision, crm: str) -> dict[str, Any]:
    return {
        "crm": crm,
        "code": decision.code,
        "params": {name: _plain(value) for name, value in decision.params.items()},
        "at": _plain(decision.at),
    }


def decision_from_json(stored: Mapping[str, Any]) -> Decision:
    code, at = stored["code"], stored.get("at")
    return Decision(code=code, params=stored["params"], at=datetime.fromisoformat(at) if at else None)


def decisions_of(stored: Iterable[Mapping[str, Any]], crm: str) -> list[Decision]:
    """Those about this CRM; one that names none was made when there was one CRM alone."""
    return [decision_from_json(one) for one in stored if one.get("crm", crm) == crm]


def _content(notice: RingNotice | EndNotice) -> dict[str, Any]:
    """Who is told by user ids stands in a column of its own: no plan knows them."""
    return {name: _plain(value) for name, value in dataclasses.asdict(notice).items() if name != "user_ids"}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return [_plain(item) for item in value] if isinstance(value, list | tuple | set | frozenset) else value
