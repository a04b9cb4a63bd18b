"""The smallest stream that still breaks the same invariant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from tests.measure.fuzz.case import Case
from tests.measure.fuzz.invariants import Finding
from tests.measure.fuzz.stream import OUT
from tests.measure.fuzz.verdict import judge

# A stream that needs more than this to be made smaller is told as it is by then.
TRIES = 800
Judge = Callable[[Case], Sequence[Finding]]
# One clock made them: with only some of them as they were, the stream is another one.
_TOGETHER = {"UniqueId", "StartTime", "EndTime", "DateReceived"}


class Shrinker:
    """Takes away what can go: calls, spoilings, events, single fields."""

    def __init__(self, case: Case, invariant: str, by: Judge = judge, tries: int = TRIES) -> None:
        self.case = case
        self._invariant = invariant
        self._judge = by
        self._tries = tries

    def blame(self) -> Case:
        """Without the calls and spoilings that it does not take."""
        changed = True
        while changed:
            changed = any(self._takes(smaller) for smaller in (*_fewer_spoilings(self.case), *_fewer_calls(self.case)))
        return self.case

    def smallest(self) -> Case:
        self.blame()
        self._drop_events()
        self._cut_fields()
        self._revert_fields()
        return self.case

    def _takes(self, smaller: Case) -> bool:
        if self._tries <= 0:
            return False
        self._tries -= 1
        if any(found.invariant == self._invariant for found in self._judge(smaller)):
            self.case = smaller
            return True
        return False

    def _drop_events(self) -> None:
        size = max(1, len(self.case.stream) // 2)
        while size:
            tags = [sent.tag for sent in self.case.stream]
            for place in range(0, len(tags), size):
                some = frozenset(tags[place : place + size])
                self._takes(dataclasses.replace(self.case, dropped=self.case.dropped | some))
            size //= 2

    def _cut_fields(self) -> None:
        for name in sorted({name for sent in self.case.stream for name in sent.body}):
            self._takes(dataclasses.replace(self.case, cut=self.case.cut | {name}))

    def _revert_fields(self) -> None:
        clean = {sent.tag: sent.body for part in self.case.parts for sent in self.case.clean(part)}
        for sent in self.case.stream:
            before = clean.get(sent.original, {})
            for name in sorted({*sent.body, *before} - _TOGETHER):
                if sent.body.get(name, OUT) != before.get(name, OUT):
                    back = self.case.reverted | {(sent.tag, name)}
                    self._takes(dataclasses.replace(self.case, reverted=back))


def _fewer_spoilings(case: Case) -> Iterator[Case]:
    for one in case.spoilings:
        yield dataclasses.replace(case, spoilings=[other for other in case.spoilings if other is not one])


def _fewer_calls(case: Case) -> Iterator[Case]:
    for part in case.parts[1:] if len(case.parts) > 1 else ():
        yield dataclasses.replace(
            case,
            parts=[other for other in case.parts if other is not part],
            spoilings=[one for one in case.spoilings if one.call != part.call],
        )
    if len(case.parts) > 1 and not any(part.again for part in case.parts):
        yield dataclasses.replace(
            case, parts=case.parts[1:], spoilings=[one for one in case.spoilings if one.call != case.parts[0].call]
        )


def kind(invariant: str, case: Case) -> tuple[str, ...]:
    """By what findings are counted: the invariant, and the spoilings that it takes."""
    return (invariant, *sorted({one.name for one in case.spoilings}), *(_mixed(case.parts)))


def _mixed(parts: Sequence[object]) -> tuple[str, ...]:
    return (f"{len(parts)} calls",) if len(parts) > 1 else ()
