"""Whether a click may call a number, by its country and kind: somebody pays for each minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

from lib.click.settings import ANYWHERE, ClickSettings, Kind
from lib.runtime.errors import Forbidden

# Of no country, by their code; the others of those are satellites and networks of their own.
_KINDS_BY_CODE: Final[Mapping[int, Kind | None]] = {800: None, 808: "shared_cost", 878: "premium", 979: "premium"}
# Satellite telephones with numbers of a country.
_SATELLITE_PREFIXES: Final = ("+7954",)
# Personal numbers are forwarded anywhere, at the caller's cost.
_KINDS_BY_TYPE: Final[Mapping[int, Kind]] = {
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.PERSONAL_NUMBER: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
}
_NO_COUNTRY: Final = phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY


class Whose(NamedTuple):
    """`country` None: of no country. `kind` None: an ordinary number, or one that is free."""

    country: str | None
    kind: Kind | None


def require(number: str, settings: ClickSettings) -> None:
    """Raises Forbidden: `country_not_allowed`, `number_kind_not_allowed`; their `country` and `kind` are details."""
    country, kind = whose(number)
    if kind is not None and kind not in settings.kinds:
        raise Forbidden(
            f"Clicks do not call {_WORDS[kind]} numbers: an administrator allows them on the page (Rules, Calls by"
            " click)",
            code="number_kind_not_allowed",
            details={"kind": kind},
        )
    if country is not None and country not in settings.countries and ANYWHERE not in settings.countries:
        raise Forbidden(
            f"Clicks do not call {country}: an administrator allows this country on the page (Rules, Calls by click)",
            code="country_not_allowed",
            details={"country": country},
        )


def whose(number: str) -> Whose:
    """`number` in E.164, a valid one."""
    parsed = phonenumbers.parse(number, None)
    region = phonenumbers.region_code_for_number(parsed)
    if region == _NO_COUNTRY:
        return Whose(country=None, kind=_KINDS_BY_CODE.get(parsed.country_code or 0, "satellite"))
    if number.startswith(_SATELLITE_PREFIXES):
        return Whose(country=region, kind="satellite")
    return Whose(country=region, kind=_KINDS_BY_TYPE.get(phonenumbers.number_type(parsed)))


_WORDS: Final[Mapping[Kind, str]] = {"premium": "premium", "shared_cost": "shared-cost", "satellite": "satellite"}
