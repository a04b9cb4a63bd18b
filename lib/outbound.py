"""
Requests to somebody else's server: one try, no redirects, no proxy from the environment, a deadline for the
whole exchange and a limit for the answer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

ANSWER_BYTES: Final = 64 * 1024
CONNECT_SECONDS: Final = 2.0


class NotSent(Exception):
    """The request never left: refused, not resolved, no TLS."""


class NoAnswer(Exception):
    """The request left, and no whole answer came back; `status` if at least that did."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    text: str
    retry_after_seconds: float | None


def post_form(url: str, fields: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
    """Raises NotSent or NoAnswer."""
    return _exchange("POST", url, timeout_seconds, data=dict(fields), headers=dict(headers))


def get(url: str, parameters: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
    """Raises NotSent or NoAnswer."""
    return _exchange("GET", url, timeout_seconds, params=dict(parameters), headers=dict(headers))


def _exchange(method: str, url: str, timeout_seconds: float, **options: Any) -> Answer:
    deadline = time.monotonic() + timeout_seconds
    _local.watch = watch = _Watch(timeout_seconds)
    try:
        return _ask(method, url, timeout_seconds, deadline, options)
    finally:
        watch.end()


def _ask(method: str, url: str, timeout_seconds: float, deadline: float, options: dict[str, Any]) -> Answer:
    try:
        response = _session().request(
            method,
            url,
            timeout=(min(CONNECT_SECONDS, timeout_seconds), timeout_seconds),
            allow_redirects=False,
            stream=True,
            **options,
        )
    except (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.InvalidURL) as error:
        raise NotSent(f"No connection: {type(error).__name__}") from error
    except requests.ConnectionError as error:
        if _never_connected(error):
            raise NotSent("No connection: refused, or the name is not known") from error
        raise NoAnswer("The connection broke before the answer") from error
    except requests.Timeout as error:
        raise NoAnswer(f"No answer within {timeout_seconds:g} s") from error
    except requests.RequestException as error:
        raise NoAnswer(f"The answer is broken: {type(error).__name__}") from error
    try:
        text = _read(response, deadline).decode("utf-8", "replace")
    finally:
        response.close()
    return Answer(
        status=response.status_code, text=text, retry_after_seconds=_seconds(response.headers.get("Retry-After"))
    )


def _read(response: requests.Response, deadline: float) -> bytes:
    body = b""
    try:
        while time.monotonic() < deadline:
            part = response.raw.read1(ANSWER_BYTES, decode_content=True)
            if not part:
                return body
            body += part
            if len(body) > ANSWER_BYTES:
                raise NoAnswer(f"The answer is over {ANSWER_BYTES // 1024} kB", status=response.status_code)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NoAnswer("The connection broke in the answer", status=response.status_code) from error
    raise NoAnswer("The answer did not end in time", status=response.status_code)


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None


_local = threading.local()


class _Watch:
    """Cuts an exchange at its deadline: a server that sends a byte now and then would outlast any socket timeout."""

    def __init__(self, seconds: float) -> None:
        self.sock: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        self._timer.cancel()
        self.sock = None

    def _cut(self) -> None:
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _HTTPConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own way
        _local.watch.sock = self.sock
        return super().getresponse()


class _HTTPSConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own way
        _local.watch.sock = self.sock
        return super().getresponse()


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


def _session() -> requests.Session:
    """One per thread: a session is not safe to share, and connections are worth keeping."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = requests.Session()
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(pool_connections=32, pool_maxsize=4, max_retries=0))
        _local.session = session
    return session


def close() -> None:
    """Closes this thread's connections."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is not None:
        session.close()
        del _local.session
