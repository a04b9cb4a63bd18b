from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lib.intake import messages
from lib.intake.messages import WakeCall
from lib.runtime.errors import InvalidPayload
from lib.store.events import NewEvent

PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)
RECEIVED = datetime(2025, 12, 31, tzinfo=UTC)
EVENT = NewEvent(
    event_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    enterprise_number="0367",
    unique_id="1760000000.1",
    event_type="dial",
    raw={"Phone": "375291111111"},
)


def travelled(message):
    return messages.parse(json.loads(json.dumps(message)), published_at=PUBLISHED)


def test_an_event_arrives_as_it_was_sent():
    arrived = travelled(messages.event_message(EVENT, received_at=RECEIVED))

    assert isinstance(arrived, NewEvent)
    assert (arrived.event_id, arrived.raw, arrived.received_at) == (EVENT.event_id, EVENT.raw, RECEIVED)


def test_an_event_that_was_not_stored_was_received_when_it_was_published():
    arrived = travelled(messages.event_message(EVENT, received_at=None))

    assert isinstance(arrived, NewEvent)
    assert arrived.received_at == PUBLISHED


def test_recovered_events_arrive_as_they_were_sent_and_stay_recovered():
    body = messages.recovered_message([(EVENT, RECEIVED), (replace(EVENT, unique_id="1760000000.2"), None)])

    first, second = messages.parse_recovered(json.loads(json.dumps(body)), published_at=PUBLISHED)

    assert (first.unique_id, first.raw, first.received_at) == (EVENT.unique_id, EVENT.raw, RECEIVED)
    assert (second.unique_id, second.received_at) == ("1760000000.2", PUBLISHED)
    assert first.is_recovered
    assert second.is_recovered
    assert messages.parse_recovered(messages.recovered_message(), published_at=None) == []


@pytest.mark.parametrize("body", [{}, {"events": {}}, {"events": [7]}, {"events": [{"event_id": "x"}]}, {"event": {}}])
def test_what_is_no_list_of_events_is_refused(body):
    with pytest.raises(InvalidPayload):
        messages.parse_recovered(body, published_at=PUBLISHED)


def test_a_message_of_either_topic_says_which_events_it_carries():
    one = messages.event_message(EVENT, received_at=RECEIVED)
    several = messages.recovered_message([(EVENT, RECEIVED), (EVENT, RECEIVED)])
    wake = messages.call_message(WakeCall(enterprise_number="0367", call_id=7))

    found = [messages.events_in(body, published_at=None) for body in (one, several, wake)]

    assert [[event.is_recovered for event in events] for events in found] == [[False], [True, True], []]


def test_a_wake_up_names_a_call():
    wake = WakeCall(enterprise_number="0367", call_id=7)

    assert travelled(messages.call_message(wake)) == wake


BROKEN_FIELDS: list[tuple[str, object]] = [
    ("event_id", "x"),
    ("event_id", None),
    ("event_type", "ring"),
    ("raw", []),
    ("data_source", "guess"),
    ("enterprise_number", 367),
    ("unique_id", None),
    ("record_url", 1),
    ("received_at", "yesterday"),
    ("received_at", "2026-01-01T00:00:00"),
    ("received_at", 5),
]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"call_id": "7", "enterprise_number": "0367"},
        {"call_id": True, "enterprise_number": "0367"},
        {"call_id": 0, "enterprise_number": "0367"},
        {"call_id": 2**63, "enterprise_number": "0367"},
        {"call_id": 7},
        {"event": []},
        {"event": {}},
        *(
            {"event": {**messages.event_message(EVENT, received_at=RECEIVED)["event"], name: bad}}  # type: ignore[dict-item]
            for name, bad in BROKEN_FIELDS
        ),
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(InvalidPayload):
        messages.parse(body, published_at=PUBLISHED)
