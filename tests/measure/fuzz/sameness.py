"""Of a call that was spoiled without harm, the CRM hears what it hears of the call as it was recorded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from lib.calls.plan import CallRow
from tests.measure.fuzz.invariants import Finding
from tests.measure.fuzz.outcomes import Outcome
from tests.measure.fuzz.spoilings import Keeps

_DATE = timedelta(seconds=15)
_SECONDS = 5


def differences(clean: Sequence[Outcome], spoiled: Outcome, keeps: Keeps) -> Iterator[Finding]:
    """`clean`: of each call alone."""
    rows = [row for outcome in clean for row in outcome.rows]
    if keeps >= Keeps.GIST:
        yield from _unequal("same_row", Counter(map(_gist, rows)), Counter(map(_gist, spoiled.rows)))
    if keeps >= Keeps.ROW and Counter(map(_gist, rows)) == Counter(map(_gist, spoiled.rows)):
        pairs = zip(sorted(rows, key=_gist), sorted(spoiled.rows, key=_gist), strict=True)
        yield from (Finding("same_times", says) for one, other in pairs if (says := _apart(one, other, keeps)))
    played = bool(spoiled.ledger) or any(outcome.ledger for outcome in clean)
    if keeps >= Keeps.CARDS and played:
        yield from _unequal("same_cards", _cards(clean), _cards([spoiled]))
        yield from _unequal("same_ends", _ends(clean), _ends([spoiled]))


def _unequal(invariant: str, clean: Counter, spoiled: Counter) -> Iterator[Finding]:
    if clean != spoiled:
        yield Finding(
            invariant, f"clean {sorted((clean - spoiled).items())}, spoiled {sorted((spoiled - clean).items())}"
        )


def _gist(row: CallRow) -> tuple[str, ...]:
    return (row.phone, row.direction, row.result, str(row.extension), str(row.line_number), str(row.site))


def _apart(clean: CallRow, spoiled: CallRow, keeps: Keeps) -> str | None:
    if keeps == Keeps.ALL:
        one, other = (dataclasses.replace(row, record_url=None) for row in (clean, spoiled))
        return None if one == other else f"{_changed(one, other)}"
    near = (
        abs(clean.date - spoiled.date) <= _DATE
        and abs(clean.duration - spoiled.duration) <= _SECONDS
        and (clean.waiting is None or spoiled.waiting is None or abs(clean.waiting - spoiled.waiting) <= 3 * _SECONDS)
    )
    return None if near else f"{_changed(clean, spoiled)}"


def _changed(one: CallRow, other: CallRow) -> dict[str, tuple[str, str]]:
    return {
        field.name: (str(getattr(one, field.name)), str(getattr(other, field.name)))
        for field in dataclasses.fields(one)
        if getattr(one, field.name) != getattr(other, field.name)
    }


def _cards(outcomes: Sequence[Outcome]) -> Counter:
    """Who saw a card of whom; two managers may see it in one notice or in two."""
    return Counter(
        (ring.direction, ring.phone, extension)
        for one in outcomes
        for ring in one.rings
        for extension in ring.extensions
    )


def _ends(outcomes: Sequence[Outcome]) -> Counter:
    return Counter((end.phone, end.extensions, end.status) for one in outcomes for end in one.ends)
