"""The scheduler, before a real broker that forgets."""

from __future__ import annotations

from google.cloud import pubsub_v1

from infra.deployment import topology
from infra.deployment.scheduler import Scheduler

TARGET = topology.Target(
    project="local",
    endpoints=dict.fromkeys(
        ("retailcrm-deliver", "retailcrm-upload", "assemble-recovered", "sweep-calls", "register-module"),
        "http://127.0.0.1:9",
    ),
)


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


def test_the_first_tick_makes_the_topics_and_every_tick_is_published(own_broker, tmp_path):
    scheduler = Scheduler(TARGET, tmp_path / "ticked")

    scheduler.tick()
    ticks = own_broker.topic("ticks")
    scheduler.tick()

    assert topics() == set(topology.read()["topics"])
    assert len(own_broker.pull(ticks)) == 1
    assert (tmp_path / "ticked").exists()


def test_topics_that_the_broker_forgot_are_made_again(own_broker, tmp_path):
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
