"""What is left of a call's own records decides that it has a row; nothing that is lost or broken makes a second one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.measure.fuzz.bodies import RECORDS
from tests.measure.fuzz.case import Case, Part
from tests.measure.fuzz.invariants import Finding
from tests.measure.fuzz.outcomes import Outcome
from tests.measure.fuzz.stream import OUT, Sent

# What a record needs to be read as it was recorded.
_ESSENTIAL: Final = ("UniqueId", "Phone", "CallType", "CallerIDNum", "Extensions", "Extension", "Trunk", "StartTime")

# What shows that a leg is one may be lost, or come long before its call, or long after: it may be a call of its own.
_MAY_PART: Final = {
    *("missing_keys", "garbage", "repeats", "strange_ids", "own_numbers"),
    *("losses", "lost_kinds", "shuffles", "delays", "recovered"),
}


def findings(case: Case, clean: Sequence[Outcome], spoiled: Outcome) -> Iterator[Finding]:
    """`clean`: of each call alone; no id of the spoiled calls stands for two channels."""
    most = sum(len(outcome.rows) for outcome in clean)
    if len(spoiled.rows) > most and not any(one.name in _MAY_PART for one in case.spoilings):
        yield Finding("no_phantom_row", f"{[row.phone for row in spoiled.rows]} of {most}")
    if any(one.name == "own_numbers" for one in case.spoilings):
        return
    told = {row.phone for row in spoiled.rows}
    for part, outcome in zip(case.parts, clean, strict=True):
        for row in outcome.rows:
            if row.phone not in told and _is_legible(case, part, row.external_id):
                yield Finding("a_legible_call_has_a_row", f"of {row.phone}, {row.external_id}")


def _is_legible(case: Case, part: Part, main_id: str) -> bool:
    """A start or dial of the main id came as it was recorded, and before anything else of that id said otherwise."""
    clean = {sent.tag: sent for sent in case.clean(part)}
    records = [sent for sent in case.spoiled(part) if sent.kind in RECORDS]
    mine = [sent for sent in records if clean[sent.original].unique_id == main_id]
    return any(sent.kind != "hangup" for sent in mine) and all(_is_as_recorded(sent, clean) for sent in mine)


def _is_as_recorded(sent: Sent, clean: dict[str, Sent]) -> bool:
    before = clean[sent.original].body
    return all(sent.body.get(name, OUT) == before.get(name, OUT) for name in _ESSENTIAL)
