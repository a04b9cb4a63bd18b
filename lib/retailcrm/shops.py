"""The shops of an account, which RetailCRM calls sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.ledger.crm import Reply
from lib.retailcrm import client
from lib.retailcrm.client import Account


@dataclass(frozen=True, kw_only=True)
class Shop:
    code: str
    name: str


def get(account: Account, *, timeout_seconds: float) -> Reply:
    """Needs the right `reference_read`, which nothing else needs."""
    return client.get(account, "/api/v5/reference/sites", {}, timeout_seconds=timeout_seconds)


def read(details: Mapping[str, Any]) -> list[Shop]:
    """A map by code, or a list as PHP writes an empty one."""
    sites = details.get("sites")
    found = sites.values() if isinstance(sites, dict) else sites if isinstance(sites, list) else ()
    shops = [
        Shop(code=site["code"], name=str(site.get("name") or site["code"]))
        for site in found
        if isinstance(site, dict) and isinstance(site.get("code"), str) and site["code"]
    ]
    return sorted(shops, key=lambda shop: (shop.name.casefold(), shop.code))
