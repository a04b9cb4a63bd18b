"""The CRMs that are served here: those that have a package in lib, a function and a subscription."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lib.ledger.crm import CRM
from lib.retailcrm.crm import RetailCRM

RETAILCRM: Final = RetailCRM()
CRMS: Final[Mapping[str, CRM]] = {RETAILCRM.name: RETAILCRM}


def unserved(integrations: Iterable[str]) -> list[str]:
    """Integrations that are kept for an enterprise, though nobody here works for them."""
    return sorted(set(integrations) - CRMS.keys())
