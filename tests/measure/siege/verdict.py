"""What a siege may cost the others, and what of the attacker's own must be there in the end: pure."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.measure.bench.figures import table

WORSE_AT_MOST: Final = 3.0
UNHEEDED_SECONDS: Final = 1.0
MEMORY_MIB: Final = 250.0
# So many pop-ups in a row, none of which was late.
NORMAL_RINGS: Final = 6
_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Ring:
    """A phone that rang at `due_at`; `shown_at`: when the CRM had its pop-up; `refused`: of its posts."""

    due_at: float
    shown_at: float | None = None
    refused: int = 0

    @property
    def seconds(self) -> float | None:
        return None if self.shown_at is None else self.shown_at - self.due_at

    def is_normal(self, limit_seconds: float) -> bool:
        return self.seconds is not None and self.seconds <= limit_seconds and not self.refused


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of the attacker in our tables. `reasons`: the codes of why the CRM is told nothing, or less."""

    number: int
    wants_row: bool
    row_ids: Sequence[str] = ()
    reasons: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Own:
    """
    The attacker's own events: how many were accepted of those that were posted (`offered`), and of the accepted ones
    those that are in no call (`absent`); calls that have neither the row that they should have, nor a reason (`silent`);
    `drained_seconds`: how long what was accepted took to be done, None: it never was.
    """

    offered: int = 0
    accepted: int = 0
    absent: Sequence[str] = ()
    calls: int = 0
    silent: Sequence[int] = ()
    drained_seconds: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    What was seen beside an attack. `rings`: those while it lasted; `later`: those until the attacker's events were
    done; `peaks`: MiB by function; `normal_after`: seconds from the end of the attack on, None: never.
    """

    name: str
    rings: Sequence[Ring]
    later: Sequence[Ring] = ()
    peaks: Mapping[str, float] = field(default_factory=dict)
    normal_after: float | None = 0.0
    own: Own = field(default_factory=Own)
    answers: Mapping[int, int] = field(default_factory=dict)
    others_refused: int = 0
    failure: str = ""

    @property
    def peak(self) -> tuple[str, float]:
        return max(self.peaks.items(), key=lambda item: item[1], default=("", 0.0))


def limit_seconds(quiet: Seen) -> float:
    """How late a pop-up may be beside an attack."""
    return max(UNHEEDED_SECONDS, WORSE_AT_MOST * (worst(quiet.rings) or 0.0))


def worst(rings: Sequence[Ring]) -> float | None:
    """Of those that came."""
    return max((ring.seconds for ring in rings if ring.seconds is not None), default=None)


def missing(rings: Sequence[Ring]) -> int:
    return sum(ring.shown_at is None for ring in rings)


def normal_after(rings: Sequence[Ring], *, ended_at: float, limit: float) -> float | None:
    """
    Seconds from the end of an attack to the first of the rings with which all became normal, and stayed so; None while
    too few of them are. `rings`: those of which it is known how they came, in order.
    """
    normal = 0
    for ring in reversed(rings):
        if not ring.is_normal(limit):
            break
        normal += 1
    if normal < min(NORMAL_RINGS, len(rings)) or not normal:
        return None
    return max(0.0, rings[-normal].due_at - ended_at) if normal < len(rings) else 0.0


def own(
    *,
    offered: int,
    accepted: Collection[str],
    in_calls: Collection[str],
    calls: Sequence[Call],
    rows: Collection[str],
    drained_seconds: float | None,
) -> Own:
    """`accepted`, `in_calls`: marks of events; `rows`: the ids that the CRM holds."""
    held = frozenset(rows)
    return Own(
        offered=offered,
        accepted=len(accepted),
        absent=sorted(set(accepted) - set(in_calls)),
        calls=len(calls),
        silent=[call.number for call in calls if not _is_told(call, held)],
        drained_seconds=drained_seconds,
    )


def _is_told(call: Call, rows: Collection[str]) -> bool:
    if call.wants_row:
        return any(row in rows for row in call.row_ids)
    return bool(call.reasons)


def broken(seen: Seen, *, limit: float) -> list[str]:
    """What of the bar was not kept."""
    if seen.failure:
        return [seen.failure]
    everything = [*seen.rings, *seen.later]
    slowest = worst(everything)
    refused = sum(ring.refused for ring in everything)
    function, peak = seen.peak
    rules = {
        "no phone rang": not seen.rings,
        f"{missing(everything)} pop-ups are missing": missing(everything) > 0,
        f"{refused} posts were refused": refused > 0,
        f"a pop-up took {slowest or 0.0:.1f} s, at most {limit:.1f} are allowed": (slowest or 0.0) > limit,
        f"{function} took {peak:.0f} MiB, at most {MEMORY_MIB:.0f} are allowed": peak > MEMORY_MIB,
        f"{seen.others_refused} first requests of others were refused": seen.others_refused > 0,
        "it was never normal again": seen.normal_after is None,
        f"accepted events are in no call: {_some(seen.own.absent)}": bool(seen.own.absent),
        f"calls have neither a row nor a reason: {_some(seen.own.silent)}": bool(seen.own.silent),
        "the attacker's events were never done": seen.own.drained_seconds is None,
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


def report(found: Sequence[Seen]) -> str:
    head = [
        "beside",
        "worst pop-up",
        "p50",
        "missing",
        "refused",
        "peak of a function",
        "normal again after",
        "until its events were done",
        "its own events",
    ]
    return table(head, [_row(seen) for seen in found])


def _row(seen: Seen) -> list[str]:
    if seen.failure:
        return [seen.name, seen.failure.splitlines()[0], *["—"] * 7]
    times = [ring.seconds for ring in seen.rings if ring.seconds is not None]
    function, peak = seen.peak
    return [
        seen.name,
        _seconds(worst(seen.rings)),
        _seconds(statistics.median(times) if times else None),
        f"{missing(seen.rings)} of {len(seen.rings)}",
        str(sum(ring.refused for ring in seen.rings) + seen.others_refused),
        f"{peak:.0f} MiB ({function})",
        _seconds(seen.normal_after, digits=0),
        _later(seen),
        _own(seen),
    ]


def _later(seen: Seen) -> str:
    if not seen.later:
        return "—"
    refused = sum(ring.refused for ring in seen.later)
    return (
        f"{_seconds(seen.own.drained_seconds, digits=0)}; of {len(seen.later)} rings worst {_seconds(worst(seen.later))},"
        f" missing {missing(seen.later)}, refused {refused}"
    )


def _own(seen: Seen) -> str:
    answers = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(seen.answers.items()))
    if not seen.own.offered:
        return f"answers {answers}" if answers else "—"
    lost = f", {len(seen.own.absent)} in no call" if seen.own.absent else ""
    silent = f", {len(seen.own.silent)} without a row or a reason" if seen.own.silent else ""
    return (
        f"{seen.own.accepted} of {seen.own.offered} accepted{lost}; {seen.own.calls} calls{silent}; answers {answers}"
    )


def _seconds(value: float | None, *, digits: int = 2) -> str:
    return "never" if value is None else f"{value:.{digits}f} s"


def _some(names: Sequence[object]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more
