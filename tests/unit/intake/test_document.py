"""What the description says of a host's fields is what the rules read."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from lib.calls import event
from lib.intake import document, forms

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# By each other value the same event says something else.
VALUES: dict[str, list[object]] = {
    "UniqueId": ["1758798777.27"],
    "CallType": [1, "1"],
    "Phone": [375291111111, "+375 29 111-11-11"],
    "Extensions": [["150"], "150&151"],
    "Trunk": ["0001301"],
    "CallStatus": ["2", 2],
    "StartTime": ["2025-09-25 14:12:57"],
    "DateReceived": ["2025-09-25 14:12:57"],
    "EndTime": ["2025-09-25 14:13:18"],
    "record_url": ["https://records.example.com/1.wav"],
    "BridgeTechnology": ["holding_bridge"],
    "ExternalInitiated": [True],
}
# They are read of an event, and no rule asks for them.
READ_IN_VAIN = {"ExternalInitiated": "external_initiated"}
OTHER_SPELLINGS = {"recordurl", "extension", "trunkid", "incall"}


def parsed(raw):
    found = event.parse(event.RawEvent(event_id="1", event_type="hangup", unique_id="", raw=raw, received_at=NOW))
    # Of the body as a whole, by which copies are known.
    return dataclasses.replace(found, fingerprint="")


@pytest.mark.parametrize("name", document.FIELDS)
def test_a_field_is_read_if_and_only_if_it_is_said_to_be_used(name):
    is_used = document.FIELDS[name].use != document.NOT_USED

    for value in VALUES.get(name, ["7"]):
        said, nothing = parsed({name: value}), parsed({name: ""})
        if name in READ_IN_VAIN:
            assert not is_used
            said = dataclasses.replace(said, **{READ_IN_VAIN[name]: False})
        assert (said != nothing) == is_used, value


def test_every_field_that_is_read_is_described(monkeypatch):
    asked = set()

    class Fields(event._Fields):
        def any(self, name):
            asked.add(name)
            return super().any(name)

        def text(self, name):
            asked.add(name)
            return super().text(name)

    monkeypatch.setattr(event, "_Fields", Fields)
    parsed({})

    assert asked - OTHER_SPELLINGS <= {name.lower() for name in document.FIELDS}
    assert asked >= OTHER_SPELLINGS


def test_every_example_is_an_event_with_fields_of_its_type():
    assert set(document.EXAMPLES) == set(forms.HOST_EVENT_TYPES)
    for kind, example in document.EXAMPLES.items():
        for name in example:
            assert kind in document.FIELDS[name].of, (kind, name)
