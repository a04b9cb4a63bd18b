"""
Creates the topics and subscriptions of infra/topology.json, in the cloud or in an emulator:
`python -m infra.deployment.topology --endpoint retailcrm-deliver=http://127.0.0.1:8091 …`

Idempotent: existing ones are updated, nothing is deleted. A subscription with `dead_letter_after_attempts` gets
a dead-letter topic and subscription of its own, named after it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription, Topic

from infra import command
from lib.runtime import config
from lib.runtime.errors import AppError, ConfigError

TOPOLOGY = Path(__file__).parents[1] / "topology.json"

# The client retries for ten minutes by default; `timeout` bounds one attempt only.
ATTEMPT_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0
RETRY: Final = Retry(
    if_exception_type(exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.Aborted),
    initial=0.2,
    maximum=2.0,
    timeout=PATIENCE_SECONDS,
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where things are: `endpoints` maps a function to its base address."""

    project: str
    endpoints: Mapping[str, str]
    push_audience: str = ""
    push_service_account: str = ""


def read(path: Path = TOPOLOGY) -> dict[str, Any]:
    """The topology with its dead letters spelled out as topics and subscriptions."""
    data: dict[str, Any] = json.loads(path.read_text())
    for name, subscription in list(data["subscriptions"].items()):
        if "dead_letter_after_attempts" in subscription:
            dead = f"{name}.dead"
            subscription["dead_letter_topic"] = dead
            data["topics"][dead] = {}
            data["subscriptions"][dead] = {"topic": dead, **data["dead_letters"]}
    return data


def topics(data: Mapping[str, Any], target: Target) -> list[Topic]:
    found = []
    for name, spec in data["topics"].items():
        topic = Topic(name=f"projects/{target.project}/topics/{name}")
        if "message_retention_seconds" in spec:
            topic.message_retention_duration = Duration(seconds=spec["message_retention_seconds"])
        found.append(topic)
    return found


def subscriptions(data: Mapping[str, Any], target: Target) -> list[Subscription]:
    """Raises ConfigError when a function's endpoint is not known."""
    found = []
    for name, spec in data["subscriptions"].items():
        if spec["function"] not in target.endpoints:
            raise ConfigError(f"No endpoint for {spec['function']}: pass --endpoint {spec['function']}=https://…")
        push = PushConfig(push_endpoint=target.endpoints[spec["function"]].rstrip("/") + spec["path"])
        if target.push_service_account:
            push.oidc_token = PushConfig.OidcToken(
                service_account_email=target.push_service_account, audience=target.push_audience
            )
        subscription = Subscription(
            name=f"projects/{target.project}/subscriptions/{name}",
            topic=f"projects/{target.project}/topics/{spec['topic']}",
            push_config=push,
            ack_deadline_seconds=spec["ack_deadline_seconds"],
            retain_acked_messages=spec.get("retain_acked_messages", False),
            message_retention_duration=Duration(seconds=spec.get("message_retention_seconds", 604800)),
            expiration_policy={},  # never expires, however quiet
        )
        if "retry_min_seconds" in spec:
            subscription.retry_policy = RetryPolicy(
                minimum_backoff=Duration(seconds=spec["retry_min_seconds"]),
                maximum_backoff=Duration(seconds=spec["retry_max_seconds"]),
            )
        if "dead_letter_topic" in spec:
            subscription.dead_letter_policy = DeadLetterPolicy(
                dead_letter_topic=f"projects/{target.project}/topics/{spec['dead_letter_topic']}",
                max_delivery_attempts=spec["dead_letter_after_attempts"],
            )
        found.append(subscription)
    return found


_UPDATABLE = (
    "push_config",
    "ack_deadline_seconds",
    "retain_acked_messages",
    "message_retention_duration",
    "retry_policy",
    "dead_letter_policy",
)


def apply(data: Mapping[str, Any], target: Target) -> list[str]:
    """
    Creates and updates; returns a line for each change.

    Raises GoogleAPIError when something is refused, or not answered within PATIENCE_SECONDS; GoogleAuthError.
    """
    done: list[str] = []
    publisher = pubsub_v1.PublisherClient()
    subscriber = pubsub_v1.SubscriberClient()
    try:
        for topic in topics(data, target):
            try:
                publisher.create_topic(request=topic, timeout=ATTEMPT_SECONDS, retry=RETRY)
                done.append(f"created {topic.name}")
            except exceptions.AlreadyExists:
                mask = FieldMask(paths=["message_retention_duration"])
                if topic.message_retention_duration:
                    update = {"topic": topic, "update_mask": mask}
                    publisher.update_topic(request=update, timeout=ATTEMPT_SECONDS, retry=RETRY)
        for subscription in subscriptions(data, target):
            try:
                subscriber.create_subscription(request=subscription, timeout=ATTEMPT_SECONDS, retry=RETRY)
                done.append(f"created {subscription.name}")
            except exceptions.AlreadyExists:
                request = {"subscription": subscription, "update_mask": FieldMask(paths=list(_UPDATABLE))}
                subscriber.update_subscription(request=request, timeout=ATTEMPT_SECONDS, retry=RETRY)
                done.append(f"updated {subscription.name}")
    finally:
        subscriber.close()
        publisher.transport.close()
    return done


def target(endpoints: Sequence[tuple[str, str]]) -> Target:
    """Of this process's settings, the account that signs pushes among them. Raises ConfigError."""
    auth = config.load(config.PushAuth)
    return Target(
        project=config.load(config.PubSub).google_cloud_project,
        endpoints=dict(endpoints),
        push_audience=auth.push_audience,
        push_service_account=auth.push_service_account,
    )


def endpoint(text: str) -> tuple[str, str]:
    """For argparse: FUNCTION=URL."""
    function, _, url = text.partition("=")
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not function or not is_address:
        raise argparse.ArgumentTypeError(f"{text!r} is not FUNCTION=https://…")
    return function, url


def why(error: Exception) -> str:
    """The error of Google's client, in a sentence that helps to find the cause."""
    if isinstance(error, GoogleAuthError):
        return (
            f"Google Cloud was not asked, the credentials are missing or refused ({type(error).__name__}):"
            " gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS; for an emulator"
            " PUBSUB_EMULATOR_HOST"
        )
    if isinstance(error, exceptions.RetryError | exceptions.ServiceUnavailable | exceptions.DeadlineExceeded):
        host = config.load(config.PubSub).pubsub_emulator_host
        where = f"the emulator at {host} (PUBSUB_EMULATOR_HOST)" if host else "Google Cloud"
        return f"Pub/Sub did not answer within {PATIENCE_SECONDS:g} seconds: {where}; run it again when it does"
    return str(error)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.deployment.topology", description="Apply infra/topology.json"
    )
    parser.add_argument("--endpoint", type=endpoint, action="append", default=[], metavar="FUNCTION=URL")
    arguments = parser.parse_args()
    try:
        command.begin(asks_the_database=False)
        for line in apply(read(), target(arguments.endpoint)):
            print(line)
    except AppError as error:
        return command.fail("topology", error)
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        return command.fail("topology", why(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
