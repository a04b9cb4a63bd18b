"""Lists as CSV, to be taken along: readable for a spreadsheet, harmless in it, and remembered in the log."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from flask import Response

from lib.admin import audit
from lib.admin.operation import AdminRequest
from lib.runtime import db
from lib.runtime.json_schema import Schema

CSV: Final[Mapping[str, Schema]] = {"text/csv": {"type": "string"}}
# What a spreadsheet may take for a cell: one that separates by semicolons, as Russian ones do, or by tabs, sees no
# quotes in the middle of its cells, and finds others in a text than were written.
_CELL: Final = re.compile(r"[^;\t\r\n]+")
_FORMULA: Final = re.compile(r"""[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20]""")
_NUMBER: Final = re.compile(r"\+?[0-9]+")


def answer(request: AdminRequest, of: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Response:
    """With a byte order mark, by which spreadsheets recognise UTF-8. The log says who took what, by which filter."""
    chosen = {name: value for name, value in request.query.items() if name not in {"format", "limit"}}
    with db.connection() as conn:
        audit.remember(conn, request, "export", {"of": of, "filter": chosen, "rows": len(rows)})
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    headers = {
        "Content-Disposition": f'attachment; filename="{of}.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response("\ufeff" + file.getvalue(), 200, headers, mimetype="text/csv")


def cell(value: object) -> str:
    written = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    disarmed = _CELL.sub(_disarmed, written)
    return f"'{disarmed}" if disarmed[:1] in {"\t", "\r", "\n"} else disarmed


def _disarmed(part: re.Match[str]) -> str:
    """An apostrophe makes text of a formula. Numbers are none, with a plus neither: `+375291111111` stays as it is."""
    return part[0] if _NUMBER.fullmatch(part[0]) or not _FORMULA.match(part[0]) else f"'{part[0]}"
