"""A kept HTTP connection that costs little: what the load sends must not take the processor from what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 5.0
# Below the two seconds after which gunicorn drops idle connections: a post on a dying connection would be lost.
KEPT_SECONDS: Final = 1.0


def encoded(path: str, body: Mapping[str, Any]) -> bytes:
    """The bytes of a POST."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def status_when_complete(answer: bytes) -> int | None:
    """The status of an answer; None while some of it is missing."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(head[9:12]) if len(body) >= length else None


class _Exchange(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self.used_at = time.monotonic()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        status = status_when_complete(self._received)
        if status is not None and self.answer is not None and not self.answer.done():
            self._received = b""
            self.answer.set_result(status)

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(0)

    @property
    def is_usable(self) -> bool:
        return self.transport is not None and time.monotonic() - self.used_at < KEPT_SECONDS


class Connections:
    """As many as there are posts at a time; each is kept for the next post."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._idle: list[_Exchange] = []

    async def post(self, request: bytes) -> int:
        """The status; 0 when there was no answer."""
        loop = asyncio.get_running_loop()
        try:
            exchange = await self._taken(loop)
        except OSError:
            return 0
        assert exchange.transport is not None
        exchange.answer = loop.create_future()
        exchange.transport.write(request)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await exchange.answer
        except TimeoutError:
            if exchange.transport is not None:
                exchange.transport.abort()
            return 0
        if status:
            exchange.used_at = time.monotonic()
            self._idle.append(exchange)
        return status

    def close(self) -> None:
        for exchange in self._idle:
            if exchange.transport is not None:
                exchange.transport.close()

    async def _taken(self, loop: asyncio.AbstractEventLoop) -> _Exchange:
        while self._idle:
            exchange = self._idle.pop()
            if exchange.is_usable:
                return exchange
            if exchange.transport is not None:
                exchange.transport.close()
        return (await loop.create_connection(_Exchange, self._host, self._port))[1]
