"""Pulling with the official client, one by one and streaming."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.pubsub_v1.types import FlowControl
from google.protobuf import duration_pb2


def pulled(subscriber, subscription, count=10, seconds=2.0):
    try:
        response = subscriber.pull(subscription=subscription, max_messages=count, timeout=seconds)
    except exceptions.DeadlineExceeded:  # nothing came, and a busy machine said so too late
        return []
    return list(response.received_messages)


def test_a_published_message_is_pulled_with_all_it_carries(publish, subscriber, subscribe):
    name = subscribe()
    before = datetime.now(UTC)

    [message_id] = publish("привет", event_type="start")
    [received] = pulled(subscriber, name)

    assert received.message.message_id == message_id
    assert received.message.data.decode() == "привет"
    assert dict(received.message.attributes) == {"event_type": "start"}
    assert timedelta(0) <= received.message.publish_time - before < timedelta(seconds=5)
    assert received.delivery_attempt == 0


def test_every_subscription_gets_every_message(publish, subscriber, subscribe):
    first, second = subscribe("first"), subscribe("second")

    publish("once")

    assert [each.message.data for each in pulled(subscriber, first)] == [b"once"]
    assert [each.message.data for each in pulled(subscriber, second)] == [b"once"]


def test_an_acknowledged_message_does_not_come_back(emulator, publish, subscriber, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publish("one")
    [received] = pulled(subscriber, name)

    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id, received.ack_id])

    assert pulled(subscriber, name, seconds=1.3) == []
    assert emulator.figures(name)["backlog"] == 0
    assert emulator.figures(name)["acked"] == 1


def test_a_message_comes_back_after_its_deadline(publish, subscriber, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publish("one")
    [first] = pulled(subscriber, name)
    taken_at = time.monotonic()

    [second] = pulled(subscriber, name, seconds=5)

    assert 0.8 < time.monotonic() - taken_at < 3
    assert second.message == first.message
    assert second.ack_id != first.ack_id


def test_a_longer_deadline_keeps_a_message_and_a_deadline_of_zero_gives_it_back(publish, subscriber, subscribe):
    name = subscribe(ack_deadline_seconds=1)
    publish("one")
    [received] = pulled(subscriber, name)

    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=60)
    kept = pulled(subscriber, name, seconds=1.4)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
    returned = pulled(subscriber, name, seconds=1)

    assert kept == []
    assert [each.message.data for each in returned] == [b"one"]


def test_an_ack_after_the_deadline_still_counts_but_an_invented_one_is_refused(
    emulator, publish, subscriber, subscribe
):
    name = subscribe()
    publish("one")
    [received] = pulled(subscriber, name)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)

    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id])

    assert emulator.figures(name)["backlog"] == 0
    with pytest.raises(exceptions.InvalidArgument):
        subscriber.acknowledge(subscription=name, ack_ids=["invented"])


def test_a_pull_waits_for_a_message(publish, subscriber, subscribe):
    name = subscribe()
    later = threading.Timer(0.3, lambda: publish("late"))
    later.start()

    received = pulled(subscriber, name, seconds=5)

    later.join()
    assert [each.message.data for each in received] == [b"late"]


def test_streaming_delivers_to_the_callback_and_redelivers_what_it_nacks(emulator, publish, subscriber, subscribe):
    name = subscribe()
    seen: list[str] = []

    def callback(message):
        seen.append(message.data.decode())
        if seen.count(message.data.decode()) == 1:
            message.nack()
        else:
            message.ack()

    stream = subscriber.subscribe(name, callback)
    publish(*map(str, range(50)))
    emulator.wait_for(name, backlog=0, acked=50)
    stream.cancel()
    stream.result(5)

    assert sorted(seen) == sorted([f"{number}" for number in range(50)] * 2)


def test_streaming_keeps_within_what_the_client_will_hold(emulator, publish, subscriber, subscribe, eventually):
    name = subscribe()
    held: list[Any] = []
    publish(*map(str, range(20)))

    stream = subscriber.subscribe(name, held.append, flow_control=FlowControl(max_messages=5))
    eventually(lambda: len(held) == 5)
    time.sleep(0.3)
    in_flight = emulator.figures(name)["in_flight"]
    for message in held:
        message.ack()
    eventually(lambda: len(held) == 10)
    stream.cancel()
    stream.result(5)

    assert in_flight == 5


def test_two_streams_share_the_work(publish, subscriber, subscribe, eventually):
    name = subscribe()
    seen: list[tuple[str, bytes]] = []

    def note(who, message):
        seen.append((who, message.data))
        message.ack()

    streams = [subscriber.subscribe(name, partial(note, who)) for who in ("left", "right")]
    time.sleep(0.2)

    publish(*map(str, range(40)))
    eventually(lambda: len(seen) == 40)
    for stream in streams:
        stream.cancel()
        stream.result(5)

    assert len({data for _, data in seen}) == 40
    assert {who for who, _ in seen} == {"left", "right"}


def test_messages_of_one_key_come_one_after_another_and_a_nack_repeats_only_that_key(publish, subscriber, subscribe):
    name = subscribe(enable_message_ordering=True)
    for data, key in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("free", "")]:
        publish(data, key=key)

    first = {each.message.data: each.ack_id for each in pulled(subscriber, name)}
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[first[b"a1"]], ack_deadline_seconds=0)
    second = {each.message.data: each.ack_id for each in pulled(subscriber, name)}
    subscriber.acknowledge(subscription=name, ack_ids=[second[b"a1"]])
    third = {each.message.data: each.ack_id for each in pulled(subscriber, name)}

    assert set(first) == {b"a1", b"b1", b"free"}
    assert set(second) == {b"a1"}
    assert set(third) == {b"a2"}


def test_streaming_keeps_the_order_of_every_key(publish, subscriber, subscribe, eventually):
    name = subscribe(enable_message_ordering=True)
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    def callback(message):
        seen[message.ordering_key].append(int(message.data))
        message.ack()

    stream = subscriber.subscribe(name, callback)
    for key in seen:
        publish(*map(str, range(30)), key=key)
    eventually(lambda: sum(map(len, seen.values())) == 90)
    stream.cancel()
    stream.result(5)

    assert all(numbers == list(range(30)) for numbers in seen.values())


def test_a_message_that_is_never_acknowledged_ends_in_the_dead_letter_topic(
    publish, subscriber, project, subscribe, dead_letters
):
    name = subscribe(dead_letter_policy={"dead_letter_topic": dead_letters.topic, "max_delivery_attempts": 5})
    publish("poison", kind="bad")

    attempts = []
    for _ in range(5):
        [received] = pulled(subscriber, name)
        attempts.append(received.delivery_attempt)
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
    [dead] = dead_letters.pull()

    assert attempts == [1, 2, 3, 4, 5]
    assert pulled(subscriber, name, seconds=0.5) == []
    assert dead.message.data == b"poison"
    attributes = dict(dead.message.attributes)
    assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime").endswith("Z")
    assert attributes == {
        "kind": "bad",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "deliver",
        "CloudPubSubDeadLetterSourceSubscriptionProject": project.removeprefix("projects/"),
    }


def test_a_nacked_message_waits_for_its_backoff(publish, subscriber, subscribe):
    name = subscribe(
        retry_policy={
            "minimum_backoff": duration_pb2.Duration(nanos=400_000_000),
            "maximum_backoff": duration_pb2.Duration(seconds=10),
        }
    )
    publish("one")

    waits = []
    [received] = pulled(subscriber, name)
    for _ in range(2):
        given_back_at = time.monotonic()
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0)
        [received] = pulled(subscriber, name, seconds=5)
        waits.append(time.monotonic() - given_back_at)

    assert waits[0] > 0.38
    assert waits[1] > 0.78


def test_seeking_back_brings_acknowledged_messages_again_and_seeking_ahead_ends_them(publish, subscriber, subscribe):
    name = subscribe(retain_acked_messages=True)
    publish("old")
    time.sleep(0.02)
    then = datetime.now(UTC)
    publish("new")
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


def test_without_retention_acknowledged_messages_cannot_be_sought(publish, subscriber, subscribe):
    name = subscribe()
    publish("gone")
    [received] = pulled(subscriber, name)
    subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id])

    subscriber.seek(request={"subscription": name, "time": datetime.now(UTC) - timedelta(hours=1)})

    assert pulled(subscriber, name, seconds=0.3) == []
