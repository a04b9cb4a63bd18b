"""Earlier decisions that stay the reason: a later plan of the same call must not replace them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from lib.calls.decision import Decision

# About people at a ring: decided when it rang, whatever the mapping and the clock say now.
_ABOUT_A_RING: Final = frozenset({"no_mapping", "expired", "synthetic_dial", "synthetic_dial_off"})
# Kept until the plan renews them.
_PASSING: Final = frozenset({"waiting_for_recording"})


def merge(
    earlier: Sequence[Decision], fresh: Sequence[Decision], *, rings: Collection[datetime], told: Collection[str]
) -> tuple[Decision, ...]:
    """
    `fresh`, but an `earlier` decision about the same people at the same ring stays, unless they were `told` of the
    call after all, or the call has no such ring any more.
    """
    kept = list(_kept(earlier, {decision.code for decision in fresh}, rings, told))
    spoken_of: dict[datetime | None, set[str]] = defaultdict(set)
    for decision in kept:
        spoken_of[decision.at].update(_names(decision))
    for decision in fresh:
        if decision.code in _ABOUT_A_RING:
            known = spoken_of[decision.at]
            kept += _about(decision, without=known | set(told) if decision.code == "no_mapping" else known)
        else:
            kept.append(decision)
    return tuple(kept)


def _kept(
    earlier: Sequence[Decision], fresh: Collection[str], rings: Collection[datetime], told: Collection[str]
) -> Iterator[Decision]:
    """`fresh`: the codes of the new decisions."""
    for decision in earlier:
        if decision.code in _ABOUT_A_RING and decision.at in rings:
            yield from _about(decision, without=() if decision.code == "synthetic_dial" else told)
        elif decision.code in _PASSING and decision.code not in fresh:
            yield decision


def _about(decision: Decision, *, without: Collection[str]) -> list[Decision]:
    left = tuple(name for name in _names(decision) if name not in without)
    if not left:
        return []
    key = "numbers" if "numbers" in decision.params else "extensions"
    return [Decision(code=decision.code, params={**decision.params, key: left}, at=decision.at)]


def _names(decision: Decision) -> tuple[str, ...]:
    if decision.code not in _ABOUT_A_RING:
        return ()
    names = decision.params.get("numbers") or decision.params.get("extensions")
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()
