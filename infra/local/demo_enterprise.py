"""The demo enterprise and the account at the CRM simulator that it uses."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

SCENARIO: Final = "2-1-doc"
ADMIN_LOGIN: Final = "admin"
_TEMPLATE: Final = Path(__file__).with_name("demo.json")


class NotTaken(Exception):
    """The CRM simulator refused the account, with its words."""


def enterprise(*, crm_url: str, asterisk_url: str, secret: str, password: str, api_key: str) -> dict[str, Any]:
    """demo.json with what only a running system knows: its addresses and its secrets."""
    data: dict[str, Any] = json.loads(_TEMPLATE.read_text())
    data["secret"] = secret
    data["asterisk_url"] = asterisk_url
    admin = next(user for user in data["users"] if user["login"] == ADMIN_LOGIN)
    admin["password"] = password
    data["integrations_config"]["retailcrm"] |= {"domain": crm_url, "api_key": api_key}
    return data


def account(enterprise: dict[str, Any]) -> dict[str, Any]:
    """The CRM's side of the enterprise: its managers by their ids, and a customer who calls."""
    retailcrm = enterprise["integrations_config"]["retailcrm"]
    codes = retailcrm["user_extensions"]
    owners = {phone: user for user in enterprise["users"] for phone in user["internal_phones"]}
    return {
        "name": enterprise["number"],
        "api_key": retailcrm["api_key"],
        "timezone": enterprise["timezone"],
        "users": [
            {"id": int(user_id), "first_name": owners[code]["first_name"], "last_name": owners[code]["last_name"]}
            for user_id, code in codes.items()
        ],
        "customers": [{"phones": ["+375291111111"], "first_name": "Иван", "manager_id": 19}],
        "additional_codes": [{"user_id": int(user_id), "code": code} for user_id, code in codes.items()],
        "module_active": True,
    }


def put_account(enterprise: dict[str, Any]) -> None:
    """Makes the account at the enterprise's CRM simulator. Raises NotTaken."""
    url = enterprise["integrations_config"]["retailcrm"]["domain"]
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        body = json.dumps(account(enterprise))
        connection.request("POST", "/_sim/accounts", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status not in {200, 201}:
        words = answer.decode(errors="replace")[:500]
        raise NotTaken(f"The CRM simulator did not take the demo account: {words}")
