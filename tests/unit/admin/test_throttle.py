"""However strangers try: few passwords are judged in a day, and whoever waits has a turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lib.admin.throttle import AT_LOGIN, OF_SOURCE, TURN_SECONDS, Seen, decide

DAY = 24 * 3600.0


@dataclass
class Door:
    """What the database keeps, in virtual time: judged attempts and turns, each as (login, source, time)."""

    now: float = 0.0
    judged: list[tuple[str, str, float]] = field(default_factory=list)
    turns: dict[tuple[str, str], float] = field(default_factory=dict)

    def ask(self, login: str, source: str) -> float:
        """Seconds to wait; 0: judged, and wrong."""
        at_login = [at for name, _, at in self.judged if name == login]
        of_source = [at for _, name, at in self.judged if name == source]
        slots = at_login + [at for (name, _), at in self.turns.items() if name == login]
        turn = self.turns.get((login, source))
        verdict = decide(
            Seen(
                of_login=len(at_login),
                login_at=max(slots) - self.now if slots else None,
                of_source=len(of_source),
                source_at=max(of_source) - self.now if of_source else None,
                turn_in=None if turn is None else turn - self.now,
            )
        )
        if verdict.seconds == 0:
            self.turns.pop((login, source), None)
            self.judged.append((login, source, self.now))
        elif verdict.turn_in is not None:
            self.turns[login, source] = self.now + verdict.turn_in
        return verdict.seconds


def test_the_first_failures_cost_nothing_and_the_next_ones_more_and_more():
    assert [AT_LOGIN.pause(n) for n in (0, 9, 10, 11, 12, 13, 14, 100, 10**6)] == [0, 0, 1, 2, 4, 8, 10, 10, 10]
    assert [OF_SOURCE.pause(n) for n in (29, 30, 34)] == [0, 1, 10]


@pytest.mark.parametrize("sources", [1, 5])
def test_so_many_passwords_are_judged_at_one_login_in_an_hour_whatever_is_tried(sources):
    door = Door()

    while door.now < 3600:
        for n in range(sources):
            door.ask("admin", f"192.0.2.{n}")
        door.now += 1

    # 10 free, four quick ones, and one in ten seconds: 8,654 in a day.
    assert 300 <= len(door.judged) <= 10 + 4 + 360 + sources


def test_so_many_passwords_of_one_source_are_judged_in_an_hour_whatever_logins_it_tries():
    door = Door()

    for second in range(3600):
        door.now = float(second)
        door.ask(f"admin{second}", "192.0.2.1")

    assert 300 <= len(door.judged) <= 30 + 4 + 361


@pytest.mark.parametrize("sources", [7, 30])
def test_whoever_waits_is_judged_when_they_were_told_however_often_others_try(sources):
    door = Door(now=1000.0)
    for _ in range(20):
        for n in range(sources):
            door.ask("admin", f"192.0.2.{n}")

    told = door.ask("admin", "198.51.100.1")
    assert 0 < told <= 10 * (sources + 1)
    until = door.now + told
    while door.now < until:
        for n in range(sources):
            door.ask("admin", f"192.0.2.{n}")
        door.now = min(until, door.now + 0.5)

    for n in range(sources):
        door.ask("admin", f"192.0.2.{n}")
    assert door.ask("admin", "198.51.100.1") == 0


def test_asking_again_neither_loses_a_turn_nor_moves_it():
    door = Door(now=1000.0)
    while not (told := door.ask("admin", "192.0.2.1")):
        pass

    assert door.ask("admin", "192.0.2.1") == told
    door.now += told - 0.25
    assert door.ask("admin", "192.0.2.1") == 0.25
    assert len(door.turns) == 1


def test_a_turn_that_nobody_took_is_over():
    def with_turn(turn_in):
        return decide(Seen(of_login=50, login_at=40.0, turn_in=turn_in))

    assert with_turn(-TURN_SECONDS + 1).seconds == 0
    missed = with_turn(-TURN_SECONDS)
    assert (missed.seconds, missed.turn_in) == (50.0, 50.0)
