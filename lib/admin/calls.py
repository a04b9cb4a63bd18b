"""Calls: searching them, the whole story of one, and sending again what RetailCRM did not get."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from lib import db, pubsub, story
from lib.admin import audit, paging
from lib.admin.operation import Call, Operation, obj, text
from lib.enterprise import directory
from lib.errors import Conflict, NotFound, Unavailable
from lib.http import Answer
from lib.store import calls, deliveries, journal, replays
from lib.store.journal import CallFilter, FoundCall, Key
from lib.store.replays import Replayable
from lib.wakeup import WakeCall, call_message

log = logging.getLogger(__name__)

_COLUMNS: Final = ("started_at", "unique_id", "kind", "customer", "line_id", "result", "owner_extension", "reasons")
_REPLAYABLE: Final = ("failed", "expired", "in_doubt")


def search(call: Call) -> Answer:
    query, limit = call.query, paging.limit(call.query)
    users = directory(call.enterprise).extension_users
    extensions = {str(user): extension for extension, user in users.items()}
    extension = query.get("extension") or extensions.get(query.get("manager", ""))
    if "manager" in query and extension is None:
        return _found(call, [], None)
    chosen = CallFilter(
        phone=re.sub("[^0-9]", "", query.get("phone", "")) or None,
        extension=extension,
        kind=query.get("kind"),
        result=query.get("result"),
        reason=query.get("reason"),
        state=query.get("state"),
        since=paging.moment(query, "since"),
        until=paging.moment(query, "until"),
    )
    with db.connection() as conn:
        found = journal.list_calls(conn, call.enterprise.number, chosen, after=paging.after(query), limit=limit)
    following = paging.cursor(Key(at=found[-1].started_at, id=found[-1].id)) if len(found) == limit else None
    return _found(call, found, following)


def tell(call: Call) -> Answer:
    """As `make explain` does, and what may be sent again."""
    number, unique_id = call.enterprise.number, call.arguments["unique_id"]
    told = story.tell(number, unique_id)
    with db.connection() as conn:
        call_id = _call_id(conn, call)
        ledger = replays.list_for_call(conn, number, call_id)
    return told | {
        "ledger": [{**asdict(item), "is_replayable": _is_replayable(item)} for item in ledger],
    }, 200


def replay(call: Call) -> Answer:
    """
    One delivery, or every row of the call that did not get through.

    Only rows of the history: a pop-up is news while the phone rings, and that is over.
    """
    number, wanted = call.enterprise.number, call.body.get("delivery_id")
    with db.transaction() as conn:
        call_id = _call_id(conn, call)
        calls.lock_calls(conn, number, [call_id])
        ledger = replays.list_for_call(conn, number, call_id)
        chosen = [item for item in ledger if item.id == wanted or (wanted is None and _is_replayable(item))]
        if wanted is not None and not chosen:
            raise NotFound("This call has no such delivery", code="unknown_delivery")
        if not chosen or not all(map(_is_replayable, chosen)):
            raise Conflict("There is nothing that could be sent again", code="not_replayable")
        again = [entered for item in chosen if (entered := replays.insert_generation(conn, item.id)) is not None]
        for delivery_id in again:
            replays.insert_replay(
                conn, number, delivery_id, session_id=call.session.id, requested_by=audit.person(call)
            )
        audit.remember(conn, call, "replay", {"unique_id": call.arguments["unique_id"], "deliveries": again})
        deliveries.settle_timer(conn, call_id)
    _wake(number, call_id)
    return {"success": True, "deliveries": again}, 202


def _is_replayable(item: Replayable) -> bool:
    return item.effect == "upload" and item.state in _REPLAYABLE and item.is_latest


def _call_id(conn: db.Connection, call: Call) -> int:
    unique_id = call.arguments["unique_id"]
    call_id = calls.find_by_unique_id(conn, call.enterprise.number, unique_id)
    if call_id is None:
        raise NotFound("There is no such call", code="unknown_call")
    return call_id


def _wake(enterprise_number: str, call_id: int) -> None:
    try:
        wake = WakeCall(enterprise_number=enterprise_number, call_id=call_id)
        pubsub.publish(pubsub.CALL_EVENTS, call_message(wake))
    except Unavailable as error:
        log.warning("not published, the sweep will", extra={"call_id": call_id, "reason": str(error)})


def _found(call: Call, found: Sequence[FoundCall], following: str | None) -> Answer:
    if paging.is_csv(call.query):
        return paging.as_csv("calls", _COLUMNS, (_row(item) for item in found))
    return {"calls": [{**asdict(item), "reasons": _reasons(item)} for item in found], "next": following}, 200


def _row(item: FoundCall) -> tuple[Any, ...]:
    return (
        item.started_at,
        item.unique_id,
        item.kind,
        item.customer,
        item.line_id,
        item.result,
        item.owner_extension,
        " ".join(_reasons(item)),
    )


def _reasons(item: FoundCall) -> list[str]:
    """Why something did not happen, each once."""
    found = [str(decision.get("code")) for decision in item.decisions]
    found += [delivery["reason"] for delivery in item.deliveries if delivery["reason"]]
    return list(dict.fromkeys(found))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/calls/{number}",
        summary="Calls, the latest first; `next` is the `after` of the next page",
        handle=search,
        query=obj(
            {
                **paging.QUERY,
                "phone": text(40, pattern="[0-9]", description="a number, or a part of one"),
                "extension": text(20),
                "manager": text(20, pattern="^[0-9]+$", description="a user id of RetailCRM"),
                "kind": {"type": "string", "enum": ["in", "out", "internal", "unknown"]},
                "result": text(40),
                "reason": text(60),
                "state": text(20),
            }
        ),
    ),
    Operation(
        method="GET",
        path="/calls/{number}/{unique_id}",
        summary="The whole story of one call, by the id of any of its channels",
        handle=tell,
    ),
    Operation(
        method="POST",
        path="/calls/{number}/{unique_id}/replay",
        summary="Send the history row again that RetailCRM did not get",
        handle=replay,
        body=obj({"delivery_id": {"type": "integer", "minimum": 1, "maximum": 2**53}}),
        answers={202: "Begun", 409: "There is nothing that could be sent again"},
    ),
)
