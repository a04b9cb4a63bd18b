from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.calls.event import EVENT_TYPES, CallEvent, RawEvent, epoch_of, in_order, parse

NOW = datetime(2025, 10, 9, 12, 0, tzinfo=UTC)


def read(raw: dict, *, event_type: str = "hangup", unique_id: str = "1760000000.1", **more: Any) -> CallEvent:
    return parse(RawEvent(event_id="e1", event_type=event_type, unique_id=unique_id, raw=raw, received_at=NOW, **more))


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (["150", "151", "152"], ("150", "151", "152")),
        (["150", "375292222222", "151"], ("150", "375292222222", "151")),
        (["152&151&153"], ("152", "151", "153")),
        (["SIP/150", "SIP/151"], ("150", "151")),
        (["SIP/150&PJSIP/151"], ("150", "151")),
        (["Local/375292222222@179e93af/n", "SIP/150"], ("375292222222", "150")),
        ([""], ()),
        ([], ()),
        ("", ()),
        ("151", ("151",)),
        ("150,151;152", ("150", "151", "152")),
        (151, ("151",)),
        ([150, 151], ("150", "151")),
        ([["150"], ["151", ["152"]]], ("150", "151", "152")),
        (["<unknown>"], ()),
        (["150", "150"], ("150",)),
        (None, ()),
        ({"a": 1}, ()),
        ([None, {}, True], ("true",)),
        ("['150', '151']", ("150", "151")),
        ('["150", "151"]', ("150", "151")),
        ("('150', '151')", ("150", "151")),
        ("{150,151}", ("150", "151")),
        ("['']", ()),
        ("[]", ()),
        ("150&151", ("150", "151")),
        ("150 | 151", ("150", "151")),
        (["150 151"], ("150", "151")),
        ([151.0, "152.0"], ("151", "152")),
        ("375292222222.0", ("375292222222",)),
        (["+375 29 222-22-22", "150"], ("+375292222222", "150")),
        ("150, +375 (29) 222-22-22", ("150", "+375292222222")),
        (["sip:151@10.0.0.5", '"Иван" <152>', "<unknown>"], ("151", "152")),
        (["#31#375292222222"], ("375292222222",)),
        (["375292222222;npdi;rn=+375290000000"], ("375292222222",)),
        *(
            ([number, "151"], ("375292222222", "151"))
            for number in ("375 29 222 22 22", "375\u00a029\u00a0222\u00a022\u00a022", "375(29)222-22-22")
        ),
        (["8 029 222-22-22"], ("80292222222",)),
        (["222 22 22"], ("2222222",)),
        (["(029) 222-22-22", ["029/222 22 22"]], ("0292222222",)),
        (["375292222222 доб. 101"], ("375292222222",)),
        (["375292222222,101", "375292222222;101", "150"], ("375292222222", "150")),
        (["Магазин 375292222222"], ("375292222222",)),
        (["150 151 152"], ("150", "151", "152")),
        (["10 11 12 13"], ("10", "11", "12", "13")),
        (["150 1511 152"], ("150", "1511", "152")),
        (["150 375292222222"], ("150", "375292222222")),
        (["375292222222 150"], ("375292222222", "150")),
        (["150,151,152", "153&154&155"], ("150", "151", "152", "153", "154", "155")),
        (["SIP/150,SIP/151"], ("150", "151")),
        (["375292222222&101"], ("375292222222", "101")),
        ("375292222222,101", ("375292222222", "101")),
        ({"0": "150", "1": "151"}, ("150", "151")),
        ({"10": "152", "2": ["151"], "0": 150}, ("150", "151", "152")),
        ({"0": "150", "name": "151"}, ()),
        ({"0": {"0": {"0": {"0": "150"}}}}, ()),
        ({}, ()),
        (["X-152"], ("X-152",)),
        (["1" * 300, "150"], ("150",)),
    ],
)
def test_extensions_in_every_form(sent, names):
    assert read({"Extensions": sent}).extensions == names


def test_the_scalar_key_of_older_templates():
    assert read({"Extension": "151"}).extensions == ("151",)
    assert read({}).extensions == ()


@pytest.mark.parametrize(
    ("sent", "call_type"),
    [(0, 0), ("1", 1), (2.0, 2), ("2", 2), (3, None), ("x", None), (True, None), ("", None), (None, None), ("²", None)],
)
def test_call_types_as_numbers_and_strings(sent, call_type):
    assert read({"CallType": sent}).call_type == call_type


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        *((2, "2"), ("2", "2"), (2.0, "2"), ("", ""), (None, ""), ([], ""), ("7", "7"), ("strange", "strange")),
        *(("ANSWER", "2"), ("answered", "2"), ("NO ANSWER", "0"), ("NOANSWER", "0"), ("no_answer", "0"), ("BUSY", "0")),
        *(("Cancel", "0"), ("CANCELLED", "0"), ("CONGESTION", "0"), ("CHANUNAVAIL", "0"), ("FAILED", "0")),
        *(("OTHER", "1"), ("TALK", "5")),
    ],
)
def test_statuses_as_numbers_strings_and_words(sent, status):
    assert read({"CallStatus": sent}).status == status


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        ("375291111111", "375291111111"),
        ("+375 (29) 111-11-11", "+375291111111"),
        (375291111111, "375291111111"),
        (375291111111.0, "375291111111"),
        ("sip:+375291111111;npdi@10.0.0.5", "+375291111111"),
        ('"Иван" <375291111111>', "375291111111"),
        ("375291111111,101", "375291111111"),
        ("#31#375291111111", "375291111111"),
        ("sip:151@10.0.0.5", "151"),
        ("375291111111, 375292222222", "375291111111, 375292222222"),
        ("belline1", "belline1"),
        ("*65", "*65"),
        ("Anonymous", "Anonymous"),
        (" " * 60_000, ""),
        ("1" * 60_000, ""),
    ],
)
def test_every_field_with_a_number_is_read_alike(sent, number):
    event = read({"Phone": sent, "CallerIDNum": sent, "ConnectedLineNum": sent, "Exten": sent})

    assert {event.phone, event.caller_id, event.connected_line, event.exten} == {number}


def test_what_is_longer_than_anything_that_a_switch_names_is_as_if_it_had_not_been_sent():
    long = "SIP/151-" + "0" * 60_000
    event = read({"Channel": long, "BridgeUniqueid": long, "UniqueId": long, "Trunk": long}, unique_id="")

    assert (event.channel, event.bridge_id, event.unique_id, event.trunk) == ("", "", "", "")
    assert len(read({"Extensions": [str(number) for number in range(5000)]}).extensions) == 500


def test_a_line_and_an_extension_that_were_printed_as_floats():
    event = read({"Trunk": 3000001.0, "Extensions": [151.0]}, unique_id="1761010900.0")

    assert (event.trunk, event.extensions) == ("3000001", ("151",))
    assert event.unique_id == "1761010900.0"


@pytest.mark.parametrize("unknown", ["<unknown>", "", "<ХРЕН>", "<Unknown>", None])
def test_what_the_host_does_not_know_is_empty(unknown):
    event = read({"ConnectedLineNum": unknown, "CallerIDNum": unknown, "Phone": unknown, "Trunk": unknown})

    assert (event.connected_line, event.caller_id, event.phone, event.trunk) == ("", "", "", "")


def test_keys_in_another_case_are_read_and_the_usual_spelling_wins():
    assert read({"phone": "1", "BRIDGEUNIQUEID": "B"}).phone == "1"
    assert read({"phone": "1", "Phone": "2"}).phone == read({"Phone": "2", "phone": "1"}).phone == "2"
    assert read({"INCALL": "0001301"}).trunk == read({"TrunkId": "0001301"}).trunk == "0001301"
    assert read({"UniqueId": "17.5"}, unique_id="").unique_id == "17.5"


@pytest.mark.parametrize("sent", ["2025-10-09 15:00:00", "2025-10-09T15:00:00", "2025-10-09 15:00:00.000"])
def test_times_with_a_blank_or_a_t(sent):
    assert read({"StartTime": sent}).start_time == datetime(2025, 10, 9, 15)  # noqa: DTZ001  (the host names no zone)


@pytest.mark.parametrize("sent", ["", "soon", "0000-00-00 00:00:00", "9999-12-31 23:59:59", "2025-13-01", 5, None])
def test_what_is_no_time(sent):
    assert read({"StartTime": sent}).start_time is None


@pytest.mark.parametrize(
    ("unique_id", "epoch"),
    [
        ("1758798777.27", 1758798777),
        ("1758798777", 1758798777),
        ("test-1755758400", 1755758400),
        ("test-fio-update-1755758400", 1755758400),
        ("12.3", 12),  # a host that booted in 1970
        ("123456789", 123456789),
        ("12345678", None),
        ("12", None),
        ("abc", None),
        ("", None),
        ("99999999999.1", None),
        ("١٧٥٨٧٩٨٧٧٧.1", None),
    ],
)
def test_the_epoch_of_an_id(unique_id, epoch):
    assert epoch_of(unique_id) == epoch


def test_the_moment_is_the_epoch_else_the_receipt():
    assert read({}, unique_id="1760000000.1").moment == datetime.fromtimestamp(1760000000, UTC)
    assert read({}, unique_id="abc").moment == NOW


def test_an_empty_id_is_for_bridges_and_an_unknown_one_is_empty():
    assert read({}, event_type="bridge_create", unique_id="").unique_id == ""
    assert read({}, unique_id="<unknown>").unique_id == ""


def test_copies_have_one_fingerprint_whatever_the_order_of_keys_and_the_token():
    one = read({"Token": "375290000001", "Phone": "1", "CallType": 0, "Extensions": ["150"]})
    two = read({"Extensions": ["150"], "CallType": "0", "Phone": "1", "Token": "another"})
    other = read({"Extensions": ["151"], "CallType": "0", "Phone": "1", "Token": "another"})

    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_recordings_come_beside_the_body_or_in_it():
    assert read({}, record_url="https://example.com/1.wav").record_url == "https://example.com/1.wav"
    assert read({"record_url": "https://example.com/2.wav"}).record_url == "https://example.com/2.wav"
    assert read({"record_url": ""}).record_url is None
    assert read({"record_url": None, "recordUrl": " "}).record_url is None
    assert read({"record_url": 0, "recordUrl": "https://example.com/3.wav"}).record_url == "https://example.com/3.wav"


@pytest.mark.parametrize("sent", [["https://example.com/1.wav"], {"url": "https://example.com/1.wav"}, 0, False, [], 7])
def test_a_recording_that_is_no_text_is_left_for_the_rules_to_say_so(sent):
    assert read({"record_url": sent}).record_url
    assert read({"recordUrl": sent}).record_url


@pytest.mark.parametrize("sent", ["None", "/monitor/x.wav", "ftp://example.com/1.wav", "javascript:alert(1)"])
def test_what_is_no_address_is_left_as_it_is_for_the_rules(sent):
    assert read({}, record_url=sent).record_url == read({"recordUrl": sent}).record_url == sent


def test_within_one_instant_what_opens_goes_before_what_closes():
    events = [read({}, event_type=event_type) for event_type in reversed(EVENT_TYPES)]

    assert [event.event_type for event in in_order(events)] == list(EVENT_TYPES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(
    ["Phone", "Extensions", "CallType", "CallStatus", "StartTime", "EndTime", "Channel", "UniqueId", "Trunk"]
)


@given(st.dictionaries(keys | st.text(max_size=8), json_values, max_size=8), st.text(max_size=12), st.text(max_size=12))
def test_no_object_is_too_strange_to_be_read(raw, event_type, unique_id):
    event = read(raw, event_type=event_type, unique_id=unique_id)

    assert event == read(dict(reversed(raw.items())), event_type=event_type, unique_id=unique_id)
    assert event.order is not None


@pytest.mark.parametrize(
    ("sent", "initiated"), [(True, True), ("true", True), ("True", True), (False, False), (None, False), ("", False)]
)
def test_who_began_the_call_is_read_and_never_believed(sent, initiated):
    assert read({"ExternalInitiated": sent}).external_initiated == initiated
