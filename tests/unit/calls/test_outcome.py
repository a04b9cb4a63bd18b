"""Times, talks and legs of one call, in the small."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest

from lib.calls.call import Call, assemble
from lib.calls.linking import group
from lib.calls.settings import Settings
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, Stream

ENTERPRISE, _ = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
LINE, DESK, COLLEAGUE = "SIP/0001301-0000000a", "SIP/151-0000001e", "SIP/152-0000002e"


def call_of(
    stream: Stream,
    *,
    directory=DIRECTORY,
    settings: Settings = playback.DEFAULTS,
    later: float = 0,
    origin: str = "live",
) -> Call:
    """The call of the main id 0, looked at when all events have come, or `later`."""
    events = [dataclasses.replace(event, origin=origin) for event in playback.parsed(stream.scenario(stream.id(0)))]
    now = max(event.received_at for event in events) + timedelta(seconds=later)
    calls = [assemble(members, directory, settings, now) for members in group(events, directory)]
    (call,) = [call for call in calls if stream.id(0) in call.unique_ids]
    return call


def incoming(stream: Stream) -> Stream:
    return stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"])


def joined(stream: Stream, at: float, bridge: str | None = "B") -> Stream:
    stream.joins(at, stream.id(0), LINE, bridge, CUSTOMER, "151")
    return stream.joins(at, stream.id(1), DESK, bridge, "151", CUSTOMER)


# How long


@pytest.mark.parametrize(
    ("ended", "seconds"),
    [(25, 20), (30, 25), (3, 25), (40, 25), (-8000, 25)],
    ids=["EndTime between join and receipt", "at the receipt", "before the join", "after the receipt", "nonsense"],
)
def test_what_no_leave_closes_ends_with_the_hangup(ended, seconds):
    stream = joined(incoming(Stream()), 5)
    stream.hangup(30, stream.id(0), 0, "2", ["151"], ended=ended)

    assert call_of(stream).duration_seconds == seconds


def test_a_bridge_that_was_told_of_in_the_instant_of_the_hangup_did_not_last_until_the_recording_came():
    stream = joined(incoming(Stream()), 30).hangup(30, Stream().id(0), 0, "2", ["151"])
    stream.add(90, "recording", stream.id(0), record_url="https://pbx.example/1.wav")

    assert call_of(stream).duration_seconds == 0


def test_a_lost_leave_is_made_good_by_the_empty_bridge_and_its_own_leave_knows_better():
    stream = joined(incoming(Stream()), 5)
    stream.leaves(20, stream.id(1), DESK, "B", "151", CUSTOMER, 0).hangup(50, stream.id(0), 2, "0", ["152"])
    lost = call_of(stream)
    stream.leaves(22, stream.id(0), LINE, "B", CUSTOMER, "151", 1)

    assert (lost.duration_seconds, call_of(stream).duration_seconds) == (15, 17)


def test_a_lost_join_is_made_good_by_the_leave_and_is_an_estimate():
    stream = incoming(Stream())
    stream.joins(5, stream.id(1), DESK, "B", "151", CUSTOMER).leaves(20, stream.id(1), DESK, "B", "151", CUSTOMER, 1)
    stream.leaves(21, stream.id(0), LINE, "B", CUSTOMER, "151", 0).hangup(23, stream.id(0), 0, "2", ["151"])

    call = call_of(stream)

    assert (call.duration_seconds, call.duration_is_estimate, call.owner_extension) == (16, True, "151")


def test_entering_a_bridge_leaves_the_other_one():
    stream = joined(incoming(Stream()), 5)
    stream.joins(15, stream.id(0), LINE, "C", CUSTOMER, "152").joins(16, stream.id(2), COLLEAGUE, "C", "152", CUSTOMER)
    stream.leaves(40, stream.id(0), LINE, "C", CUSTOMER, "152", 1).leaves(
        41, stream.id(1), DESK, "B", "151", CUSTOMER, 0
    )
    stream.hangup(42, stream.id(0), 0, "2", ["151"])

    call = call_of(stream)

    assert (call.duration_seconds, call.owner_extension) == (35, "152")
    assert [(talk.person.extension, (talk.until - talk.since).total_seconds()) for talk in call.talks] == [
        ("151", 10),
        ("152", 24),
    ]


def test_a_customer_who_is_moved_from_bridge_to_bridge_is_in_one_interval():
    stream = joined(incoming(Stream()), 5)
    stream.joins(15, stream.id(0), LINE, "C", CUSTOMER, "152").joins(15, stream.id(2), COLLEAGUE, "C", "152", CUSTOMER)
    stream.leaves(40, stream.id(0), LINE, "C", CUSTOMER, "152", 1).hangup(42, stream.id(0), 0, "2", ["152"])

    [(since, until)] = call_of(stream).customer_intervals

    assert [(at - stream.base).total_seconds() for at in (since, until)] == [5, 40]


def test_a_number_that_the_manager_consults_is_not_the_customer_of_an_outgoing_call():
    stream, second_line = Stream(), "SIP/0001302-0000000b"
    stream.dial_out(0, stream.id(0), ["151"]).joins(5, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(5, stream.id(0), DESK, "B", "151", CUSTOMER).leaves(15, stream.id(0), DESK, "B", "151", CUSTOMER, 1)
    stream.leaves(16, stream.id(1), LINE, "B", CUSTOMER, "151", 0).joins(20, stream.id(0), DESK, "C", "151", MOBILE)
    stream.joins(20, stream.id(3, 17), second_line, "C", MOBILE, "151")
    stream.leaves(50, stream.id(3, 17), second_line, "C", MOBILE, "151", 1)
    stream.leaves(50, stream.id(0), DESK, "C", "151", MOBILE, 0).hangup(51, stream.id(0), 1, "2", ["151"])

    assert call_of(stream).duration_seconds == 11


def test_a_second_identical_leave_after_a_return_is_real():
    stream = joined(incoming(Stream()), 5)
    stream.leaves(15, stream.id(0), LINE, "B", CUSTOMER, "151", 1).joins(18, stream.id(0), LINE, "B", CUSTOMER, "151")
    stream.leaves(28, stream.id(0), LINE, "B", CUSTOMER, "151", 1).hangup(40, stream.id(0), 0, "2", ["151"])

    call = call_of(stream)

    assert call.duration_seconds == 20
    assert "duplicate" not in {decision.code for decision in call.decisions}


def test_a_consultation_counts_as_holding_and_its_partner_did_not_talk():
    stream = joined(incoming(Stream()), 5)
    stream.leaves(10, stream.id(1), DESK, "B", "151", CUSTOMER, 1).joins(11, stream.id(1), DESK, "C", "151", CUSTOMER)
    stream.joins(12, stream.id(2), COLLEAGUE, "C", "152", "151").leaves(
        20, stream.id(2), COLLEAGUE, "C", "152", "151", 1
    )
    stream.leaves(21, stream.id(1), DESK, "C", "151", "152", 0).joins(22, stream.id(1), DESK, "B", "151", CUSTOMER)
    stream.leaves(30, stream.id(1), DESK, "B", "151", CUSTOMER, 1).leaves(
        31, stream.id(0), LINE, "B", CUSTOMER, "151", 0
    )
    stream.hangup(33, stream.id(0), 0, "2", ["152"])

    call = call_of(stream)

    assert (call.duration_seconds, call.owner_extension) == (26, "151")
    assert {talk.person.extension for talk in call.talks} == {"151"}


def test_a_chain_of_local_channels_connects_and_a_person_in_two_bridges_does_not():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "A", CUSTOMER, "300")
    for number in (1, 2):
        one, two = (f"Local/{number}00@ctx-0000000{number};{half}" for half in (1, 2))
        stream.joins(5 + number, stream.id(10 + number), one, "ABC"[number - 1], "x", "y")
        stream.joins(5 + number, stream.id(20 + number), two, "ABC"[number], "x", "y")
    stream.joins(10, stream.id(30), COLLEAGUE, "C", "152", "x").joins(
        12, stream.id(31), "SIP/150-00aa", "C", "150", "x"
    )
    stream.leaves(20, stream.id(31), "SIP/150-00aa", "C", "150", "x", 2).leaves(
        30, stream.id(0), LINE, "A", CUSTOMER, "300", 1
    )
    stream.hangup(32, stream.id(0), 0, "0", [""])

    call = call_of(stream)

    assert [(talk.person.extension, talk.seen) for talk in call.talks] == [("152", True), ("150", True)]
    assert (call.answered, call.owner_extension) == (True, "152")


def test_bridges_without_ids_hold_whoever_name_each_other():
    stream = joined(incoming(Stream()), 5, bridge=None)
    stream.joins(7, stream.id(2), COLLEAGUE, None, "152", "153").hangup(30, stream.id(0), 0, "2", ["151"])

    call = call_of(stream)

    assert {talk.person.extension for talk in call.talks} == {"151"}


# Who


def test_the_customers_own_connected_line_counts_where_nobody_is_seen():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "151").leaves(20, stream.id(0), LINE, "B", CUSTOMER, "151", 0)
    stream.hangup(22, stream.id(0), 0, "0", ["150"])

    call = call_of(stream)

    assert (call.answered, call.owner_extension, call.talks[0].seen) == (True, "151", False)


@pytest.mark.parametrize(
    ("connected", "owner"), [(MOBILE, "153"), ("375293333333", None), ("300", None), ("901", None)]
)
def test_a_connected_line_that_is_a_mobile_or_nobodys_telephone(connected, owner):
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, connected).leaves(
        20, stream.id(0), LINE, "B", CUSTOMER, connected, 0
    )
    stream.hangup(22, stream.id(0), 0, "2", ["150"])

    call = call_of(stream)

    assert (call.answered, call.owner_extension) == (True, owner)


def test_a_desk_phones_bridge_stands_in_for_a_customers_channel_that_is_never_shown():
    stream = incoming(Stream())
    stream.joins(5, stream.id(1), DESK, "B", "151", CUSTOMER).leaves(20, stream.id(1), DESK, "B", "151", CUSTOMER, 1)
    stream.hangup(60, stream.id(0), 2, "0", ["152"])

    call = call_of(stream)

    assert (call.answered, call.owner_extension, call.waiting_seconds) == (True, "151", 5)
    assert (call.duration_seconds, call.duration_is_estimate) == (58, True)


def test_without_bridge_events_the_leg_that_was_answered_names_its_person():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", MOBILE])
    stream.dial_out(3, stream.id(2, 3), [CUSTOMER], MOBILE).hangup(30, stream.id(2, 3), 1, "2", [""], MOBILE, started=3)

    call = call_of(stream)

    assert (call.answered, call.answered_by_status, call.owner_extension, call.waiting_seconds) == (
        True,
        True,
        "153",
        None,
    )
    assert (call.duration_seconds, call.duration_is_estimate) == (25, True)


def test_without_bridge_events_an_outgoing_call_belongs_to_its_caller():
    stream = Stream(trunk="3000001")
    stream.dial_out(0, stream.id(0), ["151"]).hangup(30, stream.id(0), 1, "2", ["3000001"])

    assert call_of(stream).owner_extension == "151"


def test_a_missed_call_out_belongs_to_the_telephone_with_its_id_where_no_record_names_anybody():
    stream = Stream()
    stream.callerid(0, stream.id(0), DESK, "151", CUSTOMER).hangup(20, stream.id(0), 1, "0", ["0001301"])

    assert call_of(stream).owner_extension == "151"


def test_the_owner_is_the_first_talker_on_request():
    stream = joined(incoming(Stream()), 5)
    stream.joins(15, stream.id(0), LINE, "C", CUSTOMER, "152").joins(15, stream.id(2), COLLEAGUE, "C", "152", CUSTOMER)
    stream.hangup(30, stream.id(0), 0, "2", ["151"])

    assert call_of(stream).owner_extension == "152"
    assert call_of(stream, settings=Settings(owner_policy="first_talker")).owner_extension == "151"


def test_a_line_that_says_nothing_of_its_number_is_the_customers_in_an_outgoing_call():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(4, stream.id(0), DESK, "B", "151", "<unknown>", CUSTOMER)
    stream.joins(3, stream.id(1), LINE, "B", "<unknown>", "151").leaves(
        20, stream.id(1), LINE, "B", "<unknown>", "151", 0
    )
    stream.hangup(22, stream.id(0), 1, "2", ["151"])

    call = call_of(stream)

    assert (call.duration_seconds, call.waiting_seconds) == (17, 3)


# When


@pytest.mark.parametrize(
    ("host", "crm", "date"),
    [
        ("Europe/Minsk", "Europe/Minsk", "15:40:01"),
        ("Asia/Almaty", "Europe/Moscow", "15:40:01"),
        ("America/New_York", "Asia/Tokyo", "21:40:01"),
    ],
)
def test_the_date_is_the_hosts_start_on_the_wall_of_the_crm(host, crm, date):
    directory = dataclasses.replace(DIRECTORY, timezone=host, crm_timezone=crm)
    stream = Stream(zone=host)
    stream.dial_out(0, stream.id(0), ["151"]).hangup(30, stream.id(0), 1, "0", ["151"], started=1)

    call = call_of(stream, directory=directory)

    assert (f"{call.date_local:%H:%M:%S}", call.warnings) == (date, ())


def test_without_a_start_time_the_date_is_the_epochs_then_what_the_host_received():
    epoch, received = Stream(), Stream()
    epoch.hangup(30, epoch.id(0), 0, "2", ["151"], started=None)
    received.hangup(30, "no-epoch", 0, "2", ["151"], started=None, DateReceived="2025-10-01 10:00:00")
    events = playback.parsed(received.scenario("no-epoch"))

    later = assemble(events, DIRECTORY, Settings(), events[0].received_at)

    assert call_of(epoch).date_local == datetime(2025, 10, 10, 15, 40)  # noqa: DTZ001  (a wall clock)
    assert later.date_local == datetime(2025, 10, 1, 10)  # noqa: DTZ001


def test_a_host_whose_zone_is_wrong_still_counts_right_and_is_warned_of():
    stream = incoming(Stream(zone="Asia/Tokyo"))
    stream.hangup(30, stream.id(0), 0, "0", [""])

    call = call_of(stream)

    assert call.waiting_seconds == 28
    assert [(warning.code, warning.params["seconds"]) for warning in call.warnings] == [
        ("host_zone_looks_wrong", 6 * 3600)
    ]


@pytest.mark.parametrize("ahead", [-3600, 3600, -1_700_000_000])
def test_a_host_whose_clock_is_wrong_waits_by_our_receipts(ahead):
    stream = joined(incoming(Stream(epoch=1_760_100_000 + ahead)), 5)
    stream.hangup(30, stream.id(0), 0, "2", ["151"])
    scenario = stream.scenario(stream.id(0)) | {"base": 1_760_100_000}
    events = playback.parsed(scenario)

    call = assemble(events, DIRECTORY, Settings(), events[-1].received_at)

    assert (call.waiting_seconds, call.duration_seconds) == (5, 25)
    assert call.clock.lag_seconds == -ahead
    assert [warning.code for warning in call.warnings] == ["host_clock_looks_wrong"]


@pytest.mark.parametrize("started", [0, None], ids=["both", "its end alone"])
def test_a_recovered_call_waits_by_its_own_times(started):
    stream = Stream()
    stream.start(7200, stream.id(0)).dial(7200, stream.id(0), ["150"]).hangup(
        7200, stream.id(0), 0, "0", [""], started=started, ended=20
    )

    assert call_of(stream, origin="download").waiting_seconds == 20


@pytest.mark.parametrize(("before", "waited"), [(899, 4101), (900, 5000)])
def test_an_end_without_a_start_is_believed_only_near_its_receipt(before, waited):
    """Without a `StartTime` nobody knows whether the zone is right."""
    stream = incoming(Stream())
    stream.hangup(5000, stream.id(0), 0, "0", [""], started=None, ended=5000 - before)

    assert call_of(stream).waiting_seconds == waited


def test_when_a_call_without_its_end_was_recovered_is_not_when_it_ended():
    stream = incoming(Stream())

    assert call_of(stream, origin="download").waiting_seconds is None


def test_a_line_that_nobody_entered_is_warned_of():
    stream = Stream(trunk="0009999")
    stream.start(0, stream.id(0)).hangup(20, stream.id(0), 0, "0", [""])

    call = call_of(stream)

    assert (call.line_id, call.external_phone) == ("0009999", None)
    assert [warning.params["line"] for warning in call.warnings] == ["0009999"]


# The end


def test_an_incoming_call_that_hung_up_while_a_leg_rings_is_over_after_the_settle_time():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", MOBILE]).dial_out(
        3, stream.id(2, 3), [CUSTOMER], MOBILE
    )
    stream.hangup(20, stream.id(0), 0, "0", [""])

    early, settled = call_of(stream), call_of(stream, later=5)

    assert (early.over, early.pending, early.wake_at) == (
        False,
        ("phone_ringing",),
        stream.base + timedelta(seconds=25),
    )
    assert (settled.over, settled.over_at) == (True, stream.base + timedelta(seconds=25))


@pytest.mark.parametrize(("later", "over"), [(0, False), (89, False), (90, True)])
def test_an_outgoing_call_whose_customer_still_talks_ends_without_news(later, over):
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(4, stream.id(0), DESK, "B", "151", "<unknown>", CUSTOMER).leaves(
        10, stream.id(0), DESK, "B", "151", CUSTOMER, 1
    )
    stream.hangup(12, stream.id(0), 1, "2", ["151"])

    call = call_of(stream, later=later)

    assert call.over == over
    assert ("still_talking" in call.pending) != over


def test_an_outgoing_call_whose_customer_is_being_moved_is_not_over():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(4, stream.id(2), "Local/152@x-0001;1", "B", "152", "151").joins(
        4, stream.id(3), "Local/152@x-0001;2", "C", "151", "152"
    )
    stream.joins(5, stream.id(4), COLLEAGUE, "C", "152", "151").hangup(12, stream.id(0), 1, "2", [""])
    stream.leaves(13, stream.id(1), LINE, "B", CUSTOMER, "151", 1)

    assert "being_transferred" in call_of(stream).pending


def test_a_customers_own_hangup_ends_an_outgoing_call_as_a_leave_does():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1, 1), LINE, "B", CUSTOMER, "151")
    stream.hangup(12, stream.id(0), 1, "2", ["151"]).hangup(
        40, stream.id(1, 1), 2, "2", ["152"], started=None, ended=38
    )

    call = call_of(stream)

    assert (call.over, call.duration_seconds) == (True, 35)


def test_copies_are_no_news():
    stream = incoming(Stream())
    stream.hangup(20, stream.id(0), 0, "0", [""]).dial(4, stream.id(0), ["150", "151"])
    stream.events.append({**stream.events[-2], "at": 3600.0, "body": {**stream.events[-2]["body"], "Token": "another"}})

    call = call_of(stream)

    assert call.last_event_at == stream.base + timedelta(seconds=20)
    assert [decision.params["event_type"] for decision in call.decisions if decision.code == "duplicate"] == [
        "dial",
        "hangup",
    ]


def test_legs_have_roles():
    stream = joined(incoming(Stream()), 5)
    stream.callerid(3, stream.id(4, 3), "Local/152@x-0001;1", "152", "151").hangup(
        9, stream.id(4, 3), 2, "0", ["152"], "151", started=None
    )
    stream.joins(6, stream.id(5), "SIP/0001302-0009", "B", MOBILE, "151").hangup(30, stream.id(0), 0, "2", ["151"])

    roles = {(leg.channel.partition("-")[0], leg.role) for leg in call_of(stream).legs}

    assert roles == {("SIP/0001301", "customer"), ("SIP/151", "phone"), ("SIP/0001302", "line")}


def test_a_connected_line_that_is_the_line_itself_names_nobody():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "0001301").leaves(
        20, stream.id(0), LINE, "B", CUSTOMER, "0001301", 0
    )
    stream.hangup(22, stream.id(0), 0, "0", [""])

    call = call_of(stream)

    assert (call.answered, call.duration_seconds, call.result) == (False, 0, "no answer")


def test_nobody_named_but_a_status_that_says_so_is_answered_by_somebody_unknown():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "<unknown>").leaves(
        20, stream.id(0), LINE, "B", CUSTOMER, "<unknown>", 0
    )
    stream.hangup(22, stream.id(0), 0, "2", ["150"])

    call = call_of(stream)

    assert (call.answered, call.answered_by_status, call.duration_seconds, call.owner_extension) == (
        True,
        True,
        15,
        None,
    )


@pytest.mark.parametrize(("lag", "warned"), [(-6, True), (-5, False), (600, False), (601, True)])
def test_a_host_whose_receipts_are_too_early_or_too_late_is_warned_of(lag, warned):
    stream = Stream()
    stream.start(lag, stream.id(0)).hangup(lag + 30, stream.id(0), 0, "0", [""])

    assert bool(call_of(stream).warnings) == warned


@pytest.mark.parametrize(("off", "warned"), [(600, False), (601, True), (-601, True)])
def test_a_wall_clock_is_wrong_by_more_than_ten_minutes(off, warned):
    stream = Stream()
    stream.start(0, stream.id(0)).hangup(30, stream.id(0), 0, "0", [""], started=off, ended=off + 28)

    assert [warning.code for warning in call_of(stream).warnings] == ["host_zone_looks_wrong"] * warned


@pytest.mark.parametrize(("lag", "waiting"), [(60, 70), (61, 10), (-5, 5), (-6, 10)])
def test_a_start_that_came_within_a_minute_trusts_the_hosts_clock(lag, waiting):
    stream = Stream()
    stream.start(lag, stream.id(0)).joins(lag + 10, stream.id(0), LINE, "B", CUSTOMER, "151")
    stream.hangup(lag + 30, stream.id(0), 0, "2", ["151"])

    assert call_of(stream).waiting_seconds == waiting


def test_a_lone_hangup_began_by_its_id_unless_that_is_no_time_of_ours():
    lone, from_1970 = Stream(), Stream(epoch=12_345)
    lone.hangup(30, lone.id(0), 0, "2", ["151"])
    from_1970.hangup(30, from_1970.id(0), 0, "2", ["151"])
    events = playback.parsed(from_1970.scenario(from_1970.id(0)) | {"base": 1_760_100_000})

    assert call_of(lone).started_at == lone.base
    assert assemble(events, DIRECTORY, Settings(), events[0].received_at).started_at == events[0].received_at


def test_a_customer_who_was_moved_before_and_now_left_is_not_being_moved():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(4, stream.id(2), "Local/152@x-0001;1", "B", "152", "151").joins(
        4, stream.id(3), "Local/152@x-0001;2", "C", "151", "152"
    )
    stream.joins(5, stream.id(4), COLLEAGUE, "C", "152", "151").hangup(12, stream.id(0), 1, "2", [""])
    stream.leaves(13, stream.id(1), LINE, "B", CUSTOMER, "151", 1).joins(14, stream.id(1), LINE, "C", CUSTOMER, "152")
    stream.leaves(40, stream.id(1), LINE, "C", CUSTOMER, "152", 1)

    call = call_of(stream)

    assert (call.over, call.over_at) == (True, stream.base + timedelta(seconds=40))


def test_two_lines_of_a_failover_count_their_common_time_once():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(5, stream.id(2), "SIP/0001302-0009", "B", CUSTOMER, "151").leaves(
        20, stream.id(1), LINE, "B", CUSTOMER, "151", 1
    )
    stream.leaves(23, stream.id(2), "SIP/0001302-0009", "B", CUSTOMER, "151", 0).hangup(
        25, stream.id(0), 1, "2", ["151"]
    )

    call = call_of(stream)

    assert (call.duration_seconds, call.customer_intervals) == (
        20,
        ((stream.base + timedelta(seconds=3), stream.base + timedelta(seconds=23)),),
    )


def test_without_a_start_time_an_estimate_goes_by_what_the_host_received_then_by_the_epoch():
    received, epoch = Stream(), Stream()
    received.hangup(30, received.id(0), 0, "2", ["151"], started=None, DateReceived=received.wall(8))
    epoch.hangup(30, epoch.id(0), 0, "2", ["151"], started=None, DateReceived="")

    assert [call_of(stream).duration_seconds for stream in (received, epoch)] == [20, 28]


def test_the_id_that_stood_on_two_channels_is_two_channels():
    stream = joined(incoming(Stream()), 5)
    twice = stream.id(9, 6)
    stream.joins(6, twice, COLLEAGUE, "B", "152", "151").joins(7, twice, "Local/152@x-0001;1", "D", "152", "151")
    stream.leaves(8, twice, COLLEAGUE, "B", "152", "151", 2).hangup(30, stream.id(0), 0, "2", ["151"])

    stays = {leg.channel: leg.stays for leg in call_of(stream).legs}

    assert stays[COLLEAGUE] == (("B", stream.base + timedelta(seconds=6), stream.base + timedelta(seconds=8)),)
    assert stays["Local/152@x-0001;1"] == (("D", stream.base + timedelta(seconds=7), None),)


def test_a_connected_line_that_is_the_number_of_the_line_names_nobody():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "375290000101").leaves(
        20, stream.id(0), LINE, "B", CUSTOMER, "x", 0
    )
    stream.hangup(22, stream.id(0), 0, "0", [""])

    assert not call_of(stream).answered


def test_a_telephone_that_shares_the_main_id_is_not_the_customer():
    stream = incoming(Stream())
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "151").joins(6, stream.id(0), DESK, "B", "151", CUSTOMER)
    stream.leaves(20, stream.id(0), LINE, "B", CUSTOMER, "151", 1).leaves(
        40, stream.id(0), DESK, "B", "151", CUSTOMER, 0
    )
    stream.hangup(42, stream.id(0), 0, "2", ["151"])

    call = call_of(stream)

    assert (call.duration_seconds, [talk.seen for talk in call.talks]) == (15, [True])


def test_a_bridge_entered_after_the_hangup_of_the_main_id_ends_with_the_last_news():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).callerid(1, stream.id(1), LINE, CUSTOMER, "151")
    stream.hangup(10, stream.id(0), 1, "2", ["151"], ended=9)
    stream.joins(12, stream.id(1), LINE, "B", CUSTOMER, "152").joins(13, stream.id(2), COLLEAGUE, "B", "152", CUSTOMER)
    stream.leaves(30, stream.id(2), COLLEAGUE, "B", "152", CUSTOMER, 1)

    assert call_of(stream).duration_seconds == 18


def test_an_outgoing_call_that_was_put_through_to_a_department_stays_outgoing():
    stream = Stream()
    department = stream.id(5, 20)
    stream.dial_out(0, stream.id(0), ["151"]).joins(3, stream.id(1), LINE, "B", CUSTOMER, "151")
    stream.joins(4, stream.id(0), DESK, "B", "151", "<unknown>", CUSTOMER).leaves(
        20, stream.id(0), DESK, "B", "151", CUSTOMER, 1
    )
    stream.joins(21, department, "Local/901@x-0001;1", "B", "901", "151").hangup(22, stream.id(0), 1, "2", [""])
    stream.hangup(40, department, 0, "2", ["SIP/152"], started=None, Trunk="").leaves(
        41, stream.id(1), LINE, "B", CUSTOMER, "152", 0
    )

    call = call_of(stream)

    assert (call.kind, call.main_unique_id, call.duration_seconds) == ("out", stream.id(0), 38)


@pytest.mark.parametrize(("after", "copies"), [(2, 1), (2.1, 0)])
def test_a_bridge_that_comes_again_after_the_leave_is_a_late_copy_or_a_return(after, copies):
    stream = incoming(Stream())
    for at in (5, 5 + after):
        stream.joins(at, stream.id(0), LINE, "B", CUSTOMER, "151")
    stream.leaves(6, stream.id(0), LINE, "B", CUSTOMER, "151", 1).hangup(30, stream.id(0), 0, "2", ["151"], ended=30)

    call = call_of(stream)

    assert [decision.code for decision in call.decisions] == ["duplicate"] * copies
    assert call.duration_seconds == (1 if copies else round(1 + 25 - after))


@pytest.mark.parametrize("entered", [True, False])
def test_a_desk_phone_speaks_for_the_customer_only_if_it_names_them(entered):
    stream = incoming(Stream())
    if entered:
        stream.joins(5, stream.id(1), DESK, "B", "151", "152")
    stream.leaves(20, stream.id(1), DESK, "B", "151", CUSTOMER, 1).add(
        21, "bridge_create", stream.id(0), BridgeUniqueid="B"
    )
    stream.hangup(22, stream.id(0), 0, "0", [""])

    assert not call_of(stream).answered


def test_a_call_that_was_dialled_out_stays_so_whatever_its_hangup_says():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).hangup(30, stream.id(0), 2, "0", ["152"])

    call = call_of(stream)

    assert (call.kind, call.owner_extension) == ("out", "151")


@pytest.mark.parametrize(
    ("call_type", "trunk", "kind"), [(0, "", "internal"), (2, "", "internal"), (0, "0001301", "in")]
)
def test_a_short_number_that_nobody_entered_is_internal_where_no_line_took_part(call_type, trunk, kind):
    stream = Stream()
    stream.hangup(30, stream.id(0), call_type, "2", ["151"], "177", started=None, Trunk=trunk)

    assert call_of(stream).kind == kind


@pytest.mark.parametrize(("caller", "kind"), [(CUSTOMER, "in"), ("", "unknown")])
def test_a_hangup_without_type_and_number_has_its_direction_from_its_caller(caller, kind):
    stream = Stream()
    stream.hangup(30, stream.id(0), None, "0", ["151"], "", CallerIDNum=caller)

    assert call_of(stream).kind == kind


def test_a_line_that_nobody_listed_is_named_in_a_warning():
    stream = Stream(trunk="0009999")
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).hangup(20, stream.id(0), 0, "0", [""])

    [warning] = call_of(stream).warnings

    assert (warning.code, warning.params) == ("unknown_line", {"line": "0009999"})


def test_a_warning_of_the_zone_names_the_zone():
    stream = Stream(zone="Asia/Vladivostok")
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).hangup(20, stream.id(0), 0, "0", [""])

    [warning] = [each for each in call_of(stream).warnings if each.code == "host_zone_looks_wrong"]

    assert warning.params == {"seconds": 7 * 3600, "timezone": "Europe/Minsk"}
