"""The directory of an enterprise for the rules: its numbers, people and lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from lib.calls.e164 import bare, e164

_EXTENSION_DIGITS: Final = 5
_REMEMBERED: Final = 5_000
# Longer spellings are rare, and read each time: a directory of each enterprise remembers for itself.
_REMEMBERED_CHARACTERS: Final = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    line_id: str
    phone_number: str | None = None
    site_code: str | None = None
    incoming_transform: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Directory:
    """
    `extension_users` holds the mapped extensions: extension -> CRM user; `personal_phones`: number in E.164 ->
    the extension of its person.
    """

    region: str = "BY"
    timezone: str = "Europe/Minsk"
    crm_timezone: str = "Europe/Minsk"
    internal_phones: frozenset[str] = frozenset()
    extension_users: Mapping[str, int | None] = field(default_factory=dict)
    personal_phones: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return zone_named(self.timezone)

    @property
    def crm_zone(self) -> ZoneInfo:
        return zone_named(self.crm_timezone)

    def knows(self, extension: str) -> bool:
        return extension in self.internal_phones or extension in self.extension_users

    def is_extension(self, value: str) -> bool:
        """
        Internal: a number of the enterprise's internal phones, else at most 5 digits and not a known line. For values
        from the extension side of an event; see `roles` for the other side.
        """
        if self.knows(value):
            return True
        return len(value) <= _EXTENSION_DIGITS and _digits(value) and value not in self.lines

    def is_mapped(self, extension: str) -> bool:
        return extension in self.extension_users

    def outside(self, value: str) -> str | None:
        """
        An external number in E.164, equal in all its spellings; the digits as they are of one that is nowhere valid.
        None: no external number.
        """
        number = self._read_before.get(value, "")
        if number == "":
            number = self._read(value)
            if len(value) > _REMEMBERED_CHARACTERS:
                return number
            if len(self._read_before) >= _REMEMBERED:
                self._read_before.clear()
            self._read_before[value] = number
        return number

    def valid_number(self, value: str) -> str | None:
        """An external number in E.164; None too for digits that are nowhere a number, such as a device's name."""
        number = self.outside(value)
        return number if number is not None and number.startswith("+") else None

    @cached_property
    def _read_before(self) -> dict[str, str | None]:
        """The same few numbers stand in all events of a call."""
        return {}

    def _read(self, value: str) -> str | None:
        digits = bare(value)
        if digits is None or self._names_us(digits) or (digits != value and self._names_us(value)):
            return None
        known = e164(digits, self.region)
        if known is not None:
            return known
        digits = digits.removeprefix("+")
        return digits if len(digits) > _EXTENSION_DIGITS else None

    def _names_us(self, name: str) -> bool:
        return self.is_extension(name) or name in self.lines

    def person(self, value: str) -> str | None:
        """The extension of the person at this number: the extension itself, or that of a personal phone."""
        if self.is_extension(value):
            return value
        return self.mobile_person(value)

    def mobile_person(self, value: str) -> str | None:
        number = self.outside(value)
        return None if number is None else self._personal_numbers.get(number)

    def is_own_line(self, value: str) -> bool:
        """The name of a line, or its number."""
        return value in self.lines or self.outside(value) in self._own_numbers

    def line_named(self, trunk: str) -> str:
        """The line's name in full, where its leading zeros are missing; else as it is."""
        return trunk if trunk in self.lines else self._without_zeros.get(trunk, trunk)

    def extension_named(self, name: str) -> str:
        """`X-152` is the known extension 152, whatever X; else as it is."""
        if self.knows(name) or name in self.lines:
            return name
        last = name.rpartition("-")[2]
        return last if self.knows(last) else name

    @cached_property
    def _own_numbers(self) -> frozenset[str]:
        numbers = (self.outside(line.phone_number) for line in self.lines.values() if line.phone_number)
        return frozenset(number for number in numbers if number is not None)

    @cached_property
    def _personal_numbers(self) -> dict[str, str]:
        people = ((self.outside(number), extension) for number, extension in sorted(self.personal_phones.items()))
        return {number: extension for number, extension in people if number is not None}

    @cached_property
    def _without_zeros(self) -> dict[str, str]:
        """A name that stands for two lines stands for none."""
        short = Counter(name.lstrip("0") for name in self.lines)
        return {rest: name for name in self.lines if (rest := name.lstrip("0")) and short[rest] == 1}


@lru_cache(maxsize=1_000)
def zone_named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError of neither kind
        return ZoneInfo("UTC")
    except KeyError:
        return ZoneInfo("UTC")


def _digits(value: str) -> bool:
    return value.isascii() and value.isdecimal()
