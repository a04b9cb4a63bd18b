"""Pushing to real HTTP servers, a function of the functions framework among them."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
import urllib.request
from collections import Counter

import functions_framework
import jwt
import pytest
from google.cloud.pubsub_v1.types import PushConfig
from google.protobuf import duration_pb2, field_mask_pb2
from werkzeug.serving import make_server


def retry(seconds=0.05, longest=0.05):
    return {
        "minimum_backoff": duration_pb2.Duration(nanos=int(seconds * 1e9)),
        "maximum_backoff": duration_pb2.Duration(nanos=int(longest * 1e9)),
    }


def test_a_push_is_the_envelope_of_the_real_service(publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})

    [message_id] = publish("звонок", event_type="dial")
    [received] = endpoint.wait_for(1)

    message = received.envelope["message"]
    assert received.headers["content-type"] == "application/json"
    assert received.envelope["subscription"] == name
    assert "deliveryAttempt" not in received.envelope
    assert base64.b64decode(message["data"]).decode() == "звонок"
    assert message["attributes"] == {"event_type": "dial"}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert "orderingKey" not in message


def test_a_message_without_data_has_no_data_in_its_envelope(publish, subscribe, endpoint):
    subscribe(push_config={"push_endpoint": endpoint.url})

    publish("", kind="tick")

    [received] = endpoint.wait_for(1)
    assert "data" not in received.envelope["message"]
    assert received.envelope["message"]["attributes"] == {"kind": "tick"}


def test_without_a_wrapper_the_body_is_the_data_and_the_rest_stands_in_headers(publish, subscribe, endpoint):
    no_wrapper = PushConfig.NoWrapper(write_metadata=True)
    name = subscribe(push_config=PushConfig(push_endpoint=endpoint.url, no_wrapper=no_wrapper))

    [message_id] = publish('{"a": 1}', event_type="dial", bad_value="two\r\nlines")

    [received] = endpoint.wait_for(1)
    assert received.body == b'{"a": 1}'
    assert received.headers["event_type"] == "dial"
    assert received.headers["x-goog-pubsub-message-id"] == message_id
    assert received.headers["x-goog-pubsub-subscription-name"] == name
    assert "bad_value" not in received.headers


def test_a_success_is_an_ack(emulator, publish, subscribe, endpoint):
    statuses = ["200", "201", "202", "204"]
    name = subscribe(push_config={"push_endpoint": endpoint.url}, retry_policy=retry())
    endpoint.answer = lambda received: int(received.data)

    publish(*statuses)

    emulator.wait_for(name, backlog=0, acked=4)
    assert sorted(endpoint.data()) == statuses


def test_any_other_answer_is_a_nack(emulator, publish, subscribe, endpoint):
    statuses = ["203", "302", "400", "404", "429", "500", "503"]
    name = subscribe(push_config={"push_endpoint": endpoint.url}, retry_policy=retry())
    endpoint.answer = lambda received: int(received.data) if endpoint.data().count(received.data) == 1 else 204

    publish(*statuses)

    emulator.wait_for(name, backlog=0, acked=7, nacked=7)
    assert Counter(endpoint.data()) == dict.fromkeys(statuses, 2)


def test_retries_back_off_between_the_limits_of_the_policy(publish, subscribe, endpoint):
    subscribe(push_config={"push_endpoint": endpoint.url}, retry_policy=retry(0.1, 0.3))
    endpoint.answer = lambda _: 500 if len(endpoint.received) < 6 else 204

    publish("one")
    received = endpoint.wait_for(6)

    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(received)]
    assert all(gap >= least - 0.01 for gap, least in zip(gaps, [0.1, 0.2, 0.3, 0.3, 0.3], strict=True))
    assert gaps[-1] < 1.2  # without the upper limit: 1.6


def test_an_endpoint_that_only_fails_is_asked_less_and_less_until_its_first_success(
    emulator, publish, subscribe, endpoint
):
    name = subscribe(push_config={"push_endpoint": endpoint.url})
    broken = threading.Event()
    broken.set()
    endpoint.answer = lambda _: 500 if broken.is_set() else 204

    publish(*map(str, range(20)))
    time.sleep(1)
    asked_while_broken = len(endpoint.received)
    broken.clear()

    emulator.wait_for(name, backlog=0)
    assert asked_while_broken < 200  # without any pause: thousands


def test_the_ack_deadline_is_the_time_an_endpoint_has(emulator, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url}, ack_deadline_seconds=1)
    woken = threading.Event()

    def sleep_the_first_time(_):
        if len(endpoint.received) == 1:
            woken.wait(3)
        return 204

    endpoint.answer = sleep_the_first_time
    publish("slow")
    received = endpoint.wait_for(2)
    woken.set()

    assert 0.9 < received[1].at - received[0].at < 2.5
    emulator.wait_for(name, acked=1)


def test_after_the_last_attempt_a_message_goes_to_the_dead_letter_topic(
    emulator, publish, subscribe, dead_letters, endpoint
):
    name = subscribe(
        push_config={"push_endpoint": endpoint.url},
        retry_policy=retry(),
        dead_letter_policy={"dead_letter_topic": dead_letters.topic, "max_delivery_attempts": 5},
    )
    endpoint.answer = lambda received: 500 if received.data == "poison" else 204

    publish("poison", "healthy")
    [dead] = dead_letters.pull()
    emulator.wait_for(name, backlog=0, dead_lettered=1)

    attempts = [each.envelope["deliveryAttempt"] for each in endpoint.received if each.data == "poison"]
    assert attempts == [1, 2, 3, 4, 5]
    assert dead.message.data == b"poison"
    assert dead.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


def test_pushes_of_one_key_keep_their_order_through_failures(publish, subscribe, endpoint):
    subscribe(push_config={"push_endpoint": endpoint.url}, enable_message_ordering=True, retry_policy=retry())
    failed: set[str] = set()

    def fail_every_third_once(received):
        if int(received.data[1:]) % 3 == 0 and received.data not in failed:
            failed.add(received.data)
            return 503
        return 204

    endpoint.answer = fail_every_third_once
    for key in "ab":
        publish(*(f"{key}{number}" for number in range(9)), key=key)
    received = endpoint.wait_for(18 + 6)

    for key in "ab":
        order = [each.data for each in received if each.data.startswith(key)]
        assert list(dict.fromkeys(order)) == [f"{key}{number}" for number in range(9)]
        assert order == sorted(order)
    assert {each.envelope["message"]["orderingKey"] for each in received} == {"a", "b"}


def test_no_more_than_the_limit_is_in_flight(publish, subscribe, endpoint):
    subscribe(push_config={"push_endpoint": endpoint.url})

    def be_slow(_):
        time.sleep(0.2)
        return 204

    endpoint.answer = be_slow
    publish(*map(str, range(100)))
    endpoint.wait_for(100)

    assert 32 < endpoint.busiest <= 64


def test_a_changed_endpoint_gets_the_next_push(subscriber, publish, subscribe, endpoint, other_endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})
    publish("one")
    endpoint.wait_for(1)

    subscriber.update_subscription(
        subscription={"name": name, "push_config": {"push_endpoint": other_endpoint.url}},
        update_mask=field_mask_pb2.FieldMask(paths=["push_config"]),
    )
    publish("two")

    other_endpoint.wait_for(1)
    assert (endpoint.data(), other_endpoint.data()) == (["one"], ["two"])


def test_a_subscription_turns_from_pull_to_push_and_back(emulator, subscriber, publish, subscribe, endpoint):
    name = subscribe()
    publish("one")

    subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": endpoint.url})
    emulator.wait_for(name, acked=1)
    subscriber.modify_push_config(subscription=name, push_config={})
    publish("two")
    pulled = subscriber.pull(subscription=name, max_messages=10, timeout=3).received_messages

    assert endpoint.data() == ["one"]
    assert [each.message.data for each in pulled] == [b"two"]


def test_an_endpoint_that_was_away_gets_everything_once_it_is_back(emulator, subscriber, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": "http://127.0.0.1:9/nobody-listens"}, retry_policy=retry())
    sent = [f"{number}" for number in range(10)]
    publish(*sent)
    emulator.wait_for(name, in_flight=0, backlog=10)

    subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": endpoint.url})

    emulator.wait_for(name, backlog=0, acked=10)
    assert emulator.figures(name)["nacked"] >= 10
    assert sorted(endpoint.data()) == sent


def test_a_signed_push_can_be_verified_with_the_keys_of_the_control_port(emulator, publish, subscribe, endpoint):
    account, audience = "pusher@example.iam.gserviceaccount.com", "https://example.com/deliver"
    oidc = {"service_account_email": account, "audience": audience}
    subscribe(push_config={"push_endpoint": endpoint.url, "oidc_token": oidc})

    publish("signed")
    [received] = endpoint.wait_for(1)
    token = received.headers["authorization"].removeprefix("Bearer ")
    key = jwt.PyJWKClient(f"{emulator.control}/oauth2/v3/certs").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer="https://accounts.google.com")

    assert (claims["email"], claims["email_verified"]) == (account, True)


@pytest.fixture(params=["http", "cloud_event"])
def function(request, tmp_path):
    """A function of either kind, served for real: its address, and what it was sent so far."""
    read_data = {
        "http": "request.get_json()['message']['data']",
        "cloud_event": "request.data['message']['data']",
    }
    source, output = tmp_path / "main.py", tmp_path / "received"
    source.write_text(
        "import functions_framework\n"
        f"@functions_framework.{request.param}\n"
        "def deliver(request):\n"
        f"    with open({str(output)!r}, 'a') as file:\n"
        f"        print({read_data[request.param]}, file=file)\n"
        "    return '', 204\n"
    )
    server = make_server("127.0.0.1", 0, functions_framework.create_app("deliver", str(source)), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield (
        f"http://127.0.0.1:{server.server_port}/",
        lambda: [base64.b64decode(line).decode() for line in output.read_text().splitlines()],
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_function_of_the_framework_is_reached_and_acknowledges(emulator, publish, subscribe, function):
    url, received = function
    name = subscribe(push_config={"push_endpoint": url})
    sent = [f"{number:02}" for number in range(20)]

    publish(*sent)

    emulator.wait_for(name, acked=20, nacked=0)
    assert sorted(received()) == sent


def test_the_state_names_topics_and_subscriptions(emulator, topic, publish, subscribe, endpoint):
    name = subscribe(push_config={"push_endpoint": endpoint.url})

    publish("one")
    emulator.wait_for(name, acked=1)

    assert {"name": topic, "published": 1} in emulator.ask("GET", "/state")["topics"]
    figures = emulator.figures(name)
    assert (figures["topic"], figures["push_endpoint"]) == (topic, endpoint.url)
    assert (figures["delivered"], figures["in_flight"], figures["backlog"]) == (1, 0, 0)


def test_the_control_port_says_that_it_is_well(emulator):
    with urllib.request.urlopen(f"{emulator.control}/health", timeout=5) as response:
        assert json.load(response) == {"status": "ok"}
