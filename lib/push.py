"""
What Pub/Sub pushes to a function, in every form that it comes in.

Plain envelope, CloudEvent (binary and structured) and unwrapped. Answers 204 when the outcome is recorded and
503 when we cannot store; what cannot be understood is kept in `rejected_messages` and acknowledged, because
giving it back would bring it back for ever.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Request

from lib import auth, storable
from lib.errors import InvalidPayload, PermanentError, TooLarge
from lib.http import Answer, read_body
from lib.store import rejected

log = logging.getLogger(__name__)

# Ten megabytes, Pub/Sub's largest message, in base64.
PUSH_BODY_BYTES = 14 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Push:
    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    published_at: datetime
    subscription: str = ""
    delivery_attempt: int | None = None

    def json(self) -> dict[str, Any]:
        """The data as a JSON object. Raises InvalidPayload."""
        return storable.parse_object(self.data)


def push_route(handle: Callable[[Push], None]) -> Callable[[Request], Answer]:
    """The route that answers a push by `handle`; a PermanentError from it means: keep as rejected."""

    def answer(request: Request) -> Answer:
        auth.require_pubsub(request.headers.get("Authorization", ""))
        body = b""
        try:
            body = read_body(request, limit=PUSH_BODY_BYTES)
            handle(parse(dict(request.headers), body))
        except PermanentError as error:
            source = request.headers.get("x-goog-pubsub-subscription-name", "") or _subscription(body) or request.path
            rejected.insert(source=source, reason=str(error), raw=body, headers=_safe_headers(dict(request.headers)))
            log.warning(
                "rejected", extra={"source": source, "reason": str(error), "too_large": isinstance(error, TooLarge)}
            )
        return None, 204

    return answer


def parse(headers: Mapping[str, str], body: bytes) -> Push:
    """The message inside a push request. Raises InvalidPayload."""
    lowered = {key.lower(): value for key, value in headers.items()}
    content_type = lowered.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents+json":
        return _envelope(_structured_data(storable.parse_object(body)))
    if "x-goog-pubsub-message-id" in lowered and "ce-id" not in lowered:
        return _unwrapped(lowered, body)
    return _envelope(storable.parse_object(body))


def _structured_data(event: dict[str, Any]) -> dict[str, Any]:
    if "data_base64" in event:
        return storable.parse_object(_decode(event["data_base64"]))
    data = event.get("data")
    if not isinstance(data, dict):
        raise InvalidPayload("The CloudEvent has no data")
    return data


def _envelope(envelope: dict[str, Any]) -> Push:
    message = envelope.get("message")
    if not isinstance(message, dict):
        raise InvalidPayload("The push has no message")
    attributes = message.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise InvalidPayload("The message's attributes are not an object")
    attempt = envelope.get("deliveryAttempt")
    return Push(
        data=_decode(message.get("data") or ""),
        attributes={str(key): str(value) for key, value in attributes.items()},
        message_id=str(message.get("messageId") or message.get("message_id") or ""),
        published_at=_time(message.get("publishTime") or message.get("publish_time")),
        subscription=str(envelope.get("subscription") or ""),
        delivery_attempt=attempt if isinstance(attempt, int) else None,
    )


def _unwrapped(headers: Mapping[str, str], body: bytes) -> Push:
    return Push(
        data=body,
        attributes={key: value for key, value in headers.items() if not key.startswith("x-goog-")},
        message_id=headers["x-goog-pubsub-message-id"],
        published_at=_time(headers.get("x-goog-pubsub-publish-time")),
        subscription=headers.get("x-goog-pubsub-subscription-name", ""),
    )


def _decode(data: object) -> bytes:
    if not isinstance(data, str):
        raise InvalidPayload("The message's data is not text")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidPayload("The message's data is not base64") from error


def _time(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _subscription(body: bytes) -> str:
    try:
        value = json.loads(body)
        return storable.text(str(value.get("subscription", ""))) if isinstance(value, dict) else ""
    except (ValueError, RecursionError):
        return ""


def _safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in {"authorization", "cookie", "token"}}
