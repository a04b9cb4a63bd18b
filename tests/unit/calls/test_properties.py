"""What holds for every scenario, whatever the order, the copies and the losses."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.calls.call import assemble
from lib.calls.event import EVENT_TYPES, CallEvent, RawEvent, parse
from lib.calls.explain import as_text, explain
from lib.calls.linking import group
from lib.calls.plan import plan
from lib.calls.settings import Settings
from tests.unit.calls import playback
from tests.unit.calls.renaming import Renaming, customer_of

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
NON_ESSENTIAL = ("new_callerid", "bridge_create", "bridge_destroy")
TOGETHER_AT = 1_760_500_000
PERSON_OF_153 = "375292222222"

some = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
scenarios = st.sampled_from(range(len(SCENARIOS)))
# Where a transfer follows on another, one in twenty wrong orders shows the last leg long before the first: as two calls.
told_in_any_order = scenarios.filter(lambda index: SCENARIOS[index]["id"] != "2-18-capture")


def told(outcome: playback.Outcome) -> Counter:
    """Everything that was told, without when."""
    return Counter(
        [
            *(("ring", n.direction, n.phone, tuple(sorted(n.extensions)), n.call_id) for n in outcome.popups),
            *(("end", n.phone, n.extensions, n.status, n.call_id) for n in outcome.ends),
            *(("row", *dataclasses.astuple(row)) for row in outcome.uploads),
        ]
    )


def rows(outcome: playback.Outcome) -> Counter:
    return Counter(dataclasses.astuple(row) for row in outcome.uploads)


@cache
def undisturbed(index: int) -> Counter:
    return told(playback.play(playback.parsed(SCENARIOS[index]), DIRECTORY))


@some
@given(scenarios, st.data())
def test_events_that_are_processed_late_and_out_of_order_give_the_same_rows(index, data):
    events = playback.parsed(SCENARIOS[index])
    late = {event.event_id: data.draw(st.floats(0, 1.5)) for event in events}

    outcome = playback.play(events, DIRECTORY, late=late)

    assert rows(outcome) == Counter(key[1:] for key in undisturbed(index) if key[0] == "row")


@some
@given(scenarios, st.lists(st.tuples(st.integers(0, 60), st.floats(0, 3)), min_size=1, max_size=8))
def test_any_number_of_quick_copies_changes_nothing(index, copied):
    events = playback.parsed(SCENARIOS[index])
    copies = [
        dataclasses.replace(
            events[number % len(events)],
            event_id=f"copy-{place}",
            received_at=events[number % len(events)].received_at + timedelta(seconds=after),
        )
        for place, (number, after) in enumerate(copied)
        if not comes_back(events, events[number % len(events)], after)
    ]

    assert told(playback.play([*events, *copies], DIRECTORY)) == undisturbed(index)


def comes_back(events: Sequence[CallEvent], event: CallEvent, after: float) -> bool:
    """A late copy of `bridge` or `bridge_leave` that finds its channel elsewhere changes it: no copy by its definition."""
    until = event.received_at + timedelta(seconds=after)
    return event.event_type in ("bridge", "bridge_leave") and any(
        other is not event
        and (other.unique_id, other.channel) == (event.unique_id, event.channel)
        and event.received_at <= other.received_at <= until
        for other in events
    )


@settings(some, max_examples=40)
@given(st.lists(st.tuples(scenarios, st.integers(-40, 60)), min_size=2, max_size=4))
def test_calls_of_one_enterprise_with_different_customers_do_not_touch_each_other(chosen):
    apart: Counter = Counter()
    events: list[CallEvent] = []
    for number, (index, offset) in enumerate(chosen, 1):
        scenario = SCENARIOS[index]
        customer = customer_of(scenario)
        names = {customer: f"3752933{number:05}", "80291111111": f"802933{number:05}"} if customer else {}
        shift = TOGETHER_AT + offset - playback.base_of(scenario)
        own = playback.parsed(Renaming(names=names, shift=shift, tag=number).scenario(scenario), tag=f"{number}-")
        apart += told(playback.play(own, DIRECTORY))
        events += own

    assert told(playback.play(events, DIRECTORY)) == apart


@settings(some, max_examples=40)
@given(scenarios, scenarios, st.integers(8, 60))
def test_a_customer_who_calls_again_at_once_makes_two_calls(first, second, gap):
    before = playback.parsed(Renaming(tag=1).scenario(SCENARIOS[first]))
    again = playback.parsed(SCENARIOS[second])
    shift = (max(event.received_at for event in before) - min(event.received_at for event in again)).total_seconds()
    after = playback.parsed(Renaming(shift=int(shift) + gap, tag=2).scenario(SCENARIOS[second]), tag="2-")

    apart = told(playback.play(before, DIRECTORY)) + told(playback.play(after, DIRECTORY))

    assert told(playback.play([*before, *after], DIRECTORY)) == apart


@pytest.mark.parametrize("index", range(len(SCENARIOS)), ids=[scenario["id"] for scenario in SCENARIOS])
def test_a_lost_event_that_is_not_essential_changes_nothing(index):
    scenario = SCENARIOS[index]
    lost = [number for number, event in enumerate(scenario["events"]) if event["endpoint"].strip("/") in NON_ESSENTIAL]

    for number in lost:
        assert told(playback.play(playback.parsed(playback.without(scenario, number)), DIRECTORY)) == undisturbed(index)
    if len(lost) < len(scenario["events"]):
        assert told(playback.play(playback.parsed(playback.without(scenario, *lost)), DIRECTORY)) == undisturbed(index)


@pytest.mark.parametrize("index", range(len(SCENARIOS)), ids=[scenario["id"] for scenario in SCENARIOS])
def test_any_lost_event_still_gives_one_row_or_none_with_a_reason(index):
    scenario = SCENARIOS[index]

    for number in range(len(scenario["events"])):
        events = playback.parsed(playback.without(scenario, number))
        if events:
            truthful(playback.play(events, DIRECTORY), events, customer_of(scenario))


@settings(some, max_examples=120)
@given(scenarios, st.sets(st.integers(0, 60), min_size=2, max_size=3))
def test_several_lost_events_give_no_second_row_and_no_owner_without_evidence(index, lost):
    scenario = SCENARIOS[index]
    events = playback.parsed(playback.without(scenario, *lost))

    if events:
        truthful(playback.play(events, DIRECTORY), events, customer_of(scenario))


def truthful(outcome: playback.Outcome, events: Sequence[CallEvent], customer: str | None) -> None:
    assert len(outcome.uploads) <= (1 if customer else 0)
    if not outcome.uploads:
        assert all(outcome.reasons), "no row, and no reason"
    for row in outcome.uploads:
        assert row.phone == "+" + (customer or "")
        shown = {name for event in events for name in (event.caller_id, event.connected_line, *event.extensions)}
        people = {DIRECTORY.person(name) for name in shown if name}
        assert row.extension is None or row.extension in people
        assert row.extension is not None or any("no_owner" in reasons for reasons in outcome.reasons)


@settings(some, max_examples=40)
@given(told_in_any_order, st.randoms())
def test_events_that_arrive_in_a_wrong_order_still_give_one_row(index, random):
    """Receipt itself is shuffled, as if the host's queue were none."""
    events = playback.parsed(SCENARIOS[index])
    times = [event.received_at for event in events]
    shuffled = random.sample(events, len(events))
    events = [dataclasses.replace(event, received_at=at) for event, at in zip(shuffled, times, strict=True)]

    outcome = playback.play(events, DIRECTORY)

    customer = customer_of(SCENARIOS[index])
    numbers = [row.phone.removeprefix("+") for row in outcome.uploads]
    # A follow-me leg that is dialled and hung up long before anything else arrives cannot be told from a call.
    assert Counter(numbers) - Counter({PERSON_OF_153: 1}) == Counter(
        [customer] if customer not in (None, PERSON_OF_153) else []
    )
    assert len({notice.call_id for notice in outcome.ends}) == len(outcome.ends)


NAMES = """Phone Extensions CallType CallStatus StartTime EndTime DateReceived Channel Trunk BridgeUniqueid CallerIDNum
    ConnectedLineNum Exten BridgeNumChannels"""
TELLING = """150 151 375291111111 375292222222 0001301 SIP/151-0000001e SIP/0001301-0000000a B1 B2 Local/;2 <unknown>
    Anonymous Local/152@dialexecute-00000000;1 Local/152@dialexecute-00000000;2 0 1 2 5 2025-10-09T15:00:00
    1970-01-01T00:00:00 2100-12-31T23:59:59"""
names, telling = st.sampled_from(NAMES.split()), st.sampled_from(TELLING.split())
values = telling | st.lists(telling, max_size=3) | st.integers(0, 2) | st.none() | st.text(max_size=5)
ids = st.sampled_from(
    ["", "1760000000.1", "1760000000.2", "1760000060.3", "1760003700.4", "abc", "12.5", "test-1760000000"]
)
anything = st.builds(
    lambda number, event_type, unique_id, raw, at, origin: parse(
        RawEvent(
            event_id=f"e{number}",
            event_type=event_type,
            unique_id=unique_id,
            raw=raw,
            received_at=datetime.fromtimestamp(1_760_000_000 + at, UTC),
            origin=origin,
        )
    ),
    st.integers(),
    st.sampled_from(EVENT_TYPES),
    ids,
    st.dictionaries(names, values, max_size=8),
    st.integers(-10, 7300),
    st.sampled_from(["live", "live", "download", "backfill"]),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(anything, min_size=1, max_size=12), st.integers(0, 20_000))
def test_no_stream_is_too_strange_to_be_folded_planned_and_explained(events, later):
    now = max(event.received_at for event in events) + timedelta(seconds=later)

    groups = group(events, DIRECTORY)

    assert Counter(event.event_id for members in groups for event in members) == Counter(
        event.event_id for event in events
    )
    for members in groups:
        call = assemble(members, DIRECTORY, Settings(), now)
        planned = plan(call, (), now, Settings())
        assert call.duration_seconds >= 0
        assert call.waiting_seconds is None or call.waiting_seconds >= 0
        assert planned.wake_at is None or planned.wake_at > now
        assert planned.decisions or planned.wanted or planned.wake_at or call.goes_to_crm
        for language in ("ru", "en"):
            assert as_text(explain(call, members, decisions=planned.decisions), language)
