"""
The server under the local gateway: what one address may hold of it and for how long, and errors of the common form.

An address that holds all the connections it may gets 429 for the next one; a head that does not come in time ends its
connection. Nothing that is logged quotes a request, for its query may hold a token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from infra.routes import BODY_SECONDS, HEAD_SECONDS, HOST_IDLE_SECONDS, PATIENCE_SECONDS, UPSTREAM_SECONDS

log = logging.getLogger(__name__)

TOO_MANY: Final = "Too many at once, or too fast: try again in a second"
_SECONDS_BETWEEN_LINES: Final = 1.0
_LINGERING_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    How long to wait: for a function that restarts, for its answer, for the head of a request, between two parts of its
    body. `connections`: of one address, with those that idle.
    """

    patience_seconds: float = PATIENCE_SECONDS
    upstream_seconds: float = UPSTREAM_SECONDS
    head_seconds: float = HEAD_SECONDS
    body_seconds: float = BODY_SECONDS
    connections: int = 512
    connections_in_all: int = 4096


class Places:
    """What each address holds of something: at most `each`, and all of them `in_all`."""

    def __init__(self, *, each: int, in_all: int) -> None:
        self._each, self._in_all = each, in_all
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """False when the address may have no more."""
        if self._taken[address] >= self._each or self._taken.total() >= self._in_all:
            return False
        self._taken[address] += 1
        return True

    def give_back(self, address: str) -> None:
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


def json_response(status: int, content: object) -> web.Response:
    return web.Response(status=status, text=json.dumps(content, ensure_ascii=False), content_type="application/json")


def error(status: int, code: str, message: str) -> web.Response:
    return json_response(status, {"error": {"code": code, "message": message}})


class Server(web.Server):
    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(self._handle)
        self._answer = answer
        self.limits = limits
        self.places = Places(each=limits.connections, in_all=limits.connections_in_all)
        self._said_at = float("-inf")

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self)

    def say_refused(self, address: str) -> None:
        """Not for each connection: whoever opens thousands would fill the log."""
        now = asyncio.get_running_loop().time()
        if now - self._said_at > _SECONDS_BETWEEN_LINES:
            self._said_at = now
            log.warning("too many connections", extra={"address": address})

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        assert isinstance(protocol, _Protocol)  # noqa: S101  (made by __call__)
        with protocol.handling():
            return await self._answer(request)


class _Protocol(web.RequestHandler):
    """One connection. A request that is no valid HTTP gets an error of the common form too."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # how aiohttp turns its own off: the functions write a line each
            keepalive_timeout=HOST_IDLE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
        )
        self._server = server
        self._address = ""
        self._has_place = False
        self._is_handling = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        self._has_place = self._server.places.take(self._address)
        if self._has_place:
            self._end_unless_asked(self._server.limits.head_seconds)
        else:
            self._server.say_refused(self._address)
            assert isinstance(transport, asyncio.Transport)  # noqa: S101  (of a socket)
            transport.write(_REFUSAL)
            transport.write_eof()
            # A close at once would throw the refusal away together with what the client sends.
            self._end_unless_asked(_LINGERING_SECONDS)

    def data_received(self, data: bytes) -> None:
        if not self._has_place:
            return
        super().data_received(data)
        if data and not self._is_handling:
            self._end_unless_asked(self._server.limits.head_seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._go_on()
        if self._has_place:
            self._server.places.give_back(self._address)
            self._has_place = False
        super().connection_lost(exc)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """From a whole head to its answer. The body has a deadline of its own."""
        self._go_on()
        self._is_handling = True
        try:
            yield
        finally:
            self._is_handling = False

    def _end_unless_asked(self, seconds: float) -> None:
        """Counts from the connection, or from the first byte of a head."""
        if self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(seconds, self.force_close)

    def _go_on(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (may quote the request)
    ) -> web.StreamResponse:
        if status < 500 or isinstance(exc, web.RequestPayloadError):
            response = error(400, "invalid_request", "This is not a request that can be understood")
        else:
            if not isinstance(exc, ConnectionError):  # that is a client who left
                # Without the exception's own words, which may quote the address that was asked for.
                trace = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
                log.error("bug", extra={"method": request.method, "kind": type(exc).__name__, "trace": trace})
            response = error(500, "internal", "An error of ours; it is in the log")
        response.force_close()
        return response


def _raw(status: str, headers: Mapping[str, str], body: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


_REFUSAL: Final = _raw(
    "429 Too Many Requests",
    {"Content-Type": "application/json; charset=utf-8", "Retry-After": "1", "Connection": "close"},
    json.dumps({"error": {"code": "rate_limited", "message": TOO_MANY}}),
)
