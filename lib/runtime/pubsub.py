"""
Publishing: one client per process, made on first use; every wait is bounded.

The client is Google's own, without its retries and long waits: an event must be answered within milliseconds, and the
sweep publishes again what was lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from lib.runtime import config, log_context
from lib.runtime.errors import Unavailable
from lib.runtime.lazy import lazy
from lib.runtime.outage_guard import OutageGuard

CALL_EVENTS = "call-events"
RECOVERED_EVENTS = "recovered-events"
DUE_ROWS = "due-rows"
TICKS = "ticks"
MODULE_COMMANDS = "module-commands"

# Pub/Sub takes ten megabytes and a thousand messages in a request.
REQUEST_BYTES: Final = 5_000_000
REQUEST_MESSAGES: Final = 1000
_outage_guard = OutageGuard("Pub/Sub")


class NotTaken(Unavailable):
    """Pub/Sub refuses this message."""


@dataclass(frozen=True, kw_only=True)
class Message:
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


def message(body: Mapping[str, object], **attributes: str) -> Message:
    """It carries the trace of the request that it is made in."""
    return Message(data=json.dumps(body, ensure_ascii=False).encode(), attributes=attributes | log_context.carried())


def publish(topic: str, body: Mapping[str, object], *, within_seconds: float | None = None, **attributes: str) -> None:
    """Publishes one JSON message. Raises Unavailable when that is not confirmed in time, NotTaken if refused."""
    publish_messages(topic, [message(body, **attributes)], within_seconds=within_seconds)


def publish_all(
    topic: str, bodies: Sequence[Mapping[str, object]], *, within_seconds: float | None = None, **attributes: str
) -> None:
    """
    Publishes all, in as few requests as fit, each within PUBSUB_PUBLISH_TIMEOUT_SECONDS or sooner.

    Raises Unavailable; some may have been published then.
    """
    publish_messages(topic, [message(body, **attributes) for body in bodies], within_seconds=within_seconds)


def publish_messages(topic: str, messages: Sequence[Message], *, within_seconds: float | None = None) -> None:
    """As `publish_all`; each message has attributes of its own."""
    for request in _requests(messages):
        _publish(topic, request, within_seconds)


def publish_each(topic: str, messages: Sequence[Message]) -> list[Unavailable | None]:
    """
    What became of each, in as few requests as fit: None when it was published.

    One that Pub/Sub refuses is found by halves and harms no other.
    """
    outcomes: list[Unavailable | None] = []
    for request in _requests(messages):
        try:
            _publish(topic, request, None)
            outcomes += [None] * len(request)
        except NotTaken as error:
            half = len(request) // 2
            halves = [request[:half], request[half:]] if half else []
            outcomes += [one for part in halves for one in publish_each(topic, part)] or [error]
        except Unavailable as error:
            outcomes += [error] * len(request)
    return outcomes


def _requests(messages: Sequence[Message]) -> list[list[Message]]:
    """As few as fit, in order."""
    found: list[list[Message]] = []
    size = 0
    for one in messages:
        if not found or size + len(one.data) > REQUEST_BYTES or len(found[-1]) == REQUEST_MESSAGES:
            found.append([])
            size = 0
        found[-1].append(one)
        size += len(one.data)
    return found


def _publish(topic: str, messages: Sequence[Message], within_seconds: float | None) -> None:
    _outage_guard.check()
    settings = config.current(config.PubSub)
    request = PublishRequest(
        topic=f"projects/{settings.google_cloud_project}/topics/{topic}",
        messages=[PubsubMessage(data=one.data, attributes=one.attributes) for one in messages],
    )
    patience = settings.pubsub_publish_timeout_seconds
    try:
        client().publish(request=request, retry=None, timeout=min(patience, within_seconds or patience))
    except (exceptions.GoogleAPIError, GoogleAuthError, grpc.RpcError) as error:
        if not isinstance(error, exceptions.ClientError):
            _outage_guard.silent()
        if isinstance(error, exceptions.DeadlineExceeded):
            # The other end of a connection that does not answer may be gone: the next request opens a new one.
            client.forget()
        kind = NotTaken if isinstance(error, exceptions.ClientError) else Unavailable
        raise kind(f"Pub/Sub did not take the message: {type(error).__name__}") from error
    _outage_guard.answered()


@lazy
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
    _outage_guard.answered()
    if client.made is not None:
        client.made.transport.close()  # type: ignore[no-untyped-call]
        client.forget()
