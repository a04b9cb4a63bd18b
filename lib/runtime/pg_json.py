"""JSON for PostgreSQL, which refuses NUL, lone surrogates and NaN; and of limited depth."""

from __future__ import annotations

import json
from typing import Any, Final

from lib.runtime.errors import InvalidPayload

DEPTH: Final = 50


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in these bytes. Raises InvalidPayload."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidPayload("The body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise InvalidPayload("The body is not a JSON object")
    _check(value)
    return value


def _check(value: object) -> None:
    """Raises InvalidPayload when PostgreSQL cannot store it."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InvalidPayload("The body is not JSON in UTF-8") from error
    if not _fits(value, DEPTH):
        raise InvalidPayload(f"The body holds a NUL character, or is nested over {DEPTH} deep")


def text(raw: str) -> str:
    """The text without what PostgreSQL refuses."""
    return raw.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")


def _fits(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all("\x00" not in key and _fits(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_fits(item, depth - 1) for item in value)
    return not isinstance(value, str) or "\x00" not in value
