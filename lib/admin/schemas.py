"""Building blocks of schemas (JSON Schema): of requests, which are checked, and of answers, which are described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lib.runtime.json_schema import Schema


def text(most: int, *, least: int = 0, **further: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most, **further}


def refused_as(code: str, schema: Schema) -> dict[str, Any]:
    """`code`: of the problem of a value that is not so, where the page has words for it."""
    return {**schema, "x-problem": code}


def obj(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


def record(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object of exactly these fields; all but the optional ones are always there."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required, "additionalProperties": False}


def listed(items: Schema) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapped(values: Schema) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def maybe(schema: Schema) -> dict[str, Any]:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


TEXT: Final[dict[str, Any]] = {"type": "string"}
NUMBER: Final = {"type": "number"}
COUNT: Final = {"type": "integer", "minimum": 0}
ID: Final = {"type": "integer", "minimum": 1}
FLAG: Final = {"type": "boolean"}
MOMENT: Final = {"type": "string", "format": "date-time"}
ANYTHING: Final[dict[str, Any]] = {}
DATA: Final = mapped(ANYTHING)
MAYBE_TEXT: Final = maybe(TEXT)
MAYBE_NUMBER: Final = maybe(NUMBER)
MAYBE_MOMENT: Final = maybe(MOMENT)
MAYBE_ID: Final = maybe(ID)
