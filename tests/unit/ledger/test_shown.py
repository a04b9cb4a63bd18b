"""Who saw a pop-up that the CRM accepted, and what becomes of the others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lib.ledger.crm import Reply, Unknown
from lib.ledger.shown import divide
from lib.store.deliveries import Delivery

USERS = {"150": 18, "151": 19, "152": 20, "153": None}


def popup(*extensions, user_ids=(), effect="popup"):
    return Delivery(
        id=1,
        enterprise_number="0367",
        call_id=1,
        crm="retailcrm",
        effect=effect,
        external_id="1760000000.1",
        extensions=list(extensions),
        content={},
        state="leased",
        reason=None,
        run_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=None,
        attempts_made=1,
        user_ids=user_ids,
    )


def answer(*extensions, users=(), outcome="done"):
    return Reply(outcome=outcome, unknown=Unknown(extensions=frozenset(extensions), user_ids=frozenset(users)))


def told(division):
    others = [(list(one.extensions), list(one.user_ids), one.state, one.reason) for one in division.others]
    return division.state, division.reason, list(division.extensions), others


@pytest.mark.parametrize(
    ("delivery", "reply"),
    [
        (popup("150", "151"), answer()),
        (popup("150"), answer("999")),
        (popup("150"), answer("150", outcome="in_doubt")),
        (popup("150", effect="hangup"), answer("150")),
        (popup("150", user_ids=[18]), answer("150", users=[19])),
    ],
)
def test_who_is_not_complained_of_saw_it(delivery, reply):
    assert divide(delivery, reply, USERS) is None


def test_the_others_are_told_by_their_user_ids():
    assert told(divide(popup("150", "151", "152"), answer("151", "152"), USERS)) == (
        "delivered",
        None,
        ["150"],
        [(["151", "152"], [19, 20], "ready", None)],
    )


def test_where_all_are_told_by_user_ids_nothing_is_counted_twice():
    assert told(divide(popup("150"), answer("150"), USERS)) == (
        "superseded",
        "told_by_user_id",
        ["150"],
        [(["150"], [18], "ready", None)],
    )


@pytest.mark.parametrize("stranger", ["153", "999"])
def test_whom_nobody_knows_saw_nothing(stranger):
    lost = (["150"], [(["151"], [19], "ready", None), ([stranger], [], "not_shown", "unknown_to_crm")])

    assert told(divide(popup(stranger), answer(stranger), USERS)) == ("not_shown", "unknown_to_crm", [stranger], [])
    assert told(divide(popup("150", "151", stranger), answer("151", stranger), USERS)) == ("delivered", None, *lost)
    assert told(divide(popup("151", stranger), answer("151", stranger), USERS)) == (
        "not_shown",
        "unknown_to_crm",
        [stranger],
        [(["151"], [19], "ready", None)],
    )


def test_the_second_try_is_the_last():
    assert told(divide(popup("150", "151", user_ids=[18, 19]), answer(users=[19]), USERS)) == (
        "delivered",
        None,
        ["150"],
        [(["151"], [], "not_shown", "unknown_to_crm")],
    )
    assert told(divide(popup("151", user_ids=[19]), answer(users=[19]), USERS)) == (
        "not_shown",
        "unknown_to_crm",
        ["151"],
        [],
    )
