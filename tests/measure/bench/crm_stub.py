"""
`python -m tests.measure.bench.crm_stub --port N`: a CRM that costs next to nothing.

It answers as RetailCRM does when all is well, at once or after a delay, and keeps what it received with the time; what
that was is read only when somebody asks. `GET /_stub/received`, `DELETE /_stub/received`, `POST /_stub/delay/1000`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

EVENT: Final = "/api/v5/telephony/call/event"
UPLOAD: Final = "/api/v5/telephony/calls/upload"
_LISTED: Final = "/_stub/received"
_DELAY: Final = "/_stub/delay/"


@dataclass(frozen=True, kw_only=True)
class Received:
    at: float
    path: str
    body: bytes


@dataclass(kw_only=True)
class Stub:
    received: list[Received] = field(default_factory=list)
    delay_seconds: float = 0.0

    def answer(self, method: str, path: str, body: bytes) -> tuple[Mapping[str, object], float]:
        """The answer, and after how many seconds it goes out."""
        if path == _LISTED:
            if method == "DELETE":
                self.received.clear()
            return {"received": [entry for one in self.received for entry in entries(one)]}, 0.0
        if path.startswith(_DELAY):
            self.delay_seconds = int(path.removeprefix(_DELAY)) / 1000
            return {}, 0.0
        self.received.append(Received(at=time.time(), path=path, body=body))
        counts = {"processedCallsCount": body.count(b"externalId")} if path == UPLOAD else {}
        return {"success": True, **counts}, self.delay_seconds


def entries(one: Received) -> list[dict[str, object]]:
    """What a request told, one entry for each pop-up, end or row: phone, type, received_at."""
    form = {name: json.loads(values[0]) for name, values in parse_qs(one.body.decode()).items()}
    told = [form["event"]] if "event" in form else form.get("calls", [])
    kind = "event" if "event" in form else "row"
    return [
        {"kind": kind, "phone": item["phone"].lstrip("+"), "type": item["type"], "received_at": one.at} for item in told
    ]


class _Server(asyncio.Protocol):
    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (parsed := split(self._buffer)) is not None:
            method, path, body, closes, self._buffer = parsed
            answer, delay = self._stub.answer(method, path, body)
            if delay:
                asyncio.get_running_loop().call_later(delay, self._write, answer, closes)
            else:
                self._write(answer, closes)

    def _write(self, answer: Mapping[str, object], closes: bool) -> None:
        content = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head.encode() + content)
            if closes:
                self._transport.close()


def split(buffer: bytes) -> tuple[str, str, bytes, bool, bytes] | None:
    """The first request: method, path, body, whether it is the connection's last, and what follows it."""
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None
    lines = head.split(b"\r\n")
    method, path, _ = lines[0].decode().split(" ", 2)
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    length = int(fields.get(b"content-length", b"0"))
    if len(rest) < length:
        return None
    return method, path, rest[:length], fields.get(b"connection", b"").lower() == b"close", rest[length:]


async def _serve(port: int) -> None:
    stub = Stub()
    server = await asyncio.get_running_loop().create_server(lambda: _Server(stub), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.bench.crm_stub")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
