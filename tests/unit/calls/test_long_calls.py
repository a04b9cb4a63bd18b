"""What it costs to group and fold the events of a call that is larger than any real one, counted in steps of Python."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

from lib.calls import call as folding
from lib.calls.linking import group, link
from lib.calls.settings import Settings
from lib.calls.trees import CHANNELS_AT_MOST
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, Stream

ENTERPRISE, _ = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
LINE, DESK = "SIP/0001301-0000001c", "SIP/151-0000001e"
SMALL, TIMES = 80, 3
LATER = datetime.now(UTC) + timedelta(days=1)


def ringing():
    stream = Stream()
    return stream.start(0, stream.id(0)).dial(1, stream.id(0), ["151", MOBILE])


def shown_again(stream, number):
    stream.callerid(2 + number, stream.id(0), LINE, CUSTOMER, str(number))


def in_and_out_of_one_bridge(stream, number):
    stream.joins(4 * number + 2, stream.id(0), LINE, "B", CUSTOMER, "151")
    stream.leaves(4 * number + 4, stream.id(0), LINE, "B", CUSTOMER, "151")


def in_and_out_of_bridges_of_two(stream, number):
    for at, bridge in ((2, stream.joins), (4, stream.leaves)):
        bridge(4 * number + at, stream.id(0), LINE, f"B{number}", CUSTOMER, "151")
        bridge(4 * number + at, stream.id(1), DESK, f"B{number}", "151", CUSTOMER)


def leaves_that_nobody_joined(stream, number):
    stream.leaves(2 + number, stream.id(1), f"SIP/151-{number:08x}", "B", "151", CUSTOMER)


def channels_that_stay(stream, number):
    stream.joins(2 + number, stream.id(0), f"SIP/0001301-{number:08x}", "B", CUSTOMER, "151")


def a_chain_of_local_channels(stream, number):
    for half in (1, 2):
        channel = f"Local/152@dialexecute-{number:08x};{half}"
        stream.joins(2 + number, stream.id(9 + number), channel, f"B{number + half}", "152", CUSTOMER)


def legs_to_a_mobile(stream, number):
    stream.dial_out(3 + number, stream.id(9 + number, 3), [CUSTOMER], MOBILE)


def mains_of_many_dials(stream, number):
    stream.dial(2 + number, stream.id(0), [str(number + 1000)])


def steps(happen, count):
    """Of Python, to group these events and to fold each call: what a loop within a loop shows, and no clock does."""
    stream = ringing()
    for number in range(count):
        happen(stream, number)
    events = playback.parsed(stream.scenario(stream.id(0)))
    taken = 0

    def step(frame, what, _):
        nonlocal taken
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        taken += what == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        for members in group(events, DIRECTORY):
            folding.assemble(members, DIRECTORY, Settings(), LATER)
    finally:
        sys.settrace(before)
    return taken


@pytest.mark.parametrize(
    "happen",
    [
        shown_again,
        in_and_out_of_one_bridge,
        in_and_out_of_bridges_of_two,
        leaves_that_nobody_joined,
        channels_that_stay,
        a_chain_of_local_channels,
        legs_to_a_mobile,
        mains_of_many_dials,
    ],
    ids=lambda happen: happen.__name__,
)
def test_three_times_the_events_take_about_three_times_the_steps(happen):
    few, many = steps(happen, SMALL), steps(happen, TIMES * SMALL)

    print(f"{few} steps, {many} steps: {many / few:.2f} times")
    assert many < 1.4 * TIMES * few


def in_one_bridge(channels):
    """Calls of their own, each with a channel in the same bridge."""
    stream = Stream()
    for number in range(channels):
        main, phone = stream.id(number, number), f"3752933{number:05}"
        stream.start(number, main, phone)
        stream.joins(number + 1, main, f"SIP/0001301-{number:08x}", "B", phone, "151")
    return playback.parsed(stream.scenario(""))


def test_a_bridge_of_as_many_channels_as_a_conference_may_have_joins_them():
    [members] = group(in_one_bridge(CHANNELS_AT_MOST), DIRECTORY)

    assert len(members) == 2 * CHANNELS_AT_MOST


def test_a_bridge_id_that_more_channels_carry_ties_nothing_together():
    linked = link(in_one_bridge(CHANNELS_AT_MOST + 1), DIRECTORY)

    assert len(linked.groups) == CHANNELS_AT_MOST + 1
    assert linked.crowded == {"b:B"}
    assert {tuple(linked.names_shared(members)) for members in linked.groups} == {("B",)}


def test_what_was_seen_to_tie_nothing_among_many_ties_nothing_among_few():
    events = in_one_bridge(2)

    assert len(link(events, DIRECTORY).groups) == 1
    assert len(link(events, DIRECTORY, frozenset({"b:B"})).groups) == 2


def test_a_local_name_that_more_channels_carry_ties_nothing_together():
    stream = Stream()
    for number in range(CHANNELS_AT_MOST + 1):
        main, phone = stream.id(number, number), f"3752933{number:05}"
        stream.start(number, main, phone)
        stream.callerid(number + 1, main, "Local/152@dialexecute-00000000;1", phone, "152")

    assert len(group(playback.parsed(stream.scenario("")), DIRECTORY)) == CHANNELS_AT_MOST + 1
