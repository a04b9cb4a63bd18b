"""Faults on demand, seen from the endpoint."""

from __future__ import annotations

import json
import time
import urllib.error

import pytest


def numbers(count):
    return [f"{number:03}" for number in range(count)]


def test_a_duplicate_arrives_twice_under_one_id(emulator, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})
    emulator.ask("POST", "/faults", {"duplicate": 1, "subscription": name})

    sent = numbers(10)
    publish(*sent)

    received = endpoint.wait_for(20)
    assert sorted(endpoint.data()) == sorted(sent * 2)
    assert len({each.envelope["message"]["messageId"] for each in received}) == 10


def test_a_share_of_duplicates_follows_the_seed(emulator, publish, subscribe, endpoint, other_endpoint):
    first = subscribe("first", push_config={"push_endpoint": endpoint.url})
    second = subscribe("second", push_config={"push_endpoint": other_endpoint.url})
    emulator.ask("POST", "/faults", {"duplicate": 0.5, "seed": 7, "subscription": "first"})
    emulator.ask("POST", "/faults", {"duplicate": 0.5, "seed": 7, "subscription": "second"})

    publish(*numbers(40))
    emulator.wait_for(first, acked=40)
    emulator.wait_for(second, acked=40)
    time.sleep(0.2)

    assert 45 < len(endpoint.received) < 75
    assert sorted(endpoint.data()) == sorted(other_endpoint.data())


def test_reordering_lets_later_messages_overtake(emulator, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})
    emulator.ask("POST", "/faults", {"reorder": 0.3, "seed": 1, "subscription": name})

    sent = numbers(30)
    publish(*sent)
    endpoint.wait_for(30)

    assert sorted(endpoint.data()) == sent
    assert endpoint.data() != sent


def test_a_dropped_push_comes_after_the_ack_deadline(emulator, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url}, ack_deadline_seconds=1)
    emulator.ask("POST", "/faults", {"drop": 1, "subscription": name})

    dropped_at = time.monotonic()
    sent = numbers(3)
    publish(*sent)
    emulator.wait_for(name, in_flight=3)
    emulator.ask("DELETE", "/faults")
    received = endpoint.wait_for(3)

    assert sorted(endpoint.data()) == sent
    assert received[0].at - dropped_at > 0.9
    assert emulator.figures(name)["expired"] == 3


def test_a_delay_holds_every_push(emulator, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})
    emulator.ask("POST", "/faults", {"delay_ms": [300, 400], "subscription": name})

    published_at = time.monotonic()
    publish(*numbers(1))

    [received] = endpoint.wait_for(1)
    assert 0.29 < received.at - published_at < 2


def test_faults_of_one_subscription_leave_the_others_alone(emulator, publish, subscribe, endpoint, other_endpoint):
    subscribe("faulty", push_config={"push_endpoint": endpoint.url})
    subscribe("sound", push_config={"push_endpoint": other_endpoint.url})
    emulator.ask("POST", "/faults", {"drop": 1, "subscription": "faulty"})

    sent = numbers(5)
    publish(*sent)

    other_endpoint.wait_for(5)
    assert sorted(other_endpoint.data()) == sent
    assert endpoint.received == []


def test_faults_are_listed_and_cleared(emulator):
    emulator.ask("POST", "/faults", {"drop": 0.25, "subscription": "nobody", "seed": 3})

    listed = emulator.ask("GET", "/faults")
    cleared = emulator.ask("DELETE", "/faults")

    assert listed == {
        "faults": [
            {
                "subscription": "nobody",
                "drop": 0.25,
                "duplicate": 0.0,
                "reorder": 0.0,
                "delay_ms": [0.0, 0.0],
                "seed": 3,
            }
        ]
    }
    assert cleared == {"faults": []}


@pytest.mark.parametrize(
    "body", [[], {"drop": 2}, {"drop": "often"}, {"delay_ms": [5, 1]}, {"delay_ms": 5}, {"unknown": 1}, {"seed": "x"}]
)
def test_faults_that_make_no_sense_are_refused(emulator, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        emulator.ask("POST", "/faults", body)

    with refused.value as answer:
        assert answer.code == 400
        assert json.load(answer)["error"]["code"] == "invalid_payload"
