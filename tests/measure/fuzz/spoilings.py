"""Every way to spoil a call, and how much of its outcome must stay the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Final

from tests.measure.fuzz import bodies, hosts
from tests.measure.fuzz.bodies import Dice
from tests.measure.fuzz.sources import Source
from tests.measure.fuzz.stream import Sent


class Keeps(IntEnum):
    """
    What the CRM is told in spite of it. NOTHING: what always holds. GIST: the row's number, direction, result and
    owner. ROW: the row, its times by seconds. CARDS: who saw a card, too. ALL: every word.
    """

    NOTHING = 0
    GIST = 1
    ROW = 2
    CARDS = 3
    ALL = 4


@dataclass(frozen=True, kw_only=True)
class Way:
    """`phase`: bodies are spoiled first, then clocks, then the stream: copies are of spoiled events."""

    spoil: Callable[[Dice, Sequence[Sent], Source], list[Sent]]
    keeps: Keeps
    phase: int


def _ways(phase: int, keeps: Keeps, *spoils: Callable[[Dice, Sequence[Sent], Source], list[Sent]]) -> dict[str, Way]:
    return {spoil.__name__: Way(spoil=spoil, keeps=keeps, phase=phase) for spoil in spoils}


WAYS: Final = {
    # What needs the plain form of a field comes before what rewrites it.
    **_ways(0, Keeps.ALL, bodies.founding_form, bodies.technologies),
    **_ways(0, Keeps.ROW, bodies.second_devices),
    **_ways(0, Keeps.NOTHING, bodies.own_numbers),
    **_ways(1, Keeps.CARDS, hosts.utc, hosts.hour_off, hosts.nineteen_seventy),
    **_ways(1, Keeps.GIST, hosts.minutes_off, hosts.wrong_epochs),
    **_ways(1, Keeps.NOTHING, hosts.strange_ids),
    **_ways(2, Keeps.ALL, bodies.names, bodies.encodings, bodies.numbers, bodies.lists, bodies.types),
    **_ways(2, Keeps.ALL, bodies.recordings, bodies.envelopes, bodies.lines_as_numbers),
    **_ways(2, Keeps.NOTHING, bodies.missing_keys, bodies.garbage),
    **_ways(3, Keeps.ALL, bodies.keys),
    **_ways(4, Keeps.ALL, hosts.copies),
    **_ways(4, Keeps.NOTHING, hosts.repeats, hosts.losses, hosts.lost_kinds, hosts.swaps, hosts.shuffles),
    **_ways(4, Keeps.NOTHING, hosts.delays, hosts.recovered),
}
MOVE_IDS: Final = {"nineteen_seventy", "wrong_epochs", "strange_ids"}
CLOCKS: Final = {"utc", "hour_off", "minutes_off", "nineteen_seventy", "wrong_epochs"}
HARMLESS: Final = tuple(name for name, way in WAYS.items() if way.keeps > Keeps.NOTHING)


@dataclass(frozen=True, kw_only=True)
class Spoiling:
    """Of one call of a case; what it does to an event depends on its `seed` and the event's tag alone."""

    name: str
    call: int
    seed: int

    @property
    def keeps(self) -> Keeps:
        return WAYS[self.name].keeps

    def __str__(self) -> str:
        return self.name if self.call == 0 else f"{self.name}@{self.call}"


def apply(spoilings: Sequence[Spoiling], call: int, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """In the order of phases; a host has one clock, so that only the first way to set it wrong counts."""
    mine = sorted((one for one in spoilings if one.call == call), key=lambda one: WAYS[one.name].phase)
    clocks = [one for one in mine if one.name in CLOCKS]
    found = list(stream)
    for one in mine:
        if one not in clocks[1:]:
            found = WAYS[one.name].spoil(_dice(one), found, source)
    return found


def _dice(one: Spoiling) -> Dice:
    return lambda tag: Random(f"{one.name}/{one.seed}/{tag}")
