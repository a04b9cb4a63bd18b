"""Deadlines and limits against servers that do not keep theirs."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.runtime import egress, outbound


@contextlib.contextmanager
def server(behave):
    """A socket that treats every connection like this, until it is told to stop."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(2)
                    connection.recv(65536)
                    behave(connection, stop)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        stop.set()
        thread.join()
        listener.close()
        outbound.close()


def drip_headers(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stop.wait(0.1):
        connection.sendall(b"X")


def drip_body(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not stop.wait(0.1):
        connection.sendall(b"x")


def late_headers_then_silence(connection, stop):
    stop.wait(0.4)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    stop.wait(5)


def silence(_, stop):
    stop.wait(5)


def continue_for_ever(connection, stop):
    while not stop.wait(0.01):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("behave", [continue_for_ever, drip_headers, drip_body, late_headers_then_silence, silence])
def test_an_exchange_ends_at_its_deadline_whatever_the_server_sends(behave):
    with server(behave) as url:
        started = time.monotonic()
        with pytest.raises(outbound.NoAnswer):
            outbound.post_form(url, {"a": "b"}, headers={}, timeout_seconds=0.6, network="any")

        assert time.monotonic() - started < 1.5


def test_a_request_to_a_missing_server_was_not_sent():
    with pytest.raises(outbound.NotSent):
        outbound.post_form("http://127.0.0.1:9/", {}, headers={}, timeout_seconds=1, network="any")


def test_an_endless_response_is_cut():
    def endless(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 65536)

    with server(endless) as url, pytest.raises(outbound.NoAnswer, match="over 64 kB") as cut:
        outbound.get(url, {}, headers={}, timeout_seconds=3, network="any")

    assert cut.value.status == 200


def test_redirects_are_not_followed():
    def redirect(connection, _):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")

    with server(redirect) as url:
        assert outbound.get(url, {}, headers={}, timeout_seconds=1, network="any").status == 302


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/", "http://[bad", "//", "\xff"])
def test_the_body_of_a_redirect_has_the_same_limit_wherever_it_points(location):
    def endless(connection, stop):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + location.encode("latin-1"))
        connection.sendall(b"\r\nContent-Length: 100000000\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 65536)

    with server(endless) as url, pytest.raises(outbound.NoAnswer, match="over 64 kB") as cut:
        outbound.get(url, {}, headers={}, timeout_seconds=3, network="any")

    assert cut.value.status == 302


def test_a_body_that_grows_when_it_is_unpacked_is_cut():
    packed = gzip.compress(bytes(50_000_000))

    def bomb(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
        connection.sendall(f"Content-Length: {len(packed)}\r\n\r\n".encode() + packed)

    with server(bomb) as url, pytest.raises(outbound.NoAnswer, match="over 64 kB"):
        outbound.get(url, {}, headers={}, timeout_seconds=3, network="any")


def test_a_connection_that_breaks_before_the_response_may_have_sent_the_request():
    with server(lambda *_: None) as url, pytest.raises(outbound.NoAnswer):
        outbound.post_form(url, {}, headers={}, timeout_seconds=1, network="any")


def test_connections_are_kept_and_cookies_are_not():
    heard: list[bytes] = []
    connections = 0

    def keep(connection, stop):
        nonlocal connections
        connections += 1
        for _ in range(2):
            connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n{}")
            heard.append(connection.recv(65536))

    with server(keep) as url:
        for _ in range(2):
            assert outbound.get(url, {}, headers={}, timeout_seconds=1, network="any").text == "{}"
            outbound.get(url, {}, headers={}, timeout_seconds=1, network="any")
            outbound.close()

    assert connections == 2
    assert heard[0].startswith(b"GET / HTTP/1.1")
    assert b"cookie" not in b"".join(heard).lower()


def test_a_handshake_that_drips_ends_at_the_deadline_and_nothing_was_sent():
    def drip_handshake(connection, stop):
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while not stop.wait(0.05):
            connection.sendall(b"x")

    with server(drip_handshake) as url:
        started = time.monotonic()
        with pytest.raises(outbound.NotSent):
            outbound.get(url.replace("http:", "https:"), {}, headers={}, timeout_seconds=0.6, network="any")

        assert time.monotonic() - started < 1.5


def test_a_name_that_hangs_ends_at_the_deadline_and_holds_one_thread_for_all_callers(monkeypatch):
    release, lookups = threading.Event(), []

    def hang(host, *_, **__):
        lookups.append(host)
        release.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(outbound.get, "https://slow.example/", {}, headers={}, timeout_seconds=0.5) for _ in "12345678"
        ]
        errors = [one.exception() for one in asked]
    took = time.monotonic() - started
    release.set()

    assert {str(error) for error in errors} == {"The name slow.example was not resolved in time: nothing was sent"}
    assert all(isinstance(error, outbound.NotSent) for error in errors)
    assert took < 5
    assert lookups == ["slow.example"]


def test_names_that_hang_cannot_pile_up_threads(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    monkeypatch.setattr(egress, "_LOOKUPS", 3)
    before = threading.active_count()

    errors = []
    for number in range(6):
        with pytest.raises(egress.NotResolved) as refused:
            egress.resolve(f"slow{number}.example", until=time.monotonic())
        errors.append(str(refused.value))
    threads = threading.active_count() - before
    release.set()

    assert threads <= 3
    assert errors[3:] == ["Too many names are being resolved at this moment"] * 3


def test_a_request_to_an_unknown_name_was_not_sent(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(outbound.NotSent, match=r"^The name demo.example is not known: nothing was sent$"):
        outbound.get("https://demo.example/", {}, headers={}, timeout_seconds=1)


@pytest.mark.parametrize("key", ["canary\nkey", " canary", "canary-ключ"])
def test_an_error_does_not_quote_a_key_that_no_header_can_hold(key):
    def answer(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(answer) as url, pytest.raises(outbound.NotSent) as refused:
        outbound.get(url, {}, headers={"X-API-KEY": key}, timeout_seconds=1, network="any")

    told = "".join(traceback.format_exception(refused.value))
    assert "API key holds characters" in told
    assert key not in told
    assert repr(key)[1:-1] not in told


def test_the_error_of_a_failed_exchange_does_not_quote_the_url():
    secret = "c" + "anary"

    with pytest.raises(outbound.NotSent) as refused:
        outbound.get("http://127.0.0.1:9/", {"clientId": secret}, headers={}, timeout_seconds=1, network="any")

    assert secret not in "".join(traceback.format_exception(refused.value))
