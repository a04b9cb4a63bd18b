"""
Checks requests against JSON Schema; the API's own description shows the same schemas.

These keywords are understood: type, enum, properties, required, additionalProperties, propertyNames, items, minItems,
maxItems, minimum, maximum, minLength, maxLength, pattern. Without a type anything is right. The `description` of a
schema says what a value must be, because it becomes part of the sentence that refuses another one; `x-problem` is the
code of such a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Schema = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a field: `code` and `params` for a page, which has words of its own; `message` in English."""

    code: str
    message: str
    params: Mapping[str, object] = field(default_factory=dict)


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_NAMES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}


MISSING: Final = Problem(code="missing", message="is missing")
_UNKNOWN: Final = Problem(code="unknown_field", message="is not known here")


def problems(value: object, schema: Schema) -> dict[str, Problem]:
    """Everything that is wrong, by the path of its field (`lines[0].name`); empty when nothing is."""
    return dict(_problems(value, schema, ""))


def _problems(value: object, schema: Schema, where: str) -> Iterator[tuple[str, Problem]]:
    if "type" not in schema:
        return
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds) or not _is_within(value, schema):
        yield where or "body", _refusal(schema, kinds)
        return
    if isinstance(value, dict):
        yield from _object_problems(value, schema, where)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{where}[{index}]")


def _object_problems(value: Mapping[str, object], schema: Schema, where: str) -> Iterator[tuple[str, Problem]]:
    prefix = f"{where}." if where else ""
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield prefix + name, MISSING
    others = schema.get("additionalProperties", False)
    for name, item in value.items():
        if name in known:
            yield from _problems(item, known[name], prefix + name)
        elif not others:
            yield prefix + name[:60], _UNKNOWN
        elif "propertyNames" in schema and not _is_within(name, schema["propertyNames"]):
            message = f"the name must be {schema['propertyNames']['description']}"
            yield prefix + name[:60], Problem(code="name", message=message)
        elif others is not True:
            yield from _problems(item, others, prefix + name)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _is_within(value: object, schema: Schema) -> bool:
    if value is None:
        return True
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10_000) and (
            "pattern" not in schema or re.search(schema["pattern"], value, re.ASCII) is not None
        )
    if isinstance(value, int | float):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        return bool(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10_000))
    return not isinstance(value, dict) or len(value) <= schema.get("maxProperties", 10_000)


def _refusal(schema: Schema, kinds: list[str]) -> Problem:
    code, params = _code(schema, kinds)
    return Problem(code=code, message=f"must be {_described(schema, kinds)}", params=params)


def _code(schema: Schema, kinds: list[str]) -> tuple[str, dict[str, object]]:
    if "x-problem" in schema:
        return schema["x-problem"], {}
    if "enum" in schema:
        return "choice", {"choices": [item for item in schema["enum"] if item is not None]}
    if "minimum" in schema:
        return "range", {"least": schema["minimum"], "most": schema["maximum"]}
    if "maxLength" in schema:
        return "length", {"least": schema.get("minLength", 0), "most": schema["maxLength"]}
    return "form", {"kinds": kinds}


def _described(schema: Schema, kinds: list[str]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return "one of " + ", ".join(str(item) for item in schema["enum"])
    words = " or ".join(_NAMES[kind] for kind in kinds)
    if "minimum" in schema:
        return f"{words} from {schema['minimum']:g} to {schema['maximum']:g}"
    if "maxLength" in schema:
        return f"{words} of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return words
