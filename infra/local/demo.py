"""The demo enterprise: an account at the CRM simulator, the enterprise that uses it, and one call."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra.local import player, rundir
from infra.local.call import CRM, play_and_show
from infra.local.rundir import Secrets
from infra.local.stack import Crashed, Stack

SCENARIO: Final = "2-1-doc"
ADMIN_LOGIN: Final = "admin"
_PATIENCE_SECONDS: Final = 30.0
_TEMPLATE: Final = Path(__file__).with_name("demo.json")


def enterprise(stack: Stack) -> dict[str, Any]:
    """demo.json with what only this stack knows: its addresses and its secrets."""
    secrets = stack.secrets
    data: dict[str, Any] = json.loads(_TEMPLATE.read_text())
    data["secret"] = secrets.enterprise_secret
    data["asterisk_url"] = stack.url("asterisk-simulator")
    admin = next(user for user in data["users"] if user["login"] == ADMIN_LOGIN)
    admin["password"] = secrets.admin_password
    data["integrations_config"]["retailcrm"] |= {
        "domain": stack.url("retailcrm-simulator"),
        "api_key": secrets.api_key,
    }
    return data


def account(enterprise: dict[str, Any], secrets: Secrets) -> dict[str, Any]:
    """The CRM's side of the enterprise: its managers by their ids, and a customer who calls."""
    codes = enterprise["integrations_config"]["retailcrm"]["user_extensions"]
    owners = {phone: user for user in enterprise["users"] for phone in user["internal_phones"]}
    return {
        "name": enterprise["number"],
        "api_key": secrets.api_key,
        "timezone": enterprise["timezone"],
        "users": [
            {"id": int(user_id), "first_name": owners[code]["first_name"], "last_name": owners[code]["last_name"]}
            for user_id, code in codes.items()
        ],
        "customers": [{"phones": ["+375291111111"], "first_name": "Иван", "manager_id": 19}],
        "additional_codes": [{"user_id": int(user_id), "code": code} for user_id, code in codes.items()],
        "module_active": True,
    }


def provide(stack: Stack) -> None:
    """Makes both, unless they are there as they should be: what was changed since in the page stays."""
    wanted = enterprise(stack)
    stored = stack.layout.run_dir / "demo.json"
    text = json.dumps(wanted, ensure_ascii=False, indent=2)
    if stored.exists() and stored.read_text() == text:
        return
    _post(stack.url("retailcrm-simulator"), "/_sim/accounts", account(wanted, stack.secrets))
    pending = stored.with_name("demo.pending.json")
    rundir.write_private(pending, text)
    stack.run("provision", "infra.provision", str(pending))
    pending.replace(stored)


def play(stack: Stack) -> None:
    data = enterprise(stack)
    play_and_show(
        player.load()[SCENARIO],
        gateway=stack.url("gateway"),
        crm=CRM(stack.url("retailcrm-simulator")),
        token=data["token"],
        pause=stack.pause,
        patience_seconds=_PATIENCE_SECONDS,
    )


def _post(url: str, path: str, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status not in {200, 201}:
        raise Crashed(f"The CRM simulator did not take the demo account: {answer.decode(errors='replace')[:500]}")
