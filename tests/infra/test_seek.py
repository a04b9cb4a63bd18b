from __future__ import annotations

import json

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from infra.commands import seek
from infra.deployment import topology
from infra.deployment.topology import Target
from lib.runtime import config
from tests.harness.servers import Broker

NAME = "call-events.retailcrm-deliver"
SUBSCRIPTION = f"projects/local/subscriptions/{NAME}"
DAY_SECONDS = 86_400


@pytest.fixture
def subscriber(monkeypatch):
    with Broker.started() as broker:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
        config.current.cache_clear()
        endpoints = {spec["function"]: "http://127.0.0.1:9" for spec in topology.read()["subscriptions"].values()}
        topology.apply(topology.read(), Target(project="local", endpoints=endpoints))
        with pubsub_v1.SubscriberClient() as client:
            client.modify_push_config(subscription=SUBSCRIPTION, push_config={})
            yield client
    config.current.cache_clear()


def publish(number):
    publisher = pubsub_v1.PublisherClient()
    publisher.publish("projects/local/topics/call-events", json.dumps({"event": number}).encode()).result(10)
    publisher.stop()
    publisher.transport.close()


def acknowledged(subscriber):
    """Everything that is delivered now, and acknowledged."""
    found = []
    while True:
        try:
            answer = subscriber.pull(subscription=SUBSCRIPTION, max_messages=10, timeout=1, retry=None)
        except DeadlineExceeded:
            return found
        if not answer.received_messages:
            return found
        found += [json.loads(received.message.data)["event"] for received in answer.received_messages]
        ack_ids = [received.ack_id for received in answer.received_messages]
        subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=ack_ids)


def test_acknowledged_events_are_redelivered_and_a_dry_run_only_reports(subscriber, capsys):
    publish(1)
    publish(2)
    assert acknowledged(subscriber) == [1, 2]

    dry = seek.main(["--minutes", "10", "--dry-run"])
    after_dry = acknowledged(subscriber)
    done = seek.main(["--minutes", "10"])
    after = acknowledged(subscriber)

    assert (dry, done) == (0, 0)
    assert (after_dry, after) == ([], [1, 2])
    said, _, rest = capsys.readouterr().out.partition("dry run")
    assert SUBSCRIPTION in said
    assert "Done." in rest


@pytest.mark.parametrize(
    ("change", "word"),
    [({"retain_acked_messages": False}, "forgets"), ({"message_retention_duration": {"seconds": 600}}, "less than")],
)
def test_a_subscription_that_does_not_keep_enough_is_refused_before_anything_is_done(subscriber, capsys, change, word):
    subscriber.update_subscription(
        request={"subscription": {"name": SUBSCRIPTION, **change}, "update_mask": {"paths": list(change)}}
    )

    assert seek.main(["--minutes", "30"]) == 1
    assert word in capsys.readouterr().err


def test_the_events_are_kept_for_longer_than_any_failover_takes_to_notice():
    data = topology.read()

    names = [NAME, "recovered-events.assemble-recovered"]
    assert seek.subscriptions_of_events("local") == [f"projects/local/subscriptions/{name}" for name in names]
    for name in names:
        subscription = data["subscriptions"][name]
        assert subscription["retain_acked_messages"] is True
        assert subscription["message_retention_seconds"] >= DAY_SECONDS
        assert data["topics"][subscription["topic"]]["message_retention_seconds"] >= DAY_SECONDS


@pytest.mark.parametrize("minutes", ["0", "-5", "nan", "inf", "1e12", "44641", "ten"])
def test_minutes_that_make_no_sense_are_refused(minutes, capsys):
    with pytest.raises(SystemExit):
        seek.main([f"--minutes={minutes}"])

    assert "must be a number above 0 and at most 44640" in capsys.readouterr().err
