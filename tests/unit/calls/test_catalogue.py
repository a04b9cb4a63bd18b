"""Shapes that hosts send and that are in no scenario; what is expected is reasoned from the rules of docs/calls.md."""

from __future__ import annotations

import dataclasses

import pytest

from lib.calls.plan import CallRow, EndNotice
from lib.calls.settings import Settings
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, OTHER_MOBILE, Stream

ENTERPRISE, _ = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)

LINE = "SIP/0001301-0000000a"
LINE_2 = "SIP/0001302-0000000b"
DESK = "SIP/151-0000001e"
COLLEAGUE = "SIP/152-0000002e"
PLUS = "+" + CUSTOMER


def play(stream: Stream, main: str, settings: Settings = playback.DEFAULTS, directory=DIRECTORY) -> playback.Outcome:
    return playback.play(playback.parsed(stream.scenario(main)), directory, settings)


def popups(outcome: playback.Outcome) -> list[tuple]:
    return [(popup.direction, popup.phone, *sorted(popup.extensions)) for popup in outcome.popups]


def ends(outcome: playback.Outcome) -> list[tuple]:
    return [(end.status, *end.extensions) for end in outcome.ends]


def rows(outcome: playback.Outcome) -> list[tuple]:
    return [(row.direction, row.result, row.extension, row.duration, row.waiting) for row in outcome.uploads]


def reasons(outcome: playback.Outcome) -> set[str]:
    return set().union(*outcome.reasons)


def outgoing_talk(stream: Stream, main: str, *, until: float) -> Stream:
    """151 dials the customer and talks in bridge B1 from second 3; 151's own channel has the main id."""
    line = stream.id(1, 1)
    stream.dial_out(0, main, ["151"]).callerid(1, line, LINE, CUSTOMER, "151").created(2, "B1")
    stream.joins(3, line, LINE, "B1", CUSTOMER, "151").joins(4, main, DESK, "B1", "151", "<unknown>", CUSTOMER)
    if until:
        stream.leaves(until, line, LINE, "B1", CUSTOMER, "151", 1).leaves(
            until + 0.5, main, DESK, "B1", "151", CUSTOMER, 0
        )
        stream.destroyed(until + 0.6, "B1")
    return stream


def incoming_talk(stream: Stream, main: str, *, until: float, rung: tuple[str, ...] = ("150", "151", "152")) -> Stream:
    """The customer calls, 151 answers in bridge B1 at second 5."""
    desk = stream.id(1)
    stream.start(0, main).callerid(0.5, main, LINE, CUSTOMER).dial(1, main, list(rung)).created(4, "B1")
    stream.joins(5, main, LINE, "B1", CUSTOMER, "151").joins(5.5, desk, DESK, "B1", "151", CUSTOMER)
    if until:
        stream.leaves(until, desk, DESK, "B1", "151", CUSTOMER, 1).leaves(
            until + 0.5, main, LINE, "B1", CUSTOMER, "151", 0
        )
        stream.destroyed(until + 0.6, "B1")
    return stream


# Outgoing


def test_1_4_attended_transfer_goes_on_after_the_hangup():
    stream = Stream()
    main, line, desk = stream.id(0), stream.id(1, 1), stream.id(4, 8)
    one, two = "Local/152@dialexecute-00000001;1", "Local/152@dialexecute-00000001;2"
    one_id, two_id = stream.id(2, 6), stream.id(3, 6)
    outgoing_talk(stream, main, until=0)
    stream.leaves(7, main, DESK, "B1", "151", CUSTOMER, 1).joins(8, main, DESK, "B2", "151", CUSTOMER)
    stream.joins(8.5, one_id, one, "B2", "152", "151").joins(9, two_id, two, "B3", "151", "152")
    stream.joins(10, desk, COLLEAGUE, "B3", "152", "151")
    stream.leaves(14, main, DESK, "B2", "151", "152", 1).leaves(14.5, one_id, one, "B2", "152", "151", 0)
    stream.joins(15, one_id, one, "B1", "152", "151").hangup(16, main, 1, "2", [""], ended=14)
    stream.leaves(17, line, LINE, "B1", CUSTOMER, "151", 1).joins(18, line, LINE, "B3", CUSTOMER, "152")
    stream.leaves(19, two_id, two, "B3", "151", "152", 2).leaves(20, one_id, one, "B1", "152", "151", 0)
    stream.leaves(40, desk, COLLEAGUE, "B3", "152", CUSTOMER, 1).leaves(41, line, LINE, "B3", CUSTOMER, "152", 0)

    outcome = play(stream, main)

    assert popups(outcome) == [("out", PLUS, "151")]
    assert ends(outcome) == [("answered", "151")]
    assert rows(outcome) == [("out", "answered", "152", 37, 3)]
    assert outcome.when(EndNotice, stream.base) == [41.0]
    assert outcome.when(CallRow, stream.base) == [46.0]


def test_1_4_where_only_the_customers_channel_shows_the_rest():
    stream = Stream()
    main, line = stream.id(0), stream.id(1, 1)
    outgoing_talk(stream, main, until=0)
    stream.leaves(14, main, DESK, "B1", "151", CUSTOMER, 1).hangup(16, main, 1, "2", [""], ended=14)
    stream.leaves(17, line, LINE, "B1", CUSTOMER, "151", 0).joins(18, line, LINE, "B3", CUSTOMER, "152")
    stream.leaves(60, line, LINE, "B3", CUSTOMER, "152", 0)

    outcome = play(stream, main)

    assert rows(outcome) == [("out", "answered", "152", 56, 3)]
    assert outcome.when(CallRow, stream.base) == [65.0]


def test_1_5_a_consultation_nobody_answers_changes_nothing():
    stream = Stream()
    main = stream.id(0)
    outgoing_talk(stream, main, until=30)
    stream.hangup(22, stream.id(3, 10), 2, "0", ["152"], "151", started=None)
    stream.hangup(32, main, 1, "2", ["151"])

    outcome = play(stream, main)

    assert sorted(call.kind for call in outcome.calls) == ["internal", "out"]
    assert rows(outcome) == [("out", "answered", "151", 27, 3)]


@pytest.mark.parametrize(("status", "talker", "seconds"), [("2", "152", 31), ("0", "151", 12)])
def test_1_6_and_1_7_blind_transfer_and_the_hangup_on_the_customers_channel(status, talker, seconds):
    stream = Stream()
    main, line, desk = stream.id(0), stream.id(1, 1), stream.id(5, 17)
    outgoing_talk(stream, main, until=15)
    stream.hangup(17, main, 1, "2", ["151"], ended=15)
    if status == "2":
        stream.joins(20, line, LINE, "B2", CUSTOMER, "152").joins(21, desk, COLLEAGUE, "B2", "152", CUSTOMER)
        stream.leaves(38, desk, COLLEAGUE, "B2", "152", CUSTOMER, 1).leaves(39, line, LINE, "B2", CUSTOMER, "152", 0)
    stream.hangup(41 if status == "2" else 21, line, 2, status, ["152"], started=None)

    outcome = play(stream, main)

    assert popups(outcome) == [("out", PLUS, "151")]
    assert ends(outcome) == [("answered", "151")]
    assert rows(outcome) == [("out", "answered", talker, seconds, 3)]


def test_a_blind_transfer_that_rings_longer_than_the_settle_time_is_a_correction():
    stream = Stream()
    main, line, desk = stream.id(0), stream.id(1, 1), stream.id(5, 17)
    outgoing_talk(stream, main, until=15)
    stream.hangup(17, main, 1, "2", ["151"], ended=15)
    stream.joins(40, line, LINE, "B2", CUSTOMER, "152").joins(41, desk, COLLEAGUE, "B2", "152", CUSTOMER)
    stream.leaves(58, desk, COLLEAGUE, "B2", "152", CUSTOMER, 1).leaves(59, line, LINE, "B2", CUSTOMER, "152", 0)

    outcome = play(stream, main)

    assert rows(outcome) == [("out", "answered", "151", 12, 3)]
    assert "corrected_after_upload" in reasons(outcome)


def test_1_9_a_line_that_fails_over_is_one_call_on_the_last_line():
    stream = Stream()
    main, second = stream.id(0), stream.id(2, 6)
    stream.dial_out(0, main, ["151"]).callerid(1, stream.id(1, 1), LINE, CUSTOMER, "151")
    stream.dial_out(5, main, ["151"], Trunk="0001302").callerid(6, second, LINE_2, CUSTOMER, "151")
    stream.joins(9, second, LINE_2, "B1", CUSTOMER, "151").joins(10, main, DESK, "B1", "151", "<unknown>", CUSTOMER)
    stream.leaves(20, second, LINE_2, "B1", CUSTOMER, "151", 1).leaves(21, main, DESK, "B1", "151", "<unknown>", 0)
    stream.hangup(23, main, 1, "2", [""], Trunk="0001302")

    outcome = play(stream, main)

    assert popups(outcome) == [("out", PLUS, "151")]
    assert rows(outcome) == [("out", "answered", "151", 11, 9)]
    assert outcome.uploads[0].line_number == "+375290000102"
    assert len(outcome.calls) == 1


def test_1_10_refused_or_busy():
    stream = Stream()
    main = stream.id(0)
    stream.dial_out(0, main, ["151"]).callerid(1, stream.id(1, 1), LINE, CUSTOMER, "151").hangup(9, main, 1, "0", [""])

    outcome = play(stream, main)

    assert ends(outcome) == [("no answered", "151")]
    assert rows(outcome) == [("out", "no answer", "151", 0, 7)]


@pytest.mark.parametrize(("extensions", "owner"), [(["151"], "151"), ([""], None), (["0001301"], None)])
def test_1_11_a_direction_that_the_plan_forbids(extensions, owner):
    stream = Stream()
    stream.hangup(3, stream.id(0), 1, "0", extensions, started=None)

    outcome = play(stream, stream.id(0))

    assert popups(outcome) == ([("out", PLUS, "151")] if owner else [])
    assert rows(outcome) == [("out", "not allowed", owner, 0, 1)]
    assert ("no_owner" in reasons(outcome)) == (owner is None)


# Click-to-call


def clicked(
    *, parasite_at: float | None, phone: str = CUSTOMER, connected: str = CUSTOMER, dialled: bool = True
) -> Stream:
    stream = Stream()
    manager, main, line = stream.id(1), stream.id(2, 2), stream.id(3, 3)
    stream.created(0, "A").joins(0.5, manager, DESK, "A", "151", connected)
    if dialled:
        stream.dial_out(2, main, ["151"])
    stream.callerid(3, line, LINE, CUSTOMER, "151").joins(8, line, LINE, "B", CUSTOMER, "151")
    stream.leaves(26, line, LINE, "B", CUSTOMER, "151", 0).hangup(28, main, 1, "2", [""], started=2, ended=26)
    if parasite_at is not None:
        stream.hangup(parasite_at, manager, 2, "2", ["151"], phone, started=None, ended=26)
    return stream


@pytest.mark.parametrize("parasite_at", [None, 27.5, 28.5])
@pytest.mark.parametrize(
    ("phone", "connected"),
    [(CUSTOMER, CUSTOMER), (PLUS, PLUS), ("<unknown>", "<unknown>"), ("151", "<unknown>"), ("", PLUS)],
)
def test_crm_out_with_its_parasite_before_or_after_or_not_at_all(parasite_at, phone, connected):
    stream = clicked(parasite_at=parasite_at, phone=phone, connected=connected)

    outcome = play(stream, stream.id(2, 2))

    assert popups(outcome) == [("out", PLUS, "151")]
    assert ends(outcome) == [("answered", "151")]
    assert rows(outcome) == [("out", "answered", "151", 18, 6)]
    assert len(outcome.calls) == 1


@pytest.mark.parametrize("parasite_at", [27.5, 28.5])
def test_crm_out_whose_dial_was_lost_is_still_one_outgoing_row(parasite_at):
    stream = clicked(parasite_at=parasite_at, dialled=False)

    outcome = play(stream, stream.id(2, 2))

    assert [(row.direction, row.result, row.extension) for row in outcome.uploads] == [("out", "answered", "151")]


def test_a_click_that_the_customer_does_not_answer_is_not_answered_by_the_managers_own_leg():
    stream = Stream()
    manager, main, line = stream.id(1), stream.id(2, 2), stream.id(3, 3)
    stream.created(0, "A").joins(1, manager, DESK, "A", "151", PLUS).dial_out(2, main, ["151"])
    stream.callerid(3, line, LINE, CUSTOMER, "151").hangup(30, main, 1, "0", [""], started=2)
    stream.hangup(30.5, manager, 2, "2", ["151"], started=None).leaves(31, manager, DESK, "A", "151", PLUS, 0)

    outcome = play(stream, main)

    assert ends(outcome) == [("no answered", "151")]
    assert [(row.result, row.extension, row.duration) for row in outcome.uploads] == [("no answer", "151", 0)]


def test_a_click_on_a_colleagues_mobile_is_an_ordinary_call():
    stream = Stream()
    manager, main, line = stream.id(1), stream.id(2, 2), stream.id(3, 3)
    stream.created(0, "A").joins(1, manager, DESK, "A", "151", "+" + MOBILE).dial_out(2, main, ["151"], MOBILE)
    stream.callerid(3, line, LINE, MOBILE, "151").joins(8, line, LINE, "B", MOBILE, "151")
    stream.leaves(20, line, LINE, "B", MOBILE, "151", 0).hangup(22, main, 1, "2", [""], MOBILE, started=2)

    outcome = play(stream, main)

    assert popups(outcome) == [("out", "+" + MOBILE, "151")]
    assert rows(outcome) == [("out", "answered", "151", 12, 6)]


def test_a_click_on_a_colleagues_mobile_whose_own_leg_names_nobody_is_an_ordinary_call():
    """The leg's channel left its bridge before the dial, and its event says only that the other party is not known."""
    stream = Stream()
    manager, main = stream.id(1), stream.id(2, 2)
    stream.joins(1, manager, DESK, "A", "151", "<unknown>").leaves(1.5, manager, DESK, "A", "151", "<unknown>", 0)
    stream.dial_out(2, main, ["151"], MOBILE).hangup(22, main, 1, "0", ["151"], MOBILE, started=2)

    outcome = play(stream, main)

    assert popups(outcome) == [("out", "+" + MOBILE, "151")]
    assert [row[:3] for row in rows(outcome)] == [("out", "no answer", "151")]


def test_a_click_on_a_colleagues_mobile_while_another_call_goes_on():
    """The telephone was put through to that number first, so nothing follows anybody."""
    stream = Stream()
    other, manager, main = stream.id(10), stream.id(20, 30), stream.id(21, 31)
    stream.start(0, other).dial(1, other, ["151"]).joins(5, other, LINE, "B1", CUSTOMER, "151")
    stream.joins(5.5, stream.id(11), DESK, "B1", "151", CUSTOMER)
    stream.joins(30, manager, "SIP/151-000000ff", "A", "151", "+" + MOBILE).dial_out(31, main, ["151"], MOBILE)
    stream.hangup(50, main, 1, "0", ["151"], MOBILE, started=31)
    stream.leaves(90, other, LINE, "B1", CUSTOMER, "151", 1).leaves(90.5, stream.id(11), DESK, "B1", "151", CUSTOMER, 0)
    stream.hangup(92, other, 0, "2", ["151"])

    outcome = play(stream, other)

    assert rows(outcome) == [("out", "no answer", "151", 0, 17), ("in", "answered", "151", 85, 5)]


def test_a_second_click_a_moment_later_is_a_call_of_its_own():
    stream = Stream()
    for number, at in enumerate((0, 40)):
        manager, main, line = (stream.id(10 * number + place, at) for place in (1, 2, 3))
        stream.joins(at + 1, manager, DESK, f"A{number}", "151", PLUS).dial_out(at + 2, main, ["151"])
        stream.callerid(at + 3, line, LINE, CUSTOMER, "151").hangup(at + 20, main, 1, "0", [""], started=at + 2)
        stream.leaves(at + 21, manager, DESK, f"A{number}", "151", PLUS, 0)

    outcome = play(stream, stream.id(2))

    assert [(row.external_id, row.result) for row in outcome.uploads] == [
        (stream.id(2), "no answer"),
        (stream.id(12, 40), "no answer"),
    ]
    assert [len(call.unique_ids) for call in outcome.calls] == [3, 3]


# Incoming


@pytest.mark.parametrize(
    ("mobile", "person", "names"),
    [(MOBILE, "153", ("150", "151", "152", "153")), (OTHER_MOBILE, None, ("150", "151", "152"))],
)
def test_2_5_a_mobile_answers_and_the_main_id_never_hangs_up(mobile, person, names):
    stream = Stream()
    main, one_id, two_id, second = stream.id(0), stream.id(1, 3), stream.id(2, 3), stream.id(4, 8)
    one, two = f"Local/{mobile}@179e93af-00000004;1", f"Local/{mobile}@179e93af-00000004;2"
    stream.start(0, main).callerid(1, main, LINE, CUSTOMER).dial(2, main, ["150", mobile, "151", "152"])
    stream.callerid(3, one_id, one, "0001301", CUSTOMER).callerid(4, two_id, two, CUSTOMER, "0001301")
    stream.dial_out(5, two_id, [CUSTOMER], mobile).callerid(6, stream.id(3, 6), LINE, mobile, CUSTOMER)
    stream.dial_out(7, two_id, [CUSTOMER], mobile, Trunk="0001302").callerid(8, second, LINE_2, mobile, CUSTOMER)
    stream.joins(12, second, LINE_2, "A", mobile, CUSTOMER).joins(13, two_id, two, "A", CUSTOMER, "0001301")
    stream.joins(14, main, LINE, "B", CUSTOMER, mobile).joins(15, one_id, one, "B", "0001301", CUSTOMER)
    stream.leaves(30, second, LINE_2, "A", mobile, CUSTOMER, 1).leaves(30.5, two_id, two, "A", CUSTOMER, "0001301", 0)
    stream.leaves(31, main, LINE, "B", CUSTOMER, mobile, 1).leaves(31.5, one_id, one, "B", "0001301", CUSTOMER, 0)
    stream.hangup(33, two_id, 1, "2", [""], mobile, started=4, Trunk="0001302")

    outcome = play(stream, main)

    assert popups(outcome) == [("in", PLUS, *names)]
    assert ends(outcome) == [("answered", *names)]
    assert rows(outcome) == [("in", "answered", person, 17, 14)]
    assert outcome.uploads[0].line_number == "+375290000101"
    assert outcome.when(CallRow, stream.base) == [33 + 90]
    assert ("no_mapping" in reasons(outcome)) == ("no_owner" in reasons(outcome)) == (person is None)


def test_2_5_from_a_host_that_does_not_show_local_channels():
    stream = Stream()
    main, two_id, line = stream.id(0), stream.id(2, 3), stream.id(4, 8)
    stream.start(0, main).dial(2, main, ["150", MOBILE]).dial_out(5, two_id, [CUSTOMER], MOBILE)
    stream.callerid(8, line, LINE_2, MOBILE, CUSTOMER).joins(12, line, LINE_2, "A", MOBILE, CUSTOMER)
    stream.joins(14, main, LINE, "B", CUSTOMER, MOBILE)
    stream.leaves(30, line, LINE_2, "A", MOBILE, CUSTOMER, 1).leaves(31, main, LINE, "B", CUSTOMER, MOBILE, 1)
    stream.hangup(33, two_id, 1, "2", [""], MOBILE, started=4)

    outcome = play(stream, main)

    assert rows(outcome) == [("in", "answered", "153", 17, 14)]


def test_a_consultation_whose_local_channels_are_not_shown_is_no_call_of_its_own():
    stream = Stream()
    main = stream.id(0)
    incoming_talk(stream, main, until=40)
    stream.hangup(30, stream.id(7, 20), 2, "2", ["152"], started=None)
    stream.hangup(42, main, 0, "2", ["151"])

    outcome = play(stream, main)

    assert rows(outcome) == [("in", "answered", "151", 36, 5)]
    assert popups(outcome) == [("in", PLUS, "150", "151", "152")]


def test_2_9_a_consultation_unanswered():
    stream = Stream()
    main = stream.id(0)
    incoming_talk(stream, main, until=40)
    stream.hangup(30, stream.id(7, 20), 2, "0", [""], "151", started=None).hangup(42, main, 0, "2", ["151"])

    assert rows(play(stream, main)) == [("in", "answered", "151", 36, 5)]


@pytest.mark.parametrize(("status", "talker", "seconds"), [("2", "152", 34), ("0", "151", 16)])
def test_2_10_and_2_11_blind_transfer_makes_the_main_hangup_a_local_one(status, talker, seconds):
    stream = Stream()
    main, desk = stream.id(0), stream.id(2, 21)
    incoming_talk(stream, main, until=20)
    if status == "2":
        stream.joins(32, main, LINE, "B2", CUSTOMER, "152").joins(33, desk, COLLEAGUE, "B2", "152", CUSTOMER)
        stream.leaves(50, desk, COLLEAGUE, "B2", "152", CUSTOMER, 1).leaves(50.5, main, LINE, "B2", CUSTOMER, "152", 0)
    stream.hangup(55, main, 2, status, ["152"])

    outcome = play(stream, main)

    assert ends(outcome) == [("answered", "150", "151", "152")]
    assert rows(outcome) == [("in", "answered", talker, seconds, 5)]
    assert outcome.when(CallRow, stream.base) == [55.0]


def test_2_11_from_a_host_that_lost_the_hangup_waits_for_the_second_ringing():
    stream = Stream()
    main = stream.id(0)
    incoming_talk(stream, main, until=20)
    stream.dial(80, main, ["150", "153"])

    outcome = play(stream, main)

    assert popups(outcome) == [("in", PLUS, "150", "151", "152"), ("in", PLUS, "153")]
    assert outcome.when(CallRow, stream.base) == [170.0]


def test_2_15_nobody_answers_and_the_legs_hangup_comes_late():
    stream = Stream()
    main, leg = stream.id(0), stream.id(2, 12)
    stream.start(0, main).dial(1, main, ["150"]).dial(12, main, ["150", MOBILE])
    stream.dial_out(14, leg, [CUSTOMER], MOBILE).hangup(30, main, 0, "0", [""])
    stream.hangup(32, leg, 1, "0", [CUSTOMER], MOBILE, started=14)

    outcome = play(stream, main)

    assert popups(outcome) == [("in", PLUS, "150"), ("in", PLUS, "153")]
    assert rows(outcome) == [("in", "no answer", "150", 0, 28)]
    assert outcome.when(CallRow, stream.base) == [32.0]


def follow_me(*, mobile: str, local: bool, answered: bool, main_hangup: bool = True, status: str = "2") -> Stream:
    """151 answers and transfers to follow-me 300, which rings a mobile on a leg in the name of 151."""
    stream = Stream()
    main, desk, leg, line = stream.id(0), stream.id(1), stream.id(5, 20), stream.id(6, 21)
    one, two = f"Local/{mobile}@179e93af-0000000c;1", f"Local/{mobile}@179e93af-0000000c;2"
    incoming_talk(stream, main, until=0)
    stream.leaves(15, desk, DESK, "B1", "151", CUSTOMER, 1).joins(16, desk, DESK, "B2", "151", CUSTOMER)
    if local:
        stream.callerid(20, stream.id(4, 20), one, "300", "151").callerid(20.5, leg, two, "151", "300")
    stream.dial_out(21, leg, ["151"], mobile)
    if answered:
        stream.joins(30, leg, two, "C", "151", "300").joins(31, line, LINE_2, "C", mobile, "151")
        stream.leaves(34, desk, DESK, "B2", "151", "300", 0).joins(35, stream.id(4, 20), one, "B1", "300", CUSTOMER)
        stream.leaves(60, line, LINE_2, "C", mobile, CUSTOMER, 1).leaves(60.5, leg, two, "C", CUSTOMER, "300", 0)
        stream.hangup(61, leg, 1, "2", [CUSTOMER], mobile, started=21)
        stream.leaves(62, stream.id(4, 20), one, "B1", "300", CUSTOMER, 1)
    else:
        stream.hangup(40, leg, 1, "0", ["151"], mobile, started=21)
        stream.leaves(41, desk, DESK, "B2", "151", "300", 0).joins(42, desk, DESK, "B1", "151", "300")
        stream.leaves(61, desk, DESK, "B1", "151", CUSTOMER, 1)
    stream.leaves(62.5, main, LINE, "B1", CUSTOMER, "151", 0)
    if main_hangup:
        stream.hangup(64, main, 0, status, ["151"] if status == "2" else [""])
    return stream


@pytest.mark.parametrize(("mobile", "local"), [(MOBILE, False), (MOBILE, True), (OTHER_MOBILE, True)])
def test_2_26_and_2_30_an_unanswered_follow_me_leg_is_no_outgoing_call(mobile, local):
    stream = follow_me(mobile=mobile, local=local, answered=False)

    outcome = play(stream, stream.id(0))

    assert popups(outcome) == [("in", PLUS, "150", "151", "152")]
    assert rows(outcome) == [("in", "answered", "151", 58, 5)]


@pytest.mark.parametrize("main_hangup", [True, False])
def test_2_24_and_2_28_the_mobile_of_a_follow_me_talks_last(main_hangup):
    stream = follow_me(mobile=MOBILE, local=True, answered=True, main_hangup=main_hangup)

    outcome = play(stream, stream.id(0))

    assert rows(outcome) == [("in", "answered", "153", 58, 5)]
    assert outcome.when(CallRow, stream.base) == [64.0 if main_hangup else 152.5]


def test_2_29_a_status_of_nobody_does_not_undo_a_talk():
    stream = follow_me(mobile=MOBILE, local=True, answered=False, status="0")

    assert rows(play(stream, stream.id(0))) == [("in", "answered", "151", 58, 5)]


def test_the_last_talker_at_a_number_that_is_nobodys_leaves_the_row_without_owner():
    stream = follow_me(mobile=OTHER_MOBILE, local=True, answered=True)

    last = play(stream, stream.id(0))
    first = play(stream, stream.id(0), Settings(owner_policy="first_talker"))

    assert rows(last) == [("in", "answered", None, 58, 5)]
    assert "no_owner" in reasons(last)
    assert rows(first) == [("in", "answered", "151", 58, 5)]


def test_a_real_call_to_a_colleagues_mobile_during_another_call_is_split_off_by_its_channel():
    """Looks like a follow-me leg until the channel of the telephone shows; the pop-up then is still news."""
    stream = Stream()
    main, second, line = stream.id(0), stream.id(9, 20), stream.id(10, 21)
    incoming_talk(stream, main, until=90)
    stream.dial_out(20, second, ["151"], MOBILE).joins(30, line, LINE_2, "C", MOBILE, "151")
    stream.joins(31, second, "SIP/151-000000ee", "C", "151", "<unknown>", MOBILE)
    stream.leaves(50, line, LINE_2, "C", MOBILE, "151", 1).leaves(
        50.5, second, "SIP/151-000000ee", "C", "151", MOBILE, 0
    )
    stream.hangup(52, second, 1, "2", ["151"], MOBILE, started=20).hangup(92, main, 0, "2", ["151"])

    outcome = play(stream, main)

    assert popups(outcome) == [("in", PLUS, "150", "151", "152"), ("out", "+" + MOBILE, "151")]
    assert rows(outcome) == [("out", "answered", "151", 20, 10), ("in", "answered", "151", 86, 5)]


def test_a_pickup_group_was_dialled_at_109_and_answered_at_117():
    stream = Stream()
    main, desk = stream.id(0), stream.id(1)
    stream.start(0, main).dial(1, main, ["109"]).joins(20, main, LINE, "B1", CUSTOMER, "117")
    stream.joins(20.5, desk, "SIP/117-0000001e", "B1", "117", CUSTOMER)
    stream.leaves(214, main, LINE, "B1", CUSTOMER, "117", 1).leaves(
        214.5, desk, "SIP/117-0000001e", "B1", "117", CUSTOMER, 0
    )
    stream.hangup(216, main, 0, "2", ["109"])

    outcome = play(stream, main)

    assert popups(outcome) == []
    assert rows(outcome) == [("in", "answered", "117", 194, 20)]
    assert outcome.uploads[0].user_id is None
    assert "no_mapping" in reasons(outcome)


def test_a_missed_call_belongs_to_the_first_mapped_extension_that_rang():
    stream = Stream()
    main = stream.id(0)
    stream.start(0, main).dial(1, main, ["109", MOBILE, "150"]).hangup(20, main, 0, "0", [""])

    assert rows(play(stream, main)) == [("in", "no answer", "153", 0, 18)]
    assert rows(play(stream, main, Settings(missed_owner="none"))) == [("in", "no answer", None, 0, 18)]


def test_the_same_customer_calls_again_at_once():
    stream = Stream()
    for number, at in enumerate((0, 25)):
        main = stream.id(number, at)
        stream.start(at, main).dial(at + 1, main, ["150", "151"]).hangup(at + 20, main, 0, "0", [""], started=at)

    outcome = play(stream, stream.id(0))

    assert len(outcome.uploads) == len(outcome.ends) == len(outcome.popups) == 2


def test_the_customer_calls_back_while_the_attempt_to_reach_them_is_a_minute_old():
    """151's telephone names the customer within a minute of 151's own dial: the ringing call has it all the same."""
    stream = Stream()
    out, main, desk = stream.id(0), stream.id(5, 30), stream.id(6, 30)
    stream.dial_out(0, out, ["151"]).callerid(1, stream.id(1), LINE, CUSTOMER, "151").hangup(12, out, 1, "0", ["151"])
    stream.start(30, main).dial(31, main, ["150", "151"]).joins(36, desk, DESK, None, "151", CUSTOMER)
    stream.joins(37, main, LINE, None, CUSTOMER, "151").hangup(60, main, 0, "2", ["151"], started=30)

    outcome = play(stream, out)

    assert rows(outcome) == [("out", "no answer", "151", 0, 10), ("in", "answered", "151", 21, 7)]
    assert [len(call.unique_ids) for call in outcome.calls] == [2, 2]


def test_a_stray_bridge_of_a_desk_phone_joins_the_call_that_rings_it():
    stream = Stream()
    main, desk = stream.id(0), stream.id(1)
    stream.start(0, main).dial(1, main, ["150", "151"]).joins(5, desk, DESK, "X", "151", CUSTOMER)
    stream.joins(6, main, LINE, "Y", CUSTOMER, "151").hangup(30, main, 0, "2", ["151"])

    outcome = play(stream, main)

    assert len(outcome.calls) == 1
    assert rows(outcome) == [("in", "answered", "151", 22, 6)]


def test_3_4_a_department_that_nobody_answers_is_internal():
    stream = Stream()
    stream.hangup(20, stream.id(0), 0, "0", ["SIP/150", "SIP/151"], "152", started=None, Trunk="")

    outcome = play(stream, stream.id(0))

    assert outcome.rows == []
    assert reasons(outcome) == {"internal"}


def test_follow_me_of_an_internal_call_is_not_an_outgoing_call():
    stream = Stream()
    main, leg = stream.id(0), stream.id(5, 10)
    stream.joins(1, main, COLLEAGUE, "B1", "152", "151", "151").joins(2, stream.id(1), DESK, "B1", "151", "152")
    stream.dial_out(10, leg, ["151"], MOBILE).hangup(20, leg, 1, "0", ["151"], MOBILE, started=10)
    stream.leaves(30, main, COLLEAGUE, "B1", "152", "151", 1).leaves(30.5, stream.id(1), DESK, "B1", "151", "152", 0)
    stream.hangup(32, main, 2, "2", ["151"], "152", started=None)

    outcome = play(stream, main)

    assert outcome.rows == []
    assert {"internal", "leg_of_another_call"} <= reasons(outcome)


@pytest.mark.parametrize("hangup_came", [True, False])
def test_a_call_to_a_colleagues_mobile_right_after_an_internal_call_is_a_call(hangup_came):
    stream = Stream()
    internal, main = stream.id(0), stream.id(5, 40)
    stream.joins(1, internal, COLLEAGUE, "B1", "152", "151", "151").joins(2, stream.id(1), DESK, "B1", "151", "152")
    stream.leaves(20, internal, COLLEAGUE, "B1", "152", "151", 1).leaves(
        20.5, stream.id(1), DESK, "B1", "151", "152", 0
    )
    if hangup_came:
        stream.hangup(22, internal, 2, "2", ["151"], "152", started=None)
    stream.dial_out(40, main, ["151"], MOBILE).hangup(60, main, 1, "0", ["151"], MOBILE, started=40)

    outcome = play(stream, internal)

    assert popups(outcome) == [("out", "+" + MOBILE, "151")]
    assert rows(outcome) == [("out", "no answer", "151", 0, 18)]


def test_a_mobile_leg_whose_call_was_lost_is_told_to_nobody():
    stream = Stream()
    leg = stream.id(1)
    stream.dial_out(5, leg, [CUSTOMER], MOBILE).hangup(30, leg, 1, "0", [CUSTOMER], MOBILE)

    outcome = play(stream, leg)

    assert outcome.rows == []
    assert reasons(outcome) == {"leg_of_another_call"}


def test_an_emergency_number_is_nobodys_customer():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"], "102").hangup(30, stream.id(0), 1, "2", ["151"], "102")

    outcome = play(stream, stream.id(0))

    assert outcome.rows == []
    assert reasons(outcome) == {"no_phone"}


def test_the_trunk_in_place_of_the_phone_is_no_number():
    stream = Stream(trunk="3000077")
    stream.start(0, stream.id(0), "3000077").dial(1, stream.id(0), ["150"], "3000077").hangup(
        9, stream.id(0), 0, "0", [""], "3000077"
    )

    outcome = play(stream, stream.id(0))

    assert outcome.rows == []
    assert "no_phone" in reasons(outcome)


@pytest.mark.parametrize(
    ("call_type", "caller", "direction"),
    [
        (2, None, "in"),
        (None, None, "in"),
        (None, PLUS, "in"),
        (None, "151", "out"),
        (2, "151", "out"),
        (0, "151", "in"),
        (1, PLUS, "out"),
    ],
)
def test_a_lone_hangup_goes_by_its_type_else_by_who_is_internal(call_type, caller, direction):
    stream = Stream()
    more = {"CallerIDNum": caller} if caller else {}
    stream.hangup(30, stream.id(0), call_type, "2", ["151"], **more)

    outcome = play(stream, stream.id(0))

    assert popups(outcome) == [(direction, PLUS, "151")]
    assert rows(outcome) == [(direction, "answered", "151", 28, None)]


def test_a_status_that_proves_nothing_is_unknown():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).hangup(20, stream.id(0), 0, "5", ["150"])

    outcome = play(stream, stream.id(0))

    assert ends(outcome) == [("no answered", "150")]
    assert rows(outcome) == [("in", "unknown", "150", 0, 18)]


def test_silence_ends_a_call_after_four_hours():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"])

    outcome = play(stream, stream.id(0))

    assert outcome.when(CallRow, stream.base) == [1 + 4 * 3600]
    assert rows(outcome) == [("in", "no answer", "150", 0, 1)]


def test_only_channels_are_kept_and_tell_nothing():
    stream = Stream()
    stream.callerid(0, stream.id(0), LINE, CUSTOMER, "151").joins(1, stream.id(0), LINE, "B1", CUSTOMER, "151")

    outcome = play(stream, stream.id(0))

    assert outcome.rows == []
    assert reasons(outcome) == {"only_channels"}


def test_the_site_and_the_number_are_those_of_the_first_inbound_line():
    line = dataclasses.replace(DIRECTORY.lines["0001302"], site_code="shop-2")
    directory = dataclasses.replace(DIRECTORY, lines={**DIRECTORY.lines, "0001302": line})
    stream = Stream(trunk="0001302")
    main = stream.id(0)
    stream.start(0, main).dial(1, main, ["150"], Trunk="0001301").hangup(20, main, 0, "0", [""], Trunk="0001301")

    outcome = play(stream, main, directory=directory)

    (popup,), (end,), (row,) = outcome.popups, outcome.ends, outcome.uploads
    assert {(told.line_number, told.site) for told in (popup, end)} == {("+375290000102", "shop-2")}
    assert (row.line_number, row.site) == ("+375290000102", "shop-2")


def test_numbers_of_eight_digits_are_equal_with_and_without_their_country():
    """Latvia dials no prefix: what the line shows is shorter than what was dialled."""
    directory = dataclasses.replace(
        DIRECTORY, region="LV", timezone="Europe/Riga", personal_phones={"+37129876543": "153"}
    )
    stream = Stream(zone="Europe/Riga")
    out, line = stream.id(0), stream.id(1)
    stream.dial_out(0, out, ["151"], "+37121234567").joins(3, line, LINE, "B", "21234567", "151")
    stream.joins(4, out, DESK, "B", "151", "<unknown>", "21234567").leaves(20, line, LINE, "B", "21234567", "151", 0)
    stream.hangup(22, out, 1, "2", ["151"], "37121234567")
    main, leg = stream.id(10, 100), stream.id(11, 102)
    stream.start(100, main, "22345678").dial(101, main, ["150", "29876543"], "22345678")
    stream.dial_out(102, leg, ["37122345678"], "+37129876543").hangup(
        130, leg, 1, "0", ["22345678"], "29876543", started=102
    )
    stream.hangup(131, main, 0, "0", [""], "22345678", started=100)

    outcome = play(stream, out, directory=directory)

    assert popups(outcome) == [("out", "+37121234567", "151"), ("in", "+37122345678", "150", "153")]
    assert rows(outcome) == [("out", "answered", "151", 17, 3), ("in", "no answer", "150", 0, 29)]
