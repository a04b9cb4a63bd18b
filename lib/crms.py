"""The CRMs that have a package and a function here; an integration of any other name is served by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lib.ledger.crm import CRM
from lib.retailcrm.crm import RetailCRM

RETAILCRM: Final = RetailCRM()
CRMS: Final[Mapping[str, CRM]] = {RETAILCRM.name: RETAILCRM}
