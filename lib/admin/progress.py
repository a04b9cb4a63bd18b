"""Streams the progress of long work line by line (NDJSON) to a page that asks for it; others get the result alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from flask import Response

from lib.admin.operation import AdminRequest
from lib.runtime.errors import AppError
from lib.runtime.http import Answer
from lib.runtime.json_schema import Schema

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/x-ndjson"
LINES: Final[Mapping[str, Schema]] = {MEDIA_TYPE: {"type": "string"}}
# Yields what the page shows as progress, and returns the result.
Work = Generator[dict[str, Any], None, dict[str, Any]]

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",  # or a proxy keeps the lines until the last
}


def answered(request: AdminRequest, work: Work) -> Answer:
    if MEDIA_TYPE in request.accept:
        return Response(_lines(work), 200, _HEADERS, mimetype=MEDIA_TYPE)
    return _result(work), 200


def _result(work: Work) -> dict[str, Any]:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result


def _lines(work: Work) -> Iterator[bytes]:
    """The status is sent already, so an error becomes the last line."""
    try:
        result = yield from _meanwhile(work)
        yield _line({"result": result})
    except AppError as error:
        yield _line({"error": {"code": error.code, "message": str(error), **error.details}})
    except Exception:
        log.exception("bug")
        yield _line({"error": {"code": "internal", "message": "An error of ours; it is in the log"}})


def _meanwhile(work: Work) -> Generator[bytes, None, dict[str, Any]]:
    while True:
        try:
            line = _line(next(work))
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result
        yield line


def _line(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
