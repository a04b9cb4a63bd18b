"""Ends of a connection without an answer: silence, and a reset."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Final

from aiohttp import web

_LOOK_SECONDS: Final = 0.05


async def hang(request: web.Request, seconds: float) -> web.StreamResponse:
    """Sends nothing until the client closes or the time is over, then closes."""
    deadline = time.monotonic() + seconds
    while not _left(request) and time.monotonic() < deadline:  # noqa: ASYNC110  (nothing tells a handler)
        await asyncio.sleep(_LOOK_SECONDS)
    return await reset(request, b"")


def _left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def reset(request: web.Request, first: bytes) -> web.StreamResponse:
    """Sends these bytes and then an RST."""
    transport = request.transport
    if transport is not None:
        if first:
            transport.write(first)
            await asyncio.sleep(_LOOK_SECONDS)  # an RST overtakes what the client has not read yet
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)  # never leaves: the connection is gone
