"""
Decodes a push of Pub/Sub in each of its forms: plain envelope, CloudEvent (binary and structured), unwrapped.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lib.runtime import pg_json
from lib.runtime.errors import InvalidPayload


@dataclass(frozen=True, kw_only=True)
class Push:
    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    published_at: datetime | None  # None: the push does not say, and no clock of ours may stand in
    subscription: str = ""
    delivery_attempt: int | None = None

    def json(self) -> dict[str, Any]:
        """The data as a JSON object. Raises InvalidPayload."""
        return pg_json.parse_object(self.data)


def parse(headers: Mapping[str, str], body: bytes) -> Push:
    """The message inside a push request. Raises InvalidPayload."""
    lowered = {key.lower(): value for key, value in headers.items()}
    content_type = lowered.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents+json":
        return _envelope(_structured_data(pg_json.parse_object(body)))
    if "x-goog-pubsub-message-id" in lowered and "ce-id" not in lowered:
        return _unwrapped(lowered, body)
    return _envelope(pg_json.parse_object(body))


def _structured_data(event: dict[str, Any]) -> dict[str, Any]:
    if "data_base64" in event:
        return pg_json.parse_object(_decode(event["data_base64"]))
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


def _time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
