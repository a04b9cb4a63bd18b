"""How the API tells of RetailCRM's troubles: codes with parameters, and RetailCRM's own words apart."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from lib.admin.schemas import DATA, MAYBE_TEXT, maybe, one_of, record
from lib.retailcrm import trouble
from lib.retailcrm.trouble import Trouble

TROUBLE: Final = record({"code": one_of(*trouble.CODES), "words": MAYBE_TEXT, "params": DATA})
MAYBE_TROUBLE: Final = maybe(TROUBLE)


def as_json(found: Trouble | None) -> dict[str, Any] | None:
    return asdict(found) if found else None
