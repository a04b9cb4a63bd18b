"""Requests for a ringing call: the customer's responsible manager, and the working hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.ledger.crm import Reply
from lib.retailcrm import client, rate_slot
from lib.retailcrm.client import Account


@dataclass(frozen=True, kw_only=True)
class Responsible:
    """`user_id` and `code` (the extension in the CRM) are those of the manager; None where there is none."""

    user_id: int | None = None
    code: str | None = None
    customer_name: str = ""


def find_responsible(account: Account, phone: str, *, ignore_status: bool, timeout_seconds: float) -> Reply:
    """
    `phone` in E.164. Unless the status is ignored, RetailCRM names no manager who is not free. A phone rings meanwhile,
    so the request does not wait for a slot.
    """
    parameters = {"phone": phone, "details": "1", "ignoreStatus": "1" if ignore_status else "0"}
    return client.get(
        account, "/api/v5/telephony/manager", parameters, timeout_seconds=timeout_seconds, patience_seconds=0
    )


def get_settings(
    account: Account, *, timeout_seconds: float, patience_seconds: float = rate_slot.PATIENCE_SECONDS
) -> Reply:
    return client.get(
        account, "/api/v5/settings", {}, timeout_seconds=timeout_seconds, patience_seconds=patience_seconds
    )


def read_responsible(details: Mapping[str, Any]) -> Responsible:
    """Parses the answer; any part of it may be missing or null."""
    manager, customer = _part(details, "manager"), _part(details, "customer")
    user_id = str(manager.get("id") or "")
    names = (customer.get(name) for name in ("firstName", "lastName"))
    return Responsible(
        user_id=int(user_id) if user_id.isascii() and user_id.isdigit() and len(user_id) < 19 else None,
        code=str(manager.get("code") or "") or None,
        customer_name=" ".join(name for name in names if isinstance(name, str) and name),
    )


def _part(details: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = details.get(name)
    return part if isinstance(part, dict) else {}
