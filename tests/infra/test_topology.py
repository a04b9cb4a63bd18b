from __future__ import annotations

import pytest
from google.cloud import pubsub_v1

from infra import topology
from infra.topology import Target
from lib.errors import ConfigError
from tests.servers import Broker

ENDPOINTS = {
    "retailcrm-deliver": "http://127.0.0.1:1",
    "sweep-calls": "http://127.0.0.1:2/",
    "register-module": "http://127.0.0.1:4",
}
SUBSCRIPTIONS = "projects/local/subscriptions/"


@pytest.fixture
def broker(monkeypatch):
    with Broker.started() as started:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", started.host)
        yield started


@pytest.fixture
def subscriber(broker):
    client = pubsub_v1.SubscriberClient()
    yield client
    client.close()


def test_it_is_applied_twice_with_the_same_result(subscriber):
    first = topology.apply(topology.read(), Target(project="local", endpoints=ENDPOINTS))
    before = sorted(str(found) for found in subscriber.list_subscriptions(project="projects/local"))
    second = topology.apply(topology.read(), Target(project="local", endpoints=ENDPOINTS))
    after = sorted(str(found) for found in subscriber.list_subscriptions(project="projects/local"))

    assert all(line.startswith("created") for line in first)
    assert all(line.startswith("updated") for line in second)
    assert before == after
    assert len(before) == len(topology.read()["subscriptions"])


def test_a_subscription_gets_its_deadlines_retries_and_dead_letters(subscriber):
    topology.apply(topology.read(), Target(project="local", endpoints=ENDPOINTS))

    deliver = subscriber.get_subscription(subscription=f"{SUBSCRIPTIONS}call-events.retailcrm-deliver")
    dead = subscriber.get_subscription(subscription=f"{SUBSCRIPTIONS}call-events.retailcrm-deliver.dead")
    assert deliver.push_config.push_endpoint == "http://127.0.0.1:1/"
    assert deliver.ack_deadline_seconds == 60
    assert deliver.retry_policy.minimum_backoff.total_seconds() == 1
    assert deliver.dead_letter_policy.dead_letter_topic == dead.topic
    assert dead.push_config.push_endpoint == "http://127.0.0.1:2/dead"


def test_a_changed_endpoint_is_applied(subscriber):
    topology.apply(topology.read(), Target(project="local", endpoints=ENDPOINTS))
    moved = {**ENDPOINTS, "retailcrm-deliver": "http://127.0.0.1:3"}
    topology.apply(topology.read(), Target(project="local", endpoints=moved))

    deliver = subscriber.get_subscription(subscription=f"{SUBSCRIPTIONS}call-events.retailcrm-deliver")
    assert deliver.push_config.push_endpoint == "http://127.0.0.1:3/"


def test_in_the_cloud_pushes_are_signed():
    target = Target(
        project="p",
        endpoints=ENDPOINTS,
        push_audience="https://deliver.example.com",
        push_service_account="pusher@p.iam.gserviceaccount.com",
    )

    for subscription in topology.subscriptions(topology.read(), target):
        assert subscription.push_config.oidc_token.service_account_email == "pusher@p.iam.gserviceaccount.com"
        assert subscription.push_config.oidc_token.audience == "https://deliver.example.com"


def test_a_missing_endpoint_is_named():
    with pytest.raises(ConfigError, match="sweep-calls"):
        topology.subscriptions(
            topology.read(), Target(project="p", endpoints={"retailcrm-deliver": "http://127.0.0.1:1"})
        )
