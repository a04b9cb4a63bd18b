"""What hosts of the field send, and what the CRM hears of it."""

from __future__ import annotations

import random

import pytest

from lib.calls.linking import group
from tests.unit.calls import playback
from tests.unit.calls.test_linking import Store, unconnected

ENTERPRISE, CASES = playback.load_field()
BY_ID = {case["id"]: case for case in CASES}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])


@every_case
def test_a_case_gives_what_it_expects(case):
    outcome = playback.play(playback.taken_in(case), playback.field_directory(ENTERPRISE, case))

    assert playback.field_differences(outcome, case["expected"]) == []


@every_case
def test_keys_lead_to_every_event_of_a_case(case):
    directory = playback.field_directory(ENTERPRISE, case)

    for members in group(playback.taken_in(case), directory):
        assert unconnected(members, directory) == set()


@every_case
@pytest.mark.parametrize("seed", range(5))
def test_events_of_a_case_that_are_stored_one_by_one_make_the_same_calls(case, seed):
    directory = playback.field_directory(ENTERPRISE, case)
    events = playback.taken_in(case)
    store = Store(directory)

    for event in random.Random(seed).sample(events, len(events)):
        store.add(event)

    whole = {frozenset(event.event_id for event in members) for members in group(events, directory)}
    assert {frozenset(event.event_id for event in members) for members in store.calls.values()} == whole


@every_case
def test_a_case_that_leads_to_nothing_says_why(case):
    outcome = playback.play(playback.taken_in(case), playback.field_directory(ENTERPRISE, case))

    assert outcome.uploads or all(outcome.reasons)


def test_an_id_that_starts_again_makes_two_rows_of_two_ids():
    outcome = playback.play(playback.taken_in(BY_ID["I5"]), playback.field_directory(ENTERPRISE, BY_ID["I5"]))

    assert [row.external_id for row in outcome.uploads] == ["1761010900.30", "1761010900.30_2"]
    assert [end.call_id for end in outcome.ends] == ["1761010900.30", "1761010900.30_2"]
    assert any("id_began_again" in reasons for reasons in outcome.reasons)


@pytest.mark.parametrize("name", ["L1", "L3", "L7"])
def test_a_recording_that_is_no_address_says_so(name):
    outcome = playback.play(playback.taken_in(BY_ID[name]), playback.field_directory(ENTERPRISE, BY_ID[name]))

    assert any("no_link_to_recording" in reasons for reasons in outcome.reasons)
