"""A TCP proxy on loopback with the faults of a network: delays, silence, dead connections, answers that never come."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.is_dead = False
        self.answers_lost = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            opened: socket.socket | None = writer.get_extra_info("socket")
            if opened is not None:
                with contextlib.suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """
    `delay_seconds` before every chunk in either direction; `stalled`: nothing moves until it is taken back; `refusing`:
    nobody listens, and the connections there were are reset; `lose_answer_to`: a request with these bytes reaches the
    server, and the connection is reset before its answer comes back; `lose_answer_with`: the same, by bytes of the
    answer, where the request may be a name that stands for a statement; the first `passing` of them get theirs.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self.lose_answer_to = b""
        self.lose_answer_with = b""
        self.passing = 0
        self.answers_lost = 0
        self._target_port = target_port
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._moving = asyncio.Event()
        self._moving.set()
        self._server: asyncio.Server | None = None

    @classmethod
    @contextmanager
    def started(cls, target_port: int) -> Iterator[Proxy]:
        proxy = cls(target_port)
        ready = threading.Event()
        thread = threading.Thread(target=proxy._run, args=(ready,), name="proxy")
        thread.start()
        assert ready.wait(5)
        try:
            yield proxy
        finally:
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            thread.join()

    @property
    def stalled(self) -> bool:
        return not self._moving.is_set()

    @stalled.setter
    def stalled(self, value: bool) -> None:
        self._loop.call_soon_threadsafe(self._moving.clear if value else self._moving.set)

    @property
    def refusing(self) -> bool:
        return self._server is None

    @refusing.setter
    def refusing(self, value: bool) -> None:
        change = self._refuse() if value else self._listen()
        asyncio.run_coroutine_threadsafe(change, self._loop).result(5)

    def cut(self) -> None:
        """Resets every connection there is."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def kill_silently(self) -> None:
        """The connections there are never say a word again, nor that they are gone; new ones work."""
        for link in tuple(self._links):
            link.is_dead = True

    def heal(self) -> None:
        self.delay_seconds, self.stalled, self.lose_answer_to, self.lose_answer_with = 0.0, False, b"", b""
        self.refusing = False

    def _reset_all(self) -> None:
        for link in tuple(self._links):
            link.reset()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._reset_all()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        """On any free port the first time, then again on the same one."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        await self._close()
        self._reset_all()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, writer)
        try:
            from_server, link.server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            link.reset()
            return
        if self.refusing:  # since it was accepted
            link.reset()
            return
        self._links.add(link)
        ways = [
            asyncio.ensure_future(self._copy(link, reader, link.server, is_request=True)),
            asyncio.ensure_future(self._copy(link, from_server, link.client, is_request=False)),
        ]
        try:
            # The server of asyncio complains of what the end of the proxy cancels.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._links.discard(link)
            for end in (link.client, link.server):
                end.close()

    async def _copy(
        self, link: _Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._moving.wait()
                if link.is_dead:
                    await asyncio.Event().wait()
                self._look_at(link, chunk, is_request=is_request)
                if not is_request and link.answers_lost:
                    self.answers_lost += 1
                    link.reset()
                    return
                target.write(chunk)
                await target.drain()

    def _look_at(self, link: _Link, chunk: bytes, *, is_request: bool) -> None:
        """Whether this request, or this answer, is the one whose answer is lost."""
        sought = self.lose_answer_to if is_request else self.lose_answer_with
        if not sought or sought not in chunk:
            return
        if self.passing == 0:
            self.lose_answer_to = self.lose_answer_with = b""
            link.answers_lost = True
        self.passing -= 1
