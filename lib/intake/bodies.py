"""
Reads a body as hosts send it. What is broken in it costs a field, never the event.

A host cuts a name in the middle of a letter, writes another code page than it says, or prints what JSON has no form
for. What comes out is stored as it is: PostgreSQL's jsonb refuses NUL, lone surrogates and NaN.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final

from lib.runtime.errors import InvalidPayload

DEPTH: Final = 50
# Numbers this short are the same to every reader of JSON.
_WHOLE_DIGITS: Final = 15
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NOTHING: Final = re.compile("[\x00\ufeff]")
_ESCAPES: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\\')
# A string that nobody closes is one token: none of these expressions ever goes back.
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.?)*+"?|[\[{]|[\]}]|[^"\[\]{}]++', re.DOTALL)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in these bytes, mended. Raises InvalidPayload."""
    value = _loaded(text(body))
    if not isinstance(value, dict):
        raise InvalidPayload("The body is not a JSON object")
    mended: dict[str, Any] = _mended(value, DEPTH)
    return mended


def text(body: bytes) -> str:
    """In UTF-8, UTF-16 if it looks like it, else the code page of old hosts; broken letters become U+FFFD."""
    encoding = json.detect_encoding(body)
    if encoding not in ("utf-8", "utf-8-sig"):
        return _NOTHING.sub("", body.decode(encoding, "replace"))
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        decoded = body.decode("utf-8" if _has_letters_in_utf8(body) else "cp1251", "replace")
    return _NOTHING.sub("", decoded)


def _has_letters_in_utf8(body: bytes) -> bool:
    """Letters beyond ASCII that are whole: who cuts one of them wrote UTF-8 all the same."""
    return not body.decode("utf-8", "ignore").isascii()


def _loaded(written: str) -> object:
    """As it is; else with backslashes that escape nothing as themselves, and without what is nested too deep."""
    with suppress(ValueError, RecursionError):
        return _json(written)
    mended = _ESCAPES.sub(_escaped, written)
    try:
        with suppress(RecursionError):
            return _json(mended)
        return _json(_shallow(mended))
    except ValueError as error:
        raise InvalidPayload("The body is not JSON") from error


def _json(written: str) -> object:
    """Numbers with a point, with an exponent, or very long, keep the digits that were sent: as text."""
    return json.loads(written, strict=False, parse_float=str, parse_int=_whole, parse_constant=str)


def _escaped(found: re.Match[str]) -> str:
    """A name has a backslash of its own, or was cut in the middle of an escaped letter."""
    return found[0] if len(found[0]) > 1 else found[0] * 2


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _WHOLE_DIGITS else digits


def _shallow(written: str) -> str:
    """The same, with null for what is nested deeper than anybody reads."""
    kept, depth = [], 0
    for token in _TOKENS.findall(written):
        depth += token in {"[", "{"}
        if depth <= DEPTH:
            kept.append(token)
        elif depth == DEPTH + 1 and token in {"[", "{"}:
            kept.append("null")
        depth -= token in {"]", "}"}
    return "".join(kept)


def _mended(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_mended(item, depth - 1) for item in value] if depth > 0 else None
    if isinstance(value, dict):
        return _mended_object(value, depth) if depth > 0 else None
    return value


def _mended_object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    """A key that had to be mended never takes the place of one that is whole."""
    mended = {_clean(key): _mended(item, depth - 1) for key, item in value.items() if _clean(key) != key}
    return mended | {key: _mended(item, depth - 1) for key, item in value.items() if _clean(key) == key}


def _clean(written: str) -> str:
    if written.isascii() and "\x00" not in written:
        return written
    return _NOTHING.sub("", _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", written))
