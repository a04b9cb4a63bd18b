from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from google.cloud import pubsub_v1

from infra.deployment import topology
from infra.deployment.topology import Target
from lib.runtime.errors import ConfigError
from tests.harness.servers import Broker

ENDPOINTS = {
    "retailcrm-deliver": "http://127.0.0.1:1",
    "retailcrm-upload": "http://127.0.0.1:3",
    "sweep-calls": "http://127.0.0.1:2/",
    "register-module": "http://127.0.0.1:4",
    "assemble-recovered": "http://127.0.0.1:6",
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
    moved = {**ENDPOINTS, "retailcrm-deliver": "http://127.0.0.1:5"}
    topology.apply(topology.read(), Target(project="local", endpoints=moved))

    deliver = subscriber.get_subscription(subscription=f"{SUBSCRIPTIONS}call-events.retailcrm-deliver")
    assert deliver.push_config.push_endpoint == "http://127.0.0.1:5/"


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


CLOUD = {
    "PUBSUB_EMULATOR_HOST": "",
    "GOOGLE_CLOUD_PROJECT": "p",
    "GOOGLE_APPLICATION_CREDENTIALS": "",
    "CLOUDSDK_CONFIG": "/nonexistent",
    "HOME": "/nonexistent",
    "NO_GCE_CHECK": "true",
}


def run(module, *arguments, **environment):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"infra.{'commands' if module == 'seek' else 'deployment'}.{module}", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("command", [("topology",), ("seek", "--minutes", "10")])
def test_without_credentials_it_is_said_what_is_missing(command):
    endpoints = [f"--endpoint={name}={url}" for name, url in ENDPOINTS.items()] if command == ("topology",) else []

    code, said, _ = run(*command, *endpoints, **CLOUD)

    assert code == 1
    assert "the credentials are missing or refused" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("command", [("topology",), ("seek", "--minutes", "10")])
def test_pubsub_that_is_away_is_said_within_a_bounded_time(command):
    endpoints = [f"--endpoint={name}={url}" for name, url in ENDPOINTS.items()] if command == ("topology",) else []

    code, said, seconds = run(*command, *endpoints, PUBSUB_EMULATOR_HOST="127.0.0.1:9", GOOGLE_CLOUD_PROJECT="local")

    assert code == 1
    assert "Pub/Sub did not answer within 30 seconds: the emulator at 127.0.0.1:9" in said
    assert len(said.splitlines()) == 1
    assert seconds < topology.PATIENCE_SECONDS + 30


@pytest.mark.parametrize(
    "arguments",
    [
        ("topology", "--endpoint", "foo"),
        ("topology", "--endpoint", "retailcrm-deliver=foo"),
        ("topology", "--endpoint", "=http://127.0.0.1:1"),
        ("topology", "--endpoint", "retailcrm-deliver=https://["),
        ("scheduler", "--endpoint", "foo"),
        ("scheduler", "--every", "nan"),
        ("scheduler", "--every", "0"),
    ],
)
def test_an_argument_of_a_wrong_form_is_refused_with_what_is_right(arguments):
    code, said, _ = run(*arguments)

    assert code == 2
    assert "is not FUNCTION=https://" in said or "must be a number above 0" in said


def test_a_missing_endpoint_is_named():
    with pytest.raises(ConfigError, match="sweep-calls"):
        topology.subscriptions(
            topology.read(),
            Target(
                project="p",
                endpoints={name: url for name, url in ENDPOINTS.items() if name != "sweep-calls"},
            ),
        )
