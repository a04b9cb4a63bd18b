"""
Makes Pub/Sub look like infra/topology.json, in the cloud and in an emulator alike:
`python -m infra.topology --endpoint retailcrm-deliver=http://127.0.0.1:8091 …`

Idempotent: what is there is updated, nothing is deleted. A subscription with `dead_letter_after_attempts` gets
a dead-letter topic and subscription of its own, named after it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription, Topic

from lib import config
from lib.errors import AppError, ConfigError

TOPOLOGY = Path(__file__).parent / "topology.json"


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
    """Creates and updates; what was done, a line each."""
    done: list[str] = []
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    try:
        for topic in topics(data, target):
            try:
                publisher.create_topic(request=topic, timeout=30)
                done.append(f"created {topic.name}")
            except exceptions.AlreadyExists:
                mask = FieldMask(paths=["message_retention_duration"])
                if topic.message_retention_duration:
                    publisher.update_topic(request={"topic": topic, "update_mask": mask}, timeout=30)
        for subscription in subscriptions(data, target):
            try:
                subscriber.create_subscription(request=subscription, timeout=30)
                done.append(f"created {subscription.name}")
            except exceptions.AlreadyExists:
                update = {"subscription": subscription, "update_mask": FieldMask(paths=list(_UPDATABLE))}
                subscriber.update_subscription(request=update, timeout=30)
                done.append(f"updated {subscription.name}")
    finally:
        subscriber.close()
        publisher.transport.close()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Apply infra/topology.json to Pub/Sub")
    parser.add_argument("--endpoint", action="append", default=[], metavar="FUNCTION=URL")
    arguments = parser.parse_args()
    try:
        auth = config.load(config.PushAuth)
        target = Target(
            project=config.load(config.PubSub).google_cloud_project,
            endpoints=dict(item.split("=", 1) for item in arguments.endpoint),
            push_audience=auth.push_audience,
            push_service_account=auth.push_service_account,
        )
        for line in apply(read(), target):
            print(line)
    except (AppError, exceptions.GoogleAPIError) as error:
        print(f"topology: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
