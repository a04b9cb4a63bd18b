"""The choice of the extension that should be rung: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lib.calls.directory import Directory, Line
from lib.redirect.settings import RedirectSettings
from lib.retailcrm.manager import Responsible


class UsualScheme(Exception):
    """
    The dialplan's usual scheme rings instead of one manager: the `reason` to be shown, and what went wrong, if
    anything.
    """

    def __init__(self, reason: str, error: str | None = None) -> None:
        super().__init__(error or reason)
        self.reason, self.error = reason, error


# A manager whose last status is older than this has gone home.
STATUS_SECONDS: Final = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """
    `extension` None: the usual scheme, for this `reason`. `error`: what went wrong, if anything. `is_shadow`: the
    choice is logged only.
    """

    reason: str
    name: str
    extension: str | None = None
    dial_plan: str | None = None
    error: str | None = None
    is_shadow: bool = False


def extension_of(responsible: Responsible, directory: Directory) -> str | None:
    """The manager's extension in our mapping, else the CRM's code where it is an extension of the enterprise."""
    if responsible.user_id is not None:
        mapped = [ext for ext, user in directory.extension_users.items() if user == responsible.user_id]
        if mapped:
            return mapped[0]
    return responsible.code if responsible.code and directory.knows(responsible.code) else None


def is_free(status: str | None, age_seconds: float) -> bool:
    """By the manager's last status; without one the manager counts as free."""
    return status in {None, "free"} or age_seconds > STATUS_SECONDS


def name_parts(settings: RedirectSettings, line: Line | None, customer_name: str) -> list[str]:
    shop = (line.site_code or "") if line else ""
    parts = {"line": line.name if line else "", "shop": settings.shop_names.get(shop, shop), "customer": customer_name}
    return [parts[name] for name in settings.names]
