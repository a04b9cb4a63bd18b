"""`/_sim/`: accounts, faults, the ledger, and what the CRM's people do, for tests and for the page."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from aiohttp import web

from infra.stand_ins.retailcrm_simulator import board, callbacks, fields
from infra.stand_ins.retailcrm_simulator.accounts import STATES, STATUSES, Account, account_from
from infra.stand_ins.retailcrm_simulator.callbacks import Outgoing
from infra.stand_ins.retailcrm_simulator.control_http import NotThere, json_body, number
from infra.stand_ins.retailcrm_simulator.crm import CRM, SHARES
from infra.stand_ins.retailcrm_simulator.directory import customer_of
from infra.stand_ins.retailcrm_simulator.fields import Field, Table
from infra.stand_ins.retailcrm_simulator.incoming import masked
from infra.stand_ins.retailcrm_simulator.ledger import count_by

_KEEP_ALIVE_SECONDS: Final = 15.0


class Control:
    def __init__(self, crm: CRM, reach: tuple[str, str] | None = None) -> None:
        self._crm = crm
        self._reach = reach
        self._stopping = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_sim/health", self._health),
            web.get("/_sim/stats", self._stats),
            web.get("/_sim/accounts", self._accounts),
            web.post("/_sim/accounts", self._put_accounts),
            web.delete("/_sim/accounts", self._remove_accounts),
            web.get("/_sim/faults", self._faults),
            web.post("/_sim/faults", self._add_faults),
            web.delete("/_sim/faults", self._remove_faults),
            web.get("/_sim/ledger", self._ledger),
            web.delete("/_sim/ledger", self._clear_ledger),
            web.get("/_sim/ledger/calls", self._calls),
            web.get("/_sim/popups", self._popups),
            web.get("/_sim/stream", self._stream),
            web.post("/_sim/click", self._click),
            web.post("/_sim/status", self._status),
            web.post("/_sim/activity", self._activity),
            web.post("/_sim/state", self._state),
            web.post("/_sim/delete-user", self._delete_user),
            web.post("/_sim/forget-codes", self._forget_codes),
            web.post("/_sim/open-account", self._open_account),
            web.post("/_sim/listen", self._listen),
        ]

    async def stop(self, _: web.Application) -> None:
        """Ends the streams, which would keep the server from stopping."""
        self._stopping.set()
        if self._session is not None:
            await self._session.close()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "uptime_seconds": round(time.time() - self._crm.started_at, 1)})

    async def _stats(self, request: web.Request) -> web.Response:
        chosen = self._chosen(request)
        found: dict[str, object] = {}
        for account in chosen:
            entries = self._crm.ledger.select(account=account.name)
            rows = self._crm.board.history(account.name)
            found[account.name] = {
                "requests": len(entries),
                "by_kind": count_by(entries, "kind"),
                "by_status": count_by(entries, "status"),
                "by_fault": count_by([entry for entry in entries if entry.fault], "fault"),
                "with_warnings": sum(bool(entry.warnings) for entry in entries),
                "limited": sum(entry.limited for entry in entries),
                "rates": {share: self._crm.rate(account.name, share).as_json() for share in SHARES},
                "calls_held": sum(row.applied > 0 for row in rows),
                "duplicate_calls": sum(row.duplicates for row in rows),
                "popups": len(self._crm.board.popups(account.name)),
            }
        return web.json_response(
            {
                "uptime_seconds": round(time.time() - self._crm.started_at, 1),
                "requests": len(self._crm.ledger.select()),
                "without_account": len(self._crm.ledger.select(account="")),
                "accounts": found,
            }
        )

    async def _accounts(self, request: web.Request) -> web.Response:
        return web.json_response({"accounts": [_account_json(account) for account in self._chosen(request)]})

    async def _put_accounts(self, request: web.Request) -> web.Response:
        data = await json_body(request)
        given = data.get("accounts") if isinstance(data, dict) and "accounts" in data else [data]
        accounts = [account_from(each) for each in given] if isinstance(given, list) else [account_from(given)]
        created = [self._crm.put_account(account) for account in accounts]
        stored = [self._crm.accounts.named(account.name) for account in accounts]
        shown = [_account_json(account) for account in stored if account]
        return web.json_response({"accounts": shown}, status=201 if any(created) else 200)

    async def _remove_accounts(self, request: web.Request) -> web.Response:
        removed = [account.name for account in self._chosen(request)]
        for name in removed:
            self._crm.remove_account(name)
        return web.json_response({"removed": removed})

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [self._crm.faults.as_json(fault) for fault in self._crm.faults.listed()]})

    async def _add_faults(self, request: web.Request) -> web.Response:
        data = await json_body(request)
        given = data["faults"] if isinstance(data, dict) and isinstance(data.get("faults"), list) else [data]
        added = [self._crm.faults.add(each) for each in given]
        return web.json_response({"faults": [self._crm.faults.as_json(fault) for fault in added]}, status=201)

    async def _remove_faults(self, request: web.Request) -> web.Response:
        removed = self._crm.faults.remove(owner=request.query.get("account"), endpoint=request.query.get("endpoint"))
        return web.json_response({"removed": removed})

    async def _ledger(self, request: web.Request) -> web.Response:
        entries = self._crm.ledger.select(
            account=request.query.get("account"),
            kind=request.query.get("kind"),
            since=number(request, "since"),
            after=int(number(request, "after")),
            limit=int(number(request, "limit")),
        )
        return web.json_response({"entries": [entry.as_json() for entry in entries]})

    async def _clear_ledger(self, request: web.Request) -> web.Response:
        self._crm.clear(request.query.get("account"))
        return web.json_response({"cleared": True})

    async def _calls(self, request: web.Request) -> web.Response:
        rows = self._crm.board.history(request.query.get("account"))
        limit = int(number(request, "limit"))
        held = [row for row in rows if row.call is not None][-limit:]
        return web.json_response(
            {
                "calls": [{**board.as_json(row), **self._names(row.account, row.call or {})} for row in held],
                "never_applied": [board.as_json(row) for row in rows if row.call is None],
            }
        )

    async def _popups(self, request: web.Request) -> web.Response:
        limit = int(number(request, "limit"))
        popups = self._crm.board.popups(request.query.get("account"))[-limit:]
        listed = [
            {**board.as_json(popup), **self._names(popup.account, {"userId": popup.user_id, "phone": popup.phone})}
            for popup in popups
        ]
        return web.json_response({"popups": listed, "now": time.time()})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-Sent Events: each entry of the ledger, when it is decided."""
        wanted = request.query.get("account")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        queue = self._crm.ledger.subscribe()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n: connected\n\n")
            while not self._stopping.is_set():
                entry_comes = asyncio.ensure_future(queue.get())
                await asyncio.wait(
                    {entry_comes, stopping}, timeout=_KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not entry_comes.done():
                    entry_comes.cancel()
                    await response.write(b": still here\n\n")
                    continue
                entry = entry_comes.result()
                if wanted is None or entry.account == wanted:
                    text = json.dumps(entry.as_json())
                    await response.write(f"id: {entry.seq}\nevent: request\ndata: {text}\n\n".encode())
        except ConnectionError:
            pass
        finally:
            stopping.cancel()
            self._crm.ledger.unsubscribe(queue)
        return response

    async def _click(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _CLICK)
        user_id, code = data.get("user_id"), data.get("code")
        outgoing = callbacks.click(
            account,
            user_id=user_id,
            code=code if code is not None else account.code_by_user.get(user_id or -1),
            phone=data["phone"],
            external_phone=data.get("external_phone"),
            escape_plus=data.get("escape_plus") is True,
        )
        return web.json_response(await self._perform(outgoing))

    async def _status(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _STATUS)
        user_id, new_status = data["user_id"], data["status"]
        if user_id not in account.user_by_id:
            raise NotThere(f"no user {user_id}")
        users = tuple(replace(u, status=new_status) if u.id == user_id else u for u in account.users)
        self._crm.replace_account(replace(account, users=users))
        outgoing = callbacks.status(account, user_id=user_id, new_status=new_status)
        return web.json_response(await self._perform(outgoing))

    async def _state(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _STATE)
        changed = {name: data[name] for name in ("state", "moved_to") if name in data}
        return self._changed(replace(account, **changed))

    async def _delete_user(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _DELETE_USER)
        if data["user_id"] not in account.user_by_id:
            raise NotThere(f"no user {data['user_id']}")
        return self._changed(account.without_user(data["user_id"]))

    async def _forget_codes(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _FORGET_CODES)
        return self._changed(account.without_codes(data["codes"]))

    def _changed(self, account: Account) -> web.Response:
        self._crm.replace_account(account)
        return web.json_response(_account_json(account))

    async def _activity(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _ACTIVITY)
        code, active, freeze = _module_code(account, data), data["active"], data.get("freeze") is True
        outgoing = callbacks.activity(
            account,
            code,
            active=active,
            freeze=freeze,
            system_url=data.get("system_url"),
            billing=data.get("billing_info"),
        )
        module = {**account.modules[code], "active": active, "freeze": freeze}
        self._crm.replace_account(replace(account, modules={**account.modules, code: module}))
        return web.json_response(await self._perform(outgoing))

    async def _open_account(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _MODULE_OF)
        outgoing = callbacks.open_account(account, _module_code(account, data))
        return web.json_response(await self._perform(outgoing))

    async def _listen(self, request: web.Request) -> web.Response:
        data, account = await self._act(request, _LISTEN)
        call = self._crm.board.held_call(account.name, data["external_id"])
        return web.json_response(await self._perform(callbacks.listen(call, data.get("range"))))

    async def _act(self, request: web.Request, table: Table) -> tuple[dict[str, Any], Account]:
        """The action of a user, and its account."""
        account = {"account": Field(check=fields.filled, required=True)}
        data = fields.checked(await json_body(request), {**account, **table})
        return data, self._named(data["account"])

    def _named(self, name: str) -> Account:
        account = self._crm.accounts.named(name)
        if account is None:
            raise NotThere(f"no account {name}")
        return account

    def _chosen(self, request: web.Request) -> list[Account]:
        name = request.query.get("account")
        return list(self._crm.accounts) if name is None else [self._named(name)]

    async def _perform(self, outgoing: Outgoing) -> dict[str, object]:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        if self._reach and outgoing.url.startswith(self._reach[0]):
            outgoing = replace(outgoing, url=self._reach[1] + outgoing.url.removeprefix(self._reach[0]))
        return await callbacks.perform(self._session, outgoing)

    def _names(self, account_name: str, call: Mapping[str, Any]) -> dict[str, str | None]:
        """Whom the page names: the manager and the customer."""
        account = self._crm.accounts.named(account_name)
        if account is None:
            return {"manager_name": None, "customer_name": None}
        owners = account.users_by_code.get(call.get("code") or "", ())
        user = account.user_by_id.get(call.get("userId") or (owners[0] if owners else -1))
        customer = customer_of(account, call["phone"])
        return {
            "manager_name": _full_name(user.first_name, user.last_name) if user else None,
            "customer_name": _full_name(customer.first_name, customer.last_name) if customer else None,
        }


def _full_name(first: str, last: str | None) -> str:
    return f"{first} {last}" if last else first


def _module_code(account: Account, data: Mapping[str, Any]) -> str:
    """The module that is meant: named, or the last one that was registered."""
    code = data.get("module") or next(reversed(list(account.modules)), "")
    if code not in account.modules:
        raise NotThere(f"no module {code}".rstrip())
    return str(code)


def _account_json(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "api_key": masked(account.api_key),
        "timezone": account.timezone,
        "scopes": account.scopes,
        "state": account.state,
        "sites": account.sites,
        "users": [
            {
                "id": user.id,
                "name": _full_name(user.first_name, user.last_name),
                "status": user.status,
                "online": user.online,
                "active": user.active,
                "code": account.code_by_user.get(user.id),
            }
            for user in account.users
        ],
        "customers": [
            {"name": _full_name(each.first_name, each.last_name), "phones": each.phones, "manager_id": each.manager_id}
            for each in account.customers
        ],
        "telephony_active": bool(account.active_telephony),
        "modules": list(account.modules.values()),
    }


_STATE: Final = {"state": Field(check=fields.one_of(*STATES), required=True), "moved_to": Field(check=fields.url)}
_DELETE_USER: Final = {"user_id": Field(check=fields.count, required=True)}
_FORGET_CODES: Final = {"codes": Field(check=fields.list_of(fields.filled), required=True)}
_CLICK: Final = {
    "user_id": Field(check=fields.count),
    "code": Field(check=fields.text),
    "phone": Field(check=fields.text, required=True),
    "external_phone": Field(check=fields.text),
    "escape_plus": Field(check=fields.boolean),
}
_STATUS: Final = {
    "user_id": Field(check=fields.count, required=True),
    "status": Field(check=fields.one_of(*STATUSES), required=True),
}
_MODULE_OF: Final = {"module": Field(check=fields.text)}
_ACTIVITY: Final = {
    **_MODULE_OF,
    "active": Field(check=fields.boolean, required=True),
    "freeze": Field(check=fields.boolean),
    "system_url": Field(check=fields.text),
    "billing_info": Field(check=lambda _: None),
}
_LISTEN: Final = {"external_id": Field(check=fields.filled, required=True), "range": Field(check=fields.text)}
