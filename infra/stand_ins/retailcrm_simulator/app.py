"""The simulator as one application: the API, its control, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from aiohttp import web

from infra.stand_ins.retailcrm_simulator.accounts import Account, account_from
from infra.stand_ins.retailcrm_simulator.api import API, KINDS
from infra.stand_ins.retailcrm_simulator.control import Control
from infra.stand_ins.retailcrm_simulator.control_http import control_errors
from infra.stand_ins.retailcrm_simulator.crm import CRM
from infra.stand_ins.retailcrm_simulator.fields import InvalidInput
from infra.stand_ins.retailcrm_simulator.process import CannotStart
from infra.stand_ins.retailcrm_simulator.state import StateFile

_MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def build(
    *, accounts: Path | None = None, state: Path | None = None, reach: tuple[str, str] | None = None
) -> web.Application:
    """`reach`: a module's public address, and the one at which it is reached from here. Raises CannotStart."""
    crm = CRM(StateFile(state), KINDS)
    try:
        crm.open()
    except (OSError, KeyError, ValueError, TypeError) as exc:
        raise CannotStart(f"its state in {state} cannot be used: {exc}.") from exc
    for account in _read(accounts) if accounts else ():
        crm.put_account(account)
    control, api = Control(crm, reach), API(crm)
    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[control_errors])
    app.add_routes(control.routes())
    app.router.add_route("*", "/api/{tail:.*}", api.handle)
    app.router.add_get("/", _page)
    app.router.add_get("/page/{name}", _page)
    app.on_shutdown.append(control.stop)

    async def close(_: web.Application) -> None:
        crm.close()

    app.on_cleanup.append(close)
    return app


async def _page(request: web.Request) -> web.StreamResponse:
    path = _PAGE / request.match_info.get("name", "index.html")
    if path.parent != _PAGE or path.suffix not in _TYPES or not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={**_POLICY, "Content-Type": _TYPES[path.suffix]})


def _read(path: Path) -> list[Account]:
    try:
        data = json.loads(path.read_text())
        listed = data.get("accounts", [data]) if isinstance(data, dict) else data
        return [account_from(each) for each in listed]
    except OSError as exc:
        raise CannotStart(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    except (InvalidInput, ValueError, TypeError) as exc:
        raise CannotStart(f"{path} is no list of accounts: {exc}.") from exc
