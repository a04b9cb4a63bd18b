"""The log: every exchange with RetailCRM, and what administrators did."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

from lib.admin import exports, paging
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import ANYTHING, ID, MAYBE_TEXT, MOMENT, TEXT, listed, obj, one_of, record, text
from lib.runtime import db
from lib.runtime.http import Answer
from lib.store import journal
from lib.store.journal import Key, LogFilter

_COLUMNS: Final = ("created_at", "event_type", "status", "error_message", "request_data", "response_data")


def show(request: AdminRequest) -> Answer:
    query, limit = request.query, paging.limit(request.query)
    chosen = LogFilter(
        event_type=query.get("event_type"),
        status=query.get("status"),
        since=paging.moment(query, "since"),
        until=paging.moment(query, "until"),
    )
    with db.connection() as conn:
        found = journal.list_logs(conn, request.enterprise.number, chosen, after=paging.after(query), limit=limit)
    if paging.is_csv(query):
        rows = [
            (
                log.created_at,
                log.event_type,
                log.status,
                log.error_message,
                json.dumps(log.request_data, ensure_ascii=False),
                json.dumps(log.response_data, ensure_ascii=False),
            )
            for log in found
        ]
        return exports.answer(request, "log", _COLUMNS, rows)
    following = paging.cursor(Key(at=found[-1].created_at, id=found[-1].id)) if len(found) == limit else None
    return {"logs": [asdict(log) for log in found], "next": following}, 200


LOGS: Final = record(
    {
        "logs": listed(
            record(
                {
                    "id": ID,
                    "event_type": TEXT,
                    "status": one_of("success", "error"),
                    "error_message": MAYBE_TEXT,
                    "request_data": ANYTHING,
                    "response_data": ANYTHING,
                    "created_at": MOMENT,
                }
            )
        ),
        "next": MAYBE_TEXT,
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/logs/{number}",
        summary="Exchanges with RetailCRM, the latest first; `next` is the `after` of the next page",
        handle=show,
        gives=LOGS,
        also=exports.CSV,
        query=obj({**paging.QUERY, "event_type": text(60), "status": {"type": "string", "enum": ["success", "error"]}}),
    ),
)
