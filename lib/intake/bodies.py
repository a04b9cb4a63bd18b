"""
Reads a body as hosts send it. What is broken in it costs a field, never the event.

A host cuts a name in the middle of a letter, writes another code page than it says, or prints what JSON has no form
for. What comes out is stored as it is: PostgreSQL's jsonb refuses NUL, lone surrogates and NaN.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from typing import Any, Final

from lib.runtime.errors import InvalidPayload, TooLarge
from lib.runtime.pg_json import DEPTH

# Every value takes memory, however short it is written. A full batch of real events has about 8,000, and what comes
# alone is too short for so many.
MOST_VALUES: Final = 100_000
# Numbers this short are the same to every reader of JSON.
_WHOLE_DIGITS: Final = 15
# That of UTF-32 in the other order begins like that of UTF-16.
_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
# Where, of the four bytes of a letter, the one stands that is never empty in plain text.
_LETTER_OF_FOUR: Final = {"utf-32-le": 0, "utf-32-be": 3}
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NOTHING: Final = re.compile("[\x00\ufeff]")
_ESCAPES: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\\')
# A string that nobody closes is one token: none of these expressions ever goes back.
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.?)*+"?|[\[{]|[\]}]|[^"\[\]{}]++', re.DOTALL)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in these bytes, mended. Raises InvalidPayload, and TooLarge over MOST_VALUES."""
    written = text(body)
    if _separators(written) > MOST_VALUES:
        raise TooLarge(f"The body holds over {MOST_VALUES} values: send fewer events at a time")
    value = _loaded(written)
    if not isinstance(value, dict):
        raise InvalidPayload("The body is not a JSON object")
    mended: dict[str, Any] = _mended(value, DEPTH)
    return mended


def _separators(written: str) -> int:
    """About as many as there are values, those of events that are texts included."""
    return sum(map(written.count, ",[{"))


def text(body: bytes) -> str:
    """In UTF-8, in UTF-16 or UTF-32 if it is that, else the code page of old hosts; broken letters become U+FFFD."""
    encoding = _wide(body) or ("utf-8" if _has_letters_in_utf8(body) else "cp1251")
    if len(body) % 2 and (encoding == "utf-16-le" or body.startswith(codecs.BOM_UTF16_LE)):
        body += b"\x00"  # the last bracket, cut in its middle
    return _NOTHING.sub("", body.decode(encoding, "replace"))


def _wide(body: bytes) -> str | None:
    """The encoding, if letters have more than one byte each: a NUL or two, that a host left in a name, prove none."""
    guessed = json.detect_encoding(body)
    if body.startswith(_MARKS):
        return guessed
    if guessed in _LETTER_OF_FOUR and body.count(0) * 2 >= len(body):
        return guessed if body[_LETTER_OF_FOUR[guessed] :: 4].count(0) * 32 <= len(body) else None
    first, second = body[::2].count(0), body[1::2].count(0)
    if max(first, second) < max(2, len(body) // 16) or min(first, second) * 8 > max(first, second):
        return None
    return "utf-16-be" if first > second else "utf-16-le"


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
