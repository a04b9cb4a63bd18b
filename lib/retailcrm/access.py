"""What an API key may do in its account, and what breaks without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lib.ledger.crm import Reply
from lib.retailcrm import client
from lib.retailcrm.client import Account


@dataclass(frozen=True, kw_only=True)
class Scope:
    """`path`: the path pattern by which an old key, which has no scopes, shows that it may use this one."""

    name: str
    path: str
    breaks: str


SCOPES: Final = (
    Scope(
        name="telephony_write",
        path="/api/telephony/call/event",
        breaks="No pop-ups appear and no calls are recorded in the history",
    ),
    Scope(
        name="telephony_read",
        path="/api/telephony/manager",
        breaks="Calls are not redirected to the customer's own manager",
    ),
    Scope(
        name="integration_read",
        path="/api/integration-modules/{code}",
        breaks="The module cannot be updated without losing what stands in it",
    ),
    Scope(
        name="integration_write",
        path="/api/integration-modules/{code}/edit",
        breaks="The module cannot be registered, and extensions do not reach the CRM",
    ),
    Scope(name="user_read", path="/api/users", breaks="Managers are not listed, so nobody can be given an extension"),
)


def get_credentials(account: Account, *, timeout_seconds: float) -> Reply:
    return client.get(account, "/api/credentials", {}, timeout_seconds=timeout_seconds)


def get_versions(account: Account, *, timeout_seconds: float) -> Reply:
    return client.get(account, "/api/api-versions", {}, timeout_seconds=timeout_seconds)


def missing_scopes(credentials: Mapping[str, Any]) -> list[Scope]:
    """The scopes missing in the answer to `get_credentials`, the most important first."""
    scopes, paths = credentials.get("scopes"), credentials.get("credentials")
    if isinstance(scopes, list):
        return [scope for scope in SCOPES if scope.name not in scopes]
    allowed = paths if isinstance(paths, list) else []
    return [scope for scope in SCOPES if scope.path not in allowed]


def timezone(settings: Mapping[str, Any]) -> str | None:
    """The time zone in the answer to `manager.get_settings`."""
    found = (settings.get("settings") or {}).get("timezone") if isinstance(settings.get("settings"), dict) else None
    value = found.get("value") if isinstance(found, dict) else None
    return value if isinstance(value, str) and value else None
