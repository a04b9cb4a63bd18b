"""The common part of control endpoints: JSON in, JSON errors of one form out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from infra.stand_ins.retailcrm_simulator.fields import InvalidInput
from infra.stand_ins.retailcrm_simulator.incoming import NotJSON, json_value

PREFIX: Final = "/_sim/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotThere(Exception):
    """Names what was asked for and is not there."""


@web.middleware
async def control_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InvalidInput as error:
        return _problem(400, "invalid", str(error))
    except NotThere as error:
        return _problem(404, "not_found", str(error))
    except web.HTTPException as error:
        if request.path.startswith(PREFIX) and error.status >= 400:
            return _problem(error.status, error.reason.lower().replace(" ", "_"), error.reason)
        raise


async def json_body(request: web.Request) -> Any:
    """Raises InvalidInput."""
    try:
        return json_value(await request.text())
    except (NotJSON, UnicodeDecodeError, LookupError) as exc:
        raise InvalidInput("the body must be JSON") from exc


def number(request: web.Request, name: str) -> float:
    """A parameter that counts; 0 when absent. Raises InvalidInput."""
    with contextlib.suppress(ValueError):
        value = float(request.query.get(name, "0"))
        if math.isfinite(value) and value >= 0:
            return value
    raise InvalidInput(f"{name} must be a number")


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
