"""The request that a push endpoint gets: wrapped in JSON, or bare with headers. Pure."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from infra.stand_ins.emulator.model import Lease

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, kw_only=True)
class Request:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def request_for(subscription: Any, lease: Lease) -> Request:
    if subscription.push_config.WhichOneof("wrapper") == "no_wrapper":
        return _bare(subscription, lease)
    return _wrapped(subscription, lease)


def _wrapped(subscription: Any, lease: Lease) -> Request:
    content = lease.message.content
    published_at = content.publish_time.ToJsonString()
    # Both spellings, as the real service sends them.
    message: dict[str, Any] = {
        "messageId": content.message_id,
        "message_id": content.message_id,
        "publishTime": published_at,
        "publish_time": published_at,
    }
    if content.data:
        message["data"] = base64.b64encode(content.data).decode()
    if content.attributes:
        message["attributes"] = dict(content.attributes)
    if content.ordering_key:
        message["orderingKey"] = content.ordering_key
    envelope: dict[str, Any] = {"message": message, "subscription": subscription.name}
    if subscription.HasField("dead_letter_policy"):
        envelope["deliveryAttempt"] = lease.attempt
    return Request(body=json.dumps(envelope).encode(), headers={"Content-Type": "application/json"})


def _bare(subscription: Any, lease: Lease) -> Request:
    content = lease.message.content
    if not subscription.push_config.no_wrapper.write_metadata:
        return Request(body=content.data)
    headers = {key: value for key, value in content.attributes.items() if _may_be_header(key, value)}
    headers["x-goog-pubsub-subscription-name"] = subscription.name
    headers["x-goog-pubsub-message-id"] = content.message_id
    headers["x-goog-pubsub-publish-time"] = content.publish_time.ToJsonString()
    if content.ordering_key:
        headers["x-goog-pubsub-ordering-key"] = content.ordering_key
    if subscription.HasField("dead_letter_policy"):
        headers["x-goog-pubsub-delivery-attempt"] = str(lease.attempt)
    return Request(body=content.data, headers=headers)


def _may_be_header(key: str, value: str) -> bool:
    framing = key.lower() in {"content-length", "transfer-encoding", "host", "connection"}
    return not framing and _HEADER_NAME.fullmatch(key) is not None and value.isprintable()
