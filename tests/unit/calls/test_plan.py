"""What is due, from a call and what the ledger holds about it."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from lib.calls.call import Call, assemble
from lib.calls.event import CallEvent
from lib.calls.linking import group
from lib.calls.plan import CallRow, EndNotice, RingNotice, Told, end_extensions, plan, row_content
from lib.calls.settings import Settings
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, MOBILE, Stream

ENTERPRISE, _ = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
LINE, DESK = "SIP/0001301-0000000a", "SIP/151-0000001e"


def missed() -> Stream:
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"])
    return stream.hangup(20, stream.id(0), 0, "0", [""])


def answered() -> Stream:
    stream = Stream()
    main, desk = stream.id(0), stream.id(1)
    stream.start(0, main).dial(1, main, ["150", "151"]).joins(5, main, LINE, "B", CUSTOMER, "151").joins(
        5, desk, DESK, "B", "151", CUSTOMER
    )
    stream.leaves(30, desk, DESK, "B", "151", CUSTOMER, 1).leaves(30, main, LINE, "B", CUSTOMER, "151", 0)
    return stream.hangup(32, main, 0, "2", ["151"])


def lone_hangup(**more: Any) -> Stream:
    stream = Stream()
    return stream.hangup(30, stream.id(0), 0, "2", ["151"], **more)


def call_at(stream: Stream, at: float, settings: Settings = playback.DEFAULTS) -> tuple[Call, datetime]:
    """The one call of the events that have come by then."""
    now = stream.base + timedelta(seconds=at)
    events = [event for event in playback.parsed(stream.scenario(stream.id(0))) if event.received_at <= now]
    (members,) = group(events, DIRECTORY)
    return assemble(members, DIRECTORY, settings, now), now


def wanted(stream: Stream, at: float, told: tuple[Told, ...] = (), settings: Settings = playback.DEFAULTS) -> list:
    call, now = call_at(stream, at, settings)
    return list(plan(call, told, now, settings).wanted)


def reasons(
    stream: Stream, at: float, told: tuple[Told, ...] = (), settings: Settings = playback.DEFAULTS
) -> list[str]:
    call, now = call_at(stream, at, settings)
    return [decision.code for decision in plan(call, told, now, settings).decisions]


def popup(*extensions: str, state: str = "delivered") -> Told:
    return Told(effect="popup", extensions=extensions, state=state)


# Pop-ups


def test_a_pop_up_says_who_whom_over_which_line_and_how_long_it_is_news():
    stream = missed()

    assert wanted(stream, 1) == [
        RingNotice(
            direction="in",
            phone="+" + CUSTOMER,
            extensions=("150", "151"),
            call_id=stream.id(0),
            line_number="+375290000101",
            site=None,
            expires_at=stream.base + timedelta(seconds=16),
        )
    ]


@pytest.mark.parametrize(("at", "told"), [(16, True), (16.001, False), (19, False)])
def test_ringing_is_news_for_a_while(at, told):
    stream = missed()

    assert bool(wanted(stream, at)) == told
    assert ("expired" in reasons(stream, at)) != told


def test_ringing_is_no_news_after_the_hangup():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).hangup(3, stream.id(0), 0, "0", [""])

    assert [type(notice) for notice in wanted(stream, 3)] == [CallRow]
    assert "expired" in reasons(stream, 3)


def test_a_dial_that_comes_after_the_hangup_tells_nobody():
    stream = Stream()
    stream.start(0, stream.id(0)).hangup(3, stream.id(0), 0, "0", [""]).dial(4, stream.id(0), ["150"])

    assert not any(isinstance(notice, RingNotice) for notice in wanted(stream, 4))


@pytest.mark.parametrize(
    "state", ["ready", "leased", "retry", "in_doubt", "delivered", "failed", "expired", "superseded", "held"]
)
def test_whoever_has_a_row_in_the_ledger_is_not_told_again(state):
    (notice,) = wanted(missed(), 2, (popup("150", state=state),))

    assert notice.extensions == ("151",)
    assert wanted(missed(), 2, (popup("150", state=state), popup("151"))) == []


def test_two_steps_of_a_cascade_in_one_look_are_two_notices():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).dial(2, stream.id(0), ["150", "109", "152"])

    assert [notice.extensions for notice in wanted(stream, 3)] == [("150",), ("152",)]
    assert "no_mapping" in reasons(stream, 3)


def test_nobody_is_told_in_place_of_those_who_are_not_mapped():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["109", "375299999999"])

    assert wanted(stream, 1) == []
    assert reasons(stream, 1) == ["no_mapping"]


def test_a_mobile_and_the_telephone_of_one_person_are_told_once():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["153", MOBILE, "+" + MOBILE])

    assert [notice.extensions for notice in wanted(stream, 1)] == [("153",)]


def test_recovered_ringing_is_no_news_and_leaves_its_row():
    stream = missed()
    events = [dataclasses.replace(event, origin="backfill") for event in playback.parsed(stream.scenario(stream.id(0)))]

    outcome = playback.play(events, DIRECTORY)

    assert (outcome.popups, outcome.ends) == ([], [])
    assert [(row.result, row.extension, row.waiting) for row in outcome.uploads] == [("no answer", "150", 18)]
    assert outcome.calls[0].recovered


# Synthetic dial


def test_a_hangup_without_a_dial_is_told_as_ringing_first():
    ring, end = wanted(lone_hangup(), 30)

    assert (ring.extensions, ring.direction, ring.synthetic) == (("151",), "in", True)
    assert (end.extensions, end.status) == (("151",), "answered")
    assert "synthetic_dial" in reasons(lone_hangup(), 30)


def test_a_synthetic_pop_up_is_not_withdrawn_by_the_end_that_made_it():
    call, now = call_at(lone_hangup(), 31)
    rung, later = call_at(missed(), 21)

    assert not plan(call, (), now, Settings()).withdraw_popups
    assert plan(rung, (), later, Settings()).withdraw_popups


@pytest.mark.parametrize(
    ("stream", "settings", "told"),
    [
        (lone_hangup(), Settings(synthetic_dial=False), ()),
        (lone_hangup(), Settings(), (popup("152"),)),
        (Stream().hangup(30, "1760100000.0", 0, "2", ["109"]), Settings(), ()),
        (Stream().hangup(30, "1760100000.0", 0, "2", [""]), Settings(), ()),
        (Stream().hangup(7200, "1760100000.0", 0, "2", ["151"], ended=28), Settings(), ()),
    ],
    ids=["switched off", "something was told", "not mapped", "names nobody", "replayed hours later"],
)
def test_no_synthetic_pop_up(stream, settings, told):
    at = stream.events[0]["at"]

    assert not any(isinstance(notice, RingNotice) for notice in wanted(stream, at, told, settings))


def test_a_dial_that_comes_after_a_synthetic_one_tells_nobody_more():
    stream = lone_hangup()
    stream.dial(31, stream.id(0), ["150", "151"])

    outcome = playback.play(playback.parsed(stream.scenario(stream.id(0))), DIRECTORY)

    assert [notice.extensions for notice in outcome.popups] == [("151",)]
    assert len(outcome.ends) == len(outcome.uploads) == 1


# The end


def test_the_end_goes_to_all_who_had_a_pop_up_and_once():
    told = (popup("150"), popup("152", "151", state="in_doubt"), popup("153", state="expired"))

    (end,) = [notice for notice in wanted(missed(), 20, told) if isinstance(notice, EndNotice)]

    assert end == EndNotice(
        phone="+" + CUSTOMER,
        extensions=("150", "151", "152"),
        status="no answered",
        call_id=missed().id(0),
        line_number="+375290000101",
        site=None,
    )
    again = wanted(missed(), 20, (*told, Told(effect="hangup", state="failed")))
    assert not any(isinstance(notice, EndNotice) for notice in again)


@pytest.mark.parametrize("state", ["expired", "superseded", "failed"])
def test_no_end_where_no_pop_up_was_shown(state):
    assert end_extensions([popup("150", state=state)]) == ()
    assert not any(
        isinstance(notice, EndNotice)
        for notice in wanted(missed(), 20, (popup("150", state=state), popup("151", state=state)))
    )


# History


def test_a_row_holds_what_a_crm_wants_to_know():
    stream = answered()

    (row,) = [
        notice
        for notice in wanted(stream, 32, (popup("150", "151"), Told(effect="hangup")))
        if isinstance(notice, CallRow)
    ]

    assert row == CallRow(
        direction="in",
        phone="+" + CUSTOMER,
        external_id=stream.id(0),
        date=datetime(2025, 10, 10, 15, 40),  # noqa: DTZ001  (on the wall of the CRM account)
        result="answered",
        extension="151",
        user_id=19,
        duration=25,
        waiting=5,
        record_url=None,
        line_number="+375290000101",
        site=None,
    )


@pytest.mark.parametrize("state", ["ready", "leased", "in_doubt", "failed", "delivered"])
def test_a_row_is_told_once_whatever_became_of_it(state):
    call, now = call_at(answered(), 40)
    said = Told(effect="upload", state=state)

    assert not any(isinstance(notice, CallRow) for notice in plan(call, (said,), now, Settings()).wanted)


def test_a_row_that_would_now_be_another_is_a_recorded_correction():
    call, now = call_at(answered(), 40)
    (row,) = [notice for notice in plan(call, (), now, Settings()).wanted if isinstance(notice, CallRow)]
    same = Told(effect="upload", content=row_content(row))
    other = Told(effect="upload", content=row_content(dataclasses.replace(row, extension="150", user_id=18)))

    unchanged = plan(call, (same,), now, Settings())
    changed = plan(call, (other,), now, Settings())

    assert unchanged.wanted == changed.wanted == ()
    assert "corrected_after_upload" not in [decision.code for decision in unchanged.decisions]
    (correction,) = [decision for decision in changed.decisions if decision.code == "corrected_after_upload"]
    assert correction.params["changed"] == {"extension": ["150", "151"], "user_id": [18, 19]}


def test_a_call_told_under_another_of_its_ids_is_not_told_again():
    call, now = call_at(answered(), 40)
    (row,) = [notice for notice in plan(call, (), now, Settings()).wanted if isinstance(notice, CallRow)]
    same_customer = Told(effect="upload", content=row_content(dataclasses.replace(row, external_id="1760100000.9")))
    mere_leg = Told(
        effect="upload", content=row_content(dataclasses.replace(row, external_id="1760100000.9", phone="+" + MOBILE))
    )

    assert plan(call, (same_customer,), now, Settings()).wanted == ()
    assert [type(notice) for notice in plan(call, (mere_leg,), now, Settings()).wanted] == [CallRow]


def row_of(call: Call, now: datetime, **changes: Any) -> CallRow:
    (row,) = [notice for notice in plan(call, (), now, Settings()).wanted if isinstance(notice, CallRow)]
    return dataclasses.replace(row, **changes)


def told_row(row: CallRow, *, state: str = "retry", waiting: bool = True) -> Told:
    return Told(effect="upload", state=state, content=row_content(row), waiting=waiting)


def test_a_row_that_waits_is_wanted_as_it_is_known_now():
    call, now = call_at(answered(), 40)
    stale = told_row(row_of(call, now, extension="150", user_id=18))

    planned = plan(call, (stale,), now, Settings())

    assert planned.wanted == (row_of(call, now),)
    assert planned.withdraw_rows == ()
    assert "corrected_after_upload" not in [decision.code for decision in planned.decisions]


def test_a_row_that_waits_goes_when_its_call_goes_on():
    call, now = call_at(answered(), 40)
    stale = told_row(row_of(call, now))
    unfinished, earlier = call_at(answered(), 20)

    planned = plan(unfinished, (stale,), earlier, Settings())

    assert planned.wanted == ()
    assert planned.withdraw_rows == (call.main_unique_id,)


@pytest.mark.parametrize("state", ["delivered", "failed", "in_doubt"])
def test_a_row_that_waits_goes_when_the_call_was_told_under_another_id(state):
    call, now = call_at(answered(), 40)
    told = told_row(row_of(call, now), state=state, waiting=False)
    leg = told_row(row_of(call, now, external_id="1760100000.9"))

    planned = plan(call, (told, leg), now, Settings())

    assert planned.wanted == ()
    assert planned.withdraw_rows == ("1760100000.9",)


def test_a_row_that_a_person_sends_again_is_wanted_as_it_is_known_now():
    call, now = call_at(answered(), 40)
    refused = told_row(row_of(call, now, extension="150"), state="failed", waiting=False)
    again = told_row(row_of(call, now, extension="150"))

    planned = plan(call, (refused, again), now, Settings())

    assert planned.wanted == (row_of(call, now),)
    assert planned.withdraw_rows == ()


def test_a_row_that_waits_goes_when_the_call_is_no_customers():
    call, now = call_at(answered(), 40)
    inner = dataclasses.replace(call, kind="internal")

    planned = plan(inner, (told_row(row_of(call, now)),), now, Settings())

    assert planned.withdraw_rows == (call.main_unique_id,)


def test_an_enterprise_may_wait_for_the_recording():
    settings = Settings(wait_for_recording_seconds=30)
    stream = answered()
    call, now = call_at(stream, 40, settings)
    waiting = plan(call, (popup("150"), Told(effect="hangup")), now, settings)
    stream.add(45, "recording", stream.id(0), record_url="https://example.com/1.wav")

    assert waiting.wanted == ()
    assert waiting.wake_at == stream.base + timedelta(seconds=62)
    assert "waiting_for_recording" in [decision.code for decision in waiting.decisions]
    assert "waiting_for_recording" in reasons(stream, 32, settings=settings)
    (row,) = [notice for notice in wanted(stream, 45, (), settings) if isinstance(notice, CallRow)]
    assert row.record_url == "https://example.com/1.wav"
    assert [type(notice) for notice in wanted(answered(), 62, (), settings)] == [CallRow]


def test_a_missed_call_has_no_recording_and_waits_for_none():
    stream = missed()
    stream.add(19, "recording", stream.id(0), record_url="https://example.com/1.wav")

    (row,) = [
        notice
        for notice in wanted(stream, 20, (), Settings(wait_for_recording_seconds=30))
        if isinstance(notice, CallRow)
    ]

    assert row.record_url is None


def test_the_recording_of_the_main_id_goes_before_that_of_a_part():
    stream = answered()
    stream.add(31, "recording", stream.id(1), record_url="https://example.com/part.wav")
    stream.add(31.5, "recording", stream.id(0), record_url="https://example.com/main.wav")

    assert call_at(stream, 32)[0].record_url == "https://example.com/main.wav"


def test_a_host_that_gives_no_time_at_all_gives_no_row():
    stream = Stream()
    stream.hangup(30, "no-epoch", 0, "2", ["151"], StartTime="", EndTime="", DateReceived="")

    outcome = playback.play(playback.parsed(stream.scenario("no-epoch")), DIRECTORY)

    assert outcome.uploads == []
    assert "no_date" in outcome.reasons[0]


def test_a_disabled_integration_is_told_nothing_and_says_so():
    settings = Settings(enabled=False)

    call, now = call_at(answered(), 40, settings)
    planned = plan(call, (popup("150", state="ready"),), now, settings)

    assert (planned.wanted, planned.withdraw_popups, planned.withdraw_rows, planned.wake_at) == ((), False, (), None)
    assert "integration_disabled" in [decision.code for decision in planned.decisions]


@pytest.mark.parametrize("at", [0, 1, 5, 31, 40])
def test_time_alone_brings_a_plan_forward_only_at_its_wake_up(at):
    """Between now and `wake_at` nothing becomes due by itself."""
    call, now = call_at(missed() if at < 20 else answered(), at)
    first = plan(call, (), now, Settings())
    told = tuple(Told(effect="popup", extensions=n.extensions) for n in first.wanted if isinstance(n, RingNotice))
    told += tuple(Told(effect="hangup") for n in first.wanted if isinstance(n, EndNotice))
    told += tuple(Told(effect="upload") for n in first.wanted if isinstance(n, CallRow))

    second = plan(call, told, now, Settings())

    assert second.wanted == ()
    assert second.wake_at is None or second.wake_at > now


def test_events_of_a_call_know_whether_they_are_live():
    event = CallEvent(event_id="1", event_type="start", unique_id="1.1", received_at=Stream().base, origin="download")

    assert not event.live


@pytest.mark.parametrize(
    ("config", "expected", "problems"),
    [
        ({}, Settings(), 0),
        (
            {"popup_max_age_seconds": 20, "settle_seconds": "7.5"},
            Settings(popup_max_age_seconds=20, settle_seconds=7.5),
            0,
        ),
        (
            {"owner_policy": "first_talker", "missed_owner": "none"},
            Settings(owner_policy="first_talker", missed_owner="none"),
            0,
        ),
        ({"enabled": False, "synthetic_dial": "false"}, Settings(enabled=False, synthetic_dial=False), 0),
        ({"enabled": "0", "synthetic_dial": "False"}, Settings(enabled=False, synthetic_dial=False), 0),
        ({"enabled": "1", "synthetic_dial": "True"}, Settings(), 0),
        (
            {"owner_policy": "loudest", "finalize_after_seconds": -1, "call_max_hours": 0, "enabled": 7},
            Settings(),
            4,
        ),
        (
            {
                "settle_seconds": True,
                "popup_max_age_seconds": [],
                "call_max_hours": 1e9,
                "wait_for_recording_seconds": float("nan"),
            },
            Settings(),
            4,
        ),
        ({"settle_seconds": None, "domain": "example.retailcrm.ru", "user_extensions": {}}, Settings(), 0),
    ],
)
def test_settings_stand_beside_other_keys_and_a_bad_value_is_named(config, expected, problems):
    settings = Settings.from_config(config)

    assert settings == expected
    assert len(settings.problems) == problems


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("popup_max_age_seconds", 3600),
        ("settle_seconds", 600),
        ("finalize_after_seconds", 86_400),
        ("call_max_hours", 48),
        ("wait_for_recording_seconds", 86_400),
    ],
)
def test_a_time_that_an_enterprise_chooses_has_a_bound(name, most):
    assert getattr(Settings.from_config({name: most}), name) == most
    assert Settings.from_config({name: most + 0.5}).problems


def test_ringing_is_no_news_after_the_hangup_even_if_the_call_is_not_over():
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", MOBILE]).dial_out(
        2, stream.id(1, 2), [CUSTOMER], MOBILE
    )
    stream.hangup(3, stream.id(0), 0, "0", [""])

    assert not call_at(stream, 3)[0].over
    assert wanted(stream, 3) == []


def test_a_second_device_whose_person_was_told_is_not_called_unmapped_any_more():
    """It was when it rang: only its channel showed whose it is."""
    stream = Stream()
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["91152"])
    stream.joins(5, stream.id(0), LINE, "B", CUSTOMER, "152").joins(
        5, stream.id(1), "PJSIP/91152-0000001e", "B", "152", CUSTOMER
    )
    before, rang_at = call_at(stream, 1)
    call, now = call_at(stream, 5)

    first = plan(before, (), rang_at, Settings())
    second = plan(call, (), now, Settings(), first.decisions)

    assert [decision.code for decision in first.decisions] == ["no_mapping"]
    assert [notice.extensions for notice in second.wanted if isinstance(notice, RingNotice)] == [("152",)]
    assert "no_mapping" not in [decision.code for decision in second.decisions]


def test_an_outgoing_call_tells_its_caller_once_though_the_line_fails_over():
    stream = Stream()
    stream.dial_out(0, stream.id(0), ["151"]).dial_out(5, stream.id(0), ["152"], Trunk="0001302")

    assert [notice.extensions for notice in wanted(stream, 5)] == [("151",)]
    assert wanted(stream, 5, (popup("151"),)) == []


def test_a_hangup_after_an_hour_of_talk_is_fresh_by_its_own_times():
    stream = Stream()
    stream.hangup(3605, stream.id(0), 0, "2", ["151"], ended=3600)

    assert [type(notice) for notice in wanted(stream, 3605)] == [RingNotice, EndNotice]


@pytest.mark.parametrize(("after", "told"), [(75, True), (76, False)])
def test_a_hangup_may_be_as_late_as_a_pop_up_is_news_and_a_minute(after, told):
    stream = Stream()
    stream.hangup(60 + after, stream.id(0), 0, "2", ["151"], ended=60)

    assert any(isinstance(notice, RingNotice) for notice in wanted(stream, 60 + after)) == told
