"""What survives `kill -9` with a data directory."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2

from infra.stand_ins.emulator import wire
from infra.stand_ins.emulator.broker import Broker
from infra.stand_ins.emulator.journal import Journal

TOPIC = "projects/demo/topics/call-events"
NAME = "projects/demo/subscriptions/call-events.retailcrm-deliver"


def pulled(subscriber, count=10, seconds=1.0):
    response = subscriber.pull(subscription=NAME, max_messages=count, timeout=seconds)
    return list(response.received_messages)


def test_topics_subscriptions_and_what_is_unacknowledged_survive(start_emulator, tmp_path):
    emulator = start_emulator("--data-dir", str(tmp_path / "state"))
    with emulator.clients() as (publisher, subscriber):
        publisher.create_topic(request={"name": TOPIC, "labels": {"stage": "demo"}})
        publisher.create_topic(name=f"{TOPIC}.gone")
        subscriber.create_subscription(
            request={"name": NAME, "topic": TOPIC, "ack_deadline_seconds": 33, "retain_acked_messages": True}
        )
        publisher.delete_topic(topic=f"{TOPIC}.gone")
        sent = [publisher.publish(TOPIC, f"{number}".encode(), n=f"{number}").result(5) for number in range(4)]
        keys = emulator.ask("GET", "/oauth2/v3/certs")
        first = pulled(subscriber, count=2)
        subscriber.acknowledge(subscription=NAME, ack_ids=[first[0].ack_id])

        emulator.kill()
        emulator.start()
    with emulator.clients() as (publisher, subscriber):
        topics = [topic.name for topic in publisher.list_topics(project="projects/demo")]
        labels = dict(publisher.get_topic(topic=TOPIC).labels)
        deadline = subscriber.get_subscription(subscription=NAME).ack_deadline_seconds
        again = pulled(subscriber)
        subscriber.acknowledge(subscription=NAME, ack_ids=[each.ack_id for each in again])
        emulator.kill()
        emulator.start()
    with emulator.clients() as (publisher, subscriber):
        nothing = pulled(subscriber, seconds=0.3)
        subscriber.seek(request={"subscription": NAME, "time": datetime.now(UTC) - timedelta(minutes=5)})
        everything = pulled(subscriber)
        later = publisher.publish(TOPIC, b"later").result(5)

    assert emulator.ask("GET", "/oauth2/v3/certs") == keys
    assert topics == [TOPIC]
    assert (labels, deadline) == ({"stage": "demo"}, 33)
    assert [each.message.message_id for each in again] == sent[1:]
    assert dict(again[0].message.attributes) == {"n": "1"}
    assert nothing == []
    assert [each.message.message_id for each in everything] == sent
    assert int(later) > int(sent[-1])


def slowly(_):
    """So that some pushes are in flight at the kill."""
    time.sleep(0.05)
    return 204


def test_no_acknowledged_publish_is_lost_when_killed_under_load(start_emulator, tmp_path, endpoint, eventually):
    emulator = start_emulator("--data-dir", str(tmp_path / "state"))
    published: dict[str, str] = {}
    stop = threading.Event()

    def publish_all_the_time(publisher, who):
        number = 0
        while not stop.is_set():
            number += 1
            published[f"{who}-{number}"] = publisher.publish(TOPIC, f"{who}-{number}".encode()).result(60)

    with emulator.clients() as (publisher, subscriber):
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(
            request={
                "name": NAME,
                "topic": TOPIC,
                "push_config": {"push_endpoint": endpoint.url},
                "retry_policy": {
                    "minimum_backoff": duration_pb2.Duration(nanos=50_000_000),
                    "maximum_backoff": duration_pb2.Duration(nanos=200_000_000),
                },
            }
        )
        endpoint.answer = slowly
        workers = [threading.Thread(target=publish_all_the_time, args=(publisher, who)) for who in range(8)]
        for worker in workers:
            worker.start()
        eventually(lambda: len(published) > 100)
        emulator.kill()
        before = len(published)
        emulator.start()
        eventually(lambda: len(published) > before + 100)
        stop.set()
        for worker in workers:
            worker.join()
    emulator.wait_for(NAME, backlog=0)

    assert set(published) - set(endpoint.data()) == set()


def test_a_full_disk_refuses_publishes_and_loses_none_that_it_took(start_emulator, tmp_path):
    emulator = start_emulator("--data-dir", str(tmp_path))
    taken, refused = [], 0
    with emulator.clients() as (publisher, subscriber):
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=NAME, topic=TOPIC)
        limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE, (25_000, limit[1]))
        for number in range(5):
            try:
                taken.append(publisher.publish(TOPIC, b"%d" % number * 10_000, retry=None).result(5))
            except exceptions.ServiceUnavailable:
                refused += 1
        resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE, limit)
        taken.append(publisher.publish(TOPIC, b"room again").result(5))

    emulator.kill()
    emulator.start()
    with emulator.clients() as (_, subscriber):
        received = pulled(subscriber)

    assert refused == 3
    assert [each.message.message_id for each in received] == taken


def test_a_long_run_keeps_its_journal_short(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.stand_ins.emulator.journal._REWRITE_ABOVE_BYTES", 10_000)

    async def live_and_restart():
        with closing(Journal(tmp_path)) as journal:
            broker = Broker(journal)
            broker.create_topic(wire.Topic(name=TOPIC))
            broker.create_subscription(wire.Subscription(name=NAME, topic=TOPIC))
            for number in range(200):
                broker.publish(wire.PublishRequest(topic=TOPIC, messages=[{"data": b"%1000d" % number}]))
                if number != 100:
                    [lease] = broker.subscription(NAME).take(1, deadline_seconds=10)
                    broker.subscription(NAME).ack([lease.ack_id])
            broker.close()
        with closing(Journal(tmp_path)) as journal:
            broker = Broker(journal)
            broker.restore()
            return broker.subscription(NAME).take(10, deadline_seconds=None)

    [owed] = asyncio.run(live_and_restart())

    assert (tmp_path / "journal").stat().st_size < 20_000
    assert int(owed.message.content.data) == 199


def test_half_a_record_at_the_end_is_forgotten_and_nothing_else(start_emulator, tmp_path):
    emulator = start_emulator("--data-dir", str(tmp_path))
    with emulator.clients() as (publisher, subscriber):
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=NAME, topic=TOPIC)
        publisher.publish(TOPIC, b"whole").result(5)
        whole = (tmp_path / "journal").stat().st_size
        publisher.publish(TOPIC, b"torn").result(5)
    emulator.kill()
    with (tmp_path / "journal").open("rb+") as journal:
        journal.truncate(whole + 20)

    emulator.start()
    with emulator.clients() as (publisher, subscriber):
        publisher.publish(TOPIC, b"after").result(5)
    emulator.kill()
    emulator.start()
    with emulator.clients() as (_, subscriber):
        received = pulled(subscriber)

    assert [each.message.data for each in received] == [b"whole", b"after"]


def test_a_start_makes_the_journal_as_short_as_its_state(start_emulator, tmp_path):
    emulator = start_emulator("--data-dir", str(tmp_path))
    with emulator.clients() as (publisher, subscriber):
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=NAME, topic=TOPIC)
        for _ in range(20):
            publisher.publish(TOPIC, b"x" * 10_000).result(5)
        subscriber.acknowledge(subscription=NAME, ack_ids=[each.ack_id for each in pulled(subscriber, count=100)])
    long = (tmp_path / "journal").stat().st_size

    emulator.kill()
    emulator.start()

    assert long > 200_000
    assert (tmp_path / "journal").stat().st_size < 1_000


def test_two_emulators_do_not_share_a_directory(start_emulator, tmp_path):
    start_emulator("--data-dir", str(tmp_path))

    second = subprocess.run(
        [sys.executable, "-m", "infra.stand_ins.emulator", "--port", "0", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )

    assert second.returncode == 1
    assert second.stderr == f"The Pub/Sub emulator cannot start: another emulator is already using {tmp_path}.\n"


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null/state"])
def test_a_directory_that_cannot_be_used_is_one_sentence(directory):
    failed = subprocess.run(
        [sys.executable, "-m", "infra.stand_ins.emulator", "--port", "0", "--data-dir", directory],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )

    assert failed.returncode == 1
    assert failed.stderr.startswith("The Pub/Sub emulator cannot start: its state in")
    assert failed.stderr.count("\n") == 1
