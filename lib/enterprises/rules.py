"""
What the rules of `lib.calls` need to know of an enterprise, from its row.

Worked out once for a row, not at every wake-up: it is kept on the row, and goes with it when the row is loaded anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import TypeVar

from lib.calls.directory import Directory, Line
from lib.calls.numbers import normalize
from lib.calls.settings import Settings
from lib.store.enterprises import Enterprise
from lib.store.integration import RETAILCRM

T = TypeVar("T")


def directory(enterprise: Enterprise, crm: str | None = RETAILCRM) -> Directory:
    """With the mapping of one CRM; None: with those of all, to know which events belong to one call."""
    return _once(enterprise, ("directory", crm), lambda: _directory(enterprise, crm))


def settings(enterprise: Enterprise, crm: str = RETAILCRM) -> Settings:
    """As chosen; switched off as long as the CRM's address or key is missing."""
    return _once(enterprise, ("settings", crm), lambda: _settings(enterprise, crm))


def _once(enterprise: Enterprise, key: Hashable, derive: Callable[[], T]) -> T:
    """Two threads may derive it at once: they get the same, and one of them is kept."""
    found: T | None = enterprise.derived.get(key)
    if found is None:
        found = enterprise.derived.setdefault(key, derive())
    return found


def _settings(enterprise: Enterprise, crm: str) -> Settings:
    integration = enterprise.integration(crm)
    return dataclasses.replace(integration.settings, enabled=integration.enabled and integration.is_connected)


def _directory(enterprise: Enterprise, crm: str | None) -> Directory:
    lines = {
        line["line_id"]: Line(
            line_id=line["line_id"],
            name=line["name"] or "",
            phone_number=line["phone_number"],
            site_code=line["site_code"],
            incoming_transform=line["incoming_transform"],
        )
        for line in enterprise.lines
    }
    known = Directory(
        region=enterprise.region,
        timezone=enterprise.timezone,
        crm_timezone=(enterprise.integration(crm).crm_timezone if crm else None) or enterprise.timezone,
        internal_phones=frozenset(enterprise.internal_phones),
        extension_users=enterprise.integration(crm).extension_users if crm else _users_of_all(enterprise),
        lines=lines,
    )
    return dataclasses.replace(known, personal_phones=_personal_phones(enterprise, known))


def _users_of_all(enterprise: Enterprise) -> dict[str, int | None]:
    """No user (None) where two CRMs know different ones: whose user it is then depends on who is asked."""
    users: dict[str, int | None] = {}
    for integration in enterprise.integrations.values():
        for extension, user in integration.extension_users.items():
            users[extension] = user if users.setdefault(extension, user) == user else None
    return users


def _personal_phones(enterprise: Enterprise, known: Directory) -> dict[str, str]:
    """A person's mobile counts as their first extension, a mapped one before the others."""
    phones: dict[str, str] = {}
    for user in enterprise.users:
        number = normalize(user["personal_phone"] or "", known)
        extensions = sorted(user["phones"], key=lambda phone: (not known.is_mapped(phone), phone))
        if number and extensions:
            phones[number] = extensions[0]
    return phones
