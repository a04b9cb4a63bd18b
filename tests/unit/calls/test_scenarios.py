from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from lib.calls.call import assemble
from lib.calls.linking import group
from lib.calls.plan import CallRow, EndNotice, RingNotice
from lib.calls.settings import Settings
from tests.unit.calls import playback

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)
BY_ID = {scenario["id"]: scenario for scenario in SCENARIOS}

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])


def played(name: str) -> playback.Outcome:
    return playback.play(playback.parsed(BY_ID[name]), DIRECTORY)


def base(name: str) -> datetime:
    return datetime.fromtimestamp(playback.base_of(BY_ID[name]), UTC)


@every_scenario
def test_a_scenario_gives_what_it_expects(scenario):
    outcome = playback.play(playback.parsed(scenario), DIRECTORY)

    assert playback.differences(outcome, scenario["expected"]) == []


@every_scenario
def test_the_call_goes_by_the_main_id(scenario):
    outcome = playback.play(playback.parsed(scenario), DIRECTORY)

    told = {popup.call_id for popup in outcome.popups} | {end.call_id for end in outcome.ends}
    assert (told | {row.external_id for row in outcome.uploads}) <= {scenario["main_unique_id"]}


@every_scenario
def test_the_order_in_which_events_are_handed_over_changes_nothing(scenario):
    events = playback.parsed(scenario)
    shuffled = random.Random(7).sample(events, len(events))
    now = max(event.received_at for event in events)

    groups, again = group(events, DIRECTORY), group(shuffled, DIRECTORY)

    assert groups == again
    for members in groups:
        backwards = tuple(reversed(members))
        assert assemble(backwards, DIRECTORY, Settings(), now) == assemble(members, DIRECTORY, Settings(), now)


@pytest.mark.parametrize(
    ("name", "popups", "end", "row"),
    [
        ("2-12", [2.0, 16.0, 30.0], [46.0], [46.0]),  # incoming: told as it rings, and at once when it is over
        ("2-18-capture", [2.0], [57.0], [57.0]),
        ("2-2", [2.0], [14.0], [14.0]),
        ("1-1", [0.0], [21.0], [26.0]),  # outgoing: after the settle time without news
        ("1-2", [2.0], [23.0], [29.0]),
        ("2-14", [2.0, 10.0, 20.0], [144.0], [144.0]),  # no hangup: 90 s after the customer left at 54
        ("crm-out", [1.0], [118.5], [118.5]),  # no leave at all: 90 s without news
        ("2-1-doc", [1.0], [23.0], [28.0]),  # channels seem open: over, and the row waits for news of them
        ("string-types", [0.0], [0.0], [5.0]),  # a hangup alone: the row waits for what may be late
    ],
)
def test_what_is_told_when(name, popups, end, row):
    outcome = played(name)

    assert outcome.when(RingNotice, base(name)) == popups
    assert outcome.when(EndNotice, base(name)) == end
    assert outcome.when(CallRow, base(name)) == row


def test_another_call_of_the_same_telephones_stays_apart():
    assert sorted((call.kind, call.main_unique_id) for call in played("2-19-capture").calls) == [
        ("in", "1757841115.33"),
        ("internal", "1757841093.31"),
    ]


def test_an_estimate_says_that_it_is_one():
    estimated = {
        name for name in BY_ID for call in played(name).calls if call.goes_to_crm and call.duration_is_estimate
    }

    assert estimated == {"sip-prefix", "incoming-transform", "plus-number", "string-types", "older-form"}


def test_transfers_are_seen():
    (call,) = played("2-18-capture").calls

    assert [(transfer.before, transfer.after) for transfer in call.transfers] == [("151", "152"), ("152", "150")]


def test_the_epoch_shows_where_a_wall_clock_is_in_another_zone():
    assert [call.warnings[0].code for call in played("string-types").calls] == ["host_zone_looks_wrong"]
    assert not any(call.warnings for call in played("2-18-capture").calls)
