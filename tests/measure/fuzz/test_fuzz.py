"""The fuzz run finds what is wrong, says it with the smallest stream, and does the same again for the same seed."""

from __future__ import annotations

import dataclasses

import pytest

from lib.calls import call as folding
from lib.calls import linking
from tests.measure.fuzz import outcomes, sources, stream
from tests.measure.fuzz.case import Case, Part, draw
from tests.measure.fuzz.runs import attempt, smallest
from tests.measure.fuzz.spoilings import WAYS, Spoiling
from tests.measure.fuzz.verdict import judge


def recorded(name: str, *spoilings: str, number: int = 1) -> Case:
    """`number` 0 is told event by event."""
    source = next(source for source in sources.load() if source.name == name)
    return Case(
        seed=1,
        number=number,
        parts=[Part(call=0, source=source)],
        spoilings=[Spoiling(name=spoiling, call=0, seed=1) for spoiling in spoilings],
    )


def invariants(case: Case) -> set[str]:
    return {found.invariant for found in judge(case)}


@pytest.fixture
def changed(monkeypatch):
    """Lets the fold come to something else."""

    def change(**fields):
        def assemble(*given):
            call = folding.assemble(*given)
            return dataclasses.replace(call, **fields) if call.goes_to_crm else call

        monkeypatch.setattr(outcomes, "assemble", assemble)

    return change


@pytest.mark.parametrize("source", sources.load(), ids=lambda source: source.name)
def test_a_recorded_call_breaks_nothing(source):
    assert invariants(recorded(source.name)) == set()
    assert invariants(recorded(source.name, number=0)) == set()


@pytest.mark.parametrize("name", WAYS)
def test_each_way_to_spoil_changes_some_recorded_call_and_always_in_the_same_way(name):
    def posted() -> list[list[bytes]]:
        cases = [recorded(source.name, name) for source in sources.load()]
        return [[stream.wire(sent) + str(sent.at).encode() for sent in case.stream] for case in cases]

    once, again = posted(), posted()
    clean = [[stream.wire(sent) + str(sent.at).encode() for sent in recorded(s.name).stream] for s in sources.load()]

    assert once == again
    assert any(spoiled != plain for spoiled, plain in zip(once, clean, strict=True))


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({"owner_extension": "109"}, "an_owner_has_evidence"),
        ({"owner_extension": "0001301", "owner_user_id": None}, "an_owner_has_evidence"),
        ({"duration_seconds": 700, "answered": True}, "no_duration_is_longer_than_its_call"),
        ({"customer": "+375290000101"}, "no_row_and_no_card_for_a_number_of_ours"),
        ({"customer": "+375299876543"}, "a_number_has_evidence"),
        ({"upload_due_at": None}, "a_row_or_a_reason"),
        ({"record_url": "/1.wav", "answered": True}, "rows_are_well_formed"),
    ],
)
def test_a_wrong_outcome_is_found(changed, fields, broken):
    changed(**fields)

    assert broken in invariants(recorded("2-1"))


def test_a_fault_is_told_with_the_smallest_stream_and_how_to_repeat_it(monkeypatch):
    """As if the rules stumbled over an event that comes twice."""

    def group(events, directory):
        assert not any(event.event_id.endswith("'") for event in events)
        return linking.group(events, directory)

    monkeypatch.setattr(outcomes, "group", group)

    first = attempt(1, range(60)).first
    stumbled = sorted(kind for kind in first if kind[0].startswith("no_exception"))
    said = smallest(1, first[stumbled[0]], stumbled[0][0])

    assert {name for _, *spoiled in stumbled for name in spoiled} <= {"copies", "repeats"}
    assert said.count('"UniqueId"') <= 2
    assert f"make fuzz SEED=1 CASE={first[stumbled[0]]}" in said


def test_the_same_seed_and_number_make_the_same_case_and_others_another_one():
    def bytes_of(seed: int, number: int) -> list[bytes]:
        return [stream.wire(sent) for sent in draw(seed, number).stream]

    assert bytes_of(3, 5) == bytes_of(3, 5)
    assert bytes_of(3, 5) != bytes_of(3, 6)
    assert bytes_of(3, 5) != bytes_of(4, 5)
