"""
Publishing: one client per process, made on first use; every wait is bounded.

The client is Google's own; what it retries and how long it waits is set here, because an accepted event must
be answered within milliseconds, and the sweep finds what a lost wake-up leaves behind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Final

import grpc
from google.api_core import exceptions
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from lib import config
from lib.errors import Unavailable
from lib.once import once

CALL_EVENTS = "call-events"
TICKS = "ticks"
MODULE_COMMANDS = "module-commands"

# Pub/Sub takes ten megabytes and a thousand messages in a request.
REQUEST_BYTES: Final = 5_000_000
# After one caller waited in vain, the others are told at once for a while.
AWAY_SECONDS: Final = 1.0
_away_until = 0.0


def publish(topic: str, body: Mapping[str, object], **attributes: str) -> None:
    """Publishes one JSON message. Raises Unavailable when that is not confirmed in time."""
    publish_all(topic, [body], **attributes)


def publish_all(topic: str, bodies: Sequence[Mapping[str, object]], **attributes: str) -> None:
    """Publishes all, in as few requests as fit. Raises Unavailable; some may have got through then."""
    batch: list[PubsubMessage] = []
    size = 0
    for body in bodies:
        data = json.dumps(body, ensure_ascii=False).encode()
        if batch and size + len(data) > REQUEST_BYTES:
            _publish(topic, batch)
            batch, size = [], 0
        batch.append(PubsubMessage(data=data, attributes=attributes))
        size += len(data)
    if batch:
        _publish(topic, batch)


def _publish(topic: str, messages: list[PubsubMessage]) -> None:
    global _away_until  # noqa: PLW0603  (a process-wide fact)
    if time.monotonic() < _away_until:
        raise Unavailable("Pub/Sub did not answer a moment ago")
    settings = config.current(config.PubSub)
    request = PublishRequest(topic=f"projects/{settings.google_cloud_project}/topics/{topic}", messages=messages)
    try:
        client().publish(request=request, retry=None, timeout=settings.pubsub_publish_timeout_seconds)
    except (exceptions.GoogleAPIError, grpc.RpcError) as error:
        _away_until = time.monotonic() + AWAY_SECONDS
        raise Unavailable(f"Pub/Sub did not take the message: {type(error).__name__}") from error


@once
def client() -> PublisherClient:
    host = config.current(config.PubSub).pubsub_emulator_host
    if not host:
        return PublisherClient()
    # A broker that comes back must be found at once, not after the default back-off of two minutes.
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]
    channel = grpc.insecure_channel(host, options=options)
    return PublisherClient(transport=PublisherGrpcTransport(channel=channel))


def close() -> None:
    """Closes the connection, if there is one."""
    global _away_until  # noqa: PLW0603  (see above)
    _away_until = 0.0
    if client.made is not None:
        client.made.transport.close()  # type: ignore[no-untyped-call]
        client.forget()
