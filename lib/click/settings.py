"""Whom a click may call, and how often: what an enterprise chose among the options of its integration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import phonenumbers

from lib.store.enterprises import Enterprise

Kind = Literal["premium", "shared_cost", "satellite"]

KINDS: Final[tuple[Kind, ...]] = ("premium", "shared_cost", "satellite")
ANYWHERE: Final = "*"
# A manager who calls all day makes about a hundred calls: enough for thirty of them.
DAILY_LIMIT: Final = 3000
MOST_PER_DAY: Final = 20_000
COUNTRIES: Final = "click_countries"
NUMBER_KINDS: Final = "click_number_kinds"
LIMIT: Final = "click_daily_limit"

# Where the customers of a shop in one of the first are too: one market, its neighbours, and who moved there.
_MARKET: Final = frozenset(("AM", "AZ", "BY", "EE", "GE", "KG", "KZ", "LT", "LV", "MD", "RU", "TJ", "TM", "UA", "UZ"))
_AROUND: Final = frozenset(("CZ", "DE", "HU", "PL", "RO", "SK"))


@dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """`countries`: by their ISO codes, or ANYWHERE. `kinds`: of numbers beyond the usual ones."""

    countries: frozenset[str]
    kinds: frozenset[str] = frozenset()
    daily_limit: int = DAILY_LIMIT
    problems: tuple[str, ...] = dataclasses.field(default=(), compare=False)


def of(enterprise: Enterprise) -> ClickSettings:
    return read(enterprise.integration().options, enterprise.region)


def read(options: Mapping[str, Any], region: str) -> ClickSettings:
    """A value that cannot be meant leaves the default, and is named in `problems`."""
    chosen: dict[str, Any] = {}
    problems: list[str] = []
    for name, field, meant in (
        (COUNTRIES, "countries", _countries),
        (NUMBER_KINDS, "kinds", _kinds),
        (LIMIT, "daily_limit", _limit),
    ):
        value = options.get(name)
        if value is None:
            continue
        found = meant(value)
        if found is None:
            problems.append(f"{name} cannot be {value!r:.60}")
        else:
            chosen[field] = found
    return dataclasses.replace(ClickSettings(countries=usual_countries(region)), problems=tuple(problems), **chosen)


def usual_countries(region: str) -> frozenset[str]:
    """Those of an enterprise that chose none: its own, and where its customers may be expected."""
    return _MARKET | _AROUND if region in _MARKET else frozenset({region})


def _countries(value: object) -> frozenset[str] | None:
    return _listed(value, {ANYWHERE, *phonenumbers.SUPPORTED_REGIONS})


def _kinds(value: object) -> frozenset[str] | None:
    return _listed(value, {*KINDS})


def _listed(value: object, known: set[str]) -> frozenset[str] | None:
    is_one = isinstance(value, list) and all(isinstance(item, str) and item in known for item in value)
    return frozenset(value) if is_one and isinstance(value, list) else None


def _limit(value: object) -> int | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PER_DAY
    return value if is_one and isinstance(value, int) else None
