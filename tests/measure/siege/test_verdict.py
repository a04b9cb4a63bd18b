"""The bar of a siege, and what its table says."""

from __future__ import annotations

import pytest

from tests.measure.siege import verdict
from tests.measure.siege.verdict import Call, Own, Ring, Seen


def rings(*seconds: float | None, first_at: float = 100.0, refused: int = 0) -> list[Ring]:
    """One every half second; None: its pop-up never came."""
    return [
        Ring(
            due_at=first_at + index / 2,
            shown_at=None if late is None else first_at + index / 2 + late,
            refused=refused,
        )
        for index, late in enumerate(seconds)
    ]


def seen(*, name: str = "an attack", **changes) -> Seen:
    return Seen(name=name, **{"rings": rings(*[0.1] * 30), "peaks": {"a": 120.0, "b": 80.0}, **changes})


def test_a_siege_in_which_nobody_was_hurt_keeps_the_bar():
    assert verdict.broken(seen(), limit=1.0) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"rings": []}, "no phone rang"),
        ({"rings": rings(0.1, None, 0.1)}, "1 pop-ups are missing"),
        ({"later": rings(0.1, None, None)}, "2 pop-ups are missing"),
        ({"rings": rings(0.1, 0.1, refused=1)}, "2 posts were refused"),
        ({"rings": rings(0.1, 1.01)}, "a pop-up took 1.0 s, at most 1.0 are allowed"),
        ({"later": rings(0.1, 3.0)}, "a pop-up took 3.0 s, at most 1.0 are allowed"),
        ({"peaks": {"a": 120.0, "b": 250.4}}, "b took 250 MiB, at most 250 are allowed"),
        ({"others_refused": 2}, "2 first requests of others were refused"),
        ({"normal_after": None}, "it was never normal again"),
        ({"own": Own(absent=["m1", "m2", "m3", "m4"])}, "accepted events are in no call: m1, m2, m3 and 1 more"),
        ({"own": Own(silent=[7])}, "calls have neither a row nor a reason: 7"),
        ({"own": Own(drained_seconds=None)}, "the attacker's events were never done"),
        ({"failure": "intake ended by itself", "rings": []}, "intake ended by itself"),
    ],
)
def test_each_harm_breaks_the_bar_and_is_named(changes, rule):
    assert verdict.broken(seen(**changes), limit=1.0) == [rule]


def test_a_pop_up_may_take_three_times_the_worst_of_the_quiet_time_or_a_second():
    assert verdict.limit_seconds(seen(rings=rings(0.05, 0.2))) == 1.0
    assert verdict.limit_seconds(seen(rings=rings(0.05, 0.5))) == pytest.approx(1.5)


def test_it_is_normal_again_with_the_first_of_the_last_rings_that_were_all_in_time():
    late = rings(0.1, 0.1, 5.0, None, *[0.1] * 6)

    assert verdict.normal_after(late, ended_at=100.5, limit=1.0) == 1.5
    assert verdict.normal_after(late, ended_at=103.0, limit=1.0) == 0.0


def test_it_is_not_normal_yet_while_fewer_than_six_rings_in_a_row_were_in_time():
    assert verdict.normal_after(rings(0.1, 0.1, 5.0, *[0.1] * 5), ended_at=100.0, limit=1.0) is None
    assert verdict.normal_after(rings(*[0.1] * 9, None), ended_at=100.0, limit=1.0) is None
    assert verdict.normal_after([], ended_at=100.0, limit=1.0) is None


def test_a_siege_without_one_late_ring_was_normal_all_the_time():
    assert verdict.normal_after(rings(*[0.1] * 9), ended_at=90.0, limit=1.0) == 0.0


def test_the_attackers_own_events_are_in_calls_and_each_call_has_its_row_or_says_why_not():
    found = verdict.own(
        offered=4,
        accepted={"m1", "m2", "m3"},
        in_calls={"m1", "m3", "unanswered"},
        calls=[
            Call(number=1, wants_row=True, row_ids=["1.1"]),
            Call(number=2, wants_row=True, row_ids=["1.2"], reasons=["unknown_line"]),
            Call(number=3, wants_row=False, reasons=["only_channels"]),
            Call(number=4, wants_row=False, row_ids=["1.1"]),
            Call(number=5, wants_row=True),
        ],
        rows={"1.1"},
        drained_seconds=12.0,
    )

    assert (found.offered, found.accepted, found.calls) == (4, 3, 5)
    assert found.absent == ["m2"]
    assert found.silent == [2, 4, 5]


def test_the_table_shows_worst_median_missing_and_refused_and_what_came_later():
    attacked = seen(
        rings=rings(0.1, 0.2, None, 2.0, refused=1),
        later=rings(0.3, None),
        normal_after=21.4,
        own=Own(offered=500, accepted=400, calls=3, silent=[3], drained_seconds=61.0),
        answers={200: 3, 0: 1},
    )

    cells = [cell.strip() for cell in verdict.report([attacked]).splitlines()[2].strip("|").split("|")]

    assert cells == [
        "an attack",
        "2.00 s",
        "0.20 s",
        "1 of 4",
        "4",
        "120 MiB (a)",
        "21 s",
        "61 s; of 2 rings worst 0.30 s, missing 1, refused 0",
        "400 of 500 accepted; 3 calls, 1 without a row or a reason; answers none: 1, 200: 3",
    ]


def test_what_could_not_be_measured_says_why():
    row = verdict.report([seen(failure="intake ended by itself", rings=[])]).splitlines()[2]

    assert "intake ended by itself" in row
