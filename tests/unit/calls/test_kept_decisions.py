"""What was decided when a telephone rang stays the reason, whatever a later look would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lib.calls.decision import Decision
from lib.calls.kept_decisions import merge

RANG = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = RANG + timedelta(minutes=5)


def unmapped(*numbers: str, at: datetime = RANG) -> Decision:
    return Decision(code="no_mapping", params={"numbers": numbers}, at=at)


def expired(*extensions: str, at: datetime = RANG) -> Decision:
    return Decision(code="expired", params={"extensions": extensions, "why": "too_old"}, at=at)


def test_an_extension_unmapped_when_it_rang_is_not_called_expired_later():
    assert merge([unmapped("151")], [expired("151")], rings=[RANG], told=()) == (unmapped("151"),)


def test_a_new_extension_of_the_ring_gets_a_decision_beside_the_kept_one():
    decided = merge([unmapped("151")], [expired("151", "152")], rings=[RANG], told=())

    assert decided == (unmapped("151"), expired("152"))


def test_an_extension_that_was_told_after_all_loses_its_no_mapping():
    assert merge([unmapped("151", "109")], [unmapped("109")], rings=[RANG], told={"151"}) == (unmapped("109"),)


def test_an_extension_that_was_told_is_not_called_unmapped_after_the_mapping_is_removed():
    assert merge([], [unmapped("151", "109")], rings=[RANG], told={"151"}) == (unmapped("109"),)


def test_decisions_about_a_ring_go_when_the_call_has_no_such_ring_any_more():
    assert merge([expired("151")], [expired("150", at=LATER)], rings=[LATER], told=()) == (expired("150", at=LATER),)


def test_a_pop_up_that_came_from_the_hangup_is_still_explained_when_it_was_sent():
    from_hangup = Decision(code="synthetic_dial", params={"extensions": ("151",)}, at=RANG)

    assert merge([from_hangup], [], rings=[RANG], told={"151"}) == (from_hangup,)


def test_waiting_for_a_recording_is_remembered_and_renewed():
    first, second = (Decision(code="waiting_for_recording", params={"until": at}, at=RANG) for at in (RANG, LATER))

    assert merge([first], [], rings=[], told=()) == (first,)
    assert merge([first], [second], rings=[], told=()) == (second,)


def test_decisions_about_the_call_itself_are_always_the_latest():
    owner = Decision(code="no_owner")

    assert merge([owner], [], rings=[RANG], told=()) == ()
    assert merge([owner], [owner], rings=[RANG], told=()) == (owner,)
