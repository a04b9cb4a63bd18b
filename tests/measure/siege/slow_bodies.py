"""Requests whose bodies never end, as many as one address can hold open."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from tests.measure.siege.attack import STRANGERS_ADDRESS, Attack, Ground, Tally
from tests.measure.siege.http_posts import Answer

_CONNECTIONS: Final = 124
_HEAD: Final = (
    b"POST /dispatch/call-event HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
_PATIENCE_SECONDS: Final = 1.0


def _run(ground: Ground, tally: Tally) -> None:
    """A byte a second on each; a connection that was ended is made anew."""
    address = urlsplit(ground.gateway)
    held: list[socket.socket] = []
    until = time.monotonic() + ground.seconds
    try:
        while (began := time.monotonic()) < until:
            held = [one for one in held if _fed(one, tally)]
            held += _opened(address.hostname or "", address.port or 80, _CONNECTIONS - len(held), until)
            time.sleep(max(0.0, min(began + 1.0, until) - time.monotonic()))
    finally:
        for one in held:
            one.close()


def _opened(host: str, port: int, count: int, until: float) -> Iterator[socket.socket]:
    for _ in range(count):
        if time.monotonic() > until:
            return
        with contextlib.suppress(OSError):
            one = socket.create_connection((host, port), _PATIENCE_SECONDS, source_address=(STRANGERS_ADDRESS, 0))
            one.sendall(_HEAD)
            one.settimeout(0)
            yield one


def _fed(one: socket.socket, tally: Tally) -> bool:
    """Whether it is still open; an answer, or an end without one, is counted."""
    try:
        answer = one.recv(100)
    except BlockingIOError:
        with contextlib.suppress(OSError):
            one.send(b" ")
            return True
        answer = b""
    except OSError:
        answer = b""
    one.close()
    words = answer.split(b" ", 2)
    tally.count(Answer(status=int(words[1]) if len(words) > 1 and words[1].isdigit() else 0))
    return False


ATTACK: Final = Attack(name="slow-bodies", title=f"{_CONNECTIONS} bodies of one address that never end", run=_run)
