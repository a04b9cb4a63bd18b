"""The scheduler as a process: what it changes of the topology, and where it changes nothing."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from google.cloud import pubsub_v1

from infra.deployment import topology
from infra.deployment.scheduler import Scheduler

ENDPOINTS = dict.fromkeys(
    ("retailcrm-deliver", "retailcrm-upload", "assemble-recovered", "sweep-calls", "register-module"),
    "https://functions.example.com",
)
ACCOUNT, AUDIENCE = "pusher@local.iam.gserviceaccount.com", "https://functions.example.com"


@pytest.fixture
def signed(own_broker, monkeypatch):
    """The topology as `python -m infra.deployment.topology` applies it, with an account that signs pushes."""
    monkeypatch.setenv("PUSH_SERVICE_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("PUSH_AUDIENCE", AUDIENCE)
    topology.apply(topology.read(), topology.target(list(ENDPOINTS.items())))


def subscriptions():
    with pubsub_v1.SubscriberClient() as subscriber:
        return list(subscriber.list_subscriptions(project="projects/local"))


def signatures():
    return {
        (found.push_config.oidc_token.service_account_email, found.push_config.oidc_token.audience)
        for found in subscriptions()
    }


def test_a_tick_leaves_every_subscription_with_the_account_that_signs_its_pushes(signed, tmp_path):
    ticked = tmp_path / "ticked"
    endpoints = [f"--endpoint={name}={url}" for name, url in ENDPOINTS.items()]
    command = [sys.executable, "-m", "infra.deployment.scheduler", "--every=0.1", f"--ticked={ticked}", *endpoints]
    before = signatures()

    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not ticked.exists():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        running.terminate()
        running.wait(20)

    assert before == signatures() == {(ACCOUNT, AUDIENCE)}


def test_where_nothing_forgets_the_topology_is_left_alone_even_when_a_topic_is_missing(own_broker, tmp_path):
    scheduler = Scheduler(None, tmp_path / "ticked")

    scheduler.tick()
    scheduler.tick()

    assert subscriptions() == []
    assert not (tmp_path / "ticked").exists()
