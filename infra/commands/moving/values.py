"""Values of the old tables, whose types vary between installations: booleans as integers, JSON in text. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lib.runtime import pg_json

_TRUE: Final = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE: Final = frozenset({"false", "f", "0", "no", "n", "off", ""})
_SECRET: Final = re.compile(r"token|secret|passw|api[_-]?key|authorization|cookie|webhook|credential", re.IGNORECASE)
# JSON in text in JSON in text: some installations wrapped it twice.
_WRAPPED: Final = 3
_SHOWN_CHARACTERS: Final = 40


def text(value: object) -> str:
    """Without blanks around it and what PostgreSQL refuses; empty for what is no text and no number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return pg_json.text(str(value)).strip()


def truth(value: object) -> bool | None:
    """None: not said, or nothing that can be meant."""
    if value is None:
        return None
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def whole(value: object) -> int | None:
    """A positive number that an id may be."""
    digits = text(value)
    return int(digits) if re.fullmatch(r"[1-9][0-9]{0,17}", digits, re.ASCII) else None


def printable(line: str) -> str:
    return "".join(filter(str.isprintable, line))


def shown(value: object) -> str:
    """For a report: printable, and not for long."""
    return printable(text(value))[:_SHOWN_CHARACTERS]


def unwrapped(value: object) -> object:
    """JSON that stands in text, however often it was wrapped. Raises ValueError."""
    for _ in range(_WRAPPED):
        if not isinstance(value, str):
            break
        try:
            value = json.loads(value, parse_constant=lambda _: None) if value.strip() else None
        except RecursionError as error:
            raise ValueError("nested too deep") from error
    if isinstance(value, str):
        raise ValueError("text in text")  # noqa: TRY004  (a value of the wrong form, like broken JSON)
    return value


def storable(value: object, depth: int = pg_json.DEPTH) -> Any:
    """The value without what PostgreSQL refuses. Raises ValueError where it is nested too deep."""
    if isinstance(value, dict | list) and depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {pg_json.text(name): storable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in value]
    return pg_json.text(value) if isinstance(value, str) else value


def without_secrets(value: object, where: str, dropped: list[str]) -> Any:
    """What is named like a secret is left out, and its place is added to `dropped`."""
    if isinstance(value, Mapping):
        kept = {}
        for name, item in value.items():
            place = f"{where}.{shown(name)}"
            if _SECRET.search(name) and item not in (None, ""):
                dropped.append(place)
            else:
                kept[name] = without_secrets(item, place, dropped)
        return kept
    if isinstance(value, list):
        return [without_secrets(item, where, dropped) for item in value]
    return value
