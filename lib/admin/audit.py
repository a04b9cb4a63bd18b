"""Writes who changed what into the log that the page shows: names of fields, never secrets."""

from __future__ import annotations

from typing import Any

from lib.admin.operation import AdminRequest
from lib.runtime import db
from lib.store import integration_logs


def remember(conn: db.Connection, request: AdminRequest, event_type: str, details: dict[str, Any]) -> None:
    integration_logs.insert(
        conn,
        enterprise_number=request.enterprise.number,
        event_type=event_type,
        request={"by": person(request), **details},
        response={},
        error=None,
    )


def person(request: AdminRequest) -> str:
    """The login; a session by the link of the account has none."""
    return request.session.login or "account link"
