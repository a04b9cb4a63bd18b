"""The simulator as one application: the service's endpoints, their faults, the ledger and its control."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from infra.stand_ins.asterisk_simulator import orders
from infra.stand_ins.asterisk_simulator.enterprises import Enterprise, Enterprises, enterprise_from
from infra.stand_ins.asterisk_simulator.orders import Outcome
from infra.stand_ins.retailcrm_simulator.control_http import control_errors, json_body, number
from infra.stand_ins.retailcrm_simulator.faults import Fault, FaultBook
from infra.stand_ins.retailcrm_simulator.fields import InvalidInput
from infra.stand_ins.retailcrm_simulator.incoming import masked
from infra.stand_ins.retailcrm_simulator.process import CannotStart
from infra.stand_ins.retailcrm_simulator.sockets import hang, reset

# mode → whether the order is carried out
_MODES: Final = {"ok": True, "slow": True, "refuse": False, "hang": False, "drop": False}
_ENDPOINTS: Final = ("makecall", "transfer")

Decide = Callable[[Mapping[str, str], Enterprises], Outcome]


@dataclass(kw_only=True)
class Order:
    """One request. `status` and `body` are those of the answer, None when there was none."""

    seq: int
    received_at: float
    endpoint: str
    enterprise: str | None
    query: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)
    fault: str | None = None
    accepted: bool = False
    status: int | None = None
    body: Mapping[str, Any] | None = None


class Service:
    """`state`: the file that keeps the enterprises. Raises CannotStart."""

    def __init__(self, state: Path | None) -> None:
        self.enterprises = Enterprises()
        self._state = state
        for enterprise in _read(state) if state and state.exists() else ():
            self.enterprises.put(enterprise)
        try:
            self._keep()
        except OSError as exc:
            raise CannotStart(f"{state} cannot be written: {exc.strerror or exc}.") from exc
        self._faults = FaultBook(modes=_MODES, endpoints=_ENDPOINTS, owner="enterprise")
        self._orders: list[Order] = []
        self._last = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/makecallexternal", self._make_call),
            web.get("/api/transfer", self._transfer),
            web.get("/health", self._health),
            web.get("/_sim/health", self._health),
            web.get("/_sim/enterprises", self._list),
            web.post("/_sim/enterprises", self._put),
            web.delete("/_sim/enterprises", self._remove),
            web.get("/_sim/faults", self._list_faults),
            web.post("/_sim/faults", self._add_faults),
            web.delete("/_sim/faults", self._remove_faults),
            web.get("/_sim/ledger", self._ledger),
            web.delete("/_sim/ledger", self._clear),
        ]

    async def _make_call(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, "makecall", orders.call)

    async def _transfer(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, "transfer", orders.transfer)

    async def _take(self, request: web.Request, endpoint: str, decide: Decide) -> web.StreamResponse:
        started = time.monotonic()
        query = dict(request.query)
        caller = self.enterprises.with_secret(query.get("clientId", ""))
        order = self._arrive(endpoint, caller, query)
        fault = self._faults.choose(caller.number if caller else "", (endpoint,))
        if fault:
            await asyncio.sleep(fault.delay_seconds)
            order.fault = fault.mode
        outcome = decide(query, self.enterprises)
        if outcome.enterprise is not None and (fault is None or fault.apply):
            order.accepted = True
            self.enterprises.put(outcome.enterprise)
        if fault and fault.mode in {"hang", "drop"}:
            return await (hang(request, fault.hang_seconds) if fault.mode == "hang" else reset(request, b""))
        if fault and fault.mode == "refuse":
            outcome = _refusal(fault)
        order.status, order.body = outcome.status, outcome.body
        if outcome.status == 200:
            milliseconds = round((time.monotonic() - started) * 1000)
            order.body = {**outcome.body, "response_time_ms": milliseconds}
        return web.json_response(order.body, status=order.status)

    def _arrive(self, endpoint: str, caller: Enterprise | None, query: Mapping[str, str]) -> Order:
        self._last += 1
        order = Order(
            seq=self._last,
            received_at=time.time(),
            endpoint=endpoint,
            enterprise=caller.number if caller else None,
            query={name: masked(value) if name == "clientId" else value for name, value in query.items()},
            warnings=orders.unsafe(query),
        )
        self._orders.append(order)
        return order

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"enterprises": [_as_json(each) for each in self.enterprises]})

    async def _put(self, request: web.Request) -> web.Response:
        data = await json_body(request)
        given = data["enterprises"] if isinstance(data, dict) and "enterprises" in data else [data]
        if not isinstance(given, list):
            raise InvalidInput("enterprises: a list is expected")
        enterprises = [enterprise_from(each) for each in given]
        created = [self.enterprises.put(each) for each in enterprises]
        self._keep()
        shown = [_as_json(each) for each in enterprises]
        return web.json_response({"enterprises": shown}, status=201 if any(created) else 200)

    async def _remove(self, request: web.Request) -> web.Response:
        removed = self.enterprises.remove(request.query.get("number"))
        self._keep()
        return web.json_response({"removed": removed})

    def _keep(self) -> None:
        if self._state is None:
            return
        listed = [_as_json(each) | {"secret": each.secret} for each in self.enterprises]
        beside = self._state.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(listed))
        beside.replace(self._state)

    async def _list_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [self._faults.as_json(fault) for fault in self._faults.listed()]})

    async def _add_faults(self, request: web.Request) -> web.Response:
        fault = self._faults.add(await json_body(request))
        return web.json_response({"faults": [self._faults.as_json(fault)]}, status=201)

    async def _remove_faults(self, request: web.Request) -> web.Response:
        removed = self._faults.remove(owner=request.query.get("enterprise"), endpoint=request.query.get("endpoint"))
        return web.json_response({"removed": removed})

    async def _ledger(self, request: web.Request) -> web.Response:
        since, after = number(request, "since"), number(request, "after")
        wanted = request.query.get("enterprise")
        found = [
            asdict(order)
            for order in self._orders
            if order.received_at >= since and order.seq > after and wanted in {None, order.enterprise}
        ]
        return web.json_response({"orders": found})

    async def _clear(self, _: web.Request) -> web.Response:
        self._orders.clear()
        return web.json_response({"cleared": True})


def build(*, state: Path | None = None) -> web.Application:
    """Raises CannotStart."""
    service = Service(state)
    app = web.Application(middlewares=[control_errors])
    app.add_routes(service.routes())
    return app


def _refusal(fault: Fault) -> Outcome:
    detail = fault.error_msg or "Failed to connect to the Asterisk host"
    return Outcome(status=fault.status or 500, body={"detail": detail})


def _as_json(enterprise: Enterprise) -> dict[str, object]:
    return {
        "number": enterprise.number,
        "secret": masked(enterprise.secret),
        "host": enterprise.host,
        "channels": sorted(enterprise.channels),
    }


def _read(path: Path) -> list[Enterprise]:
    try:
        data = json.loads(path.read_text())
        listed = data.get("enterprises", [data]) if isinstance(data, dict) else data
        return [enterprise_from(each) for each in listed]
    except OSError as exc:
        raise CannotStart(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    except (InvalidInput, ValueError, TypeError) as exc:
        raise CannotStart(f"{path} is no list of enterprises: {exc}.") from exc
