"""Sends an answer whole, or as a fault changes it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from aiohttp import web

from infra.stand_ins.retailcrm_simulator.answers import PAGE, RATE_LIMIT, UNAVAILABLE, Answer, refusal
from infra.stand_ins.retailcrm_simulator.faults import Fault
from infra.stand_ins.retailcrm_simulator.sockets import hang, reset

# mode → whether the request is applied before its answer goes wrong
MODES: Final = {
    "ok": True,
    "slow": True,
    "ok_then_rst": True,
    "apply_then_hang": True,
    "hang_before_apply": False,
    "error_500_after_apply": True,
    "error_500": False,
    "error_503": False,
    "error_429": False,
    "success_false": False,
    "truncated_json": True,
    "html": False,
    "redirect_30x": False,
    "slow_drip": True,
    "huge_body": True,
}

_CHUNK: Final = 64 * 1024
_TITLES: Final = {
    200: "RetailCRM",
    404: "404 Not Found",
    405: "405 Not Allowed",
    502: "502 Bad Gateway",
    504: "504 Gateway Time-out",
}


async def send(request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:  # noqa: PLR0911  (one line per mode)
    mode = fault.mode if fault else "ok"
    if fault is None or mode in {"ok", "slow"}:
        return as_response(answer)
    match mode:
        case "ok_then_rst":
            return await reset(request, _raw(answer)[: fault.sent_bytes])
        case "apply_then_hang" | "hang_before_apply":
            return await hang(request, fault.hang_seconds)
        case "truncated_json":
            text = json.dumps(answer.body)
            return web.Response(status=answer.status, text=text[: len(text) // 2], content_type="application/json")
        case "html":
            status = fault.status or 200
            page = PAGE.format(_TITLES.get(status, f"{status} Error"))
            return web.Response(status=status, text=page, content_type="text/html", headers=_retry_after(fault))
        case "redirect_30x":
            return web.Response(status=fault.status or 302, headers={"Location": fault.location})
        case "slow_drip":
            return await _drip(request, answer, fault.interval_ms / 1000)
        case "huge_body":
            return await _huge(request, answer, fault.size_bytes)
    return as_response(_refused(fault))


def meant(answer: Answer, fault: Fault | None) -> dict[str, Any] | None:
    """Status and JSON of what goes out, for the ledger; None when nothing whole does."""
    match fault.mode if fault else "ok":
        case "ok_then_rst" | "apply_then_hang" | "hang_before_apply":
            return None
        case "html" if fault:
            return {"status": fault.status or 200, "body": None}
        case "redirect_30x" if fault:
            return {"status": fault.status or 302, "body": None}
        case mode if fault and mode.startswith(("error_", "success_false")):
            answer = _refused(fault)
    return {"status": answer.status, "body": answer.body if answer.page is None else None}


def as_response(answer: Answer) -> web.Response:
    if answer.page is not None:
        return web.Response(status=answer.status, text=answer.page, content_type="text/html", headers=answer.headers)
    return web.Response(
        status=answer.status,
        text=json.dumps(answer.body),
        content_type="application/json",
        headers=answer.headers,
    )


async def _drip(request: web.Request, answer: Answer, interval_seconds: float) -> web.StreamResponse:
    body = json.dumps(answer.body).encode()
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    try:
        await response.prepare(request)
        for position in range(len(body)):
            await response.write(body[position : position + 1])
            await asyncio.sleep(interval_seconds)
        await response.write_eof()
    except ConnectionError:
        pass
    return response


async def _huge(request: web.Request, answer: Answer, size: int) -> web.StreamResponse:
    """Correct JSON, and far too much of it."""
    start = json.dumps({**answer.body, "padding": ""}).encode()[:-2]
    padding = max(size - len(start) - 2, 0)
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    response.content_length = len(start) + padding + 2
    try:
        await response.prepare(request)
        await response.write(start)
        for sent in range(0, padding, _CHUNK):
            await response.write(b"x" * min(_CHUNK, padding - sent))
        await response.write(b'"}')
        await response.write_eof()
    except ConnectionError:
        pass
    return response


def _refused(fault: Fault) -> Answer:
    status, message = {
        "error_503": (503, UNAVAILABLE),
        "error_429": (429, RATE_LIMIT),
        "success_false": (fault.status or 200, "The request was not accepted"),
    }.get(fault.mode, (500, "Internal server error"))
    answer = refusal(status, fault.error_msg or message, fault.errors)
    return Answer(status=answer.status, body=answer.body, headers=_retry_after(fault))


def _retry_after(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}


def _raw(answer: Answer) -> bytes:
    body = json.dumps(answer.body).encode()
    head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
