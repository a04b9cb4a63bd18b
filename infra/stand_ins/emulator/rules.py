"""
Validates requests and fills in defaults: names, limits, update masks. Pure.

Features that change deliveries and are not supported here (filters, exactly-once, schemas, transforms, exports) are
refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from infra.stand_ins.emulator import wire
from infra.stand_ins.emulator.errors import Refusal, invalid
from infra.stand_ins.emulator.model import Policy

REAL_MIN_ACK_DEADLINE_SECONDS = 10
MAX_ACK_DEADLINE_SECONDS = 600
MAX_REQUEST_BYTES = 10 * 1000 * 1000
DELETED_TOPIC = "_deleted-topic_"

_NAME = r"projects/[^/]+/{kind}/(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{{2,254}}"
_TOPIC_NAME = re.compile(_NAME.format(kind="topics"))
_SUBSCRIPTION_NAME = re.compile(_NAME.format(kind="subscriptions"))

_TOPIC_MUTABLE = {"labels", "message_storage_policy", "message_retention_duration", "kms_key_name"}
_SUBSCRIPTION_MUTABLE = {
    "ack_deadline_seconds",
    "push_config",
    "retain_acked_messages",
    "message_retention_duration",
    "labels",
    "expiration_policy",
    "dead_letter_policy",
    "retry_policy",
}
_TOPIC_NOT_BUILT = ("schema_settings", "ingestion_data_source_settings", "message_transforms")
_SUBSCRIPTION_NOT_BUILT = (
    "bigquery_config",
    "bigtable_config",
    "cloud_storage_config",
    "enable_exactly_once_delivery",
    "filter",
    "message_transforms",
)

_DAY = 86_400
_DEFAULT_RETENTION = wire.Duration(seconds=7 * _DAY)
_DEFAULT_EXPIRATION = wire.Duration(seconds=31 * _DAY)
_DEFAULT_MIN_BACKOFF = wire.Duration(seconds=10)
_DEFAULT_MAX_BACKOFF = wire.Duration(seconds=600)


def seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9


def checked_topic(topic: Any) -> Any:
    if _TOPIC_NAME.fullmatch(topic.name) is None:
        raise _bad_name(topic.name)
    _refuse_unbuilt(topic, _TOPIC_NOT_BUILT)
    topic.state = 1  # ACTIVE
    return topic


def checked_subscription(subscription: Any, *, min_ack_deadline_seconds: int) -> Any:
    if _SUBSCRIPTION_NAME.fullmatch(subscription.name) is None:
        raise _bad_name(subscription.name)
    if subscription.topic != DELETED_TOPIC and _TOPIC_NAME.fullmatch(subscription.topic) is None:
        raise _bad_name(subscription.topic)
    _refuse_unbuilt(subscription, _SUBSCRIPTION_NOT_BUILT)
    _fill_in(subscription)
    _check_limits(subscription, min_ack_deadline_seconds)
    check_push_config(subscription.push_config)
    subscription.state = 1  # ACTIVE
    return subscription


def check_push_config(config: Any) -> None:
    if not config.push_endpoint:
        return
    url = urlsplit(config.push_endpoint)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise invalid(f"Invalid push endpoint given (endpoint={config.push_endpoint}).")


def updated_topic(current: Any, changes: Any, mask: Any) -> Any:
    return checked_topic(_merged(wire.Topic, current, changes, mask, _TOPIC_MUTABLE))


def updated_subscription(current: Any, changes: Any, mask: Any, *, min_ack_deadline_seconds: int) -> Any:
    merged = _merged(wire.Subscription, current, changes, mask, _SUBSCRIPTION_MUTABLE)
    return checked_subscription(merged, min_ack_deadline_seconds=min_ack_deadline_seconds)


def check_messages(messages: Sequence[Any]) -> None:
    if not messages:
        raise invalid("The value for message_count is too small. You passed 0 in the request.")
    if len(messages) > 1000:
        raise invalid(f"The value for message_count is too large. You passed {len(messages)}, the maximum is 1000.")
    for message in messages:
        if not message.data and not message.attributes:
            raise invalid("Some messages in the publish request are empty: data or attributes must be set.")
        if len(message.ordering_key.encode()) > 1024:
            raise invalid("An ordering key is longer than 1024 bytes.")
        for key, value in message.attributes.items():
            if not key or key.startswith("goog") or len(key.encode()) > 256 or len(value.encode()) > 1024:
                raise invalid(f"The attribute {key[:256]!r} is not allowed: its key or its value.")


def policy_of(subscription: Any) -> Policy:
    backoff = subscription.retry_policy if subscription.HasField("retry_policy") else None
    dead_letters = subscription.dead_letter_policy if subscription.HasField("dead_letter_policy") else None
    return Policy(
        ordered=subscription.enable_message_ordering,
        retain_acked=subscription.retain_acked_messages,
        retention_seconds=seconds(subscription.message_retention_duration),
        min_backoff_seconds=seconds(backoff.minimum_backoff) if backoff else 0.0,
        max_backoff_seconds=seconds(backoff.maximum_backoff) if backoff else 0.0,
        max_attempts=dead_letters.max_delivery_attempts if dead_letters else None,
    )


def page(names: Sequence[str], size: int, token: str) -> tuple[list[str], str]:
    """One page of sorted names and the token of the next one; the token is the last name given."""
    rest = sorted(name for name in names if name > token)
    chosen = rest[:size] if size > 0 else rest
    return chosen, chosen[-1] if len(chosen) < len(rest) else ""


def _fill_in(subscription: Any) -> None:
    if not subscription.ack_deadline_seconds:
        subscription.ack_deadline_seconds = REAL_MIN_ACK_DEADLINE_SECONDS
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.CopyFrom(_DEFAULT_RETENTION)
    if not subscription.HasField("expiration_policy"):
        subscription.expiration_policy.ttl.CopyFrom(_DEFAULT_EXPIRATION)
    if subscription.HasField("retry_policy"):
        if not subscription.retry_policy.HasField("minimum_backoff"):
            subscription.retry_policy.minimum_backoff.CopyFrom(_DEFAULT_MIN_BACKOFF)
        if not subscription.retry_policy.HasField("maximum_backoff"):
            subscription.retry_policy.maximum_backoff.CopyFrom(_DEFAULT_MAX_BACKOFF)
    if subscription.HasField("dead_letter_policy") and not subscription.dead_letter_policy.max_delivery_attempts:
        subscription.dead_letter_policy.max_delivery_attempts = 5


def _check_limits(subscription: Any, min_ack_deadline_seconds: int) -> None:
    if not min_ack_deadline_seconds <= subscription.ack_deadline_seconds <= MAX_ACK_DEADLINE_SECONDS:
        raise invalid(
            f"Invalid ack deadline given (deadline={subscription.ack_deadline_seconds}): "
            f"{min_ack_deadline_seconds} to {MAX_ACK_DEADLINE_SECONDS} seconds."
        )
    if not 600 <= seconds(subscription.message_retention_duration) <= 31 * _DAY:
        raise invalid("Invalid message_retention_duration: 10 minutes to 31 days.")
    if subscription.HasField("retry_policy"):
        low = seconds(subscription.retry_policy.minimum_backoff)
        high = seconds(subscription.retry_policy.maximum_backoff)
        if not 0 <= low <= high <= 600:
            raise invalid("Invalid retry policy: 0 <= minimum_backoff <= maximum_backoff <= 600 seconds.")
    if subscription.HasField("dead_letter_policy"):
        policy = subscription.dead_letter_policy
        if not 5 <= policy.max_delivery_attempts <= 100:
            raise invalid("Invalid dead letter policy: max_delivery_attempts is 5 to 100.")
        if _TOPIC_NAME.fullmatch(policy.dead_letter_topic) is None:
            raise _bad_name(policy.dead_letter_topic)


def _merged(shape: Any, current: Any, changes: Any, mask: Any, mutable: set[str]) -> Any:
    if not mask.paths:
        raise invalid("The update_mask in the request must be set and non-empty.")
    for path in mask.paths:
        if path.split(".")[0] not in mutable:
            raise invalid(f"Invalid update_mask provided in the request: {path!r} is not a known mutable field.")
    if not mask.IsValidForDescriptor(shape.DESCRIPTOR):
        raise invalid(f"Invalid update_mask provided in the request: {', '.join(mask.paths)}.")
    merged = shape()
    merged.CopyFrom(current)
    mask.MergeMessage(changes, merged, replace_message_field=True, replace_repeated_field=True)
    return merged


def _refuse_unbuilt(resource: Any, fields: Sequence[str]) -> None:
    present = {descriptor.name for descriptor, _ in resource.ListFields()}
    for name in fields:
        if name in present:
            raise Refusal("UNIMPLEMENTED", f"This emulator does not support {name}.")


def _bad_name(name: str) -> Refusal:
    return invalid(f"Invalid resource name given (name={name}).")
