"""Topics and subscriptions through the official client: what is kept, what is refused, and how."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2, field_mask_pb2


def test_a_topic_is_created_read_listed_updated_and_deleted(publisher, project):
    name = f"{project}/topics/call-events"

    created = publisher.create_topic(request={"name": name, "labels": {"stage": "one"}})
    publisher.create_topic(name=f"{project}/topics/ticks")
    updated = publisher.update_topic(
        topic={"name": name, "labels": {"stage": "two"}, "kms_key_name": "ignored"},
        update_mask=field_mask_pb2.FieldMask(paths=["labels"]),
    )

    assert (created.name, dict(created.labels)) == (name, {"stage": "one"})
    assert (dict(updated.labels), updated.kms_key_name) == ({"stage": "two"}, "")
    assert publisher.get_topic(topic=name) == updated
    assert [topic.name for topic in publisher.list_topics(project=project)] == [name, f"{project}/topics/ticks"]
    publisher.delete_topic(topic=name)
    assert [topic.name for topic in publisher.list_topics(project=project)] == [f"{project}/topics/ticks"]


def test_a_subscription_gets_the_defaults_of_the_real_service(subscriber, topic, subscribe):
    name = subscribe(retry_policy={})

    found = subscriber.get_subscription(subscription=name)

    assert found.topic == topic
    assert found.ack_deadline_seconds == 10
    assert found.message_retention_duration.total_seconds() == 7 * 86_400
    assert found.expiration_policy.ttl.total_seconds() == 31 * 86_400
    assert found.retry_policy.minimum_backoff.total_seconds() == 10
    assert found.retry_policy.maximum_backoff.total_seconds() == 600
    assert found.state.name == "ACTIVE"


def test_an_update_changes_what_its_mask_names_and_nothing_else(subscriber, subscribe):
    name = subscribe(ack_deadline_seconds=20, retry_policy={"minimum_backoff": duration_pb2.Duration(seconds=1)})

    subscriber.update_subscription(
        subscription={"name": name, "ack_deadline_seconds": 30, "retain_acked_messages": True, "labels": {"a": "b"}},
        update_mask=field_mask_pb2.FieldMask(paths=["ack_deadline_seconds", "labels", "retry_policy"]),
    )

    found = subscriber.get_subscription(subscription=name)
    assert found.ack_deadline_seconds == 30
    assert dict(found.labels) == {"a": "b"}
    assert not found.retain_acked_messages
    assert "retry_policy" not in found  # named by the mask and absent: removed


@pytest.mark.parametrize("paths", [[], ["topic"], ["filter"], ["enable_message_ordering"], ["no_such_field"]])
def test_an_update_of_what_cannot_change_is_refused(subscriber, subscribe, paths):
    name = subscribe()

    with pytest.raises(exceptions.InvalidArgument):
        subscriber.update_subscription(
            subscription={"name": name, "topic": "projects/other/topics/other"},
            update_mask=field_mask_pb2.FieldMask(paths=paths),
        )


def test_subscriptions_are_listed_by_page_by_project_and_by_topic(publisher, subscriber, project, topic, subscribe):
    names = [subscribe(f"sub-{number}") for number in range(5)]

    by_project = list(subscriber.list_subscriptions(request={"project": project, "page_size": 2}))
    by_topic = list(publisher.list_topic_subscriptions(request={"topic": topic, "page_size": 2}))

    assert [subscription.name for subscription in by_project] == names
    assert by_topic == names


def test_what_does_not_exist_is_not_found(publisher, subscriber, project, topic):
    nowhere, nobody = f"{project}/topics/nowhere", f"{project}/subscriptions/nobody"

    with pytest.raises(exceptions.NotFound):
        publisher.publish(nowhere, b"hello").result(5)
    with pytest.raises(exceptions.NotFound):
        publisher.get_topic(topic=nowhere)
    with pytest.raises(exceptions.NotFound):
        publisher.delete_topic(topic=nowhere)
    with pytest.raises(exceptions.NotFound):
        subscriber.create_subscription(name=nobody, topic=nowhere)
    with pytest.raises(exceptions.NotFound):
        subscriber.pull(subscription=nobody, max_messages=1)
    with pytest.raises(exceptions.NotFound):
        subscriber.acknowledge(subscription=nobody, ack_ids=["1-1"])
    with pytest.raises(exceptions.NotFound):
        subscriber.delete_subscription(subscription=nobody)
    with pytest.raises(exceptions.NotFound):
        subscriber.subscribe(nobody, print).result(5)


def test_what_exists_already_is_refused(publisher, subscriber, topic, subscribe):
    name = subscribe()

    with pytest.raises(exceptions.AlreadyExists):
        publisher.create_topic(name=topic)
    with pytest.raises(exceptions.AlreadyExists):
        subscriber.create_subscription(name=name, topic=topic)


@pytest.mark.parametrize("name", ["no", "1starts-with-a-digit", "google-owned", "has space", "a" * 256])
def test_a_name_against_the_rules_is_refused(publisher, project, name):
    with pytest.raises(exceptions.InvalidArgument):
        publisher.create_topic(name=f"{project}/topics/{name}")


def test_a_name_may_have_dots(publisher, project):
    assert publisher.create_topic(name=f"{project}/topics/call-events.retailcrm-deliver.dead")


@pytest.mark.parametrize(
    "settings",
    [
        {"ack_deadline_seconds": 601},
        {"message_retention_duration": duration_pb2.Duration(seconds=60)},
        {"push_config": {"push_endpoint": "not-a-url"}},
        {
            "retry_policy": {
                "minimum_backoff": duration_pb2.Duration(seconds=9),
                "maximum_backoff": duration_pb2.Duration(seconds=1),
            }
        },
        {"dead_letter_policy": {"dead_letter_topic": "nonsense", "max_delivery_attempts": 5}},
        {"dead_letter_policy": {"dead_letter_topic": "projects/other/topics/dead", "max_delivery_attempts": 4}},
    ],
)
def test_a_setting_out_of_its_limits_is_refused(subscribe, settings):
    with pytest.raises(exceptions.InvalidArgument):
        subscribe(**settings)


@pytest.mark.parametrize("settings", [{"filter": 'attributes.a = "b"'}, {"enable_exactly_once_delivery": True}])
def test_unsupported_features_are_refused_rather_than_ignored(subscribe, settings):
    with pytest.raises(exceptions.MethodNotImplemented):
        subscribe(**settings)


def test_a_dead_letter_topic_must_exist(subscribe, project):
    with pytest.raises(exceptions.NotFound):
        subscribe(dead_letter_policy={"dead_letter_topic": f"{project}/topics/dead"})


def test_an_empty_message_is_refused(publisher, topic):
    with pytest.raises(exceptions.InvalidArgument):
        publisher.publish(topic, b"").result(5)


def test_a_subscription_outlives_its_topic_and_keeps_its_messages(publisher, subscriber, topic, subscribe):
    name = subscribe()
    publisher.publish(topic, b"before").result(5)

    publisher.delete_topic(topic=topic)
    publisher.create_topic(name=topic)
    publisher.publish(topic, b"after").result(5)

    pulled = subscriber.pull(subscription=name, max_messages=10).received_messages
    assert [received.message.data for received in pulled] == [b"before"]
    assert subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"


def test_a_detached_subscription_gives_and_gets_nothing(publisher, subscriber, topic, subscribe):
    name = subscribe()
    publisher.publish(topic, b"before").result(5)

    publisher.detach_subscription(request={"subscription": name})

    assert subscriber.get_subscription(subscription=name).detached
    assert list(publisher.list_topic_subscriptions(topic=topic)) == []
    with pytest.raises(exceptions.FailedPrecondition):
        subscriber.pull(subscription=name, max_messages=1)
