"""Each kind of what hosts of the field do, with other numbers, technologies and orders than the cases show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from lib.calls.call import Call
from lib.calls.directory import Directory, Line
from lib.calls.plan import CallRow, EndNotice, RingNotice
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, OTHER_MOBILE, Stream

ENTERPRISE, _ = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
LINE, SECOND_LINE = "SIP/0001301-0000000a", "SIP/0001302-0000000b"
STRANGER = "375297777777"
HOLDING, SIMPLE = "holding_bridge", "simple_bridge"


def played(stream: Stream, directory: Directory = DIRECTORY) -> playback.Outcome:
    return playback.play(playback.parsed(stream.scenario(stream.id(0))), directory)


def the_call(outcome: playback.Outcome) -> Call:
    (call,) = outcome.calls
    return call


def popups(outcome: playback.Outcome) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(popup.direction, popup.phone, popup.extensions) for popup in outcome.popups]


def rows(outcome: playback.Outcome) -> list[tuple[str, str, str, str | None, int]]:
    return [(r.direction, r.phone, r.result, r.extension, r.duration) for r in outcome.uploads]


def incoming(stream: Stream, extensions: Sequence[str] = ("150", "151")) -> Stream:
    return stream.start(0, stream.id(0)).dial(1, stream.id(0), list(extensions))


def talk(stream: Stream, at: float, until: float, channel: str, caller: str, *, named: str = "151") -> Stream:
    """The customer of an incoming call with one other channel."""
    stream.joins(at, stream.id(1, 1), channel, "B1", caller, CUSTOMER)
    stream.joins(at, stream.id(0), LINE, "B1", CUSTOMER, named)
    stream.leaves(until, stream.id(1, 1), channel, "B1", caller, CUSTOMER, 1)
    return stream.leaves(until, stream.id(0), LINE, "B1", CUSTOMER, named, 0)


def technology(stream: Stream, at: float, bridge: str, name: str) -> Stream:
    return stream.add(at, "bridge_create", "", BridgeUniqueid=bridge, BridgeTechnology=name, BridgeNumChannels="0")


# Records without `Phone`


def ends(caller: str, connected: str, extensions: object, **more: object) -> dict[str, object]:
    return {"CallerIDNum": caller, "ConnectedLineNum": connected, "Extensions": extensions, **more}


def unnamed(at: float, stream: Stream, event_type: str, **body: object) -> Stream:
    """A record of the main id in which no `Phone` stands."""
    return stream.add(at, event_type, stream.id(0), Trunk="0001302", **body)


@pytest.mark.parametrize("call_type", [{"CallType": 0}, {}], ids=["with a type", "without"])
def test_of_an_incoming_record_without_a_phone_the_caller_is_the_customer(call_type):
    stream = Stream()
    unnamed(0, stream, "start", **ends(OTHER_MOBILE, "", [""], **call_type))
    unnamed(1, stream, "dial", **ends(OTHER_MOBILE, "<unknown>", ["152"], **call_type))
    unnamed(9, stream, "hangup", **ends(OTHER_MOBILE, "", [""], **call_type, CallStatus="0", StartTime=stream.wall(0)))

    outcome = played(stream)

    assert popups(outcome) == [("in", "+" + OTHER_MOBILE, ("152",))]
    assert rows(outcome) == [("in", "+" + OTHER_MOBILE, "no answer", "152", 0)]
    assert outcome.uploads[0].line_number == "+375290000102"


@pytest.mark.parametrize(
    ("connected", "extensions"),
    [
        (OTHER_MOBILE, ["150"]),
        (OTHER_MOBILE, [""]),
        (OTHER_MOBILE, ["0001302"]),
        ("", [OTHER_MOBILE]),
        ("<unknown>", ["0001302", OTHER_MOBILE]),
        ("80293333333", [OTHER_MOBILE, "150"]),
        ("375290000101", [OTHER_MOBILE]),
        ("+375290000102", ["150", OTHER_MOBILE]),
        ("0001301", [OTHER_MOBILE]),
    ],
)
@pytest.mark.parametrize("call_type", [{"CallType": 1}, {}], ids=["with a type", "without"])
def test_of_an_outgoing_record_without_a_phone_the_customer_is_who_was_called(connected, extensions, call_type):
    stream = Stream()
    unnamed(0, stream, "dial", **ends("150", connected, extensions, **call_type))
    end = {"CallStatus": "2", "StartTime": stream.wall(0), "EndTime": stream.wall(20)}
    unnamed(21, stream, "hangup", **ends("150", OTHER_MOBILE, extensions, **call_type, **end))

    outcome = played(stream)

    assert popups(outcome) == [("out", "+" + OTHER_MOBILE, ("150",))]
    assert rows(outcome) == [("out", "+" + OTHER_MOBILE, "answered", "150", 20)]


@pytest.mark.parametrize(
    "named", [{"CallType": 1, "Extensions": [""]}, {"Extensions": ["0001301"]}, {"Extension": "150"}]
)
def test_a_dial_with_a_phone_may_name_its_caller_by_caller_id_alone(named):
    stream = Stream().add(0, "dial", Stream().id(0), Phone=OTHER_MOBILE, CallerIDNum="150", Trunk="0001301", **named)
    stream.hangup(9, stream.id(0), 1, "0", [""], OTHER_MOBILE)

    outcome = played(stream)

    assert popups(outcome) == [("out", "+" + OTHER_MOBILE, ("150",))]
    assert rows(outcome) == [("out", "+" + OTHER_MOBILE, "no answer", "150", 0)]


def test_an_empty_phone_is_not_a_missing_one():
    stream = Stream()
    stream.start(0, stream.id(0), "", CallerIDNum=OTHER_MOBILE)
    stream.dial(1, stream.id(0), ["150"], "", CallerIDNum=OTHER_MOBILE)
    stream.hangup(9, stream.id(0), 0, "0", [""], "", CallerIDNum=OTHER_MOBILE)

    outcome = played(stream)

    assert (rows(outcome), outcome.reasons) == ([], [{"no_phone"}])


def test_after_a_blind_transfer_a_record_without_a_phone_is_still_the_customer_s():
    stream = Stream()
    unnamed(0, stream, "start", **ends(OTHER_MOBILE, "", [""]))
    unnamed(1, stream, "dial", **ends(OTHER_MOBILE, "", ["150"], CallType=0))
    end = {"CallType": 2, "CallStatus": "2", "StartTime": stream.wall(0), "EndTime": stream.wall(20)}
    unnamed(21, stream, "hangup", **ends(OTHER_MOBILE, "152", ["152"], **end))

    outcome = played(stream)

    assert rows(outcome) == [("in", "+" + OTHER_MOBILE, "answered", "152", 20)]


def test_a_record_between_two_telephones_is_internal_without_a_phone_too():
    stream = Stream()
    stream.add(0, "dial", stream.id(0), CallType=2, **ends("152", "150", ["150"]))
    stream.add(9, "hangup", stream.id(0), CallType=2, CallStatus="2", **ends("152", "150", ["150"]))

    outcome = played(stream)

    assert (popups(outcome), rows(outcome), outcome.reasons) == ([], [], [{"internal"}])


def test_a_record_without_a_phone_of_a_customer_to_a_telephone_is_no_call_to_the_customer():
    """As of a transfer, which the host dials in the customer's name."""
    stream = Stream()
    stream.add(0, "dial", stream.id(0), CallType=1, **ends(OTHER_MOBILE, "152", ["152"]))
    stream.add(9, "hangup", stream.id(0), CallType=1, CallStatus="2", **ends(OTHER_MOBILE, "152", ["152"]))

    outcome = played(stream)

    assert (popups(outcome), rows(outcome), outcome.reasons) == ([], [], [{"internal"}])


# One side only


@pytest.mark.parametrize("channel", ["", "SIP/152-0000001e", "IAX2/152-9", "DAHDI/7-1"])
@pytest.mark.parametrize(
    "named",
    [
        {"connected": "375293333333"},
        {"connected": "<unknown>", "exten": "80293333333"},
        {"connected": "375290000101", "exten": "80293333333"},
        {"connected": "0001302", "exten": "80293333333"},
    ],
    ids=["line", "exten", "our own number", "our own line"],
)
def test_one_bridge_event_of_the_calling_channel_answers_an_outgoing_call(channel, named):
    stream = Stream().dial_out(0, Stream().id(0), ["152"], OTHER_MOBILE)
    stream.joins(6, stream.id(0), channel, "B1", "152", **named)
    stream.hangup(36, stream.id(0), None, "", [], OTHER_MOBILE, started=None, EndTime="")

    assert rows(played(stream)) == [("out", "+" + OTHER_MOBILE, "answered", "152", 30)]


@pytest.mark.parametrize(
    ("channel", "connected"), [("SIP/152-0000001e", "150"), ("Local/152@x-0000001e;1", OTHER_MOBILE)]
)
def test_a_bridge_with_somebody_else_or_of_a_local_channel_answers_nothing(channel, connected):
    stream = Stream().dial_out(0, Stream().id(0), ["152"], OTHER_MOBILE)
    stream.joins(6, stream.id(0), channel, "B1", "152", connected)
    stream.hangup(36, stream.id(0), 1, "0", ["152"], OTHER_MOBILE)

    assert rows(played(stream)) == [("out", "+" + OTHER_MOBILE, "no answer", "152", 0)]


def test_one_bridge_event_without_a_channel_name_answers_an_incoming_call():
    stream = incoming(Stream())
    stream.joins(6, stream.id(0), "", "B1", CUSTOMER, "150").hangup(16, stream.id(0), 0, "", [""], ended=30)

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", "150", 10)]


# Holding bridges, parking, queues, applications


@pytest.mark.parametrize("named", ["901", "150", OTHER_MOBILE])
def test_in_a_holding_bridge_nobody_talks_whatever_the_name(named):
    stream = technology(incoming(Stream(), ["150"]), 2, "H", HOLDING)
    stream.joins(3, stream.id(0), LINE, "H", CUSTOMER, named).leaves(40, stream.id(0), LINE, "H", CUSTOMER, named, 0)
    stream.hangup(41, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "no answer", "150", 0)]


def test_the_music_of_a_queue_is_waiting_and_no_talk():
    stream = technology(incoming(Stream(), ["150", "152"]), 2, "H", HOLDING)
    stream.joins(3, stream.id(0), LINE, "H", CUSTOMER, "901").leaves(40, stream.id(0), LINE, "H", CUSTOMER, "901", 0)
    talk(stream, 41, 61, "SIP/152-0000001e", "152", named="152").hangup(62, stream.id(0), 0, "2", ["152"])

    outcome = played(stream)

    assert rows(outcome) == [("in", "+" + CUSTOMER, "answered", "152", 20)]
    assert outcome.uploads[0].waiting == 41


@pytest.mark.parametrize("told", [True, False], ids=["a holding bridge", "of no known technology"])
def test_parking_after_a_talk_takes_the_owner_from_nobody(told):
    stream = talk(incoming(Stream()), 5, 15, "SIP/151-0000001e", "151")
    if told:
        technology(stream, 15, "P", HOLDING)
    stream.joins(16, stream.id(0), LINE, "P", CUSTOMER, "702").leaves(50, stream.id(0), LINE, "P", CUSTOMER, "702", 0)
    stream.hangup(51, stream.id(0), 2, "0", ["702"])

    outcome = played(stream)

    assert rows(outcome) == [("in", "+" + CUSTOMER, "answered", "151", 44)]


@pytest.mark.parametrize(
    ("named", "owner"),
    [("150", "150"), (MOBILE, "153"), (OTHER_MOBILE, None)],
    ids=["an extension", "a personal phone", "what the call rang"],
)
def test_a_customer_alone_talks_with_whom_the_line_names_if_that_can_be(named, owner):
    stream = incoming(Stream(), ["151", OTHER_MOBILE])
    stream.joins(5, stream.id(0), LINE, "B1", CUSTOMER, named).leaves(15, stream.id(0), LINE, "B1", CUSTOMER, named, 0)
    stream.hangup(16, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", owner, 10)]


@pytest.mark.parametrize("named", ["702", STRANGER, CUSTOMER, "375290000101", "0001301", "queue-sales"])
def test_a_customer_alone_does_not_talk_with_anybody_else(named):
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B1", CUSTOMER, named).leaves(15, stream.id(0), LINE, "B1", CUSTOMER, named, 0)
    stream.hangup(16, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "no answer", "150", 0)]


@pytest.mark.parametrize(("named", "owner"), [("150", "150"), ("152", None)])
def test_a_local_channel_named_after_somebody_else_is_a_member_of_the_bridge(named, owner):
    """Its other half was not shown, so that nobody is seen; a name counts only where nothing speaks against it."""
    stream, local = incoming(Stream(), ["151"]), "Local/150@dialexecute-0000000a;1"
    stream.joins(5, stream.id(0), LINE, "B1", CUSTOMER, named).joins(5, stream.id(7, 4), local, "B1", "150", CUSTOMER)
    stream.leaves(15, stream.id(0), LINE, "B1", CUSTOMER, named, 1).hangup(16, stream.id(0), 0, "0", [""])

    result, extension = ("answered", owner) if owner else ("no answer", "151")
    assert [row[2:4] for row in rows(played(stream))] == [(result, extension)]


@pytest.mark.parametrize("spelled", [OTHER_MOBILE, "80293333333"])
def test_a_local_channel_named_after_the_mobile_that_the_call_rang_shows_nobody_else(spelled):
    stream, local = incoming(Stream(), ["151", OTHER_MOBILE]), f"Local/{spelled}@dialexecute-0000000a;1"
    stream.joins(5, stream.id(0), LINE, "B1", CUSTOMER, OTHER_MOBILE)
    stream.joins(5, stream.id(7, 4), local, "B1", OTHER_MOBILE, CUSTOMER)
    stream.leaves(15, stream.id(0), LINE, "B1", CUSTOMER, OTHER_MOBILE, 1).hangup(16, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", None, 10)]


@pytest.mark.parametrize("application", ["vm150", "vm-150", "voicemail", "s", "*97", "queue-sales"])
@pytest.mark.parametrize("named", ["150", "vm150"])
def test_an_application_behind_a_local_channel_answers_nothing_whatever_name_and_status(application, named):
    stream, local = incoming(Stream(), ["150"]), f"Local/{application}@app-0000000a;1"
    stream.joins(20, stream.id(0), LINE, "V", CUSTOMER, named).joins(20, stream.id(7, 20), local, "V", named, CUSTOMER)
    stream.leaves(50, stream.id(0), LINE, "V", CUSTOMER, named, 1)
    stream.leaves(50, stream.id(7, 20), local, "V", named, CUSTOMER, 0)
    stream.hangup(51, stream.id(0), 0, "2", ["150"])

    outcome = played(stream)

    assert rows(outcome) == [("in", "+" + CUSTOMER, "no answer", "150", 0)]
    assert [end.status for end in outcome.ends] == ["no answered"]


def test_a_local_channel_that_leads_to_a_person_is_no_application():
    stream, local = incoming(Stream(), ["150"]), "Local/sales@app-0000000a"
    stream.joins(5, stream.id(0), LINE, "A", CUSTOMER, "sales").joins(
        5, stream.id(2, 4), local + ";1", "A", "sales", ""
    )
    stream.joins(6, stream.id(3, 4), local + ";2", "C", "", "152").joins(
        6, stream.id(4, 4), "SIP/152-00000003", "C", "152", ""
    )
    for number, channel, bridge in ((4, "SIP/152-00000003", "C"), (3, local + ";2", "C"), (2, local + ";1", "A")):
        stream.leaves(15, stream.id(number, 4), channel, bridge, "", "")
    stream.leaves(15, stream.id(0), LINE, "A", CUSTOMER, "sales").hangup(16, stream.id(0), 0, "2", ["150"])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", "152", 10)]


# Telephones that bear another name


@pytest.mark.parametrize(
    ("channel", "caller"),
    [
        ("PJSIP/91152-0000001e", "152"),
        ("SIP/152-web-0000001e", "152"),
        ("IAX2/152-12", "152"),
        ("IAX2/152-12", "375290000101"),
        ("DAHDI/4-1", "152"),
        ("PJSIP/ACME-152-0000001e", "152"),
        ("PJSIP/ACME-152-0000001e", "375290000101"),
        ("SCCP/152-00000003", "<unknown>"),
    ],
)
def test_whoever_answers_on_another_device_is_the_owner(channel, caller):
    stream = talk(incoming(Stream(), ["150", "152"]), 5, 15, channel, caller, named="<unknown>")
    stream.hangup(16, stream.id(0), 0, "2", [""])

    outcome = played(stream)

    assert rows(outcome) == [("in", "+" + CUSTOMER, "answered", "152", 10)]


@pytest.mark.parametrize("channel", ["IAX2/152-12", "DAHDI/4-1", "PJSIP/ACME-152-0000001e", "SIP/anything-0000001e"])
@pytest.mark.parametrize("caller", ["152", "375290000102", "<unknown>"])
def test_the_main_channel_of_an_outgoing_call_is_whom_its_dial_names(channel, caller):
    stream = Stream().dial_out(0, Stream().id(0), ["152"], OTHER_MOBILE)
    stream.joins(5, stream.id(1, 1), SECOND_LINE, "B1", OTHER_MOBILE, "152")
    stream.joins(5, stream.id(0), channel, "B1", caller, "<unknown>", OTHER_MOBILE)
    stream.leaves(15, stream.id(1, 1), SECOND_LINE, "B1", OTHER_MOBILE, "152", 1)
    stream.leaves(15, stream.id(0), channel, "B1", caller, OTHER_MOBILE, 0)
    stream.hangup(16, stream.id(0), 1, "2", ["0001301"], OTHER_MOBILE)

    assert rows(played(stream)) == [("out", "+" + OTHER_MOBILE, "answered", "152", 10)]


@pytest.mark.parametrize(
    ("channel", "first", "later", "owner"),
    [("PJSIP/91152-0000001e", "152", "150", "152"), ("SIP/elsewhere-0000001e", STRANGER, "152", None)],
)
def test_the_first_caller_id_of_a_channel_says_whose_it_is(channel, first, later, owner):
    """A transfer overwrites it."""
    stream = incoming(Stream(), ["151"])
    stream.callerid(4, stream.id(1, 1), channel, first)
    talk(stream, 5, 15, channel, later, named="<unknown>").hangup(16, stream.id(0), 0, "2", ["151"])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", owner, 10)]


def test_an_unknown_line_whose_caller_nobody_knows_is_the_customer_s_of_an_outgoing_call():
    stream = Stream().dial_out(0, Stream().id(0), ["152"], OTHER_MOBILE)
    stream.joins(5, stream.id(1, 1), "SIP/elsewhere-0000000b", "B1", "<unknown>", "152")
    stream.joins(7, stream.id(0), "SIP/152-0000001e", "B1", "152", "<unknown>")
    stream.leaves(15, stream.id(1, 1), "SIP/elsewhere-0000000b", "B1", "<unknown>", "152", 1)
    stream.hangup(16, stream.id(0), 1, "2", ["152"], OTHER_MOBILE)

    assert rows(played(stream)) == [("out", "+" + OTHER_MOBILE, "answered", "152", 10)]


def test_a_second_device_is_told_of_as_soon_as_its_channel_shows_whose_it_is():
    stream = talk(incoming(Stream(), ["91152"]), 5, 15, "PJSIP/91152-0000001e", "152", named="152")
    stream.hangup(16, stream.id(0), 0, "2", ["91152"])

    outcome = played(stream)

    assert popups(outcome) == [("in", "+" + CUSTOMER, ("152",))]
    assert outcome.when(RingNotice, stream.base) == [5]
    assert rows(outcome) == [("in", "+" + CUSTOMER, "answered", "152", 10)]


def test_a_second_device_that_shows_itself_too_late_is_told_nothing():
    stream = talk(incoming(Stream(), ["91152"]), 25, 35, "PJSIP/91152-0000001e", "152", named="152")
    stream.hangup(36, stream.id(0), 0, "2", ["91152"])

    outcome = played(stream)

    assert popups(outcome) == []
    assert "expired" in outcome.reasons[0]
    assert rows(outcome)[0][3] == "152"


@pytest.mark.parametrize("rung", ["152", "91152"])
def test_a_second_device_is_linked_by_either_of_its_numbers(rung):
    """Bridge ids differ, and the customer's own channel is not shown."""
    stream = incoming(Stream(), [rung]).joins(5, Stream().id(1, 1), "PJSIP/91152-0000001e", "B1", "152", CUSTOMER)
    stream.leaves(15, stream.id(1, 1), "PJSIP/91152-0000001e", "B1", "152", CUSTOMER, 1)
    stream.hangup(16, stream.id(0), 0, "0", [""], ended=15)

    assert [row[:4] for row in rows(played(stream))] == [("in", "+" + CUSTOMER, "answered", "152")]


LONG_EXTENSIONS = dataclasses.replace(
    DIRECTORY,
    internal_phones=DIRECTORY.internal_phones | {"2150", "21510"},
    extension_users={**DIRECTORY.extension_users, "2150": 50, "21510": 51},
)
SECOND_DEVICES = [
    ("912150", "2150"),
    ("9121510", "21510"),
    ("99921510", "21510"),
    ("152-1", "152"),
    ("t152", "152"),
    ("152_mob", "152"),
]


@pytest.mark.parametrize(("device", "extension"), SECOND_DEVICES)
@pytest.mark.parametrize("channel", ["PJSIP/{}-0000001e", "DAHDI/3-1"])
def test_whoever_calls_from_a_second_device_is_told_and_owns_the_call(device, extension, channel):
    stream, channel = Stream().dial_out(0, Stream().id(0), [device], OTHER_MOBILE), channel.format(device)
    stream.callerid(1, stream.id(0), channel, extension, OTHER_MOBILE)
    stream.joins(5, stream.id(1, 1), SECOND_LINE, "B1", OTHER_MOBILE, extension)
    stream.joins(5, stream.id(0), channel, "B1", extension, OTHER_MOBILE)
    stream.leaves(15, stream.id(1, 1), SECOND_LINE, "B1", OTHER_MOBILE, extension, 1)
    stream.leaves(15, stream.id(0), channel, "B1", extension, OTHER_MOBILE, 0)
    stream.hangup(16, stream.id(0), 1, "2", [device], OTHER_MOBILE)

    outcome = played(stream, LONG_EXTENSIONS)

    assert popups(outcome) == [("out", "+" + OTHER_MOBILE, (extension,))]
    assert rows(outcome) == [("out", "+" + OTHER_MOBILE, "answered", extension, 10)]


@pytest.mark.parametrize(("device", "extension"), SECOND_DEVICES)
def test_a_call_from_a_second_device_that_shows_no_channel_has_a_row_and_a_reason(device, extension):
    stream = Stream().dial_out(0, Stream().id(0), [device], OTHER_MOBILE)
    stream.hangup(16, stream.id(0), 1, "0", [device], OTHER_MOBILE)

    outcome = played(stream, LONG_EXTENSIONS)

    assert rows(outcome) == [("out", "+" + OTHER_MOBILE, "no answer", None, 0)]
    assert {"no_mapping", "no_owner"} <= outcome.reasons[0]


def test_a_device_of_nobody_known_owns_nothing_though_its_channel_is_shown():
    stream = Stream().dial_out(0, Stream().id(0), ["t999"], OTHER_MOBILE)
    stream.callerid(1, stream.id(0), "SIP/t999-0000001e", "<unknown>", OTHER_MOBILE)
    stream.hangup(16, stream.id(0), 1, "0", ["t999"], OTHER_MOBILE)

    outcome = played(stream)

    assert (popups(outcome), rows(outcome)) == ([], [("out", "+" + OTHER_MOBILE, "no answer", None, 0)])
    assert {"no_mapping", "no_owner"} <= outcome.reasons[0]


def test_a_second_device_that_only_its_caller_id_explains_calls_for_its_extension():
    stream = Stream().dial_out(0, Stream().id(0), ["912150"], OTHER_MOBILE, CallerIDNum="2150")
    stream.hangup(16, stream.id(0), 1, "0", [""], OTHER_MOBILE)

    outcome = played(stream, LONG_EXTENSIONS)

    assert popups(outcome) == [("out", "+" + OTHER_MOBILE, ("2150",))]
    assert rows(outcome) == [("out", "+" + OTHER_MOBILE, "no answer", "2150", 0)]


@pytest.mark.parametrize("channel", ["SIP/elsewhere-0000000a", "PJSIP/trunk-151-0000000a", "DAHDI/1-1"])
def test_a_line_of_another_name_is_nobody_s_telephone(channel):
    """Its caller is the customer."""
    stream = incoming(Stream())
    stream.joins(5, stream.id(1, 1), "SIP/150-0000001e", "B1", "150", CUSTOMER)
    stream.joins(5, stream.id(0), channel, "B1", CUSTOMER, "150")
    stream.leaves(15, stream.id(0), channel, "B1", CUSTOMER, "150", 1).hangup(16, stream.id(0), 0, "2", ["150"])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", "150", 10)]


# Forwarded legs


def forwarded(stream: Stream, at: float, number: str, extensions: list[str], *, local: str | None = None) -> Stream:
    """A leg of type 1 on the ids 5 and 6; `local`: the caller id of the Local channel that shows it."""
    if local is not None:
        stream.callerid(at, stream.id(5, at), f"Local/{number}@ctx-00000005;2", local)
    stream.dial_out(at + 0.5, stream.id(5, at), extensions, number, Trunk="0001302")
    return stream.hangup(at + 20, stream.id(5, at), 1, "0", extensions, number, started=at, Trunk="0001302")


@pytest.mark.parametrize(
    ("number", "extensions", "local"),
    [
        (STRANGER, ["152"], "152"),
        (STRANGER, ["152"], CUSTOMER),
        (STRANGER, [""], "152"),
        (STRANGER, [""], CUSTOMER),
        (STRANGER, [CUSTOMER], None),
        (MOBILE, ["153"], None),
        (MOBILE, [""], None),
        (MOBILE, ["153"], "153"),
        (STRANGER, ["91152"], "91152"),
    ],
)
def test_a_telephone_that_rings_and_forwards_makes_no_call(number, extensions, local):
    stream = incoming(Stream(), ["152", "153", "91152"])
    forwarded(stream, 10, number, extensions, local=local).hangup(40, stream.id(0), 0, "0", [""])

    outcome = played(stream)

    assert popups(outcome) == [("in", "+" + CUSTOMER, ("152", "153"))]
    assert rows(outcome) == [("in", "+" + CUSTOMER, "no answer", "152", 0)]


def test_a_telephone_that_rings_alone_and_forwards_to_its_own_mobile_makes_no_call():
    stream = incoming(Stream(), ["153"])
    forwarded(stream, 10, MOBILE, [""]).hangup(40, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "no answer", "153", 0)]


@pytest.mark.parametrize(
    ("number", "extensions", "local"),
    [(STRANGER, ["152"], None), (STRANGER, [""], None), (MOBILE, ["152"], None), (STRANGER, ["151"], "151")],
    ids=["no evidence", "nothing at all", "somebody else's phone", "does not ring"],
)
def test_without_evidence_it_is_an_outgoing_call(number, extensions, local):
    stream = incoming(Stream(), ["152", "153"])
    forwarded(stream, 10, number, extensions, local=local).hangup(40, stream.id(0), 0, "0", [""])

    assert sorted(rows(played(stream))) == [
        ("in", "+" + CUSTOMER, "no answer", "152", 0),
        ("out", "+" + number, "no answer", extensions[0] or None, 0),
    ]


def test_a_forwarded_leg_whose_dial_was_lost_is_judged_by_when_it_began():
    stream = talk(incoming(Stream(), ["151", "152"]), 15, 60, "SIP/151-0000001e", "151")
    stream.hangup(17, stream.id(5, 9), 1, "0", [CUSTOMER], STRANGER, started=9)
    stream.hangup(17.5, stream.id(6, 9), 1, "0", [""], MOBILE, started=9).hangup(61, stream.id(0), 0, "2", ["151"])
    dial = incoming(Stream(), ["151", "152", "153"]).events[1]
    stream.events = [dial if event["endpoint"] == "/dial" else event for event in stream.events]

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "answered", "151", 45)]


def test_what_a_forwarded_leg_shows_may_overtake_the_dial_that_it_answers():
    stream = incoming(Stream(), ["152", "153"])
    stream.callerid(0.5, stream.id(5, 1), f"Local/{STRANGER}@ctx-00000005;2", "152")
    stream.dial_out(1.5, stream.id(5, 1), ["152"], STRANGER, Trunk="0001302")
    stream.hangup(40, stream.id(0), 0, "0", [""])

    assert rows(played(stream)) == [("in", "+" + CUSTOMER, "no answer", "152", 0)]


def test_who_rang_before_somebody_answered_forwards_nothing_any_more():
    stream = talk(incoming(Stream(), ["151", "152"]), 5, 60, "SIP/151-0000001e", "151")
    forwarded(stream, 20, STRANGER, ["152"], local="152").hangup(61, stream.id(0), 0, "2", ["151"])

    assert sorted(row[:2] for row in rows(played(stream))) == [("in", "+" + CUSTOMER), ("out", "+" + STRANGER)]


def test_a_leg_in_the_name_of_the_customer_is_never_a_call():
    """Not even where everything of the customer's own call was lost."""
    stream = Stream()
    stream.dial_out(0, stream.id(0), [CUSTOMER], STRANGER).hangup(20, stream.id(0), 1, "0", [CUSTOMER], STRANGER)

    outcome = played(stream)

    assert (popups(outcome), rows(outcome)) == ([], [])
    assert "leg_of_another_call" in outcome.reasons[0]


# Clocks


@pytest.mark.parametrize("zone", ["UTC", "Asia/Vladivostok", "America/New_York"])
@pytest.mark.parametrize("status", ["0", "2"])
def test_the_epoch_of_the_id_wins_over_a_clock_in_another_zone(zone, status):
    stream = incoming(Stream(zone=zone)).hangup(40, Stream().id(0), 0, status, ["150"], ended=38)

    (row,) = played(stream).uploads

    assert row.date == stream.base.astimezone(DIRECTORY.zone).replace(tzinfo=None)
    assert row.duration == (38 if status == "2" else 0)


@pytest.mark.parametrize(
    "start",
    ["1970-01-01 03:00:05", "2000-01-01 00:00:00", "2038-01-19 03:14:07", "2025-10-10 12:00:00", "2025-10-10 17:00:00"],
    ids=["1970", "2000", "2038", "three hours before", "two hours after"],
)
def test_a_start_that_cannot_be_gives_way_to_the_epoch(start):
    stream = incoming(Stream()).hangup(40, Stream().id(0), 0, "2", ["150"], ended=38, StartTime=start)

    (row,) = played(stream).uploads

    assert row.date == stream.base.astimezone(DIRECTORY.zone).replace(tzinfo=None)
    assert row.duration == 38


@pytest.mark.parametrize(("off", "believed"), [(-590, True), (-600, True), (-601, False), (600, True), (601, False)])
def test_ten_minutes_are_the_host_s_own_business(off, believed):
    stream = incoming(Stream()).hangup(40, Stream().id(0), 0, "0", ["150"], started=off)

    (row,) = played(stream).uploads

    began = datetime.fromtimestamp(stream.epoch + (off if believed else 0), UTC)
    assert row.date == began.astimezone(DIRECTORY.zone).replace(tzinfo=None)


def test_a_host_that_lives_in_1970_has_the_time_of_our_receipt():
    stream = talk(incoming(Stream(epoch=1_200)), 5, 15, "SIP/151-0000001e", "151")
    stream.hangup(17, stream.id(0), 0, "2", ["151"])
    now = datetime(2025, 10, 21, 10, 0, tzinfo=UTC)
    late = now - stream.base
    events = playback.parsed(stream.scenario(stream.id(0)))
    events = [dataclasses.replace(event, received_at=event.received_at + late) for event in events]

    (row,) = playback.play(events, DIRECTORY).uploads

    assert (row.date, row.duration, row.waiting) == (now.astimezone(DIRECTORY.zone).replace(tzinfo=None), 10, 5)


def test_a_host_that_lives_in_1970_knows_how_long_a_call_lasts():
    stream = incoming(Stream(epoch=1_200)).hangup(42, Stream(epoch=1_200).id(0), 0, "2", ["150"], ended=40)

    assert [row.duration for row in played(stream).uploads] == [40]


@pytest.mark.parametrize(("seconds", "believed"), [(0, True), (-1, False)])
def test_a_date_before_2000_is_of_a_clock_that_was_never_set(seconds, believed):
    stream = Stream(epoch=946_684_800 + seconds)
    incoming(stream).hangup(40, stream.id(0), 0, "0", ["150"])
    now = datetime(2025, 10, 21, 10, 0, tzinfo=UTC)
    late = now - stream.base
    events = playback.parsed(stream.scenario(stream.id(0)))
    events = [dataclasses.replace(event, received_at=event.received_at + late) for event in events]

    (row,) = playback.play(events, DIRECTORY).uploads

    assert row.date == (stream.base if believed else now).astimezone(DIRECTORY.zone).replace(tzinfo=None)


@pytest.mark.parametrize(
    "times", [{}, {"StartTime": "", "DateReceived": ""}], ids=["with its start", "with its end alone"]
)
@pytest.mark.parametrize(
    ("zone", "epoch", "seconds"),
    [
        ("Europe/Warsaw", 1_761_440_310, 160),  # 02:58:30 in summer time to 02:01:10 after it
        ("Europe/Warsaw", 1_761_439_000, 600),  # all of it in the first of the two hours
        ("Europe/Warsaw", 1_761_442_200, 600),  # all of it in the second
        ("America/New_York", 1_762_063_170, 300),
    ],
)
def test_in_the_night_the_clock_goes_back_a_call_lasts_as_long_as_it_does(zone, epoch, seconds, times):
    directory = dataclasses.replace(DIRECTORY, timezone=zone)
    stream = Stream(epoch=epoch, zone=zone)
    incoming(stream).hangup(seconds + 2, stream.id(0), 0, "2", ["150"], ended=seconds, **times)

    (row,) = played(stream, directory).uploads

    assert row.duration == seconds
    assert row.date == stream.base.astimezone(DIRECTORY.crm_zone).replace(tzinfo=None)


# Numbers


@pytest.mark.parametrize("own", ["375291234501", "+375291234501", "80291234501", "8 (029) 123-45-01", "0001302"])
def test_our_own_number_is_nobody_s(own):
    lines = {**DIRECTORY.lines, "0001302": Line(line_id="0001302", phone_number="+375291234501")}
    directory = dataclasses.replace(DIRECTORY, lines=lines)
    stream = Stream().start(0, Stream().id(0), own).dial(1, Stream().id(0), ["150"], own)
    stream.hangup(9, stream.id(0), 0, "0", [""], own)

    outcome = played(stream, directory)

    assert (popups(outcome), rows(outcome), outcome.reasons) == ([], [], [{"no_phone"}])


def test_numbers_are_not_equal_by_their_tails():
    """A call to a Russian number whose tail is that of 153's Belarusian phone, while 153 rings."""
    stream = incoming(Stream(), ["153"])
    forwarded(stream, 10, "79292222222", ["153"]).hangup(40, stream.id(0), 0, "0", [""])

    assert ("out", "+79292222222", "no answer", "153", 0) in rows(played(stream))


def test_a_line_has_its_name_without_zeros_too():
    stream = Stream(trunk="1302")
    incoming(stream).hangup(9, stream.id(0), 0, "0", [""])

    outcome = played(stream)

    assert (the_call(outcome).line_id, outcome.uploads[0].line_number) == ("0001302", "+375290000102")


# Ids that start again


def whole_call(stream: Stream, at: float, customer: str, bridge: str, *, end: bool = True) -> Stream:
    stream.start(at, stream.id(0), customer).dial(at + 1, stream.id(0), ["150", "151"], customer)
    stream.joins(at + 3, stream.id(1), "SIP/151-0000001e", bridge, "151", customer)
    stream.joins(at + 3, stream.id(0), LINE, bridge, customer, "151")
    stream.leaves(at + 8, stream.id(1), "SIP/151-0000001e", bridge, "151", customer, 1)
    stream.leaves(at + 8, stream.id(0), LINE, bridge, customer, "151", 0)
    return stream.hangup(at + 9, stream.id(0), 0, "2", ["151"], customer, started=0, ended=8) if end else stream


def test_three_customers_on_one_id_are_three_calls():
    stream = Stream()
    for number, customer in enumerate((CUSTOMER, OTHER_MOBILE, STRANGER)):
        whole_call(stream, 20 * number, customer, f"B{number}")

    outcome = played(stream)

    assert [(row.phone, row.external_id, row.duration) for row in outcome.uploads] == [
        ("+" + CUSTOMER, stream.id(0), 5),
        ("+" + OTHER_MOBILE, stream.id(0) + "_2", 5),
        ("+" + STRANGER, stream.id(0) + "_3", 5),
    ]


def test_what_comes_again_on_an_id_that_began_again_begins_no_third_call():
    stream = whole_call(Stream(), 0, CUSTOMER, "B1")
    whole_call(stream, 20, OTHER_MOBILE, "B2").start(60, stream.id(0), OTHER_MOBILE)
    stream.hangup(61, stream.id(0), 0, "2", ["151"], OTHER_MOBILE, started=0, ended=8)

    assert [row.external_id for row in played(stream).uploads] == [stream.id(0), stream.id(0) + "_2"]


def test_what_comes_late_of_the_first_call_stays_with_it():
    stream = whole_call(Stream(), 0, CUSTOMER, "B1")
    whole_call(stream, 20, OTHER_MOBILE, "B2")
    stream.leaves(24, stream.id(1), "SIP/151-0000001e", "B1", "151", CUSTOMER, 0)
    stream.hangup(31, stream.id(0), 0, "2", ["151"], CUSTOMER, started=0, ended=8)

    outcome = played(stream)

    assert [(row.phone, row.duration) for row in outcome.uploads] == [("+" + CUSTOMER, 5), ("+" + OTHER_MOBILE, 5)]


def test_a_start_with_the_same_customer_is_a_copy():
    stream = whole_call(Stream(), 0, CUSTOMER, "B1").start(30, Stream().id(0), "80291111111")

    outcome = played(stream)

    assert len(outcome.uploads) == 1
    assert "duplicate" in outcome.reasons[0]


def test_a_start_on_an_id_whose_call_goes_on_cuts_nothing():
    stream = whole_call(Stream(), 0, CUSTOMER, "B1").start(4, Stream().id(0), OTHER_MOBILE)

    assert [row.phone for row in played(stream).uploads] == ["+" + CUSTOMER]


@pytest.mark.parametrize(("silent_for", "is_over"), [(90, True), (89, False)])
def test_a_call_whose_hangup_was_lost_is_over_when_it_is_silent(silent_for, is_over):
    stream = whole_call(Stream(), 0, CUSTOMER, "B1", end=False)
    whole_call(stream, 8 + silent_for, OTHER_MOBILE, "B2")

    external_ids = [stream.id(0), stream.id(0) + "_2"] if is_over else [stream.id(0)]
    assert [row.external_id for row in played(stream).uploads] == external_ids


def call_out(stream: Stream, at: float, customer: str, bridge: str) -> Stream:
    stream.dial_out(at, stream.id(0), ["152"], customer)
    stream.joins(at + 3, stream.id(1), SECOND_LINE, bridge, customer, "152")
    stream.joins(at + 3, stream.id(0), "SIP/152-0000001e", bridge, "152", customer)
    stream.leaves(at + 8, stream.id(1), SECOND_LINE, bridge, customer, "152", 1)
    stream.leaves(at + 8, stream.id(0), "SIP/152-0000001e", bridge, "152", customer, 0)
    return stream.hangup(at + 9, stream.id(0), 1, "2", ["152"], customer, started=0, ended=8)


@pytest.mark.parametrize(
    ("first", "second"),
    [(call_out, whole_call), (whole_call, call_out), (call_out, call_out)],
    ids=["out and in", "in and out", "out and out"],
)
def test_an_id_may_begin_again_where_either_call_is_outgoing(first, second):
    stream = first(Stream(), 0, CUSTOMER, "B1")
    second(stream, 30, OTHER_MOBILE, "B2")

    outcome = played(stream)

    assert [(row.phone, row.external_id, row.duration) for row in outcome.uploads] == [
        ("+" + CUSTOMER, stream.id(0), 5),
        ("+" + OTHER_MOBILE, stream.id(0) + "_2", 5),
    ]
    assert any("id_began_again" in reasons for reasons in outcome.reasons)
    assert {popup.phone for popup in outcome.popups} == {"+" + CUSTOMER, "+" + OTHER_MOBILE}


def test_what_comes_late_of_an_outgoing_call_stays_with_it():
    stream = call_out(Stream(), 0, CUSTOMER, "B1")
    call_out(stream, 30, OTHER_MOBILE, "B2").dial_out(34, stream.id(0), ["152"], CUSTOMER)
    stream.hangup(35, stream.id(0), 1, "2", ["152"], CUSTOMER, started=0, ended=8)

    outcome = played(stream)

    assert [(row.phone, row.duration) for row in outcome.uploads] == [("+" + CUSTOMER, 5), ("+" + OTHER_MOBILE, 5)]


@pytest.mark.parametrize("again", [False, True], ids=["its end", "its dial and its end"])
def test_what_comes_late_of_a_missed_outgoing_call_does_not_end_the_next_one_on_its_id(again):
    """The host tells of no bridges, so that the next call is answered by its own status alone."""
    stream = Stream().dial_out(0, Stream().id(0), ["152"], CUSTOMER)
    stream.hangup(9, stream.id(0), 1, "0", ["152"], CUSTOMER, ended=8)
    stream.dial_out(30, stream.id(0), ["152"], OTHER_MOBILE)
    if again:
        stream.dial_out(39, stream.id(0), ["152"], CUSTOMER)
    stream.hangup(40, stream.id(0), 1, "0", ["152"], CUSTOMER, ended=8)
    stream.hangup(60, stream.id(0), 1, "2", ["152"], OTHER_MOBILE, ended=25)

    assert [row[1:4] for row in rows(played(stream))] == [
        ("+" + CUSTOMER, "no answer", "152"),
        ("+" + OTHER_MOBILE, "answered", "152"),
    ]


@pytest.mark.parametrize(
    ("at", "extensions", "phone"),
    [(5, ["152"], OTHER_MOBILE), (40, [CUSTOMER], MOBILE), (40, ["152"], "80291111111"), (40, ["152"], "375290000101")],
    ids=["before the hangup", "of a mobile leg", "of the same customer", "of our own number"],
)
def test_a_dial_that_begins_no_call_cuts_nothing(at, extensions, phone):
    stream = call_out(Stream(), 0, CUSTOMER, "B1").dial_out(at, Stream().id(0), extensions, phone)

    outcome = played(stream)

    assert [row.phone for row in outcome.uploads] == ["+" + CUSTOMER]
    assert not any("id_began_again" in reasons for reasons in outcome.reasons)


# When a row is due; recordings


def test_a_missed_call_that_rang_nobody_waits_for_what_may_be_late():
    stream = Stream().start(0, Stream().id(0)).hangup(9, Stream().id(0), 0, "1", [""])

    assert played(stream).when(CallRow, stream.base) == [14]


def test_an_answered_call_of_whose_records_only_the_hangup_came_waits_for_the_others():
    stream, desk = Stream(), "SIP/151-0000001e"
    stream.joins(5, stream.id(1), desk, "B1", "151", CUSTOMER).leaves(15, stream.id(1), desk, "B1", "151", CUSTOMER, 0)
    stream.hangup(15.5, stream.id(1), 2, "2", ["151"], started=None).hangup(16, stream.id(0), 0, "2", ["151"])

    outcome = played(stream)

    assert [call.answered_by_status for call in outcome.calls] == [False]
    assert outcome.when(CallRow, stream.base) == [21]


def test_an_incoming_call_whose_host_sends_no_leaves_is_over_with_its_hangup():
    stream = incoming(Stream())
    stream.joins(5, stream.id(1, 1), "SIP/150-0000001e", "B1", "150", CUSTOMER)
    stream.joins(5, stream.id(0), LINE, "B1", CUSTOMER, "150").dial_out(6, stream.id(8, 6), [CUSTOMER], OTHER_MOBILE)
    stream.hangup(30, stream.id(0), 0, "2", ["150"], ended=30)

    assert played(stream).when(EndNotice, stream.base) == [30]


@pytest.mark.parametrize(
    ("sent", "link"),
    [
        ("https://pbx.example/rec/1.wav", "https://pbx.example/rec/1.wav"),
        (
            "HTTP://pbx.example:8080/a b/запись 1.wav?x=я&y=1",
            "http://pbx.example:8080/a%20b/%D0%B7%D0%B0%D0%BF%D0%B8%D1%81%D1%8C%201.wav?x=%D1%8F&y=1",
        ),
        ("https://pbx.example/a%20b/100%.wav", "https://pbx.example/a%20b/100%25.wav"),
        ("https://пример.бел/1.wav", "https://xn--e1afmkfd.xn--90ais/1.wav"),
        ("None", None),
        ("null", None),
        ("/monitor/1.wav", None),
        ("//pbx.example/1.wav", None),
        ("ftp://pbx.example/1.wav", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https:///1.wav", None),
        ("http://", None),
        ("https://[::1/1.wav", None),
        ("https://pbx.example:port/1.wav", None),
        ("pbx.example/1.wav", None),
        ("https://None/a", None),
        ("https://undefined:8089/a", None),
        ("http://%20/a", None),
        ("http://pbx%2Eexample/a", None),
        (["https://pbx.example/1.wav"], None),
        ({"url": "https://pbx.example/1.wav"}, None),
        (0, None),
        (False, None),
    ],
)
def test_nothing_but_an_http_address_is_a_recording(sent, link):
    stream = talk(incoming(Stream()), 5, 15, "SIP/151-0000001e", "151")
    stream.hangup(16, stream.id(0), 0, "2", ["151"], record_url=sent)

    outcome = played(stream)

    assert [row.record_url for row in outcome.uploads] == [link]
    assert ("no_link_to_recording" in outcome.reasons[0]) == (link is None)


def test_of_what_is_no_address_the_reason_tells_the_beginning():
    sent = "/monitor/" + "x" * 10_000
    stream = talk(incoming(Stream()), 5, 15, "SIP/151-0000001e", "151")
    stream.hangup(16, stream.id(0), 0, "2", ["151"], record_url=sent)

    assert [one.params["sent"] for one in the_call(played(stream)).decisions if "sent" in one.params] == [sent[:100]]


def test_an_address_among_what_is_none_is_the_recording():
    stream = talk(incoming(Stream()), 5, 15, "SIP/151-0000001e", "151")
    stream.hangup(16, stream.id(0), 0, "2", ["151"], record_url="None")
    stream.add(15.5, "recording", stream.id(0), record_url="https://pbx.example/1.wav")

    assert [row.record_url for row in played(stream).uploads] == ["https://pbx.example/1.wav"]
