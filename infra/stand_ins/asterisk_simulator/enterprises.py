"""The enterprises that the service knows, by their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from infra.stand_ins.retailcrm_simulator import fields
from infra.stand_ins.retailcrm_simulator.fields import Field, InvalidInput

_HOST: Final = "192.0.2.10"


@dataclass(frozen=True, kw_only=True)
class Enterprise:
    """`host` None: no host is configured. `channels` are the extensions that are in a call."""

    number: str
    secret: str = field(repr=False)
    host: str | None = _HOST
    channels: frozenset[str] = frozenset()


def enterprise_from(data: object) -> Enterprise:
    """Raises InvalidInput."""
    given = fields.checked(data, _ENTERPRISE)
    without_host = isinstance(data, dict) and data.get("host", _HOST) is None
    return Enterprise(
        number=given["number"],
        secret=given["secret"],
        host=None if without_host else given.get("host", _HOST),
        channels=frozenset(given.get("channels", ())),
    )


class Enterprises:
    def __init__(self) -> None:
        self._by_number: dict[str, Enterprise] = {}

    def __iter__(self) -> Iterator[Enterprise]:
        return iter(self._by_number.values())

    def named(self, number: str) -> Enterprise | None:
        return self._by_number.get(number)

    def with_secret(self, secret: str) -> Enterprise | None:
        return next((each for each in self if each.secret == secret), None)

    def put(self, enterprise: Enterprise) -> bool:
        """True when it is new. Raises InvalidInput when the secret is another's."""
        holder = self.with_secret(enterprise.secret)
        if holder is not None and holder.number != enterprise.number:
            raise InvalidInput(f"secret: it is {holder.number}'s already")
        created = enterprise.number not in self._by_number
        self._by_number[enterprise.number] = enterprise
        return created

    def remove(self, number: str | None) -> list[str]:
        """Removes one, or without a number all; returns their numbers."""
        removed = [each for each in self._by_number if number in {None, each}]
        for each in removed:
            del self._by_number[each]
        return removed


def _number(value: object) -> str | None:
    return None if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value) else "must be digits"


_ENTERPRISE: Final = {
    "number": Field(check=_number, required=True),
    "secret": Field(check=fields.filled, required=True),
    "host": Field(check=fields.filled),
    "channels": Field(check=fields.list_of(fields.filled)),
}
