"""The control port, for tests and people: the emulator's state, faults, and the keys of signed pushes."""

from __future__ import annotations

import json

from aiohttp import web

from infra.stand_ins.emulator import faults as faults_module
from infra.stand_ins.emulator.broker import Broker
from infra.stand_ins.emulator.errors import Refusal
from infra.stand_ins.emulator.faults import FaultPlan
from infra.stand_ins.emulator.oidc import Signer

KEY_SET_PATH = "/oauth2/v3/certs"


class Control:
    def __init__(self, broker: Broker, faults: FaultPlan, signer: Signer) -> None:
        self._broker = broker
        self._faults = faults
        self._signer = signer

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_get("/state", self._state)
        application.router.add_get("/faults", self._list_faults)
        application.router.add_post("/faults", self._set_faults)
        application.router.add_delete("/faults", self._clear_faults)
        application.router.add_get(KEY_SET_PATH, self._key_set)
        return application

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self._broker.figures())

    async def _list_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": self._faults.listing()})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            subscription, faults = faults_module.parse(json.loads(await request.read()))
        except (ValueError, Refusal) as exc:
            error = {"code": "invalid_payload", "message": str(exc)}
            return web.json_response({"error": error}, status=400)
        self._faults.set(subscription, faults)
        return await self._list_faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return await self._list_faults(request)

    async def _key_set(self, _: web.Request) -> web.Response:
        return web.json_response(await self._signer.key_set(), headers={"Cache-Control": "public, max-age=3600"})
