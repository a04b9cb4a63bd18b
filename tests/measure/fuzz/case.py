"""One case: calls, how each is spoiled, and the streams that come of it; the same for the same seed and number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from lib.calls.directory import Directory
from tests.measure.fuzz import sources, spoilings
from tests.measure.fuzz.sources import Source
from tests.measure.fuzz.spoilings import HARMLESS, MOVE_IDS, WAYS, Keeps, Spoiling
from tests.measure.fuzz.stream import OUT, Sent

_HOW_MANY: Final = (1, 1, 1, 1, 1, 1, 1, 2, 2, 3)
_RESTARTS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Part:
    """One call of a case. `again`: on the ids of call 0, for another customer, when that one is over."""

    call: int
    source: Source
    offset: int = 0
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    `dropped`: tags of events that are left out, `reverted`: fields of events that are not spoiled after all, `cut`:
    fields that no event has. All three serve to find the smallest stream.
    """

    seed: int
    number: int
    parts: Sequence[Part]
    spoilings: Sequence[Spoiling]
    dropped: frozenset[str] = frozenset()
    reverted: frozenset[tuple[str, str]] = frozenset()
    cut: frozenset[str] = frozenset()

    @property
    def directory(self) -> Directory:
        return self.parts[0].source.directory

    @property
    def keeps(self) -> Keeps:
        least = min((one.keeps for one in self.spoilings), default=Keeps.ALL)
        if not any(part.again for part in self.parts):
            return least
        ids_stay = not any(one.name in MOVE_IDS for one in self.spoilings)
        return min(least, Keeps.GIST) if ids_stay and all(map(self._is_whole, self.parts)) else Keeps.NOTHING

    def clean(self, part: Part) -> list[Sent]:
        """The call as it was recorded."""
        if not self.dropped and not self.cut:
            return list(_placed(part))
        return [self._less(sent) for sent in _placed(part) if sent.original not in self.dropped]

    def spoiled(self, part: Part) -> list[Sent]:
        placed = _placed(part)
        bodies = {sent.tag: sent.body for sent in placed}
        found = []
        for sent in spoilings.apply(self.spoilings, part.call, placed, part.source):
            if sent.tag in self.dropped or sent.original in self.dropped:
                continue
            back = [name for tag, name in self.reverted if tag == sent.tag]
            clean = bodies.get(sent.original, {})
            found.append(self._less(sent.having(**{name: clean.get(name, OUT) for name in back})))
        return found

    @property
    def stream(self) -> list[Sent]:
        """All calls, in the order of receipt."""
        every = [sent for part in self.parts for sent in self.spoiled(part)]
        return sorted(every, key=lambda sent: (sent.at, sent.tag))

    def _is_whole(self, part: Part) -> bool:
        """With start and hangup; only they say that an id began again."""
        kinds = {sent.kind for sent in self.clean(part) if sent.body.get("Phone")}
        return {"start", "hangup"} <= kinds

    def _less(self, sent: Sent) -> Sent:
        return sent.having(**dict.fromkeys(self.cut, OUT)) if self.cut else sent


@lru_cache(maxsize=20_000)
def _placed(part: Part) -> Sequence[Sent]:
    if not part.again:
        return sources.placed(part.source, part.call, offset=part.offset)
    before = sources.placed(part.source, 0)
    lasted = max(sent.at for sent in before) - min(sent.at for sent in before)
    again = sources.placed(part.source, part.call, ids_of=0)
    return [_of_another_bridge(sent) for sent in sources.later(again, lasted + part.offset)]


def _of_another_bridge(sent: Sent) -> Sent:
    """Bridges have random names, whatever the clock does."""
    bridge = sent.body.get("BridgeUniqueid")
    return sent.having(BridgeUniqueid=f"{bridge}-again") if bridge else sent


def draw(seed: int, number: int) -> Case:
    random = Random(f"{seed}/{number}")
    every = sources.load()
    first = random.choice(every)
    alike = [source for source in every if source.enterprise == first.enterprise]
    parts = [Part(call=0, source=first)]
    if random.random() < _RESTARTS and _can_come_again(first):
        parts.append(Part(call=1, source=first, offset=random.randrange(2, 120, 5), again=True))
    else:
        parts += [
            Part(call=call, source=random.choice(alike), offset=random.randrange(-40, 61, 5))
            for call in range(1, random.choice(_HOW_MANY))
        ]
    names = HARMLESS if random.random() < 0.6 else tuple(WAYS)
    drawn: dict[int, set[str]] = defaultdict(set)
    for _ in range(random.randint(1, 4)):
        drawn[random.randrange(len(parts))].add(random.choice(names))
    return Case(
        seed=seed,
        number=number,
        parts=parts,
        spoilings=[
            Spoiling(name=name, call=call, seed=random.randrange(10**6))
            for call, spoiled in sorted(drawn.items())
            for name in sorted(spoiled)
        ],
    )


def _can_come_again(source: Source) -> bool:
    """An incoming call with a start and an end of its own: what says that a clock went back."""
    kinds = {event["endpoint"] for event in source.events if event["body"].get("UniqueId") == source.main_id}
    return source.customer is not None and {"/start", "/hangup"} <= kinds and not source.fixed
