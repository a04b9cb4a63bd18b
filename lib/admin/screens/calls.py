"""Calls: searching them, the story of one, and sending history rows again that RetailCRM did not get."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from lib.admin import audit, exports, paging
from lib.admin.exported_words import VALUES, Language
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import (
    COUNT,
    FLAG,
    ID,
    MAYBE_ID,
    MAYBE_MOMENT,
    MAYBE_TEXT,
    MOMENT,
    TEXT,
    listed,
    maybe,
    obj,
    one_of,
    record,
    refused_as,
    text,
)
from lib.admin.screens import drawn_story
from lib.admin.screens.drawn_story import DECISION, EFFECT, KIND, RESULT, STATE, STORY, Faces
from lib.calls import explain
from lib.calls.numbers import sought
from lib.calls.settings import Settings
from lib.crms import RETAILCRM
from lib.enterprises.rules import directory
from lib.intake.messages import WakeCall, call_message
from lib.ledger import replay as replaying
from lib.ledger import story
from lib.ledger.replay import Request
from lib.retailcrm import trouble
from lib.runtime import db, pubsub
from lib.runtime.errors import Conflict, NotFound, Unavailable
from lib.runtime.http import Answer
from lib.store import calls, journal, replays
from lib.store.journal import CallFilter, FoundCall, Key
from lib.store.replays import Replayable

log = logging.getLogger(__name__)

_COLUMNS: Final = (
    "started_at",
    "unique_id",
    "kind",
    "customer",
    "line_id",
    "line_name",
    "result",
    "owner_extension",
    "owner_name",
    "talk_seconds",
    "waiting_seconds",
    "popup",
    "history",
    "reasons",
)
_REPLAYABLE: Final = ("failed", "expired", "in_doubt")
_CALLS_AT_ONCE: Final = 500
ONLY_CHANNELS: Final = "only_channels"
# Of several deliveries the first of these states counts; superseded deliveries do not count.
_OUTCOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "failed": (*_REPLAYABLE, "not_shown"),
    "waiting": ("ready", "retry", "leased", "held"),
    "delivered": ("delivered",),
}
# Decisions by which there is no pop-up, or no history row, the most telling first.
_NO_POPUP: Final = (
    "integration_disabled",
    "internal",
    "only_channels",
    "no_phone",
    "expired",
    "synthetic_dial_off",
    "no_mapping",
)
_NO_ROW: Final = ("integration_disabled", "internal", "only_channels", "no_phone", "no_date", "waiting_for_recording")


def search(request: AdminRequest) -> Answer:
    query = request.query
    users = directory(request.enterprise).extension_users
    extensions = {str(user): extension for extension, user in users.items()}
    extension = query.get("extension") or extensions.get(query.get("manager", ""))
    is_nobody = "manager" in query and extension is None
    chosen = CallFilter(
        phone=sought(query.get("phone", ""), request.enterprise.region) or None,
        extension=extension,
        kind=query.get("kind"),
        result=query.get("result"),
        reason=query.get("reason"),
        state=query.get("state"),
        since=paging.moment(query, "since"),
        until=paging.moment(query, "until"),
    )
    if paging.is_csv(query):
        return _export(request, None if is_nobody else chosen)
    if is_nobody:
        return {"calls": [], "next": None}, 200
    rows, following = _page(request, chosen, after=paging.after(query), limit=paging.limit(query))
    return {"calls": rows, "next": paging.cursor(following) if following else None}, 200


def _page(
    request: AdminRequest, chosen: CallFilter, *, after: Key | None, limit: int
) -> tuple[list[dict[str, Any]], Key | None]:
    """Rows for the page, and the key of the last where there may be more."""
    with db.connection() as conn:
        found = journal.list_calls(conn, request.enterprise.number, chosen, after=after, limit=limit)
        seen = drawn_story.faces(conn, request.enterprise)
        silent_since = db.now(conn) - Settings.from_config(request.enterprise.integration().stored).call_max
    rows = [as_row(item, seen, silent_since=silent_since) for item in found]
    return rows, Key(at=found[-1].started_at, id=found[-1].id) if len(found) == limit else None


def _export(request: AdminRequest, chosen: CallFilter | None) -> Answer:
    """`chosen` None: of a manager who is nobody here, so of no calls."""
    language = exports.language_of(request)
    count = 0
    if chosen is not None:
        with db.connection() as conn:
            count = journal.count_calls(conn, request.enterprise.number, chosen, limit=exports.MOST_ROWS + 1)

    def page(after: Key | None, limit: int) -> tuple[Sequence[Sequence[Any]], Key | None]:
        rows, following = _page(request, chosen, after=after, limit=limit) if chosen is not None else ([], None)
        return [_cells(row, language) for row in rows], following

    return exports.answer(request, exports.Export(of="calls", columns=_COLUMNS, count=count, page=page))


def tell(request: AdminRequest) -> Answer:
    """As `make explain` does, made ready to be drawn, and what may be sent again."""
    number, unique_id = request.enterprise.number, request.arguments["unique_id"]
    told = story.tell(number, unique_id, crm=RETAILCRM.name)
    with db.connection() as conn:
        ledger = {item.id: item for item in replays.list_for_call(conn, number, _call_id(conn, request))}
        seen = drawn_story.faces(conn, request.enterprise)
    rows = [{**_with_words(row), **_replay_of(ledger.get(row["id"]))} for row in told["told"]]
    drawn = drawn_story.drawn({**told, "told": rows}, seen)
    return {**drawn, "is_replayable": any(row["is_replayable"] for row in rows)}, 200


def replay(request: AdminRequest) -> Answer:
    """
    One delivery, or every row of the call that did not get through.

    Only rows of the history: a pop-up is news while the phone rings, and that is over.
    """
    number = request.enterprise.number
    with db.transaction() as conn:
        call_id = _call_id(conn, request)
        again = replaying.send_again(
            conn,
            _asked_by(request),
            enterprise_number=number,
            call_id=call_id,
            delivery_id=request.body.get("delivery_id"),
            crm=RETAILCRM.name,
        )
        audit.remember(conn, request, "replay", {"unique_id": request.arguments["unique_id"], "deliveries": again})
    _wake(number, call_id)
    return {"success": True, "deliveries": again}, 202


def replay_since(request: AdminRequest) -> Answer:
    """The same for every call since a time, the oldest first."""
    number = request.enterprise.number
    since = paging.moment(request.body, "since")
    assert since is not None  # noqa: S101  (the guard requires it)
    with db.transaction() as conn:
        found = [call_id for call_id, _ in journal.list_failed_rows(conn, number, since=since, limit=_CALLS_AT_ONCE)]
        again = replaying.send_all_again(
            conn, _asked_by(request), enterprise_number=number, call_ids=found, crm=RETAILCRM.name
        )
        if not again:
            raise Conflict("There is nothing that could be sent again", code="not_replayable")
        audit.remember(conn, request, "replay", {"since": since.isoformat(), "calls": len(found), "deliveries": again})
    for call_id in found:
        _wake(number, call_id)
    return {
        "success": True,
        "calls": len(found),
        "deliveries": again,
        "is_all": len(found) < _CALLS_AT_ONCE,
    }, 202


def _asked_by(request: AdminRequest) -> Request:
    return Request(by=audit.person(request), session_id=request.session.id)


def _is_replayable(item: Replayable) -> bool:
    return replaying.why_not(item) is None


def _with_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """What RetailCRM itself said to each attempt, apart from our own sentences on it."""
    attempts = [{**one, "words": trouble.words_of(one["response"])} for one in row["attempts"]]
    return {**row, "attempts": attempts}


def _replay_of(item: Replayable | None) -> dict[str, Any]:
    if item is None:  # it was entered a moment ago
        return {
            "is_replayable": False,
            "is_latest": True,
            "generation": 0,
            "requested_by": None,
            "requested_at": None,
        }
    return {
        "is_replayable": _is_replayable(item),
        "is_latest": item.is_latest,
        "generation": item.generation,
        "requested_by": item.requested_by,
        "requested_at": item.requested_at,
    }


def _call_id(conn: db.Connection, request: AdminRequest) -> int:
    unique_id = request.arguments["unique_id"]
    call_id = calls.find_by_unique_id(conn, request.enterprise.number, unique_id)
    if call_id is None:
        raise NotFound("There is no such call", code="unknown_call")
    return call_id


def _wake(enterprise_number: str, call_id: int) -> None:
    try:
        wake = WakeCall(enterprise_number=enterprise_number, call_id=call_id)
        pubsub.publish(pubsub.CALL_EVENTS, call_message(wake))
    except Unavailable as error:
        log.warning("not published, the sweep will", extra={"call_id": call_id, "reason": str(error)})


def as_row(item: FoundCall, seen: Faces, *, silent_since: datetime) -> dict[str, Any]:
    """
    The fields that the page needs for a sentence on the call. `silent_since`: a call without news since then, at which
    nobody will look again, is over, though nothing said so.
    """
    line = seen.known.lines.get(item.line_id or "")
    owner = seen.of(item.owner_extension)
    codes = [str(decision.get("code")) for decision in item.decisions]
    is_channel = item.kind == "unknown" and ONLY_CHANNELS in codes
    is_left = item.due_at is None and item.last_event_at < silent_since
    is_over = item.over_at is not None or is_channel or is_left
    fields = asdict(item)
    del fields["last_event_at"], fields["due_at"]
    return {
        **fields,
        # "No answer" holds from the end on; an answer is never taken back.
        "result": item.result if item.over_at is not None or item.result == "answered" else None,
        "decisions": [
            {name: value for name, value in decision.items() if name != "crm"} for decision in item.decisions
        ],
        "is_over": is_over,
        "line_name": (line.name or None) if line else None,
        "owner_user_id": owner["user_id"],
        "owner_name": owner["name"],
        "popup": _outcome(item, "popup", codes, _NO_POPUP, is_open=not is_over)
        | {"extensions": sorted({e for d in item.deliveries if d["effect"] == "popup" for e in d["extensions"]})},
        "upload": _outcome(item, "upload", codes, _NO_ROW, is_open=not is_over or item.due_at is not None),
        "reasons": list(dict.fromkeys([*codes, *(d["reason"] for d in item.deliveries if d["reason"])])),
    }


def _outcome(
    item: FoundCall, effect: str, codes: Sequence[str], why_none: Sequence[str], *, is_open: bool
) -> dict[str, Any]:
    """
    Of an upload, the latest generation counts: what failed before it was sent again. `is_open`: there may be one yet.
    """
    made = [delivery for delivery in item.deliveries if delivery["effect"] == effect]
    counted = made[-1:] if effect == "upload" else made
    for state, words in _OUTCOMES.items():
        found = next((delivery for delivery in counted if delivery["state"] in words), None)
        if found is not None:
            return {"state": state, "reason": found["reason"] if state != "delivered" else None}
    decided = next((code for code in why_none if code in codes), None)
    return _without((made[0]["reason"] if made else None) or decided, is_open=is_open)


def _without(reason: str | None, *, is_open: bool) -> dict[str, Any]:
    """Of what there is none of, for this reason; a row that waits for its recording comes yet."""
    if reason == "waiting_for_recording":
        return {"state": "waiting", "reason": reason}
    return {"state": "open" if is_open and reason is None else "none", "reason": reason}


def _cells(row: Mapping[str, Any], language: Language) -> tuple[Any, ...]:
    said = VALUES[language]["reason"]
    decided = (explain.sentence(item["code"], item["params"], language) for item in row["decisions"])
    why = (item["reason"] for item in row["deliveries"] if item["reason"])
    words = {
        "customer": exports.phone(row["customer"]),
        "popup": row["popup"]["state"],
        "history": row["upload"]["state"],
        "reasons": " ".join(dict.fromkeys([*decided, *(f"{said.get(code, code)}." for code in why)])),
    }
    return tuple({**row, **words}[name] for name in _COLUMNS)


_OUTCOME: Final = {"state": one_of("delivered", "waiting", "failed", "none", "open"), "reason": MAYBE_TEXT}
CALLS: Final = record(
    {
        "calls": listed(
            record(
                {
                    "id": ID,
                    "unique_id": TEXT,
                    "kind": KIND,
                    "customer": MAYBE_TEXT,
                    "started_at": MOMENT,
                    "over_at": MAYBE_MOMENT,
                    "is_over": FLAG,
                    "line_id": MAYBE_TEXT,
                    "line_name": MAYBE_TEXT,
                    "result": maybe(RESULT),
                    "owner_extension": MAYBE_TEXT,
                    "owner_user_id": MAYBE_ID,
                    "owner_name": MAYBE_TEXT,
                    "talk_seconds": maybe(COUNT),
                    "waiting_seconds": maybe(COUNT),
                    "has_recording": maybe(FLAG),
                    "popup": record({**_OUTCOME, "extensions": listed(TEXT)}),
                    "upload": record(_OUTCOME),
                    "reasons": listed(TEXT),
                    "decisions": listed(DECISION),
                    "deliveries": listed(
                        record({"effect": EFFECT, "state": STATE, "reason": MAYBE_TEXT, "extensions": listed(TEXT)})
                    ),
                }
            )
        ),
        "next": MAYBE_TEXT,
    }
)
REPLAYED: Final = record({"success": FLAG, "deliveries": listed(ID)})
REPLAYED_SINCE: Final = record({"success": FLAG, "calls": COUNT, "deliveries": listed(ID), "is_all": FLAG})

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/calls/{number}",
        summary="Calls, the latest first; `next` is the `after` of the next page",
        handle=search,
        gives=CALLS,
        also=exports.CSV,
        query=obj(
            {
                **paging.QUERY,
                "language": exports.LANGUAGE,
                "phone": refused_as("phone_part", text(100, pattern="[0-9]", description="a number, or a part of one")),
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
        gives=STORY,
    ),
    Operation(
        method="POST",
        path="/calls/{number}/{unique_id}/replay",
        summary="Send the history row again that RetailCRM did not get",
        handle=replay,
        gives=REPLAYED,
        body=obj({"delivery_id": {"type": "integer", "minimum": 1, "maximum": 2**53}}),
        answers={202: "Begun", 409: "There is nothing that could be sent again"},
    ),
    Operation(
        method="POST",
        path="/replay/{number}",
        summary="Send all history rows again that RetailCRM did not get since a time",
        handle=replay_since,
        gives=REPLAYED_SINCE,
        body=obj({"since": paging.QUERY["since"]}, required=("since",)),
        answers={202: "Begun", 409: "There is nothing that could be sent again"},
    ),
)
