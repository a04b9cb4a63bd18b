"""Pulling with the official client, one by one and streaming."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.cloud.pubsub_v1.types import FlowControl
from google.protobuf import duration_pb2


def pulled(subscriber, subscription, count=10, seconds=2.0):
    response = subscriber.pull(subscription=subscription, max_messages=count, timeout=seconds)
    return list(response.received_messages)


def test_a_published_message_is_pulled_with_all_it_carries(publisher, subscriber, topic, subscribe):
    name = subscribe()
    before = datetime.now(UTC)

    message_id = publisher.publish(topic, "привет".encode(), event_type="start").result(5)
    [received] = pulled(subscriber, name)

    assert received.message.message_id == message_id
    assert received.message.data.decode() == "привет"
    assert dict(received.message.attributes) == {"event_type": "start"}
    assert timedelta(0) <= received.message.publish_time - before < timedelta(seconds=5)
    assert received.delivery_attempt == 0


def test_every_subscription_gets_every_message(publisher, subscriber, topic, subscribe):
    first, second = subscribe("first"), subscribe("second")

    publisher.publish(topic, b"once").result(5)

    assert [each.message.data for each in pulled(subscriber, first)] == [b"once"]
    assert [each.message.data for each in pulled(subscriber, second)] == [b"once"]


def test_an_acknowledged_message_does_not_come_back(emulator, publisher, subscriber, topic, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publisher.publish(topic, b"one").result(5)
    [received] = pulled(subscriber, name)

    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id, received.ack_id])

    assert pulled(subscriber, name, seconds=1.3) == []
    assert emulator.figures(name)["backlog"] == 0
    assert emulator.figures(name)["acked"] == 1


def test_a_message_comes_back_after_its_deadline(publisher, subscriber, topic, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publisher.publish(topic, b"one").result(5)
    [first] = pulled(subscriber, name)
    taken_at = time.monotonic()

    [second] = pulled(subscriber, name, seconds=5)

    assert 0.8 < time.monotonic() - taken_at < 1.8
    assert second.message == first.message
    assert second.ack_id != first.ack_id


def test_a_longer_deadline_keeps_a_message_and_a_deadline_of_zero_gives_it_back(publisher, subscriber, topic, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publisher.publish(topic, b"one").result(5)
    [received] = pulled(subscriber, name)

    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=60)
    kept = pulled(subscriber, name, seconds=1.4)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
    returned = pulled(subscriber, name, seconds=1)

    assert kept == []
    assert [each.message.data for each in returned] == [b"one"]


def test_an_ack_after_the_deadline_still_counts_but_an_invented_one_is_refused(emulator, publisher, subscriber, topic, subscribe):
    name = subscribe()
    publisher.publish(topic, b"one").result(5)
    [received] = pulled(subscriber, name)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)

    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id])

    assert emulator.figures(name)["backlog"] == 0
    with pytest.raises(exceptions.InvalidArgument):
        subscriber.acknowledge(subscription=name, ack_ids=["invented"])


def test_a_pull_waits_for_a_message(publisher, subscriber, topic, subscribe):
    name = subscribe()
    later = threading.Timer(0.3, lambda: publisher.publish(topic, b"late"))
    later.start()
    asked_at = time.monotonic()

    received = pulled(subscriber, name, seconds=5)

    later.join()
    assert [each.message.data for each in received] == [b"late"]
    assert time.monotonic() - asked_at < 1


def test_streaming_delivers_to_the_callback_and_redelivers_what_it_nacks(emulator, publisher, subscriber, topic, subscribe, eventually):
    name = subscribe()
    seen: list[str] = []

    def callback(message):
        seen.append(message.data.decode())
        if seen.count(message.data.decode()) == 1:
            message.nack()
        else:
            message.ack()

    stream = subscriber.subscribe(name, callback)
    for number in range(50):
        publisher.publish(topic, f"{number}".encode())
    eventually(lambda: len(seen) >= 100 and emulator.figures(name)["backlog"] == 0)
    stream.cancel()
    stream.result(5)

    assert sorted(seen) == sorted([f"{number}" for number in range(50)] * 2)


def test_streaming_keeps_within_what_the_client_will_hold(emulator, publisher, subscriber, topic, subscribe, eventually):
    name = subscribe()
    held: list = []
    for number in range(20):
        publisher.publish(topic, f"{number}".encode()).result(5)

    stream = subscriber.subscribe(name, held.append, flow_control=FlowControl(max_messages=5))
    eventually(lambda: len(held) == 5)
    time.sleep(0.3)
    in_flight = emulator.figures(name)["in_flight"]
    for message in list(held):
        message.ack()
    eventually(lambda: len(held) == 10)
    stream.cancel()
    stream.result(5)

    assert in_flight == 5


def test_two_streams_share_the_work(publisher, subscriber, topic, subscribe, eventually):
    name = subscribe()
    seen: list[tuple[str, bytes]] = []
    streams = [
        subscriber.subscribe(name, lambda message, who=who: (seen.append((who, message.data)), message.ack()))
        for who in ("left", "right")
    ]
    time.sleep(0.2)

    for number in range(40):
        publisher.publish(topic, f"{number}".encode()).result(5)
    eventually(lambda: len(seen) == 40)
    for stream in streams:
        stream.cancel()
        stream.result(5)

    assert len({data for _, data in seen}) == 40
    assert {who for who, _ in seen} == {"left", "right"}


def test_messages_of_one_key_come_one_after_another_and_a_nack_repeats_only_that_key(publisher, subscriber, topic, subscribe):
    name = subscribe(enable_message_ordering=True)
    for data, key in [(b"a1", "a"), (b"a2", "a"), (b"b1", "b"), (b"free", "")]:
        publisher.publish(topic, data, ordering_key=key).result(5)

    first = {each.message.data: each.ack_id for each in pulled(subscriber, name)}
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[first[b"a1"]], ack_deadline_seconds=0)
    second = {each.message.data: each.ack_id for each in pulled(subscriber, name)}
    subscriber.acknowledge(subscription=name, ack_ids=[second[b"a1"]])
    third = {each.message.data: each.ack_id for each in pulled(subscriber, name)}

    assert set(first) == {b"a1", b"b1", b"free"}
    assert set(second) == {b"a1"}
    assert set(third) == {b"a2"}


def test_streaming_keeps_the_order_of_every_key(publisher, subscriber, topic, subscribe, eventually):
    name = subscribe(enable_message_ordering=True)
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    def callback(message):
        seen[message.ordering_key].append(int(message.data))
        message.ack()

    stream = subscriber.subscribe(name, callback)
    for number in range(30):
        for key in seen:
            publisher.publish(topic, f"{number}".encode(), ordering_key=key)
    eventually(lambda: sum(map(len, seen.values())) == 90)
    stream.cancel()
    stream.result(5)

    assert all(numbers == list(range(30)) for numbers in seen.values())


def test_a_message_that_is_never_acknowledged_ends_in_the_dead_letter_topic(publisher, subscriber, project, topic, subscribe):
    dead_topic = publisher.create_topic(name=f"{project}/topics/deliver.dead").name
    subscriber.create_subscription(name=f"{project}/subscriptions/deliver.dead", topic=dead_topic)
    name = subscribe(dead_letter_policy={"dead_letter_topic": dead_topic, "max_delivery_attempts": 5})
    publisher.publish(topic, b"poison", kind="bad").result(5)

    attempts = []
    for _ in range(5):
        [received] = pulled(subscriber, name)
        attempts.append(received.delivery_attempt)
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
    [dead] = pulled(subscriber, f"{project}/subscriptions/deliver.dead")

    assert attempts == [1, 2, 3, 4, 5]
    assert pulled(subscriber, name, seconds=0.5) == []
    assert dead.message.data == b"poison"
    assert dead.message.attributes["kind"] == "bad"
    assert dead.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert dead.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == "deliver"
    assert f"projects/{dead.message.attributes['CloudPubSubDeadLetterSourceSubscriptionProject']}" == project
    assert "CloudPubSubDeadLetterSourceTopicPublishTime" in dead.message.attributes


def test_a_nacked_message_waits_for_its_backoff(publisher, subscriber, topic, subscribe):
    name = subscribe(
        retry_policy={
            "minimum_backoff": duration_pb2.Duration(nanos=400_000_000),
            "maximum_backoff": duration_pb2.Duration(seconds=10),
        }
    )
    publisher.publish(topic, b"one").result(5)

    waits = []
    [received] = pulled(subscriber, name)
    for _ in range(2):
        given_back_at = time.monotonic()
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
        [received] = pulled(subscriber, name, seconds=5)
        waits.append(time.monotonic() - given_back_at)

    assert 0.38 < waits[0] < 0.7
    assert 0.78 < waits[1] < 1.2


def test_seeking_back_brings_acknowledged_messages_again_and_seeking_ahead_ends_them(publisher, subscriber, topic, subscribe):
    name = subscribe(retain_acked_messages=True)
    publisher.publish(topic, b"old").result(5)
    time.sleep(0.02)
    then = datetime.now(UTC)
    publisher.publish(topic, b"new").result(5)
    received = pulled(subscriber, name)
    subscriber.acknowledge(subscription=name, ack_ids=[each.ack_id for each in received])

    subscriber.seek(request={"subscription": name, "time": then})
    again = pulled(subscriber, name)
    subscriber.seek(request={"subscription": name, "time": then - timedelta(hours=1)})
    everything = pulled(subscriber, name)
    subscriber.seek(request={"subscription": name, "time": datetime.now(UTC) + timedelta(seconds=1)})

    assert [each.message.data for each in received] == [b"old", b"new"]
    assert [each.message.data for each in again] == [b"new"]
    assert [each.message.data for each in everything] == [b"old", b"new"]
    assert pulled(subscriber, name, seconds=0.3) == []


def test_without_retention_acknowledged_messages_cannot_be_sought(publisher, subscriber, topic, subscribe):
    name = subscribe()
    publisher.publish(topic, b"gone").result(5)
    [received] = pulled(subscriber, name)
    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id])

    subscriber.seek(request={"subscription": name, "time": datetime.now(UTC) - timedelta(hours=1)})

    assert pulled(subscriber, name, seconds=0.3) == []
