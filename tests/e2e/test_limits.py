"""What the framework would let through: bodies without end, on the real server."""

from __future__ import annotations

import contextlib
import http.client
import json
from urllib.parse import urlsplit

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MEGABYTE = 2**20


def resident(stack, name) -> int:
    processes = [
        p
        for p in psutil.process_iter(["cmdline"])
        if f"--port={urlsplit(stack.url(name)).port}" in (p.info["cmdline"] or [])
    ]
    return max(process.memory_info().rss for process in processes)


def connect(stack) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(stack.url("dispatch-call-event")).netloc, timeout=20)


def chunks(count):
    for _ in range(count):
        yield b"x" * MEGABYTE


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_refused_without_being_read(stack, chunked):
    before = resident(stack, "dispatch-call-event")
    connection = connect(stack)
    status = 0
    headers = {} if chunked else {"Content-Length": str(200 * MEGABYTE)}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not read on: that is the point
        connection.request("POST", "/dispatch/call-event", body=chunks(200), headers=headers, encode_chunked=chunked)
    try:
        response = connection.getresponse()
        status, body = response.status, response.read()
    except (http.client.HTTPException, OSError):
        body = b""
    finally:
        connection.close()

    if status:  # else the server closed the connection on the sender, which is a refusal too
        assert status == 413
        assert json.loads(body)["error"]["code"] == "too_large"
    assert resident(stack, "dispatch-call-event") - before < 20 * MEGABYTE


def test_a_chunked_body_just_over_the_limit_is_413_and_not_cut_short(stack):
    connection = connect(stack)
    connection.request("POST", "/dispatch/call-event", body=iter([b"x" * 40_000, b"x" * 40_000]), encode_chunked=True)
    response = connection.getresponse()

    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "too_large"
    connection.close()


def test_the_functions_stay_small(stack):
    for name in ("dispatch-call-event", "retailcrm-deliver", "retailcrm-upload", "assemble-recovered", "sweep-calls"):
        port = urlsplit(stack.url(name)).port
        processes = [p for p in psutil.process_iter(["cmdline"]) if f"--port={port}" in (p.info["cmdline"] or [])]
        shared_once = sum(process.memory_full_info().pss for process in processes)

        assert shared_once < 120 * MEGABYTE, name
