from __future__ import annotations

import socket
import threading
import time

import psycopg
import pytest

from lib.ledger import sweep
from tests.harness.enterprises import TOKEN
from tests.harness.servers import push_envelope


@pytest.fixture
def swept(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    subscriptions = {name: broker.topic(name) for name in ("call-events", "due-rows", "recovered-events")}
    client = function("sweep-calls")

    def tick(topic="call-events"):
        assert client.post("/", json=push_envelope({})).status_code == 204
        return broker.pull(subscriptions[topic])

    return tick


def store(sql, *, age):
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at) "
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


def lane(sql, number="0367", *, due_in):
    sql(
        "INSERT INTO row_timers (enterprise_number, crm, wake_at) "
        "VALUES (%s, 'retailcrm', clock_timestamp() + make_interval(secs => %s)) RETURNING crm",
        number,
        due_in,
    )


def test_an_event_whose_wake_up_was_lost_is_published_whole(swept, sql):
    store(sql, age=1)
    store(sql, age=-1)

    [message] = swept()

    assert message["event"]["raw"] == {"Token": TOKEN}
    assert message["event"]["received_at"] is not None


def test_recovered_events_are_woken_together_and_by_no_time_of_their_own(swept, sql):
    store(sql, age=1)
    for age in (60, 30, 0):
        store(sql, age=age)
        sql(
            "UPDATE call_events SET wake_at = 'infinity', received_at = now() - make_interval(secs => %s) "
            "WHERE id = (SELECT max(id) FROM call_events) RETURNING 1",
            age,
        )

    assert swept("recovered-events") == [{"events": []}]
    assert sql("SELECT wakes FROM call_events ORDER BY id") == [(1,), (0,), (0,), (0,)]
    sql("DELETE FROM call_events WHERE received_at < now() - interval '1 s' RETURNING 1")
    assert swept("recovered-events") == [], "the message of what came just now is on its way"


def test_a_call_whose_time_has_come_is_woken_once_for_a_while(swept, sql):
    due = call(sql, -1)
    call(sql, 60)

    assert swept() == [{"call_id": due, "enterprise_number": "0367"}]
    assert swept() == []


@pytest.fixture
def deaf(function, provisioned, process):
    """A broker that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{listener.getsockname()[1]}")
        provisioned()
        yield function("sweep-calls")


def test_while_pub_sub_does_not_answer_nobody_waits_for_the_sweep_and_nothing_is_late(deaf, sql, database_url):
    store(sql, age=1)
    call(sql, -1)
    lane(sql, due_in=-1)
    answers = []
    ticking = threading.Thread(target=lambda: answers.append(deaf.post("/", json=push_envelope({})).status_code))

    ticking.start()
    longest = 0.0
    with psycopg.connect(database_url, autocommit=True) as conn:
        while ticking.is_alive():
            began = time.monotonic()
            conn.execute("SELECT FROM call_events FOR UPDATE").fetchall()
            conn.execute("SELECT FROM calls FOR UPDATE").fetchall()
            conn.execute("SELECT FROM row_timers FOR UPDATE").fetchall()
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.01)
    ticking.join()

    assert answers == [503]
    assert longest < 0.5, "half of what a publish may take"
    assert sql("SELECT wakes, next_wake_at <= clock_timestamp() FROM calls") == [(0, True)]
    assert sql("SELECT wakes, wake_at <= clock_timestamp() FROM call_events") == [(0, True)]
    assert sql("SELECT wake_at <= clock_timestamp() FROM row_timers") == [(True,)]


def test_what_pub_sub_refuses_does_not_stand_in_the_way_of_others(swept, sql):
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at) "
        "VALUES (gen_random_uuid(), '0367', '1.2', 'start', jsonb_build_object('x', repeat('x', 11000000)), "
        "sha256('x'), clock_timestamp() - interval '1 s') RETURNING id"
    )
    due = call(sql, -1)
    with pytest.raises(AssertionError):
        swept()  # 503

    assert swept() == [{"call_id": due, "enterprise_number": "0367"}]
    assert sql("SELECT wakes > 0, wake_at > clock_timestamp() FROM call_events") == [(True, True)]


def test_a_tick_goes_on_while_batches_are_full(swept, sql, monkeypatch):
    """Ticks may come once a minute only (Cloud Scheduler)."""
    monkeypatch.setitem(sweep.LIMITS, "calls", 20)
    monkeypatch.setattr(sweep, "CALLS", 20)
    due = {call(sql, -age) for age in range(1, 71)}

    assert {message["call_id"] for message in swept()} == due
    assert sql("SELECT max(wakes) FROM calls") == [(1,)]


def test_a_tick_whose_batches_stay_full_ends_in_time(swept, sql, monkeypatch):
    monkeypatch.setitem(sweep.LIMITS, "lanes", 0)

    assert sweep.sweep(seconds=0.3) == {"events": 0, "calls": 0, "lanes": 0, "recovered": 0}


def test_a_call_whose_wake_up_was_lost_is_woken_again(swept, sql):
    due = call(sql, -1)
    swept()
    sql("UPDATE calls SET next_wake_at = next_wake_at - interval '11 s' RETURNING id")

    assert [message["call_id"] for message in swept()] == [due]


def test_a_lane_whose_time_has_come_is_woken_once_for_a_while(swept, sql):
    lane(sql, due_in=-1)
    lane(sql, "0368", due_in=60)
    lane(sql, "0369", due_in=None)

    assert swept("due-rows") == [{"enterprise_number": "0367", "crm": "retailcrm"}]
    assert swept("due-rows") == []


def test_a_lane_whose_message_was_lost_is_woken_again_within_ten_seconds(swept, sql):
    lane(sql, due_in=-1)
    swept("due-rows")
    [(again_in,)] = sql("SELECT extract(epoch FROM wake_at - clock_timestamp())::float FROM row_timers")
    sql("UPDATE row_timers SET wake_at = wake_at - interval '10 s' RETURNING crm")

    assert 5 < again_in <= 10
    assert swept("due-rows") == [{"enterprise_number": "0367", "crm": "retailcrm"}]


def test_lanes_that_pub_sub_does_not_take_are_due_at_the_next_tick(function, provisioned, sql):
    provisioned()
    lane(sql, due_in=-1)

    assert function("sweep-calls").post("/", json=push_envelope({})).status_code == 503
    assert sql("SELECT wake_at <= clock_timestamp() FROM row_timers") == [(True,)]


def test_without_pubsub_the_tick_is_given_back(function, provisioned, process, sql):
    provisioned()
    store(sql, age=1)

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


def test_an_event_that_cannot_be_assembled_is_woken_ever_more_rarely(swept, sql):
    store(sql, age=1)
    waits = []
    for _ in range(12):
        assert len(swept()) == 1
        waits += sql("SELECT wake_at - clock_timestamp() FROM call_events")
        sql("UPDATE call_events SET wake_at = clock_timestamp() RETURNING id")

    wanted = [*(3 * 2**n for n in range(1, 11)), 3600, 3600]
    assert all(0.6 * most < wait.total_seconds() <= most for (wait,), most in zip(waits, wanted, strict=True))


def test_what_belongs_to_an_enterprise_that_is_gone_sleeps(swept, sql):
    store(sql, age=1)
    call(sql, -1)
    sql("DELETE FROM enterprises RETURNING number")

    assert swept() == []


def test_many_and_large_events_are_published_in_parts(swept, sql):
    large = '{"Token": "%s"}' % ("x" * 60_000)
    for _ in range(100):
        sql(
            "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at) "
            "VALUES (gen_random_uuid(), '0367', '1.1', 'start', %s::jsonb, sha256(random()::text::bytea), "
            "clock_timestamp()) RETURNING id",
            large,
        )

    assert len(swept()) == 100


def test_an_event_in_a_dead_letter_that_only_pubsub_had_is_stored(function, provisioned, sql):
    provisioned()
    event = {
        "event_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "enterprise_number": "0367",
        "unique_id": "1760000000.1",
        "event_type": "hangup",
        "raw": {"CallStatus": "2"},
        "record_url": None,
        "data_source": "live",
        "received_at": None,
    }
    client = function("sweep-calls")

    for _ in range(2):
        assert client.post("/dead", json=push_envelope({"event": event})).status_code == 204

    assert sql("SELECT event_id::text, call_id FROM call_events") == [(event["event_id"], None)]
    assert sql("SELECT count(*) FROM rejected_messages") == [(2,)]

    batch = {
        "events": [event, event | {"event_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964fe", "unique_id": "1760000000.2"}]
    }
    assert client.post("/dead", json=push_envelope(batch)).status_code == 204
    assert sql("SELECT unique_id, wake_at < 'infinity' FROM call_events ORDER BY id") == [
        ("1760000000.1", True),
        ("1760000000.2", False),
    ]
