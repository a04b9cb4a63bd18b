"""What an enterprise chose for a line; the names stand among the options of the integration, all with a prefix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Mode = Literal["off", "name-only", "routing+name"]
Algorithm = Literal["retailcrm", "first_call", "last_call"]

PREFIX: Final = "smart_redirect_"
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "mode": ("off", "name-only", "routing+name"),
    "algorithm": ("retailcrm", "first_call", "last_call"),
}
_NAMES: Final = ("line", "shop", "customer")
_SWITCHES: Final = ("ignore_status", "ignore_hours", "shadow")


@dataclass(frozen=True, kw_only=True)
class RedirectSettings:
    """`mode` None: nothing was chosen. `names`: what a phone shows, in this order. `shadow`: decide, but only log."""

    mode: Mode | None = None
    algorithm: Algorithm = "retailcrm"
    names: tuple[str, ...] = _NAMES
    ignore_status: bool = False
    ignore_hours: bool = False
    shadow: bool = False
    shop_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = dataclasses.field(default=(), compare=False)


def for_line(config: Mapping[str, Any], line_id: str) -> RedirectSettings:
    """The enterprise's choices, and over them those of the line. Values that make no sense are named in `problems`."""
    general = {name.removeprefix(PREFIX): value for name, value in config.items() if name.startswith(PREFIX)}
    lines = general.pop("lines", None)
    shop_names = general.pop("shop_names", None)
    problems: list[str] = []
    chosen = _checked(general, PREFIX, problems)
    of_line = lines.get(line_id) if isinstance(lines, dict) else None
    if isinstance(of_line, dict):
        chosen |= _checked(of_line, f"{PREFIX}lines.{line_id}.", problems)
    elif of_line is not None or not isinstance(lines, dict | None):
        problems.append(f"{PREFIX}lines: must map lines to their settings")
    if isinstance(shop_names, dict):
        chosen["shop_names"] = {str(code): str(name) for code, name in shop_names.items() if name}
    elif shop_names is not None:
        problems.append(f"{PREFIX}shop_names: must map codes of shops to names")
    return dataclasses.replace(RedirectSettings(), problems=tuple(problems), **chosen)


def all_problems(config: Mapping[str, Any]) -> list[str]:
    """The problems of the enterprise's settings and of those of its lines, each once."""
    lines = config.get(PREFIX + "lines")
    names = ("", *(lines if isinstance(lines, dict) else ()))
    return list(dict.fromkeys(problem for name in names for problem in for_line(config, name).problems))


def _checked(values: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        if name in _CHOICES and value in _CHOICES[name]:
            chosen[name] = value
        elif name == "names" and isinstance(value, list) and all(item in _NAMES for item in value):
            chosen[name] = tuple(dict.fromkeys(value))
        elif name in _SWITCHES and isinstance(value, bool):
            chosen[name] = value
        else:
            problems.append(f"{where}{name} cannot be {value!r:.60}")
    return chosen
