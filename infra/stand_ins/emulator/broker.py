"""
The topics and subscriptions, and the flow of messages between them.

Every change is first checked, then recorded in the journal, then applied; a restart applies the same records again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from infra.stand_ins.emulator import rules, wire
from infra.stand_ins.emulator.errors import Refusal, already_exists, invalid, not_found
from infra.stand_ins.emulator.journal import Journal, Kind, Record
from infra.stand_ins.emulator.model import Lease, Message
from infra.stand_ins.emulator.subscription import Subscription

_RECORD_MESSAGES: Final = 500


class Broker:
    def __init__(self, journal: Journal, *, min_ack_deadline_seconds: int = 10) -> None:
        self._journal = journal
        self._min_ack_deadline_seconds = min_ack_deadline_seconds
        self._topics: dict[str, Any] = {}
        self._published: dict[str, int] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._by_topic: dict[str, list[Subscription]] = {}
        # Grows over restarts without being stored: fewer than a million messages are published per second.
        self._sequence = time.time_ns() // 1000
        self.on_subscription: Callable[[Subscription], None] = lambda _: None

    def restore(self) -> None:
        """Restores the state of the last process; all its leases have ended."""
        for record in self._journal.read():
            self._apply(record.kind, record.body)
        self._published.clear()
        self._journal.rewrite(self._sum())
        for subscription in self._subscriptions.values():
            self.on_subscription(subscription)
            subscription.wake()

    def close(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.close()

    # --- topics

    def topic(self, name: str) -> Any:
        topic = self._topics.get(name)
        if topic is None:
            raise not_found(name)
        return topic

    def topic_names(self, project: str) -> list[str]:
        return [name for name in self._topics if name.startswith(f"{project}/topics/")]

    def create_topic(self, topic: Any) -> Any:
        rules.checked_topic(topic)
        if topic.name in self._topics:
            raise already_exists(topic.name)
        self._commit(Kind.TOPIC, topic)
        return topic

    def update_topic(self, changes: Any, mask: Any) -> Any:
        topic = rules.updated_topic(self.topic(changes.name), changes, mask)
        self._commit(Kind.TOPIC, topic)
        return topic

    def delete_topic(self, name: str) -> None:
        self.topic(name)
        self._commit(Kind.TOPIC_DELETED, wire.DeleteTopicRequest(topic=name))

    def publish(self, request: Any) -> list[str]:
        """Takes the request over: ids and times are written into it, and subscribers get its messages."""
        self.topic(request.topic)
        rules.check_messages(request.messages)
        published_at = wire.Timestamp()
        published_at.FromNanoseconds(time.time_ns() // 1000 * 1000)
        for message in request.messages:
            self._sequence += 1
            message.message_id = str(self._sequence)
            message.publish_time.CopyFrom(published_at)
        self._commit(Kind.PUBLISHED, request)
        for subscription in tuple(self._by_topic.get(request.topic, ())):
            subscription.wake()
        return [message.message_id for message in request.messages]

    # --- subscriptions

    def subscription(self, name: str) -> Subscription:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise not_found(name)
        return subscription

    def subscription_names(self, project: str) -> list[str]:
        return [name for name in self._subscriptions if name.startswith(f"{project}/subscriptions/")]

    def topic_subscription_names(self, topic: str) -> list[str]:
        self.topic(topic)
        return [subscription.name for subscription in self._by_topic.get(topic, ())]

    def create_subscription(self, config: Any) -> Any:
        rules.checked_subscription(config, min_ack_deadline_seconds=self._min_ack_deadline_seconds)
        if config.name in self._subscriptions:
            raise already_exists(config.name)
        self.topic(config.topic)
        self._check_dead_letters(config)
        self._commit(Kind.SUBSCRIPTION, config)
        self.on_subscription(self._subscriptions[config.name])
        return config

    def update_subscription(self, changes: Any, mask: Any) -> Any:
        subscription = self.subscription(changes.name)
        config = rules.updated_subscription(
            subscription.config, changes, mask, min_ack_deadline_seconds=self._min_ack_deadline_seconds
        )
        self._check_dead_letters(config)
        self._reconfigure(subscription, config)
        return config

    def modify_push_config(self, name: str, push_config: Any) -> None:
        subscription = self.subscription(name)
        rules.check_push_config(push_config)
        config = wire.Subscription()
        config.CopyFrom(subscription.config)
        config.push_config.CopyFrom(push_config)
        self._reconfigure(subscription, config)

    def detach(self, name: str) -> None:
        subscription = self.subscription(name)
        config = wire.Subscription()
        config.CopyFrom(subscription.config)
        config.detached = True
        self._reconfigure(subscription, config)

    def delete_subscription(self, name: str) -> None:
        subscription = self.subscription(name)
        self._commit(Kind.SUBSCRIPTION_DELETED, wire.DeleteSubscriptionRequest(subscription=name))
        subscription.delete()

    def seek(self, request: Any) -> None:
        subscription = self.subscription(request.subscription)
        if request.WhichOneof("target") != "time":
            raise Refusal("UNIMPLEMENTED", "This emulator seeks to a time only.")
        self._commit(Kind.SOUGHT, request)
        subscription.wake()

    # --- observing

    def figures(self) -> dict[str, Any]:
        return {
            "topics": [{"name": name, "published": self._published.get(name, 0)} for name in sorted(self._topics)],
            "subscriptions": [self._subscriptions[name].figures() for name in sorted(self._subscriptions)],
        }

    # --- recording and applying

    def _commit(self, kind: Kind, body: Any) -> None:
        try:
            self._journal.append(kind, body)
            if self._journal.bloated:
                self._journal.rewrite(self._sum_with(Record(kind, body)))
        except OSError as exc:
            raise Refusal("UNAVAILABLE", f"The journal cannot be written: {exc}") from exc
        self._apply(kind, body)

    def _apply(self, kind: Kind, body: Any) -> None:
        match kind:
            case Kind.TOPIC:
                self._topics[body.name] = body
            case Kind.TOPIC_DELETED:
                self._apply_topic_deleted(body.topic)
            case Kind.SUBSCRIPTION:
                self._apply_subscription(body)
            case Kind.SUBSCRIPTION_DELETED:
                self._unlink(self._subscriptions.pop(body.subscription))
            case Kind.PUBLISHED:
                self._published[body.topic] = self._published.get(body.topic, 0) + len(body.messages)
                self._apply_messages(self._by_topic.get(body.topic, ()), body.messages)
            case Kind.BACKLOG:
                self._apply_messages((self._subscriptions[body.topic],), body.messages)
            case Kind.ACKNOWLEDGED:
                for sequence in body.ack_ids:
                    self._subscriptions[body.subscription].backlog.forget(int(sequence))
            case Kind.SOUGHT:
                self._subscriptions[body.subscription].backlog.seek(body.time.ToNanoseconds() / 1e9)

    def _apply_topic_deleted(self, name: str) -> None:
        del self._topics[name]
        for subscription in self._by_topic.pop(name, []):
            subscription.config.topic = rules.DELETED_TOPIC

    def _apply_subscription(self, config: Any) -> None:
        subscription = self._subscriptions.get(config.name)
        if subscription is None:
            subscription = Subscription(config, record_acks=self._record_acks, bury=self._bury)
            self._subscriptions[config.name] = subscription
        else:
            subscription.configure(config)
            self._unlink(subscription)
        if not config.detached:
            self._by_topic.setdefault(config.topic, []).append(subscription)

    def _apply_messages(self, subscriptions: Sequence[Subscription], contents: Sequence[Any]) -> None:
        if not subscriptions:
            return
        for content in contents:
            message = Message(
                sequence=int(content.message_id),
                published_at=content.publish_time.ToNanoseconds() / 1e9,
                ordering_key=content.ordering_key,
                size=content.ByteSize(),
                content=content,
            )
            self._sequence = max(self._sequence, message.sequence)
            for subscription in subscriptions:
                subscription.backlog.add(message)

    def _unlink(self, subscription: Subscription) -> None:
        linked = self._by_topic.get(subscription.config.topic, [])
        if subscription in linked:
            linked.remove(subscription)

    def _reconfigure(self, subscription: Subscription, config: Any) -> None:
        self._commit(Kind.SUBSCRIPTION, config)
        subscription.wake()

    def _record_acks(self, name: str, sequences: Sequence[int]) -> None:
        """The subscription has forgotten the messages already; the record is applied at a restart only."""
        record = wire.AcknowledgeRequest(subscription=name, ack_ids=[str(sequence) for sequence in sequences])
        try:
            self._journal.append(Kind.ACKNOWLEDGED, record)
        except OSError as exc:
            raise Refusal("UNAVAILABLE", f"The journal cannot be written: {exc}") from exc

    def _check_dead_letters(self, config: Any) -> None:
        if not config.HasField("dead_letter_policy"):
            return
        if config.dead_letter_policy.dead_letter_topic == config.topic:
            raise invalid("A topic cannot be the dead letter topic of its own subscription.")
        self.topic(config.dead_letter_policy.dead_letter_topic)

    def _bury(self, subscription: Subscription, lease: Lease) -> bool:
        topic = subscription.config.dead_letter_policy.dead_letter_topic
        if topic not in self._topics:
            return False
        message = wire.PubsubMessage()
        message.CopyFrom(lease.message.content)
        _, project, _, subscription_id = subscription.name.split("/")
        message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(lease.attempt)
        message.attributes["CloudPubSubDeadLetterSourceSubscription"] = subscription_id
        message.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
        message.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = message.publish_time.ToJsonString()
        try:
            self.publish(wire.PublishRequest(topic=topic, messages=[message]))
        except Refusal:
            return False
        return True

    def _sum_with(self, last: Record) -> Iterator[Record]:
        yield from self._sum()
        yield last

    def _sum(self) -> Iterator[Record]:
        """The shortest list of records that leads to the present state."""
        for topic in self._topics.values():
            yield Record(Kind.TOPIC, topic)
        for name, subscription in self._subscriptions.items():
            yield Record(Kind.SUBSCRIPTION, subscription.config)
            backlog = subscription.backlog
            retained = tuple(backlog.retained())
            everything = sorted((*retained, *backlog.unacked()), key=lambda message: message.sequence)
            for start in range(0, len(everything), _RECORD_MESSAGES):
                part = [message.content for message in everything[start : start + _RECORD_MESSAGES]]
                yield Record(Kind.BACKLOG, wire.PublishRequest(topic=name, messages=part))
            for start in range(0, len(retained), _RECORD_MESSAGES):
                acked = [str(message.sequence) for message in retained[start : start + _RECORD_MESSAGES]]
                yield Record(Kind.ACKNOWLEDGED, wire.AcknowledgeRequest(subscription=name, ack_ids=acked))
