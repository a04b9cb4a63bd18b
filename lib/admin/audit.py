"""Who changed what, in the log that the page shows: names of fields, never secrets."""

from __future__ import annotations

from typing import Any

from lib.admin.operation import Call
from lib.runtime import db
from lib.store import integration_logs


def remember(conn: db.Connection, call: Call, event_type: str, request: dict[str, Any]) -> None:
    integration_logs.insert(
        conn,
        enterprise_number=call.enterprise.number,
        event_type=event_type,
        request={"by": person(call), **request},
        response={},
        error=None,
    )


def person(call: Call) -> str:
    """The link of the account names no person."""
    return call.session.login or "account link"
