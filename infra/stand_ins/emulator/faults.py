"""Faults on demand: draws the fault of each push from a seeded generator. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from infra.stand_ins.emulator.errors import invalid

EVERY_SUBSCRIPTION: Final = "*"
_LATE_COPY_SECONDS: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Probabilities of one push; `delay_ms` is a range."""

    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    delay_ms: tuple[float, float] = (0.0, 0.0)
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fate:
    dropped: bool
    delay_seconds: float
    held_back: bool
    """Sent only after a later one is through."""
    copy_after_seconds: float | None
    """When a second, independent copy leaves; None for no copy."""


class FaultPlan:
    def __init__(self) -> None:
        self._rules: dict[str, tuple[Faults, random.Random]] = {}

    def set(self, subscription: str, faults: Faults) -> None:
        self._rules[subscription] = (faults, random.Random(faults.seed))

    def clear(self) -> None:
        self._rules.clear()

    def listing(self) -> list[dict[str, Any]]:
        return [{"subscription": name, **asdict(faults)} for name, (faults, _) in sorted(self._rules.items())]

    def fate(self, subscription: str) -> Fate | None:
        """None when nothing is planned. A subscription's rule, by full name or by id, goes before the rule for all."""
        names = (subscription, subscription.rpartition("/")[2], EVERY_SUBSCRIPTION)
        rule = next((self._rules[name] for name in names if name in self._rules), None)
        if rule is None:
            return None
        faults, rng = rule
        # All are drawn every time, so that a seed gives the same fates whatever the other probabilities are.
        dropped = rng.random() < faults.drop
        delay = rng.uniform(*faults.delay_ms) / 1000
        held_back = rng.random() < faults.reorder
        duplicated = rng.random() < faults.duplicate
        copy_after = rng.choice((0.0, rng.uniform(0, _LATE_COPY_SECONDS)))
        return Fate(
            dropped=dropped,
            delay_seconds=delay,
            held_back=held_back,
            copy_after_seconds=copy_after if duplicated else None,
        )


def parse(body: Any) -> tuple[str, Faults]:
    """The subscription (or every one) and its faults; a Refusal says what is wrong."""
    if not isinstance(body, Mapping):
        raise invalid("the body must be an object")
    unknown = set(body) - {"duplicate", "reorder", "drop", "delay_ms", "seed", "subscription"}
    if unknown:
        raise invalid(f"unknown: {', '.join(sorted(map(str, unknown)))}")
    subscription = body.get("subscription") or EVERY_SUBSCRIPTION
    if not isinstance(subscription, str):
        raise invalid("subscription must be a name")
    seed = body.get("seed")
    if seed is not None and not isinstance(seed, int):
        raise invalid("seed must be a whole number")
    return subscription, Faults(
        duplicate=_probability(body, "duplicate"),
        reorder=_probability(body, "reorder"),
        drop=_probability(body, "drop"),
        delay_ms=_range(body.get("delay_ms", (0, 0))),
        seed=seed,
    )


def _probability(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name, 0)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise invalid(f"{name} must be a probability, 0 to 1")
    return float(value)


def _range(value: Any) -> tuple[float, float]:
    match value:
        case [int() | float() as low, int() | float() as high] if 0 <= low <= high <= 600_000:
            return float(low), float(high)
    raise invalid("delay_ms must be [lowest, highest] in milliseconds")
