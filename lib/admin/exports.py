"""Lists as CSV, to be taken along: readable for a spreadsheet, harmless in it, and remembered in the log."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import phonenumbers
from flask import Response

from lib.admin import audit
from lib.admin.exported_words import DIALECTS, HEADS, LEFT_OUT, VALUES, Dialect, Language
from lib.admin.operation import AdminRequest
from lib.runtime import db
from lib.runtime.json_schema import Schema
from lib.store.journal import Key

CSV: Final[Mapping[str, Schema]] = {"text/csv": {"type": "string"}}
LANGUAGE: Final[Schema] = {
    "type": "string",
    "enum": ["ru", "en"],
    "description": "of a CSV: its words, its separator and how it writes times; ru by default",
}
MOST_ROWS: Final = 100_000
_ROWS_AT_ONCE: Final = 1000
# What a spreadsheet may take for a cell: one that separates by semicolons, as Russian ones do, or by tabs, sees no
# quotes in the middle of its cells, and finds others in a text than were written.
_CELL: Final = re.compile(r"[^;\t\r\n]+")
_FORMULA: Final = re.compile(r"""[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20]""")
_NUMBER: Final = re.compile(r"\+?[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Export:
    """
    `of`: "calls" or "log". `columns`: names in HEADS. `page(after, limit)`: so many rows of these columns, the latest
    first, and the key of the last, None where there are no more. `count`: of all rows, up to one more than MOST_ROWS.
    """

    of: str
    columns: Sequence[str]
    count: int
    page: Callable[[Key | None, int], tuple[Sequence[Sequence[Any]], Key | None]]


def language_of(request: AdminRequest) -> Language:
    return "en" if request.query.get("language") == "en" else "ru"


def answer(request: AdminRequest, export: Export) -> Response:
    """
    Streamed, in the language of the page and the zone of the enterprise, with a byte order mark, by which spreadsheets
    recognise UTF-8. The log says who took what, by which filter, before the first byte goes out.
    """
    language = language_of(request)
    chosen = {name: value for name, value in request.query.items() if name not in {"format", "limit", "language"}}
    first = export.page(None, min(_ROWS_AT_ONCE, MOST_ROWS))  # what fails here is answered as an error
    sent = min(export.count, MOST_ROWS)
    with db.connection() as conn:
        audit.remember(conn, request, "export", {"of": export.of, "filter": chosen, "rows": sent})
    zone = ZoneInfo(request.enterprise.timezone)
    headers = {
        "Content-Disposition": f'attachment; filename="{export.of}.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Accel-Buffering": "no",  # or a proxy keeps all of it
    }
    return Response(_file(export, first, DIALECTS[language], zone), 200, headers, mimetype="text/csv")


def _file(
    export: Export, page: tuple[Sequence[Sequence[Any]], Key | None], dialect: Dialect, zone: ZoneInfo
) -> Iterator[bytes]:
    heads = HEADS[dialect.language]
    yield ("\ufeff" + _written([[heads[name] for name in export.columns]], dialect)).encode()
    rows, after = page
    sent = 0
    while True:
        lines = [
            [_said(name, value, dialect, zone) for name, value in zip(export.columns, row, strict=True)] for row in rows
        ]
        yield _written(lines, dialect).encode()
        sent += len(rows)
        if after is None or sent >= MOST_ROWS:
            break
        rows, after = export.page(after, min(_ROWS_AT_ONCE, MOST_ROWS - sent))
    if export.count > MOST_ROWS and after is not None:
        words = LEFT_OUT[dialect.language].format(rows=MOST_ROWS, since=_said("", after.at, dialect, zone))
        yield _written([[words]], dialect).encode()


def _written(rows: Sequence[Sequence[str]], dialect: Dialect) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=dialect.separator).writerows([cell(value) for value in row] for row in rows)
    return file.getvalue()


def _said(column: str, value: object, dialect: Dialect, zone: ZoneInfo) -> str:
    if isinstance(value, datetime):
        return value.astimezone(zone).strftime(dialect.moment)
    if isinstance(value, str):
        return VALUES[dialect.language].get(column, {}).get(value, value)
    return "" if value is None else str(value)


def phone(number: str | None) -> str | None:
    """
    `375 29 111-11-11`: a spreadsheet shows digits alone as 3,75E+11, and takes a plus before spaces for a formula.
    What is no number in E.164 stays.
    """
    try:
        parsed = phonenumbers.parse(number or "", None)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL).removeprefix("+")


def cell(written: str) -> str:
    disarmed = _CELL.sub(_disarmed, written)
    return f"'{disarmed}" if disarmed[:1] in {"\t", "\r", "\n"} else disarmed


def _disarmed(part: re.Match[str]) -> str:
    """An apostrophe makes text of a formula. Numbers are none, with a plus neither: `+375291111111` stays as it is."""
    return part[0] if _NUMBER.fullmatch(part[0]) or not _FORMULA.match(part[0]) else f"'{part[0]}"
