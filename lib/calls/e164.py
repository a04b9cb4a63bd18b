"""One number in E.164, from any spelling that a region uses: only valid numbers pass."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import phonenumbers

from lib.calls import spelling

# One dialling habit: 8 before national, 8~10 before international numbers.
_EIGHT: Final = frozenset({"BY", "RU", "KZ"})
_NEIGHBOURS: Final = ("375", "7")


def bare(raw: str) -> str | None:
    """The digits, and the plus if there is one; None where no number, or more than one, is written."""
    return spelling.number_in(raw)


def e164(raw: str, region: str) -> str | None:
    digits = bare(raw)
    return None if digits is None else _e164(digits, region)


@lru_cache(maxsize=20_000)
def _e164(digits: str, region: str) -> str | None:
    return international(digits, region) or _national(digits, region) or _foreign(digits, region)


def international(digits: str, region: str) -> str | None:
    """Said to be international: by a plus, by a prefix, or by the country code of this part of the world."""
    if digits.startswith("+"):
        return valid(digits, region)
    if digits.startswith("00"):
        return valid("+" + digits[2:], region)
    if region in _EIGHT and digits.startswith("810"):
        return valid("+" + digits[3:], region)
    own = str(phonenumbers.country_code_for_region(region))
    if digits.startswith((own, *_NEIGHBOURS)):
        return valid("+" + digits, region)
    return None


def _national(digits: str, region: str) -> str | None:
    if digits.startswith("+"):
        return None
    return valid(digits, region) or _neighbours(digits, region)


def _neighbours(digits: str, region: str) -> str | None:
    """National of another country with the same habit: 80 and nine digits in Belarus, else 8 and ten behind +7."""
    if region not in _EIGHT or len(digits) != 11 or not digits.startswith("8"):
        return None
    return valid("+375" + digits[2:] if digits.startswith("80") else "+7" + digits[1:], region)


def _foreign(digits: str, region: str) -> str | None:
    return None if digits.startswith("+") else valid("+" + digits, region)


def valid(number: str, region: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
