"""
The HTTP edge of every function: routes, bodies with a limit, one form of errors.

Handlers get Flask's request and return an `Answer`. Beside a function's `main.py`, only this module, `client_address`,
`lib.intake.push` and `lib.admin` import Flask. Answers are JSON; an AppError becomes `{"error": {"code", "message"}}`
with its status, and any other exception a logged 500 without details.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any

from flask import Request, Response, g
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from lib.runtime import log_context, metrics, pg_json
from lib.runtime.errors import AppError, InvalidPayload, PermanentError, RateLimited, TooLarge, TransientError

log = logging.getLogger(__name__)

EVENT_BODY_BYTES = 64 * 1024
# The gateways let nothing larger through.
_DISCARDED_BYTES = 8 * 1024 * 1024

# A header that stands there several times has a list.
Headers = Mapping[str, str | list[str]]
Answer = Response | tuple[object, int] | tuple[object, int, Headers]
Handler = Callable[..., Answer]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Routes:
    """A function's routes: `"POST /dispatch/call-event"` to its handler."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        self._map = Map(
            [Rule(key.partition(" ")[2], methods=[key.partition(" ")[0]], endpoint=key) for key in handlers],
            strict_slashes=False,
            merge_slashes=False,
        )
        for route in handlers:
            metrics.REQUESTS.labels(route, 500)  # shown from the start: the first one is an increase

    def answer(self, request: Request) -> Response:
        with log_context.request(request.headers.get(log_context.TRACEPARENT, "")):
            return self._answer(request)

    def _answer(self, request: Request) -> Response:
        started = time.perf_counter()
        route = ""
        try:
            route, arguments = self._map.bind_to_environ(request.environ).match()
            response = _response(self._handlers[route](request, **arguments))
        except AppError as error:
            response = error_response(error)
        except HTTPException as error:
            response = _error(
                error.code or 500, _HTTP_CODES.get(error.code or 500, "http_error"), error.description or ""
            )
            if error.get_response().headers.get("Allow"):
                response.headers["Allow"] = error.get_response().headers["Allow"]
        except Exception:
            log.exception("bug", extra={"route": route})
            response = _error(500, "internal", "An error of ours; it is in the log")
        if response.status_code >= 400:
            _discard_body(request)
        seconds = time.perf_counter() - started
        metrics.REQUESTS.labels(route or "none", response.status_code).inc()
        metrics.REQUEST_SECONDS.labels(route or "none").observe(seconds)
        log.log(
            logging.WARNING if response.status_code >= 500 else logging.INFO,
            "request",
            extra={"route": route, "status": response.status_code, "duration_ms": round(seconds * 1000, 1)},
        )
        return response


def behind_answer(act: Callable[[], None]) -> None:
    """Of this request: done by its thread as soon as the answer is written, if the process lives that long."""
    g.setdefault("behind_answer", []).append(partial(copy_context().run, act))


def close_behind(response: Response) -> None:
    """What `behind_answer` collected goes with this response."""
    for act in g.pop("behind_answer", ()):
        response.call_on_close(partial(_guarded, act))


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        log.exception("bug")  # nobody is left to be told


def _discard_body(request: Request) -> None:
    """
    What a refused request still sends, piece by piece. gunicorn closes a connection with more than a little of it
    unread on the thread that accepts all others, and waits there, up to two seconds, for the client.
    """
    with suppress(Exception):  # each server has errors of its own; the answer is made already
        left = _DISCARDED_BYTES
        while left > 0 and (piece := request.stream.read(EVENT_BODY_BYTES)):
            left -= len(piece)


_HTTP_CODES = {400: "invalid_payload", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def read_body(request: Request, *, limit: int = EVENT_BODY_BYTES) -> bytes:
    """The body, at most `limit` bytes. Raises TooLarge without reading on, chunked or not, and InvalidPayload."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"The body is over {limit // 1024} kB")
    try:
        body: bytes = request.stream.read(limit + 1)
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  (each server has errors of its own, and they hold parts of the body)
        raise InvalidPayload("The body broke off, or is not in the chunks that it announces") from None
    if len(body) > limit:
        raise TooLarge(f"The body is over {limit // 1024} kB")
    return body


def read_json_object(request: Request, *, limit: int = EVENT_BODY_BYTES) -> dict[str, Any]:
    """The body as a JSON object that PostgreSQL can store. Raises InvalidPayload."""
    return pg_json.parse_object(read_body(request, limit=limit))


def error_response(error: AppError) -> Response:
    level = logging.ERROR if not isinstance(error, PermanentError | TransientError) else logging.INFO
    if not isinstance(error, RateLimited):  # its line would come as fast as the requests: who limits says so
        log.log(level, "refused", extra={"code": error.code, "reason": str(error)})
    response = _error(error.status, error.code, str(error), error.details)
    if isinstance(error, TransientError) and error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    return response


def _response(answer: Answer) -> Response:
    if isinstance(answer, Response):
        return answer
    content, status, *further = answer
    text = "" if content is None else json.dumps(content, ensure_ascii=False, default=_plain)
    response = Response(text, status, _HEADERS, mimetype="application/json")
    for headers in further:
        response.headers.update(headers)
    return response


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _error(status: int, code: str, message: str, details: Mapping[str, object] | None = None) -> Response:
    text = json.dumps({"error": {"code": code, "message": message, **(details or {})}}, ensure_ascii=False)
    # Streamed: unless the answer streams, the framework reads the rest of the request's body, however large.
    return Response(iter([text.encode()]), status, _HEADERS, mimetype="application/json")
