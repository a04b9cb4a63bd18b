"""The log: every exchange with RetailCRM, and what administrators did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from lib.admin import exports, paging, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import ANYTHING, ID, MAYBE_TEXT, MOMENT, TEXT, listed, mapped, obj, one_of, record, text
from lib.admin.screens import drawn_story
from lib.retailcrm import trouble
from lib.retailcrm.trouble import Trouble
from lib.runtime import db
from lib.runtime.http import Answer
from lib.store import journal
from lib.store.journal import Key, Log, LogFilter

_COLUMNS: Final = ("created_at", "event_type", "status", "error_message", "request_data", "response_data")


def show(request: AdminRequest) -> Answer:
    query = request.query
    chosen = LogFilter(
        event_type=query.get("event_type"),
        status=query.get("status"),
        since=paging.moment(query, "since"),
        until=paging.moment(query, "until"),
    )
    if paging.is_csv(query):
        return _export(request, chosen)
    found, following = _page(request, chosen, paging.after(query), paging.limit(query))
    with db.connection() as conn:
        seen = drawn_story.faces(conn, request.enterprise)
    return {
        "logs": [{**asdict(log), "trouble": troubles.as_json(_trouble(log))} for log in found],
        "managers": {str(user): name for log in found for user in _user_ids(log) if (name := seen.name_of_user(user))},
        "next": paging.cursor(following) if following else None,
    }, 200


def _page(request: AdminRequest, chosen: LogFilter, after: Key | None, limit: int) -> tuple[Sequence[Log], Key | None]:
    """And the key of the last where there may be more."""
    with db.connection() as conn:
        found = journal.list_logs(conn, request.enterprise.number, chosen, after=after, limit=limit)
    return found, Key(at=found[-1].created_at, id=found[-1].id) if len(found) == limit else None


def _export(request: AdminRequest, chosen: LogFilter) -> Answer:
    with db.connection() as conn:
        count = journal.count_logs(conn, request.enterprise.number, chosen, limit=exports.MOST_ROWS + 1)

    def page(after: Key | None, limit: int) -> tuple[Sequence[Sequence[Any]], Key | None]:
        found, following = _page(request, chosen, after, limit)
        return [_cells(log) for log in found], following

    return exports.answer(request, exports.Export(of="log", columns=_COLUMNS, count=count, page=page))


def _cells(log: Log) -> tuple[Any, ...]:
    return (
        log.created_at,
        log.event_type,
        log.status,
        log.error_message,
        json.dumps(log.request_data, ensure_ascii=False),
        json.dumps(log.response_data, ensure_ascii=False),
    )


def _trouble(log: Log) -> Trouble | None:
    """Of an exchange with RetailCRM that failed; what we refused has a code of its own in `response_data`."""
    answered = log.response_data or {}
    if log.status != "error" or "http_status" not in answered or "code" in answered:
        return None
    if not log.request_data:
        return Trouble(code="misconfigured")  # nothing could be asked
    return trouble.of_exchange(answered["http_status"], answered.get("body"))


def _user_ids(log: Log) -> Iterator[int]:
    """The users of RetailCRM that it names: who clicked, to whom a card was sent, whose extension was another."""
    request = log.request_data or {}
    event, differences = request.get("event"), request.get("differences")
    sent_to = event.get("userIds") if isinstance(event, dict) else None
    different = [one.get("user_id") for one in differences] if isinstance(differences, list) else []
    for user in (request.get("userId"), *(sent_to if isinstance(sent_to, list) else ()), *different):
        if str(user).isascii() and str(user).isdigit():
            yield int(user)


LOGS: Final = record(
    {
        "logs": listed(
            record(
                {
                    "id": ID,
                    "event_type": TEXT,
                    "status": one_of("success", "error"),
                    "error_message": MAYBE_TEXT,
                    "trouble": troubles.MAYBE_TROUBLE,
                    "request_data": ANYTHING,
                    "response_data": ANYTHING,
                    "created_at": MOMENT,
                }
            )
        ),
        "managers": mapped(TEXT),
        "next": MAYBE_TEXT,
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/logs/{number}",
        summary="Exchanges with RetailCRM, the latest first; `next` is the `after` of the next page; names by user id",
        handle=show,
        gives=LOGS,
        also=exports.CSV,
        query=obj(
            {
                **paging.QUERY,
                "language": exports.LANGUAGE,
                "event_type": text(60),
                "status": {"type": "string", "enum": ["success", "error"]},
            }
        ),
    ),
)
