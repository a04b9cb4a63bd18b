"""The gRPC API: `google.pubsub.v1.Publisher` and `google.pubsub.v1.Subscriber`, as the official clients call them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from infra.stand_ins.emulator import rules, wire
from infra.stand_ins.emulator.broker import Broker
from infra.stand_ins.emulator.errors import Refusal, invalid
from infra.stand_ins.emulator.model import Lease
from infra.stand_ins.emulator.subscription import Subscription

_PULL_WAITS_AT_MOST_SECONDS: Final = 30.0
_ANSWER_BEFORE_DEADLINE_SECONDS: Final = 0.05
_STREAM_BATCH: Final = 20  # small, so that several streams share a burst


class Publisher:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: Any) -> Any:
        return self._broker.create_topic(request)

    def update_topic(self, request: Any) -> Any:
        return self._broker.update_topic(request.topic, request.update_mask)

    def get_topic(self, request: Any) -> Any:
        return self._broker.topic(request.topic)

    def list_topics(self, request: Any) -> Any:
        names, token = rules.page(
            self._broker.topic_names(request.project), size=request.page_size, token=request.page_token
        )
        return wire.ListTopicsResponse(topics=[self._broker.topic(name) for name in names], next_page_token=token)

    def list_topic_subscriptions(self, request: Any) -> Any:
        names, token = rules.page(
            self._broker.topic_subscription_names(request.topic), size=request.page_size, token=request.page_token
        )
        return wire.ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def delete_topic(self, request: Any) -> Any:
        self._broker.delete_topic(request.topic)
        return wire.Empty()

    def detach_subscription(self, request: Any) -> Any:
        self._broker.detach(request.subscription)
        return wire.DetachSubscriptionResponse()

    def publish(self, request: Any) -> Any:
        return wire.PublishResponse(message_ids=self._broker.publish(request))

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Publisher",
            {
                "CreateTopic": _unary(self.create_topic, wire.Topic),
                "UpdateTopic": _unary(self.update_topic, wire.UpdateTopicRequest),
                "GetTopic": _unary(self.get_topic, wire.GetTopicRequest),
                "ListTopics": _unary(self.list_topics, wire.ListTopicsRequest),
                "ListTopicSubscriptions": _unary(self.list_topic_subscriptions, wire.ListTopicSubscriptionsRequest),
                "DeleteTopic": _unary(self.delete_topic, wire.DeleteTopicRequest),
                "DetachSubscription": _unary(self.detach_subscription, wire.DetachSubscriptionRequest),
                "Publish": _unary(self.publish, wire.PublishRequest),
            },
        )


class Subscriber:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_subscription(self, request: Any) -> Any:
        return self._broker.create_subscription(request)

    def get_subscription(self, request: Any) -> Any:
        return self._broker.subscription(request.subscription).config

    def update_subscription(self, request: Any) -> Any:
        return self._broker.update_subscription(request.subscription, request.update_mask)

    def list_subscriptions(self, request: Any) -> Any:
        names, token = rules.page(
            self._broker.subscription_names(request.project), size=request.page_size, token=request.page_token
        )
        configs = [self._broker.subscription(name).config for name in names]
        return wire.ListSubscriptionsResponse(subscriptions=configs, next_page_token=token)

    def delete_subscription(self, request: Any) -> Any:
        self._broker.delete_subscription(request.subscription)
        return wire.Empty()

    def modify_push_config(self, request: Any) -> Any:
        self._broker.modify_push_config(request.subscription, request.push_config)
        return wire.Empty()

    def modify_ack_deadline(self, request: Any) -> Any:
        _modify_deadlines(
            self._broker.subscription(request.subscription),
            [(ack_id, request.ack_deadline_seconds) for ack_id in request.ack_ids],
        )
        return wire.Empty()

    def acknowledge(self, request: Any) -> Any:
        self._broker.subscription(request.subscription).ack(request.ack_ids)
        return wire.Empty()

    def seek(self, request: Any) -> Any:
        self._broker.seek(request)
        return wire.SeekResponse()

    async def pull(self, request: Any, context: Any) -> Any:
        subscription = _pullable(self._broker.subscription(request.subscription))
        if request.max_messages <= 0:
            raise invalid("max_messages must be positive.")
        limit = min(request.max_messages, 1000)
        remaining = context.time_remaining()
        wait = _PULL_WAITS_AT_MOST_SECONDS if remaining is None else remaining - _ANSWER_BEFORE_DEADLINE_SECONDS
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + min(wait, _PULL_WAITS_AT_MOST_SECONDS)
        changed = asyncio.Event()
        with subscription.listening(changed.set):
            while True:
                leases = _pullable(subscription).take(limit, deadline_seconds=subscription.ack_deadline_seconds)
                left = give_up_at - loop.time()
                if leases or request.return_immediately or left <= 0:
                    return wire.PullResponse(received_messages=[_received(subscription, lease) for lease in leases])
                changed.clear()
                try:
                    await asyncio.wait_for(changed.wait(), left)
                except TimeoutError:
                    continue

    async def streaming_pull(self, requests: AsyncIterator[Any], context: Any) -> None:
        try:
            first = await anext(requests, None)
            if first is not None:
                subscription = _pullable(self._broker.subscription(first.subscription))
                await _Stream(subscription, first).run(requests, context)
        except Refusal as refusal:
            await _refuse(context, refusal)

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Subscriber",
            {
                "CreateSubscription": _unary(self.create_subscription, wire.Subscription),
                "GetSubscription": _unary(self.get_subscription, wire.GetSubscriptionRequest),
                "UpdateSubscription": _unary(self.update_subscription, wire.UpdateSubscriptionRequest),
                "ListSubscriptions": _unary(self.list_subscriptions, wire.ListSubscriptionsRequest),
                "DeleteSubscription": _unary(self.delete_subscription, wire.DeleteSubscriptionRequest),
                "ModifyPushConfig": _unary(self.modify_push_config, wire.ModifyPushConfigRequest),
                "ModifyAckDeadline": _unary(self.modify_ack_deadline, wire.ModifyAckDeadlineRequest),
                "Acknowledge": _unary(self.acknowledge, wire.AcknowledgeRequest),
                "Seek": _unary(self.seek, wire.SeekRequest),
                "Pull": _waiting(self.pull, wire.PullRequest),
                "StreamingPull": grpc.stream_stream_rpc_method_handler(
                    self.streaming_pull,
                    request_deserializer=wire.StreamingPullRequest.FromString,
                    response_serializer=wire.StreamingPullResponse.SerializeToString,
                ),
            },
        )


class _Stream:
    """One streaming pull: a reader of acks beside a writer of messages, within the limits the client set."""

    def __init__(self, subscription: Subscription, first: Any) -> None:
        if not 10 <= first.stream_ack_deadline_seconds <= rules.MAX_ACK_DEADLINE_SECONDS:
            raise invalid("stream_ack_deadline_seconds must be 10 to 600.")
        self._subscription = subscription
        self._deadline_seconds = float(first.stream_ack_deadline_seconds)
        self._max_messages = first.max_outstanding_messages
        self._max_bytes = first.max_outstanding_bytes
        self._outstanding: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._first = first

    async def run(self, requests: AsyncIterator[Any], context: Any) -> None:
        reader = asyncio.create_task(self._read(requests))
        reader.add_done_callback(lambda _: self._changed.set())
        try:
            with self._subscription.listening(self._changed.set):
                while not reader.done():
                    self._changed.clear()
                    leases = self._take()
                    if leases:
                        await context.write(self._response(leases))
                    else:
                        await self._changed.wait()
            await reader
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        self._obey(self._first)
        async for request in requests:
            self._obey(request)

    def _obey(self, request: Any) -> None:
        if len(request.modify_deadline_seconds) != len(request.modify_deadline_ack_ids):
            raise invalid("modify_deadline_seconds and modify_deadline_ack_ids must be of one length.")
        if request.stream_ack_deadline_seconds:
            self._deadline_seconds = float(request.stream_ack_deadline_seconds)
        if request.ack_ids:
            self._subscription.ack(request.ack_ids)
        deadlines = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
        _modify_deadlines(self._subscription, list(deadlines))

    def _take(self) -> list[Lease]:
        leases = _pullable(self._subscription).take(self._room(), deadline_seconds=self._deadline_seconds)
        if self._max_messages > 0 or self._max_bytes > 0:
            self._outstanding.update((lease.ack_id, lease.message.size) for lease in leases)
        return leases

    def _room(self) -> int:
        room = self._free()
        if room <= 0 and self._outstanding:
            holds = self._subscription.backlog.holds
            self._outstanding = {ack_id: size for ack_id, size in self._outstanding.items() if holds(ack_id)}
            room = self._free()
        return max(0, min(room, _STREAM_BATCH))

    def _free(self) -> int:
        if self._max_bytes > 0 and sum(self._outstanding.values()) >= self._max_bytes:
            return 0
        return self._max_messages - len(self._outstanding) if self._max_messages > 0 else _STREAM_BATCH

    def _response(self, leases: list[Lease]) -> Any:
        return wire.StreamingPullResponse(
            received_messages=[_received(self._subscription, lease) for lease in leases],
            subscription_properties={"message_ordering_enabled": self._subscription.config.enable_message_ordering},
        )


def _pullable(subscription: Subscription) -> Subscription:
    if subscription.deleted:
        raise Refusal("NOT_FOUND", f"Resource not found (resource={subscription.name}).")
    if subscription.config.detached or subscription.config.push_config.push_endpoint:
        raise Refusal("FAILED_PRECONDITION", "The subscription is not a pull subscription, or it is detached.")
    return subscription


def _received(subscription: Subscription, lease: Lease) -> Any:
    counted = subscription.config.HasField("dead_letter_policy")
    return wire.ReceivedMessage(
        ack_id=lease.ack_id, message=lease.message.content, delivery_attempt=lease.attempt if counted else 0
    )


def _modify_deadlines(subscription: Subscription, deadlines: list[tuple[str, int]]) -> None:
    for _, seconds in deadlines:
        if not 0 <= seconds <= rules.MAX_ACK_DEADLINE_SECONDS:
            raise invalid(f"Invalid ack deadline given (deadline={seconds}): 0 to 600 seconds.")
    given_back = [ack_id for ack_id, seconds in deadlines if seconds == 0]
    if given_back:
        subscription.nack(given_back)
    for ack_id, seconds in deadlines:
        if seconds:
            subscription.extend([ack_id], deadline_seconds=float(seconds))


def _unary(answer: Callable[[Any], Any], request: Any) -> Any:
    async def call(body: Any, _: Any) -> Any:
        return answer(body)

    return _waiting(call, request)


def _waiting(answer: Callable[[Any, Any], Awaitable[Any]], request: Any) -> Any:
    async def call(body: Any, context: Any) -> Any:
        try:
            return await answer(body, context)
        except Refusal as refusal:
            await _refuse(context, refusal)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString()
    )


async def _refuse(context: Any, refusal: Refusal) -> None:
    await context.abort(grpc.StatusCode[refusal.code], refusal.message)
