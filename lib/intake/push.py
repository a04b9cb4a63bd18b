"""
The route by which Pub/Sub pushes messages to a function (`lib.intake.envelope` decodes them).

Answers 204 when the outcome is recorded and 503 when we cannot store. A message that cannot be understood is kept in
`rejected_messages` and acknowledged: given back, it would come again for ever.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

from flask import Request

from lib.intake.envelope import Push, parse
from lib.runtime import auth, log_context, pg_json
from lib.runtime.errors import PermanentError, TooLarge
from lib.runtime.http import Answer, read_body
from lib.store import rejected

__all__ = ["PUSH_BODY_BYTES", "Push", "parse", "push_route"]

log = logging.getLogger(__name__)

# Ten megabytes, Pub/Sub's largest message, in base64.
PUSH_BODY_BYTES = 14 * 1024 * 1024


def push_route(handle: Callable[[Push], None]) -> Callable[[Request], Answer]:
    """The route that answers a push by `handle`; a PermanentError from it rejects the message."""

    def answer(request: Request) -> Answer:
        auth.require_pubsub(request.headers.get("Authorization", ""))
        body = b""
        try:
            body = read_body(request, limit=PUSH_BODY_BYTES)
            push = parse(dict(request.headers), body)
            log_context.follow(push.attributes.get(log_context.TRACEPARENT, ""))
            log_context.bind(message_id=push.message_id)
            handle(push)
        except PermanentError as error:
            source = request.headers.get("x-goog-pubsub-subscription-name", "") or _subscription(body) or request.path
            rejected.insert(source=source, reason=str(error), raw=body, headers=_safe_headers(dict(request.headers)))
            log.warning(
                "rejected", extra={"source": source, "reason": str(error), "too_large": isinstance(error, TooLarge)}
            )
        return None, 204

    return answer


def _subscription(body: bytes) -> str:
    try:
        value = json.loads(body)
        return pg_json.text(str(value.get("subscription", ""))) if isinstance(value, dict) else ""
    except (ValueError, RecursionError):
        return ""


def _safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in {"authorization", "cookie", "token"}}
