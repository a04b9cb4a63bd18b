"""Judges one case: what always holds, and what must be the same as without the spoilings."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random

from lib.calls.event import CallEvent
from tests.measure.fuzz import invariants, links, outcomes, sameness, survival
from tests.measure.fuzz.bodies import RECORDS
from tests.measure.fuzz.case import Case, Part
from tests.measure.fuzz.invariants import Finding, Seen
from tests.measure.fuzz.outcomes import Outcome
from tests.measure.fuzz.stream import read

# Telling a call event by event costs as much as folding twenty; an index, as ten.
PLAYED_EVERY = 5
LINKED_EVERY = 8


def judge(case: Case) -> list[Finding]:
    """Every invariant that the case breaks; an exception of the code under test is one."""
    try:
        return list(_findings(case))
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/lib/" in frame.filename]
        where = f"{frames[-1].filename.rpartition('/lib/')[2]}:{frames[-1].name}" if frames else "the model"
        return [Finding(f"no_exception ({where})", f"{type(error).__name__}: {error}")]


def _findings(case: Case) -> Iterator[Finding]:
    stream = case.stream
    taken = read(stream)
    for sent, reason in taken.refused:
        yield Finding("nothing_is_refused", f"{sent.kind} {sent.tag}: {reason}")
    if case.number % LINKED_EVERY == 0:
        random = Random(case.number)
        says = links.difference(taken.events, case.directory, random)
        if says:
            yield Finding("keys_reach_what_is_joined", says)
        yield from _ordered(case, taken.events, random)
    outcome, is_coherent = _outcome(case, taken.events), _is_coherent(case, taken.events)
    clean = [_clean(case, part) for part in case.parts]
    yield from invariants.findings(
        Seen(
            stream=stream,
            events=taken.events,
            outcome=outcome,
            directory=case.directory,
            is_coherent=is_coherent,
            customers=frozenset(_customers(case, clean)),
        )
    )
    if taken.refused:
        return
    yield from sameness.differences(clean, outcome, case.keeps)
    if is_coherent and not any(part.again for part in case.parts):
        yield from survival.findings(case, clean, outcome)


def _ordered(case: Case, events: Sequence[CallEvent], random: Random) -> Iterator[Finding]:
    """The order in which stored events are read changes nothing."""
    once, again = (outcomes.fold(random.sample(list(events), len(events)), case.directory) for _ in range(2))
    if once.calls != again.calls:
        pairs = zip(once.calls, again.calls, strict=False)
        yield Finding("order_changes_nothing", str(next((pair for pair in pairs if pair[0] != pair[1]), "other calls")))


def _is_coherent(case: Case, events: Sequence[CallEvent]) -> bool:
    """Every channel still has one id, no id stands for two, and no field says what it never was."""
    if any(part.source.restarts for part in case.parts) or any(one.name == "garbage" for one in case.spoilings):
        return False
    recorded = {sent.tag: sent.unique_id for part in case.parts for sent in case.clean(part)}
    pairs = {(event.event_id[0], recorded.get(event.event_id.rstrip("'"), ""), event.unique_id) for event in events}
    pairs = {pair for pair in pairs if any(pair[1:])}
    return len(pairs) == len({pair[:2] for pair in pairs}) == len({pair[2] for pair in pairs})


def _customers(case: Case, clean: Sequence[Outcome]) -> Iterator[str]:
    for part, outcome in zip(case.parts, clean, strict=True):
        recorded = {sent.tag: sent.unique_id for sent in case.clean(part)}
        left = {recorded[sent.original] for sent in case.spoiled(part) if sent.kind in RECORDS}
        yield from (row.phone for row in outcome.rows if row.external_id in left)


def _outcome(case: Case, events: Sequence[CallEvent]) -> Outcome:
    tell = outcomes.play if case.number % PLAYED_EVERY == 0 else outcomes.fold
    return tell(events, case.directory)


def _clean(case: Case, part: Part) -> Outcome:
    if case.dropped or case.cut:
        return _outcome(case, read(case.clean(part)).events)
    return _recorded(part, is_played=case.number % PLAYED_EVERY == 0)


@lru_cache(maxsize=20_000)
def _recorded(part: Part, *, is_played: bool) -> Outcome:
    case = Case(seed=0, number=0 if is_played else 1, parts=[part], spoilings=[])
    return _outcome(case, read(case.clean(part)).events)
