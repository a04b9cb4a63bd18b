"""
Checks requests against JSON Schema; the API's own description shows the same schemas.

These keywords are understood: type, enum, properties, required, additionalProperties, propertyNames, items, minItems,
maxItems, minimum, maximum, minLength, maxLength, pattern. Without a type anything is right. The `description` of a
schema says what a value must be, because it becomes part of the sentence that refuses another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

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


def problems(value: object, schema: Schema) -> dict[str, str]:
    """Everything that is wrong, by the path of its field (`lines[0].name`); empty when nothing is."""
    return dict(_problems(value, schema, ""))


def _problems(value: object, schema: Schema, where: str) -> Iterator[tuple[str, str]]:
    if "type" not in schema:
        return
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds) or not _is_within(value, schema):
        yield where or "body", f"must be {_described(schema, kinds)}"
        return
    if isinstance(value, dict):
        yield from _object_problems(value, schema, where)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{where}[{index}]")


def _object_problems(value: Mapping[str, object], schema: Schema, where: str) -> Iterator[tuple[str, str]]:
    prefix = f"{where}." if where else ""
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield prefix + name, "is missing"
    others = schema.get("additionalProperties", False)
    for name, item in value.items():
        if name in known:
            yield from _problems(item, known[name], prefix + name)
        elif not others:
            yield prefix + name[:60], "is not known here"
        elif "propertyNames" in schema and not _is_within(name, schema["propertyNames"]):
            yield prefix + name[:60], f"the name must be {schema['propertyNames']['description']}"
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
