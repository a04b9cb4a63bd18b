"""
One port in front of every function, as a load balancer is in the cloud:
`python -m infra.stand_ins.gateway --port P --upstream dispatch-call-event=http://127.0.0.1:P2 …`.

It routes by path, refuses bodies that are too large, waits out the restart of a function, and answers for a function
that is away. What one address may have at once is bounded as in nginx, but for the rate: `make bench` comes from one.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import logging
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from infra.routes import (
    KB,
    LARGE_BODIES_AT_ONCE,
    LARGE_BODIES_IN_ALL,
    LARGE_BODY,
    OPENING,
    OPERATIONS_SECONDS,
    ROUTES,
    SECURITY_HEADERS,
    STRICT_TRANSPORT,
    UI_PREFIX,
    Route,
    refused,
)
from infra.stand_ins.http_server import TOO_MANY, Limits, Places, Server, error, json_response
from infra.stand_ins.page import Page
from lib.runtime import logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

# Less than the 2 s after which the functions' server closes an idle connection, so that it is never closed under a
# request that is on its way.
_IDLE_SECONDS: Final = 1.0


_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# From loopback the functions' server takes a part of the path that was asked for from this one.
_NOT_FORWARDED: Final = _HOP_BY_HOP | {"script_name"}
_SERVER_OWN: Final = _HOP_BY_HOP | {"date", "server"}
# Progress and exports are streamed.
_STREAMED: Final = frozenset({"application/x-ndjson", "text/csv"})
# Each connection of a client may need another one to a function.
_OPEN_FILES: Final = 2 * Limits.connections_in_all


class Gateway:
    """`upstreams`: function to base URL. A path of a function that is not among them does not exist."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        upstreams: Mapping[str, str],
        *,
        ui: Path | None = None,
        links: Mapping[str, str] | None = None,
        limits: Limits,
    ) -> None:
        self._session = session
        self._upstreams = {name: url.rstrip("/") for name, url in upstreams.items()}
        self._page = Page(ui) if ui else None
        self._links = dict(links or {})
        self._limits = limits
        self._large_bodies = Places(each=LARGE_BODIES_AT_ONCE, in_all=LARGE_BODIES_IN_ALL)
        routes = [route for route in ROUTES if route.function in upstreams]
        self._exact = {route.path: route for route in routes if not route.path.endswith("/")}
        self._prefixes = [route for route in routes if route.path.endswith("/")]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method in {hdrs.METH_CONNECT, hdrs.METH_TRACE}:
            response: web.StreamResponse = error(405, "method_not_allowed", "This address can only be read")
        else:
            response = await self._answer(request)
        if not response.prepared:
            response.headers.update(_missing(request, response.headers))
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path or "/"  # of `http://host`
        route = self._exact.get(path) or next((r for r in self._prefixes if path.startswith(r.path)), None)
        if route:
            return await self._forward(request, route)
        if self._page and f"{path}/".startswith(UI_PREFIX):
            return await self._open(request, self._page)
        if path == "/":
            return self._addresses()
        if path == "/health":
            return await self._health()
        function = path.removeprefix("/stats/")
        if path.startswith("/stats/") and function in self._upstreams:
            return await self._stats(request, function)
        return error(404, "not_found", "There is nothing at this address")

    async def _forward(self, request: web.BaseRequest, route: Route, *, path: str | None = None) -> web.StreamResponse:
        """`path`: replaces the path of the request."""
        if not _may_be_large(request):
            return await self._read_and_send(request, route, path)
        address = request.remote or ""
        if not self._large_bodies.take(address):
            log.warning("too many large bodies", extra={"address": address, "path": route.path})
            return _unread(error(429, "rate_limited", TOO_MANY), {"Retry-After": "1"})
        try:
            return await self._read_and_send(request, route, path)
        finally:
            self._large_bodies.give_back(address)

    async def _read_and_send(self, request: web.BaseRequest, route: Route, path: str | None) -> web.StreamResponse:
        try:
            body = await _read(request, route.body_limit, self._limits.body_seconds)
        except TimeoutError:
            return _unread(error(408, "timeout", "The request did not come in time"))
        if body is None:
            return _unread(error(413, "too_large", f"The body is over {route.body_limit // KB} kB"))
        asked = _target(request) if path is None else f"{path}?{request.rel_url.raw_query_string}"
        url = URL(self._upstreams[route.function] + asked, encoded=True)
        asked_of = partial(self._session.request, request.method, url, headers=_forwarded_headers(request))
        clock = asyncio.get_running_loop().time
        patient_until = clock() + self._limits.patience_seconds
        while True:
            try:
                async with asked_of(data=body or None, allow_redirects=False) as upstream:
                    return await _passed_on(request, upstream)
            except (aiohttp.ClientError, TimeoutError) as fault:
                if clock() > patient_until or not _may_repeat(fault, route):
                    return _away(route, fault)
            await asyncio.sleep(0.05)

    async def _health(self) -> web.Response:
        names = list(self._upstreams)
        reports = await asyncio.gather(*(self._function_health(name) for name in names))
        healthy = all(status == 200 for status, _ in reports)
        content = {
            "status": "ok" if healthy else "degraded",
            "functions": {name: report for name, (_, report) in zip(names, reports, strict=True)},
        }
        return json_response(200 if healthy else 503, content)

    async def _function_health(self, name: str) -> tuple[int, object]:
        try:
            async with self._session.get(f"{self._upstreams[name]}/health", timeout=_OPERATIONS_TIMEOUT) as answer:
                return answer.status, json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            return 502, {"status": "unreachable"}
        except ValueError:
            return 502, {"status": "not JSON"}

    async def _stats(self, request: web.BaseRequest, function: str) -> web.Response:
        headers = {hdrs.AUTHORIZATION: request.headers.get(hdrs.AUTHORIZATION, "")}
        try:
            url = f"{self._upstreams[function]}/stats"
            async with self._session.get(url, headers=headers, timeout=_OPERATIONS_TIMEOUT) as upstream:
                return web.Response(
                    status=upstream.status, headers=_kept_headers(upstream.headers), body=await upstream.read()
                )
        except (aiohttp.ClientError, TimeoutError):
            return error(502, "upstream_unavailable", f"{function} is not running")

    async def _open(self, request: web.BaseRequest, page: Page) -> web.StreamResponse:
        """
        A file of the page. RetailCRM opens the page by POST, or with a token in the address: such requests go to the
        function, which signs the person in and redirects to an address without the token.
        """
        name = request.path.removeprefix(UI_PREFIX)
        is_page = name in {"", "index.html", UI_PREFIX.rstrip("/")}
        if is_page and (request.method == "POST" or (request.method == "GET" and "token" in request.query)):
            return await self._let_in(request)
        if request.method not in {"GET", "HEAD"}:
            return error(405, "method_not_allowed", "This address can only be read")
        if not request.path.startswith(UI_PREFIX):
            return _sent_on(UI_PREFIX)
        return page.answer(request, name) or error(404, "not_found", "There is nothing at this address")

    async def _let_in(self, request: web.BaseRequest) -> web.StreamResponse:
        if OPENING.function not in self._upstreams:
            return _sent_on(UI_PREFIX)
        answer = await self._forward(request, OPENING, path=UI_PREFIX)
        return answer if answer.status < 400 else _unread(_sent_on(refused(answer.status)))

    def _addresses(self) -> web.Response:
        links = self._links | {"Health of every function": "/health"}
        items = "\n".join(
            f'<li><a href="{html.escape(url)}">{html.escape(name)}</a></li>' for name, url in links.items()
        )
        page = f'<!doctype html>\n<html lang="en">\n<title>Telephony gateway</title>\n<ul>\n{items}\n</ul>\n</html>\n'
        return web.Response(text=page, content_type="text/html")


def _may_repeat(fault: Exception, route: Route) -> bool:
    """A request that did not reach the function; one that may have, where it does no harm twice."""
    if isinstance(fault, TimeoutError):
        return False
    if isinstance(fault, aiohttp.ClientConnectorError):
        return True
    return route.repeatable and isinstance(fault, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError)


def _away(route: Route, fault: Exception) -> web.Response:
    status, code, what = 502, "upstream_unavailable", "answered something that is not HTTP"
    if isinstance(fault, TimeoutError):
        status, code, what = 504, "upstream_timeout", "did not answer in time"
    elif isinstance(fault, aiohttp.ClientConnectorError):
        what = "is not running"
    elif isinstance(fault, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        what = "broke off before it answered"
    log.error(code, extra={"function": route.function, "path": route.path, "status": status})
    return error(status, code, f"{route.function} {what}")


_OPERATIONS_TIMEOUT: Final = aiohttp.ClientTimeout(total=OPERATIONS_SECONDS)


@asynccontextmanager
async def serving(
    port: int,
    upstreams: Mapping[str, str],
    *,
    ui: Path | None = None,
    links: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[None]:
    """The gateway, listening on 127.0.0.1 while inside."""
    limits = limits or Limits()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=64, keepalive_timeout=_IDLE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=limits.upstream_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT),
    )
    async with session:
        gateway = Gateway(session, upstreams, ui=ui, links=links, limits=limits)
        runner = web.ServerRunner(Server(gateway.answer, limits), shutdown_timeout=2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
            yield
        finally:
            await runner.cleanup()


def _may_be_large(request: web.BaseRequest) -> bool:
    """One that is sent in chunks says its size only when it is over."""
    return hdrs.TRANSFER_ENCODING in request.headers or (request.content_length or 0) > LARGE_BODY


def _target(request: web.BaseRequest) -> str:
    """Path and query as they were sent, also by whoever takes us for a proxy and sends `http://host/path`."""
    return request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs


async def _read(request: web.BaseRequest, limit: int, seconds: float) -> bytes | None:
    """The body; None when it is over the limit, without reading on. Raises TimeoutError when no more of it comes."""
    if (request.content_length or 0) > limit:
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        async with asyncio.timeout(seconds):
            part = await request.content.readany()
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > limit:
            return None
        parts.append(part)


def _unread(response: web.Response, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer to a request whose body was not read: no other request can follow it."""
    response.headers.update(headers or {})
    response.force_close()
    return response


async def _passed_on(request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    """A stream that breaks off is broken off for the client too."""
    headers = _kept_headers(upstream.headers)
    if upstream.content_type not in _STREAMED:
        return web.Response(status=upstream.status, headers=headers, body=await upstream.read())
    headers.update(_missing(request, headers))
    response = web.StreamResponse(status=upstream.status, headers=headers)
    await response.prepare(request)
    try:
        async for part in upstream.content.iter_any():
            await response.write(part)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as broken:
        log.warning("broke off", extra={"status": upstream.status, "reason": type(broken).__name__})
        if request.transport:
            request.transport.abort()
    return response


def _missing(request: web.BaseRequest, headers: Mapping[str, str]) -> dict[str, str]:
    is_https = request.headers.get("X-Forwarded-Proto") == "https"
    wanted = SECURITY_HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT} if is_https else {})
    return {name: value for name, value in wanted.items() if name not in headers}


def _sent_on(address: str) -> web.Response:
    """303: the browser does not repeat the POST, and keeps the address before it in no history."""
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _forwarded_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED
    )
    chain = [*request.headers.getall("X-Forwarded-For", []), request.remote or "unknown"]
    headers["X-Forwarded-For"] = ", ".join(chain)
    headers.setdefault("X-Forwarded-Proto", "http")
    return headers


def _kept_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _SERVER_OWN)


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    upstreams = dict(pair.split("=", 1) for pair in options.upstream)
    links = dict(pair.split("=", 1) for pair in options.link)
    async with serving(options.port, upstreams, ui=options.ui, links=links):
        await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.stand_ins.gateway", description="One port for every function"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", action="append", default=[], metavar="FUNCTION=URL")
    parser.add_argument("--ui", type=Path, help="folder of the page")
    parser.add_argument("--link", action="append", default=[], metavar="NAME=URL", help="shown on the first page")
    logs.configure()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, most), most))
    asyncio.run(_serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
