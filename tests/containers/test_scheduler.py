"""The scheduler, before a real broker that forgets."""

from __future__ import annotations

import pytest
from google.cloud import pubsub_v1

from infra import topology
from infra.scheduler import Scheduler
from lib import config, pubsub
from tests.servers import Broker

TARGET = topology.Target(
    project="local",
    endpoints=dict.fromkeys(("retailcrm-deliver", "sweep-calls", "register-module"), "http://127.0.0.1:9"),
)


@pytest.fixture
def broker(monkeypatch):
    with Broker.started() as started:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", started.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
        config.current.cache_clear()
        yield started
        pubsub.close()
        config.current.cache_clear()


def topics():
    publisher = pubsub_v1.PublisherClient()
    try:
        return {topic.name.rpartition("/")[2] for topic in publisher.list_topics(project="projects/local")}
    finally:
        publisher.transport.close()


def delete_topics():
    publisher = pubsub_v1.PublisherClient()
    try:
        for topic in publisher.list_topics(project="projects/local"):
            publisher.delete_topic(topic=topic.name)
    finally:
        publisher.transport.close()


def test_the_first_tick_makes_the_topics_and_every_tick_is_published(broker, tmp_path):
    scheduler = Scheduler(TARGET, tmp_path / "ticked")

    scheduler.tick()
    ticks = broker.topic("ticks")
    scheduler.tick()

    assert topics() == set(topology.read()["topics"])
    assert len(broker.pull(ticks)) == 1
    assert (tmp_path / "ticked").exists()


def test_topics_that_the_broker_forgot_are_made_again(broker, tmp_path):
    scheduler = Scheduler(TARGET, tmp_path / "ticked")
    scheduler.tick()
    delete_topics()
    (tmp_path / "ticked").unlink()

    scheduler.tick()
    was_noticed = not (tmp_path / "ticked").exists()
    scheduler.tick()

    assert was_noticed
    assert topics() == set(topology.read()["topics"])
    assert (tmp_path / "ticked").exists()
