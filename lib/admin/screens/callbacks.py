"""Whom to call back: customers who called in vain and whom nobody has reached since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from lib.admin import audit, exports, paging
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import (
    COUNT,
    FLAG,
    ID,
    MAYBE_MOMENT,
    MAYBE_TEXT,
    MOMENT,
    TEXT,
    listed,
    maybe,
    obj,
    one_of,
    record,
    text,
)
from lib.admin.screens import drawn_story
from lib.admin.screens.drawn_story import Faces
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.runtime.http import Answer
from lib.store import callbacks, calls
from lib.store.callbacks import Callback, Count
from lib.store.journal import Key

_COLUMNS: Final = (
    "customer",
    "first_at",
    "last_at",
    "calls",
    "tries",
    "last_try_at",
    "line_id",
    "line_name",
    "owner_extension",
    "owner_name",
    "state",
    "said_by",
    "said_at",
    "note",
    "unique_id",
)
# What is asked for by `extension` when nobody is the owner.
NOBODY: Final = "nobody"


def show(request: AdminRequest) -> Answer:
    query = request.query
    if paging.is_csv(query):
        return _export(request)
    rows, following = _page(request, after=paging.after(query), limit=paging.limit(query))
    with db.connection() as conn:
        counts = callbacks.count_open(conn, request.enterprise.number)
        seen = drawn_story.faces(conn, request.enterprise)
    cursor = paging.cursor(following) if following else None
    return {"callbacks": rows, "owners": _owners(counts, seen), "days": callbacks.DAYS, "next": cursor}, 200


def _page(request: AdminRequest, *, after: Key | None, limit: int) -> tuple[list[dict[str, Any]], Key | None]:
    """Rows for the page, and the key of the last where there may be more."""
    extension = request.query.get("extension")
    with db.connection() as conn:
        found = callbacks.list_open(
            conn,
            request.enterprise.number,
            extension="" if extension == NOBODY else extension,
            after=after,
            limit=limit,
        )
        seen = drawn_story.faces(conn, request.enterprise)
    following = Key(at=found[-1].last_at, id=found[-1].id) if len(found) == limit else None
    return [_row(item, seen) for item in found], following


def _export(request: AdminRequest) -> Answer:
    chosen = request.query.get("extension")
    with db.connection() as conn:
        counts = callbacks.count_open(conn, request.enterprise.number)
    count = sum(one.customers for one in counts if chosen is None or (one.owner_extension or NOBODY) == chosen)

    def page(after: Key | None, limit: int) -> tuple[Sequence[Sequence[Any]], Key | None]:
        rows, following = _page(request, after=after, limit=limit)
        return [[_cell(row, name) for name in _COLUMNS] for row in rows], following

    return exports.answer(request, exports.Export(of="callbacks", columns=_COLUMNS, count=count, page=page))


def _cell(row: Mapping[str, Any], name: str) -> object:
    return exports.phone(row[name]) if name == "customer" else row[name]


def say(request: AdminRequest) -> Answer:
    """The customer of a call is taken, closed, or nobody's any more."""
    number, given = request.enterprise.number, request.body
    state = None if given["state"] == "open" else given["state"]
    note = (given.get("note") or "").strip() or None
    with db.transaction() as conn:
        call_id = calls.find_by_unique_id(conn, number, given["unique_id"])
        customer = call_id and callbacks.say(
            conn, number, call_id=call_id, state=state, by=audit.person(request), note=note
        )
        if not customer:
            raise NotFound("There is no such call, or its number is hidden", code="unknown_call")
        audit.remember(conn, request, "callback", {"phone": customer, "state": given["state"], "note": note})
    return {"success": True}, 200


def _row(item: Callback, seen: Faces) -> dict[str, Any]:
    line = seen.known.lines.get(item.line_id or "")
    return {
        **asdict(item),
        "line_name": (line.name or None) if line else None,
        "owner_name": seen.of(item.owner_extension)["name"],
    }


def _owners(counts: Sequence[Count], seen: Faces) -> list[dict[str, Any]]:
    return [{**asdict(count), "owner_name": seen.of(count.owner_extension)["name"]} for count in counts]


CALLBACKS: Final = record(
    {
        "callbacks": listed(
            record(
                {
                    "id": ID,
                    "unique_id": TEXT,
                    "customer": TEXT,
                    "line_id": MAYBE_TEXT,
                    "line_name": MAYBE_TEXT,
                    "owner_extension": MAYBE_TEXT,
                    "owner_name": MAYBE_TEXT,
                    "calls": COUNT,
                    "first_at": MOMENT,
                    "last_at": MOMENT,
                    "tries": COUNT,
                    "last_try_at": MAYBE_MOMENT,
                    "state": maybe(one_of("taken", "closed")),
                    "said_by": MAYBE_TEXT,
                    "said_at": MAYBE_MOMENT,
                    "note": MAYBE_TEXT,
                }
            )
        ),
        "owners": listed(
            record({"owner_extension": MAYBE_TEXT, "owner_name": MAYBE_TEXT, "customers": COUNT, "since": MOMENT})
        ),
        "days": COUNT,
        "next": MAYBE_TEXT,
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/callbacks/{number}",
        summary="Customers who called in vain and whom nobody has reached since; who called last comes first",
        handle=show,
        gives=CALLBACKS,
        also=exports.CSV,
        query=obj(
            {
                **{name: paging.QUERY[name] for name in ("limit", "after", "format")},
                "language": exports.LANGUAGE,
                "extension": text(20, description="of who talked with them last; `nobody`: those without an owner"),
            }
        ),
    ),
    Operation(
        method="POST",
        path="/callbacks/{number}",
        summary="Take or close the customer of a call, or give them back",
        handle=say,
        gives=record({"success": FLAG}),
        body=obj(
            {
                "unique_id": text(100, least=1),
                "state": {"type": "string", "enum": ["taken", "closed", "open"]},
                "note": {"type": ["string", "null"], "maxLength": 500},
            },
            required=("unique_id", "state"),
        ),
    ),
)
