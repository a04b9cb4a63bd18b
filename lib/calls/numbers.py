"""Telephone numbers of the other party: never one that nobody has, and none of the enterprise's own."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers

from lib.calls.directory import Directory, Line
from lib.calls.e164 import bare, e164, international, valid

_DIGITS: Final = frozenset("0123456789")
_TRANSFORM: Final = re.compile(r"^(\+?\d*)\{(\d{1,2})\}$", re.ASCII)


def normalize(raw: str, directory: Directory, *, line: Line | None = None) -> str | None:
    """
    E.164 with `+`, or None where there is no valid external number. `line`: the line over which an incoming
    call came; its rule is for those calls alone, an outgoing or foreign number would be destroyed by it.
    """
    digits = bare(raw)
    if digits is None or any(name in directory.lines or directory.knows(name) for name in (raw.strip(), digits)):
        return None
    if line is not None and line.incoming_transform:
        ruled = _transformed(digits, line.incoming_transform, directory.region)
        if ruled is not None:
            return ruled
    return e164(digits, directory.region)


def sought(text: str, region: str) -> str:
    """The digits by which a number is searched for: those of its E.164, else what is written of it."""
    found = e164(text, region) or bare(text) or text
    return "".join(character for character in found if character in _DIGITS)


def _transformed(digits: str, rule: str, region: str) -> str | None:
    """`+375{9}`: the prefix and the last 9 digits; a shorter number stays as it is."""
    found = _TRANSFORM.match(rule.strip())
    plain = digits.removeprefix("+")
    if found is None or len(plain) < int(found[2]):
        return None
    ruled = valid(found[1] + plain[-int(found[2]) :], region)
    abroad = international(digits, region)
    if ruled is not None and abroad is not None and _country(abroad) != _country(ruled):
        return None
    return ruled


def _country(number: str) -> int | None:
    return phonenumbers.parse(number, None).country_code
