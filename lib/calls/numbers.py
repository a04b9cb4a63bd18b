"""Telephone numbers: from what hosts send to E.164, and never to a number that nobody has."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers

from lib.calls.directory import Directory, Line

_SPELLING: Final = re.compile(r"^\+?[\d\s().\-]+$", re.ASCII)
_PUNCTUATION: Final = re.compile(r"[\s().\-]+")
_TRANSFORM: Final = re.compile(r"^(\+?\d*)\{(\d{1,2})\}$", re.ASCII)
# One dialling habit: 8 before national, 8~10 before international numbers.
_EIGHT: Final = frozenset({"BY", "RU", "KZ"})
_NEIGHBOURS: Final = ("375", "7")


def normalize(raw: str, directory: Directory, *, line: Line | None = None) -> str | None:
    """
    E.164 with `+`, or None where there is no valid external number. `line`: the line over which an incoming
    call came; its rule is for those calls alone, an outgoing or foreign number would be destroyed by it.
    """
    raw = raw.strip()
    if not _SPELLING.match(raw) or raw in directory.lines or directory.knows(raw):
        return None
    if line is not None and line.incoming_transform:
        ruled = _transformed(raw, line.incoming_transform, directory.region)
        if ruled is not None:
            return ruled
    return _e164(raw, directory.region)


def _transformed(raw: str, rule: str, region: str) -> str | None:
    """`+375{9}`: the prefix and the last 9 digits; a shorter number stays as it is."""
    found = _TRANSFORM.match(rule.strip())
    digits = _PUNCTUATION.sub("", raw).removeprefix("+")
    if found is None or len(digits) < int(found[2]):
        return None
    ruled = _valid(found[1] + digits[-int(found[2]) :], region)
    abroad = _international(raw, region)
    if ruled is not None and abroad is not None and _country(abroad) != _country(ruled):
        return None
    return ruled


@lru_cache(maxsize=20_000)
def _e164(raw: str, region: str) -> str | None:
    return _international(raw, region) or _national(raw, region) or _foreign(raw, region)


def _international(raw: str, region: str) -> str | None:
    """Said to be international: by a plus, by a prefix, or by the country code of this part of the world."""
    digits = _PUNCTUATION.sub("", raw)
    if digits.startswith("+"):
        return _valid(digits, region)
    if digits.startswith("00"):
        return _valid("+" + digits[2:], region)
    if region in _EIGHT and digits.startswith("810"):
        return _valid("+" + digits[3:], region)
    own = str(phonenumbers.country_code_for_region(region))
    if digits.startswith((own, *_NEIGHBOURS)):
        return _valid("+" + digits, region)
    return None


def _national(raw: str, region: str) -> str | None:
    digits = _PUNCTUATION.sub("", raw)
    if digits.startswith("+"):
        return None
    found = _valid(digits, region)
    if found is None and region in _EIGHT and len(digits) == 11 and digits.startswith("80"):
        return _valid("+375" + digits[2:], region)
    return found


def _foreign(raw: str, region: str) -> str | None:
    digits = _PUNCTUATION.sub("", raw)
    return None if digits.startswith("+") else _valid("+" + digits, region)


def _valid(number: str, region: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _country(e164: str) -> int | None:
    return phonenumbers.parse(e164, None).country_code
