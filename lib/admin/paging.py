"""Paging through long lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Final

from lib.admin.schemas import refused_as, text
from lib.runtime.errors import InvalidPayload
from lib.runtime.json_schema import Problem, Schema
from lib.store.journal import Key

_ROWS: Final = 50
_MOMENT: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$"
_NO_CURSOR: Final = Problem(code="cursor", message="is not the `next` of an answer")
_TIME: Final = refused_as(
    "time", text(40, pattern=_MOMENT, description="a time with its zone, as 2026-01-01T00:00:00Z")
)
QUERY: Final[Mapping[str, Schema]] = {
    "limit": text(3, pattern="^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$", description="a number from 1 to 200"),
    "after": text(200),
    "format": {"type": "string", "enum": ["json", "csv"]},
    "since": _TIME,
    "until": _TIME,
}


def is_csv(query: Mapping[str, str]) -> bool:
    return query.get("format") == "csv"


def limit(query: Mapping[str, str]) -> int:
    return int(query.get("limit", _ROWS))


def moment(query: Mapping[str, Any], name: str) -> datetime | None:
    """Raises InvalidPayload for a text that has the form of a time, but is none."""
    if name not in query:
        return None
    try:
        return datetime.fromisoformat(query[name])
    except ValueError as error:
        raise _wrong(name, Problem(code="time", message="is no time of the calendar")) from error


def day(query: Mapping[str, Any], name: str) -> date | None:
    """Raises InvalidPayload for a text that has the form of a day, but is none."""
    if name not in query:
        return None
    try:
        return date.fromisoformat(query[name])
    except ValueError as error:
        raise _wrong(name, Problem(code="time", message="is no day of the calendar")) from error


def cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(f"{key.at.isoformat()} {key.id}".encode()).decode()


def after(query: Mapping[str, str]) -> Key | None:
    if "after" not in query:
        return None
    try:
        at, _, number = base64.b64decode(query["after"], altchars=b"-_", validate=True).decode().partition(" ")
        key = Key(at=datetime.fromisoformat(at), id=int(number))
    except (ValueError, binascii.Error) as error:
        raise _wrong("after", _NO_CURSOR) from error
    if key.at.tzinfo is None or not 0 < key.id < 2**63:
        raise _wrong("after", _NO_CURSOR)
    return key


def _wrong(name: str, problem: Problem) -> InvalidPayload:
    fields = {name: asdict(problem)}
    return InvalidPayload(f"{name}: {problem.message}", code="invalid_fields", details={"fields": fields})
