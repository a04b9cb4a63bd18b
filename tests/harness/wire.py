"""
A counting proxy before PostgreSQL: how often whoever connects through it waited for an answer, and for how much.

    with counted(database_url) as (url, counter):
        …
    assert counter.round_trips == 1
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

_START_UP = 196608
_CANCEL = 80877102
_ENCRYPTION = {80877103, 80877104}


class Counter:
    """
    `round_trips`: how often somebody waited until the server was ready, or had answered a Flush; however many
    statements went before that, they are one. `statements`: simple queries, and executions of the extended protocol. What belongs to opening
    and closing a connection is not counted, but in `connections`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self.connections = self.round_trips = self.statements = 0

    def add(self, *, connections: int = 0, round_trips: int = 0, statements: int = 0) -> None:
        with self._lock:
            self.connections += connections
            self.round_trips += round_trips
            self.statements += statements


@contextmanager
def counted(database_url: str) -> Iterator[tuple[str, Counter]]:
    """The address of the proxy, and its counter."""
    address = urlsplit(database_url)
    counter = Counter()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()
        links: list[threading.Thread] = []

        def listen() -> None:
            while not ended.is_set():
                if not select.select([server], [], [], 0.1)[0]:
                    continue
                client, _ = server.accept()
                link = threading.Thread(target=_serve, args=(client, address.port or 5432, counter, ended))
                links.append(link)
                link.start()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            netloc = f"{address.netloc.rpartition(':')[0]}:{server.getsockname()[1]}"
            yield urlunsplit(address._replace(netloc=netloc)), counter
        finally:
            ended.set()
            for thread in (listener, *links):
                thread.join(5)


class _Messages:
    """The kinds of the messages in a stream that comes in pieces."""

    def __init__(self) -> None:
        self._left = b""

    def kinds(self, chunk: bytes) -> list[bytes]:
        data, at, found = self._left + chunk, 0, []
        while len(data) - at >= 5 and len(data) - at > (length := struct.unpack_from("!I", data, at + 1)[0]):
            found.append(data[at : at + 1])
            at += length + 1
        self._left = data[at:]
        return found


def _serve(client: socket.socket, port: int, counter: Counter, ended: threading.Event) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        for plug in (client, server):
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = _first_message(client)
        server.sendall(first)
        if struct.unpack_from("!I", first, 4)[0] == _START_UP:
            counter.add(connections=1)
        _copy(client, server, counter, ended)


def _first_message(client: socket.socket) -> bytes:
    """The start-up packet or a request to cancel; whoever would like encryption is told that there is none."""
    while True:
        head = _exactly(client, 8)
        length, code = struct.unpack("!II", head)
        if code in _ENCRYPTION:
            client.sendall(b"N")
            continue
        return head + _exactly(client, length - 8)


def _exactly(plug: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (chunk := plug.recv(size - len(data))):
            raise OSError("ended")
        data += chunk
    return data


class _Trips:
    """What was asked and is not answered yet: a query or a Sync until the server is ready again, a Flush until it speaks."""

    def __init__(self) -> None:
        self._unready = 0
        self._is_flushed = False

    def ask(self, kinds: list[bytes]) -> None:
        for kind in kinds:
            if kind in {b"Q", b"S"}:
                self._unready, self._is_flushed = self._unready + 1, False
            elif kind == b"H" and not self._unready:
                self._is_flushed = True

    def answer(self, kinds: list[bytes]) -> int:
        """How many round trips that ends, one or none."""
        ready = kinds.count(b"Z")
        is_over = self._is_flushed or (self._unready > 0 and self._unready == ready)
        self._unready, self._is_flushed = self._unready - ready, False
        return int(is_over)


def _copy(client: socket.socket, server: socket.socket, counter: Counter, ended: threading.Event) -> None:
    talk = _Talk(counter)
    while not ended.is_set():
        for source in select.select([client, server], [], [], 0.1)[0]:
            if not (chunk := source.recv(65536)):
                return
            # Counted before it is passed on: whoever has the answer finds it in the counter.
            if source is client:
                talk.ask(chunk)
                server.sendall(chunk)
            else:
                talk.answer(chunk)
                client.sendall(chunk)


class _Talk:
    """One connection, counted from the moment that it is open for queries."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._is_open = counter, False
        self._asked, self._answered, self._trips = _Messages(), _Messages(), _Trips()

    def ask(self, chunk: bytes) -> None:
        kinds = self._asked.kinds(chunk)
        if self._is_open:
            self._counter.add(statements=sum(kind in {b"Q", b"E"} for kind in kinds))
            self._trips.ask(kinds)

    def answer(self, chunk: bytes) -> None:
        kinds = self._answered.kinds(chunk)
        if self._is_open:
            self._counter.add(round_trips=self._trips.answer(kinds))
        self._is_open = self._is_open or b"Z" in kinds
