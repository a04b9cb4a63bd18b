from __future__ import annotations

import json
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
