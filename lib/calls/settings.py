"""What an enterprise may choose about its calls; the names stand in its `integrations_config`, for each CRM."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

_CHOICES: Final = {
    "owner_policy": ("last_talker", "first_talker"),
    "missed_owner": ("first_rung", "none"),
}
RANGES: Final = {
    "popup_max_age_seconds": (0.0, 3600.0),
    "settle_seconds": (0.0, 600.0),
    "finalize_after_seconds": (0.0, 86_400.0),
    "call_max_hours": (0.001, 48.0),
    "wait_for_recording_seconds": (0.0, 86_400.0),
}
_SWITCHES: Final = ("synthetic_dial", "enabled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    enabled: bool = True
    owner_policy: Literal["last_talker", "first_talker"] = "last_talker"
    missed_owner: Literal["first_rung", "none"] = "first_rung"
    synthetic_dial: bool = True
    popup_max_age_seconds: float = 15.0
    settle_seconds: float = 5.0
    finalize_after_seconds: float = 90.0
    call_max_hours: float = 4.0
    wait_for_recording_seconds: float = 0.0
    problems: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Settings:
        """A value that cannot be meant leaves the default, and is named in `problems`."""
        chosen: dict[str, object] = {}
        problems: list[str] = []
        for name, value in config.items():
            if value is None or (name not in _CHOICES and name not in RANGES and name not in _SWITCHES):
                continue
            meant = _meant(name, value)
            if meant is None:
                problems.append(f"{name} cannot be {value!r:.60}")
            else:
                chosen[name] = meant
        return dataclasses.replace(cls(), problems=tuple(sorted(problems)), **chosen)  # type: ignore[arg-type]

    @staticmethod
    def names() -> frozenset[str]:
        """Of everything that may be chosen."""
        return frozenset({*_CHOICES, *RANGES, *_SWITCHES})

    @property
    def popup_max_age(self) -> timedelta:
        return timedelta(seconds=self.popup_max_age_seconds)

    @property
    def settle(self) -> timedelta:
        return timedelta(seconds=self.settle_seconds)

    @property
    def finalize_after(self) -> timedelta:
        return timedelta(seconds=self.finalize_after_seconds)

    @property
    def call_max(self) -> timedelta:
        return timedelta(hours=self.call_max_hours)

    @property
    def wait_for_recording(self) -> timedelta:
        return timedelta(seconds=self.wait_for_recording_seconds)


def _meant(name: str, value: object) -> object | None:
    if name in _CHOICES:
        return value if isinstance(value, str) and value in _CHOICES[name] else None
    if name in _SWITCHES:
        words: dict[object, bool] = {"true": True, "1": True, "false": False, "0": False}
        return value if isinstance(value, bool) else words.get(str(value).lower())
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    least, most = RANGES[name]
    return number if least <= number <= most else None
