"""The demo enterprise, its account at the CRM simulator, and its place at the Asterisk simulator."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from lib.runtime import config

SCENARIO: Final = "2-1-doc"
ADMIN_LOGIN: Final = "admin"
_TEMPLATE: Final = Path(__file__).with_name("demo.json")


class NotTaken(Exception):
    """A simulator refused what the demo needs, with its words."""


def enterprise(*, crm_url: str, asterisk_url: str, secret: str, password: str, api_key: str) -> dict[str, Any]:
    """demo.json with what only a running system knows: its addresses and its secrets."""
    data: dict[str, Any] = json.loads(_TEMPLATE.read_text())
    data["secret"] = secret
    data["asterisk_url"] = asterisk_url
    admin = next(user for user in data["users"] if user["login"] == ADMIN_LOGIN)
    admin["password"] = password
    data["integrations_config"]["retailcrm"] |= {"domain": crm_url, "api_key": api_key}
    return data


def account(enterprise: dict[str, Any], *, gateway: str, client_id: str) -> dict[str, Any]:
    """
    The CRM's side of the enterprise: its managers by their ids, a customer who calls, and our module with the clientId,
    so that a click dials before anybody registered it.
    """
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
        "module": {
            "code": config.Module().module_code,
            "name": config.Module().module_name,
            "clientId": client_id,
            "baseUrl": gateway,
            "actions": {"activity": "/retailcrm/activity"},
            "integrations": {
                "telephony": {
                    "makeCallUrl": f"{gateway}/retailcrm/make-call",
                    "changeUserStatusUrl": f"{gateway}/retailcrm/status",
                }
            },
        },
    }


def put_account(enterprise: dict[str, Any], *, gateway: str, client_id: str) -> None:
    """Makes the account at the CRM simulator, which calls the module back at `gateway`. Raises NotTaken."""
    url = enterprise["integrations_config"]["retailcrm"]["domain"]
    made = account(enterprise, gateway=gateway, client_id=client_id)
    _put(f"{url}/_sim/accounts", made, "The CRM simulator did not take the demo account")


def find_client_id(conn: psycopg.Connection, number: str) -> str:
    """Of an enterprise that is provisioned."""
    row = conn.execute("SELECT client_id FROM enterprises WHERE number = %s", [number]).fetchone()
    assert row is not None  # noqa: S101  (provisioned before)
    client_id: str = row[0]
    return client_id


def put_host(enterprise: dict[str, Any]) -> None:
    """
    Makes the enterprise known to its Asterisk simulator, which forgets it when it ends. Raises NotTaken.
    """
    known = {"number": enterprise["number"], "secret": enterprise["secret"]}
    refusal = "The Asterisk simulator did not take the demo enterprise"
    _put(f"{enterprise['asterisk_url']}/_sim/enterprises", known, refusal)


def _put(url: str, value: object, refusal: str) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=5)
    try:
        connection.request("POST", address.path, json.dumps(value), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status not in {200, 201}:
        words = answer.decode(errors="replace")[:500]
        raise NotTaken(f"{refusal}: {words}")
