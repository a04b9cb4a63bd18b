"""What the rules of `lib.calls` need to know of an enterprise, from its row."""

from __future__ import annotations

import dataclasses

from lib.calls.directory import Directory, Line
from lib.calls.numbers import normalize
from lib.calls.settings import Settings
from lib.store.enterprises import Enterprise


def directory(enterprise: Enterprise, crm: str | None = None) -> Directory:
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
        crm_timezone=str(enterprise.retailcrm.get("crm_timezone") or enterprise.timezone),
        internal_phones=frozenset(enterprise.internal_phones),
        extension_users=_extension_users(enterprise),
        lines=lines,
    )
    return dataclasses.replace(known, personal_phones=_personal_phones(enterprise, known))


def settings(enterprise: Enterprise, crm: str | None = None) -> Settings:
    """As chosen; switched off as long as the CRM's address or key is missing."""
    chosen = Settings.from_config(enterprise.retailcrm)
    connected = bool(enterprise.retailcrm.get("domain") and enterprise.retailcrm.get("api_key"))
    return dataclasses.replace(chosen, enabled=chosen.enabled and connected)


def _extension_users(enterprise: Enterprise) -> dict[str, int | None]:
    mapping = enterprise.retailcrm.get("user_extensions") or {}
    return {str(extension): int(user) for user, extension in mapping.items() if extension and _is_id(user)}


def _is_id(user: object) -> bool:
    return str(user).isascii() and str(user).isdigit()


def _personal_phones(enterprise: Enterprise, known: Directory) -> dict[str, str]:
    """A person's mobile counts as their first extension, a mapped one before the others."""
    phones: dict[str, str] = {}
    for user in enterprise.users:
        number = normalize(user["personal_phone"] or "", known)
        extensions = sorted(user["phones"], key=lambda phone: (not known.is_mapped(phone), phone))
        if number and extensions:
            phones[number] = extensions[0]
    return phones
