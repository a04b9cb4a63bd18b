from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from lib.intake import push
from lib.runtime.errors import InvalidPayload

DATA = {"call_id": 1, "enterprise_number": "0367"}
ENCODED = base64.b64encode(json.dumps(DATA).encode()).decode()
MESSAGE = {"data": ENCODED, "attributes": {"k": "v"}, "messageId": "7", "publishTime": "2026-01-02T03:04:05.678Z"}
ENVELOPE = {"message": MESSAGE, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 3}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, ENVELOPE),
        ({**JSON, "ce-id": "7", "ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}, ENVELOPE),
        ({"Content-Type": "application/cloudevents+json; charset=utf-8"}, {"specversion": "1.0", "data": ENVELOPE}),
        (
            {"Content-Type": "application/cloudevents+json"},
            {"specversion": "1.0", "data_base64": base64.b64encode(json.dumps(ENVELOPE).encode()).decode()},
        ),
        ({}, ENVELOPE),
    ],
    ids=["plain", "binary CloudEvent", "structured CloudEvent", "structured CloudEvent in base64", "no content type"],
)
def test_every_form_of_a_push_gives_the_same_message(headers, body):
    parsed = push.parse(headers, json.dumps(body).encode())

    assert parsed.json() == DATA
    assert parsed.attributes == {"k": "v"}
    assert parsed.message_id == "7"
    assert parsed.published_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert parsed.subscription == "projects/p/subscriptions/s"
    assert parsed.delivery_attempt == 3


def test_an_unwrapped_push_is_its_body():
    headers = {
        "X-Goog-Pubsub-Message-Id": "7",
        "X-Goog-Pubsub-Subscription-Name": "projects/p/subscriptions/s",
        "k": "v",
    }

    parsed = push.parse(headers, json.dumps(DATA).encode())

    assert parsed.json() == DATA
    assert parsed.message_id == "7"
    assert parsed.attributes == {"k": "v"}


def test_attributes_without_data_are_a_message():
    parsed = push.parse(JSON, b'{"message": {"attributes": {"k": "v"}, "message_id": "8"}}')

    assert parsed.data == b""
    assert parsed.attributes == {"k": "v"}
    assert parsed.message_id == "8"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"message": []}',
        b'{"message": {"data": "%%%"}}',
        b'{"message": {"data": 7}}',
        b'{"message": {"attributes": [1]}}',
        b"\xff",
    ],
)
def test_a_malformed_push_is_refused_with_a_reason(body):
    with pytest.raises(InvalidPayload):
        push.parse(JSON, body)


def test_data_that_is_not_json_is_refused_with_a_reason():
    broken = push.parse(JSON, b'{"message": {"data": "bm90IGpzb24="}}')

    with pytest.raises(InvalidPayload):
        broken.json()
