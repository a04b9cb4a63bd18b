from __future__ import annotations

import pytest

from tests.enterprises import TOKEN
from tests.servers import push_envelope


@pytest.fixture
def swept(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    subscription = broker.topic("call-events")
    client = function("sweep-calls")

    def tick():
        assert client.post("/", json=push_envelope({})).status_code == 204
        return broker.pull(subscription)

    return tick


def store(sql, *, age):
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
        "VALUES (gen_random_uuid(), '0367', '1.1', 'start', %s::jsonb, sha256(random()::text::bytea), "
        "clock_timestamp() - make_interval(secs => %s)) RETURNING id",
        f'{{"Token": "{TOKEN}"}}',
        age,
    )


def call(sql, due_in):
    [(call_id,)] = sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at, next_wake_at) "
        "SELECT '0367', '1.1', 'in', now(), now(), now(), clock_timestamp() + make_interval(secs => %s) RETURNING id",
        due_in,
    )
    return call_id


def test_an_event_whose_wake_up_was_lost_is_published_whole(swept, sql):
    store(sql, age=5)
    store(sql, age=1)

    [message] = swept()

    assert message["event"]["raw"] == {"Token": TOKEN}
    assert message["event"]["received_at"] is not None


def test_a_call_whose_time_has_come_is_woken_once_for_a_while(swept, sql):
    due = call(sql, -1)
    call(sql, 60)

    assert swept() == [{"call_id": due, "enterprise_number": "0367"}]
    assert swept() == []


def test_a_call_whose_wake_up_was_lost_is_woken_again(swept, sql):
    due = call(sql, -1)
    swept()
    sql("UPDATE calls SET next_wake_at = next_wake_at - interval '11 s' RETURNING id")

    assert [message["call_id"] for message in swept()] == [due]


def test_without_pubsub_the_tick_is_given_back(function, provisioned, process, sql):
    provisioned()
    store(sql, age=5)

    assert function("sweep-calls").post("/", json=push_envelope({})).status_code == 503


def test_a_dead_letter_is_kept_with_where_it_came_from(function, process, sql):
    letter = push_envelope({"call_id": 1})
    letter["message"]["attributes"] = {
        "CloudPubSubDeadLetterSourceSubscription": "call-events.retailcrm-deliver",
        "CloudPubSubDeadLetterSourceDeliveryCount": "50",
    }

    assert function("sweep-calls").post("/dead", json=letter).status_code == 204
    [(reason,)] = sql("SELECT reason FROM rejected_messages")
    assert "call-events.retailcrm-deliver after 50" in reason
