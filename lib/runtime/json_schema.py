"""
What a request must look like, said once: the shape that is checked is the shape that the API's document shows.

A shape is JSON Schema, of which this much is understood: type, enum, properties, required, additionalProperties,
propertyNames, items, minItems, maxItems, minimum, maximum, minLength, maxLength, pattern. Its `description` says
what a value must be, so that it can stand in the sentence that refuses another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Shape = Mapping[str, Any]

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


def problems(value: object, shape: Shape) -> dict[str, str]:
    """Everything that is wrong, by the path of its field (`lines[0].name`); empty when nothing is."""
    return dict(_problems(value, shape, ""))


def _problems(value: object, shape: Shape, where: str) -> Iterator[tuple[str, str]]:
    kinds = shape["type"] if isinstance(shape["type"], list) else [shape["type"]]
    if not any(_is(value, kind) for kind in kinds) or not _is_within(value, shape):
        yield where or "body", f"must be {_described(shape, kinds)}"
        return
    if isinstance(value, dict):
        yield from _object_problems(value, shape, where)
    elif isinstance(value, list) and "items" in shape:
        for index, item in enumerate(value):
            yield from _problems(item, shape["items"], f"{where}[{index}]")


def _object_problems(value: Mapping[str, object], shape: Shape, where: str) -> Iterator[tuple[str, str]]:
    prefix = f"{where}." if where else ""
    known: Mapping[str, Shape] = shape.get("properties", {})
    for name in shape.get("required", ()):
        if name not in value:
            yield prefix + name, "is missing"
    others = shape.get("additionalProperties", False)
    for name, item in value.items():
        if name in known:
            yield from _problems(item, known[name], prefix + name)
        elif not others:
            yield prefix + name[:60], "is not known here"
        elif "propertyNames" in shape and not _is_within(name, shape["propertyNames"]):
            yield prefix + name[:60], f"the name must be {shape['propertyNames']['description']}"
        elif others is not True:
            yield from _problems(item, others, prefix + name)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _is_within(value: object, shape: Shape) -> bool:
    if value is None:
        return True
    if "enum" in shape and value not in shape["enum"]:
        return False
    if isinstance(value, str):
        return shape.get("minLength", 0) <= len(value) <= shape.get("maxLength", 10_000) and (
            "pattern" not in shape or re.search(shape["pattern"], value, re.ASCII) is not None
        )
    if isinstance(value, int | float):
        return bool(shape.get("minimum", value) <= value <= shape.get("maximum", value))
    if isinstance(value, list):
        return bool(shape.get("minItems", 0) <= len(value) <= shape.get("maxItems", 10_000))
    return not isinstance(value, dict) or len(value) <= shape.get("maxProperties", 10_000)


def _described(shape: Shape, kinds: list[str]) -> str:
    if "description" in shape:
        return str(shape["description"])
    if "enum" in shape:
        return "one of " + ", ".join(str(item) for item in shape["enum"])
    words = " or ".join(_NAMES[kind] for kind in kinds)
    if "minimum" in shape:
        return f"{words} from {shape['minimum']:g} to {shape['maximum']:g}"
    if "maxLength" in shape:
        return f"{words} of {shape.get('minLength', 0)} to {shape['maxLength']} characters"
    return words
