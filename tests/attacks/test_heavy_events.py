"""
Events as large as they may be, which hold what costs most to read: a call is read with all of its events at once.

Tried: a call of 700 events of empty lists (`retailcrm-deliver` grew to 2,180 MiB, and of the rings of another enterprise
one in six popped up); dials whose `Extensions` are 31,000 words. What must hold: an event takes as little memory as those
of hosts, and as little time, whatever is in it; what a host means by it stays. `make siege ONLY=heavy-call` is the whole.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lib.calls import spelling
from lib.calls.event import RawEvent, parse
from lib.intake import forms
from tests.harness.enterprises import TOKEN

CHARACTERS = 62_000
# Beside what is kept the form in which PostgreSQL prints it has its own quotes and blanks.
MOST_STORED = 2 * forms.KEPT_BYTES
ID = "1760000000.1"
HEAVY = {
    "empty lists": [[]] * (CHARACTERS // 4),
    "empty objects": [{}] * (CHARACTERS // 4),
    "a text of lists": json.dumps({"a": [[]] * (CHARACTERS // 8)}),
    "a long text": "x" * CHARACTERS,
    "an object of numbers": {str(place): 0 for place in range(5_000)},
}
NAMES = {
    "one name again and again": "a," * (CHARACTERS // 2),
    "words that are no names": "none," * (CHARACTERS // 5),
    "a list": ["8a"] * (CHARACTERS // 6),
    "a list of lists": [["8a"] * 100] * 100,
    "a list as PHP prints it": {str(place): "8a" for place in range(5_000)},
}


@pytest.fixture
def dispatch(function, provisioned):
    provisioned()
    return function("dispatch-call-event")


def event(**raw):
    return {
        "uniqueId": ID,
        "event_type": "dial",
        "raw": {"UniqueId": ID, "Phone": "375291111111", "CallType": 0, **raw},
    }


def read(**raw):
    return parse(
        RawEvent(
            event_id="1", event_type="dial", unique_id=ID, raw=event(**raw)["raw"], received_at=datetime.now(tz=UTC)
        )
    )


@pytest.mark.parametrize("heavy", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize("way", ["our form", "the host's", "a batch"])
def test_of_an_event_no_more_is_kept_than_of_the_largest_that_hosts_send(dispatch, sql, heavy, way):
    one = event(Extensions=["151"], Heavy=heavy)
    if way == "our form":
        answer = dispatch.post("/dispatch/call-event", json={"token": TOKEN, **one})
    elif way == "a batch":
        answer = dispatch.post("/dispatch/call-events", json={"events": [one]}, headers={"Token": TOKEN})
    else:
        answer = dispatch.post("/dial", json=one["raw"], headers={"Token": TOKEN})

    assert answer.status_code in {200, 202}
    [(raw, size)] = sql("SELECT raw_data, octet_length(raw_data::text) FROM call_events")
    assert size < MOST_STORED
    assert raw | event(Extensions=["151"])["raw"] == raw, "what a host means by it"
    assert raw[forms.LEFT_OUT] == ["Heavy"]


def test_many_fields_leave_the_shortest(dispatch, sql):
    many = {f"Field{place}": "x" * 20 for place in range(1_500)}
    answer = dispatch.post("/dispatch/call-event", json={"token": TOKEN, **event(**many)})

    assert answer.status_code == 202
    [(raw, size)] = sql("SELECT raw_data, octet_length(raw_data::text) FROM call_events")
    assert size < MOST_STORED
    assert raw | event()["raw"] == raw
    assert forms.LEFT_OUT in raw


def test_an_address_of_a_recording_is_not_kept_at_any_length(dispatch, sql):
    body = {"token": TOKEN, **event(), "record_url": "https://records.example/" + "x" * CHARACTERS}
    assert dispatch.post("/dispatch/call-event", json=body).status_code == 202

    assert sql("SELECT octet_length(record_url) FROM call_events") == [(4_000,)]


@pytest.mark.parametrize("together", [",", None])
def test_a_dial_of_two_hundred_telephones_is_whole(dispatch, sql, together):
    names = [str(1_000 + place) for place in range(200)]
    names = together.join(names) if together else names
    dispatch.post("/dispatch/call-event", json={"token": TOKEN, **event(Extensions=names)})

    [(raw,)] = sql("SELECT raw_data FROM call_events")
    assert raw == event(Extensions=names)["raw"]


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_so_many_words_are_read_of_a_dial_and_no_more(monkeypatch, names):
    spelled: list[str] = []
    plain = spelling.read

    def counted(raw):
        spelled.append(raw)
        return plain(raw)

    monkeypatch.setattr(spelling, "read", counted)

    read(Extensions=names)

    assert len(spelled) <= 1_100, "as a whole, and as a word"


def test_a_ligature_is_not_spelled_out_for_a_thousand_letters(monkeypatch):
    looked_at: list[str] = []
    meaning = spelling._plain_character

    def counted(letter):
        looked_at.append(letter)
        return meaning(letter)

    monkeypatch.setattr(spelling, "_plain_character", counted)

    assert spelling.read("1\ufdfa" * 100) is None

    assert len(looked_at) <= spelling.MOST_CHARACTERS
