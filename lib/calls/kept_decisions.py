"""What was decided earlier and stays the reason: a later look at the same call must not tell another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from lib.calls.decision import Decision

# About people at a ring: decided when it rang, whatever the mapping and the clock say now.
_ABOUT_A_RING: Final = frozenset({"no_mapping", "expired", "synthetic_dial", "synthetic_dial_off"})
# What shows only as long as it lasts.
_PASSING: Final = frozenset({"waiting_for_recording"})


def settle(
    earlier: Sequence[Decision], fresh: Sequence[Decision], *, rings: Collection[datetime], told: Collection[str]
) -> tuple[Decision, ...]:
    """
    `fresh`, but where `earlier` has spoken of the same people at the same ring, that stands; unless they were `told`
    of the call after all, or the call has no such ring any more.
    """
    stands: list[Decision] = []
    for decision in earlier:
        if decision.code in _ABOUT_A_RING and decision.at in rings:
            stands += _about(decision, without=() if decision.code == "synthetic_dial" else told)
        elif decision.code in _PASSING and all(decision.code != other.code for other in fresh):
            stands.append(decision)
    spoken_of = {(decision.at, name) for decision in stands for name in _names(decision)}
    for decision in fresh:
        if decision.code in _ABOUT_A_RING:
            known = {name for at, name in spoken_of if at == decision.at}
            stands += _about(decision, without=known | set(told) if decision.code == "no_mapping" else known)
        else:
            stands.append(decision)
    return tuple(stands)


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
