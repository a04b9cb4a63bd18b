"""
The integration module: our part is merged into the present object, because an edit replaces the whole object.

Facts: docs/retailcrm.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from lib.ledger.crm import Reply
from lib.retailcrm import client
from lib.retailcrm.client import Account, Form

# The fields that an edit accepts, of those that GET returns.
_FIELDS: Final = (
    "code",
    "integrationCode",
    "active",
    "name",
    "logo",
    "clientId",
    "native",
    "baseUrl",
    "actions",
    "availableCountries",
    "accountUrl",
    "integrations",
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    Our part of the module. `extensions`: CRM user to extension, None where the manager shall have none;
    `external_phones`: (shop, number) of the lines. `account_url` None leaves the link that is there.
    """

    code: str
    integration_code: str
    name: str
    client_id: str
    public_url: str
    active: bool
    extensions: Mapping[int, str | None]
    external_phones: Sequence[tuple[str, str]]
    account_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Complaints:
    """From the answer to an accepted edit: our users and shops that the CRM does not know."""

    user_ids: tuple[int, ...] = ()
    sites: tuple[str, ...] = ()


def get(account: Account, code: str, *, timeout_seconds: float) -> Reply:
    return client.get(account, _path(code), {}, timeout_seconds=timeout_seconds)


def edit_form(module: Mapping[str, Any]) -> Form:
    return Form(path=f"{_path(str(module['code']))}/edit", name="integrationModule", value=module)


def merged(existing: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The whole object: fields that are not ours stay; `existing` is empty for a module that does not exist yet."""
    base = wanted.public_url.rstrip("/")
    integrations = _dict(existing.get("integrations"))
    telephony = _dict(integrations.get("telephony"))
    actions = _dict(existing.get("actions"))
    ours: dict[str, Any] = {
        "code": wanted.code,
        "integrationCode": wanted.integration_code,
        "active": wanted.active,
        "name": wanted.name,
        "logo": f"{base}/retailcrm-admin/api/logo.svg",
        "clientId": wanted.client_id,
        "baseUrl": base,
        "actions": {**actions, "activity": "/retailcrm/activity"},
        "integrations": {
            **integrations,
            "telephony": {
                "allowEdit": False,
                **telephony,
                "makeCallUrl": f"{base}/retailcrm/make-call",
                "changeUserStatusUrl": f"{base}/retailcrm/status",
                "inputEventSupported": True,
                "outputEventSupported": True,
                "hangupEventSupported": True,
                "additionalCodes": merged_codes(telephony.get("additionalCodes"), wanted.extensions),
                "externalPhones": [
                    {"siteCode": site, "externalPhone": phone} for site, phone in wanted.external_phones
                ],
            },
        },
    }
    if wanted.account_url is not None:
        ours["accountUrl"] = wanted.account_url
    return {**{name: existing[name] for name in _FIELDS if existing.get(name) is not None}, **ours}


def merged_codes(existing: object, extensions: Mapping[int, str | None]) -> list[dict[str, object]]:
    """
    Our codes win; the CRM's codes of managers without a mapping here stay, unless the extension is somebody's here.
    """
    taken = {extension for extension in extensions.values() if extension}
    kept = {user: code for user, code in read_codes(existing).items() if user not in extensions and code not in taken}
    ours = {user: extension for user, extension in extensions.items() if extension}
    return [{"userId": user, "code": code} for user, code in sorted({**kept, **ours}.items())]


def read_codes(codes: object) -> dict[int, str]:
    """`additionalCodes` as user to extension; either may be text or a number."""
    found: dict[int, str] = {}
    for item in codes if isinstance(codes, list) else []:
        user, code = str(_dict(item).get("userId") or ""), str(_dict(item).get("code") or "")
        if user.isascii() and user.isdigit() and len(user) < 19 and code:
            found[int(user)] = code
    return found


def codes_of(module: Mapping[str, Any]) -> dict[int, str]:
    telephony = _dict(_dict(module.get("integrations")).get("telephony"))
    return read_codes(telephony.get("additionalCodes"))


def complaints(details: Mapping[str, Any]) -> Complaints:
    """`info` is a map, or an empty list."""
    info = _dict(details.get("info"))
    users, sites = info.get("notExistUsersIds"), info.get("notExistSiteCodes")
    return Complaints(
        user_ids=tuple(int(str(user)) for user in users if str(user).isdigit()) if isinstance(users, list) else (),
        sites=tuple(str(site) for site in sites) if isinstance(sites, list) else (),
    )


def is_unknown(reply: Reply) -> bool:
    """Whether the answer to `get` says that the module does not exist; a wrong address gives another answer."""
    return reply.http_status == 404 and reply.details.get("errorMsg") == "Not found"


def _path(code: str) -> str:
    return f"/api/v5/integration-modules/{quote(code, safe='')}"


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
