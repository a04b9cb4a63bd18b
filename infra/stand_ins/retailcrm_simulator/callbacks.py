"""RetailCRM's callbacks to a module: a clicked number, a changed status, a switched module, an opened account."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urljoin

import aiohttp
from yarl import URL

from infra.stand_ins.retailcrm_simulator.accounts import Account
from infra.stand_ins.retailcrm_simulator.control_http import NotThere

_TIMEOUT_SECONDS: Final = 30.0
_BODY_SHOWN: Final = 16_000


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """`form` is the body of a POST."""

    method: str
    url: str
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


def click(
    account: Account,
    *,
    user_id: int | None,
    code: str | None,
    phone: str,
    external_phone: str | None,
    escape_plus: bool,
) -> Outgoing:
    """A manager clicks a number. The real service leaves a plus as it is, so that it arrives as a space."""
    module, telephony = _telephony(account, "makeCallUrl")
    query = {"clientId": module["clientId"], "code": code, "phone": phone, "userId": user_id}
    query["externalPhone"] = external_phone
    return Outgoing(method="GET", url=_with_query(telephony["makeCallUrl"], query, safe="" if escape_plus else "+"))


def status(account: Account, *, user_id: int, new_status: str) -> Outgoing:
    module, telephony = _telephony(account, "changeUserStatusUrl")
    code = account.code_by_user.get(user_id)
    query = {"clientId": module["clientId"], "code": code, "userId": user_id, "status": new_status}
    return Outgoing(method="GET", url=_with_query(telephony["changeUserStatusUrl"], query, safe=""))


def activity(
    account: Account, code: str, *, active: bool, freeze: bool, system_url: str | None, billing: object
) -> Outgoing:
    module = account.modules.get(code)
    if module is None or "activity" not in module["actions"]:
        raise NotThere(f"no module {code} with an action 'activity'")
    form = {"clientId": module["clientId"], "activity": json.dumps({"active": active, "freeze": freeze})}
    if system_url is not None:
        form["systemUrl"] = system_url
    if billing is not None:
        form["billingInfo"] = json.dumps(billing)
    url = urljoin(module["baseUrl"].rstrip("/") + "/", module["actions"]["activity"].lstrip("/"))
    return Outgoing(method="POST", url=url, form=form)


def open_account(account: Account, code: str) -> Outgoing:
    module = account.modules.get(code)
    if module is None or not module["accountUrl"]:
        raise NotThere(f"no module {code} with an accountUrl")
    return Outgoing(method="POST", url=module["accountUrl"], form={"clientId": module["clientId"]})


def listen(call: Mapping[str, Any] | None, byte_range: str | None) -> Outgoing:
    if call is None or not call.get("recordUrl"):
        raise NotThere("no such call with a recording")
    return Outgoing(method="GET", url=call["recordUrl"], headers={"Range": byte_range} if byte_range else None)


async def perform(session: aiohttp.ClientSession, outgoing: Outgoing) -> dict[str, object]:
    """The module's answer; redirects are shown, not followed."""
    started = time.monotonic()
    seen: dict[str, object] = {"method": outgoing.method, "url": outgoing.url, "status": None}
    try:
        async with session.request(
            outgoing.method,
            URL(outgoing.url, encoded=True),
            data=outgoing.form,
            headers=outgoing.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
        ) as response:
            body = await response.content.read(_BODY_SHOWN)
            seen |= {
                "status": response.status,
                "headers": {name.lower(): value for name, value in response.headers.items()},
                "body": body.decode("utf-8", "replace"),
            }
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        seen["error"] = f"{type(exc).__name__}: {exc}".rstrip(": ")
    return {**seen, "duration_ms": round((time.monotonic() - started) * 1000, 1)}


def _telephony(account: Account, address: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    for module in account.modules.values():
        telephony = module["integrations"].get("telephony")
        if telephony and telephony[address] and module["active"] and not module["freeze"]:
            return module, telephony
    raise NotThere(f"no active module with a {address}")


def _with_query(url: str, values: Mapping[str, object], *, safe: str) -> str:
    pairs = (f"{name}={quote(str(value), safe=safe)}" for name, value in values.items() if value is not None)
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(pairs)}"
