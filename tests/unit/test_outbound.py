"""Deadlines and limits against servers that do not keep theirs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from lib import outbound


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


@pytest.mark.parametrize("behave", [drip_headers, drip_body, late_headers_then_silence, silence])
def test_an_exchange_ends_at_its_deadline_whatever_the_server_does(behave):
    with server(behave) as url:
        started = time.monotonic()
        with pytest.raises(outbound.NoAnswer):
            outbound.post_form(url, {"a": "b"}, headers={}, timeout_seconds=0.6)

        assert time.monotonic() - started < 1.5


def test_a_server_that_is_not_there_got_nothing():
    with pytest.raises(outbound.NotSent):
        outbound.post_form("http://127.0.0.1:9/", {}, headers={}, timeout_seconds=1)


def test_an_answer_without_end_is_cut():
    def endless(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 65536)

    with server(endless) as url, pytest.raises(outbound.NoAnswer, match="over 64 kB") as cut:
        outbound.get(url, {}, headers={}, timeout_seconds=3)

    assert cut.value.status == 200


def test_redirects_are_not_followed():
    def redirect(connection, _):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")

    with server(redirect) as url:
        assert outbound.get(url, {}, headers={}, timeout_seconds=1).status == 302
