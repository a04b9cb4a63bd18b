"""
Requests to other servers: no retries, redirects, cookies or proxies of the environment; one deadline for the whole
exchange, from the look-up of the name on, and a limit for the size of the response.

`network` says where a request may go. `public`, unless told otherwise, is for addresses that an enterprise can set:
https on port 443 to a name whose every address is public; the connection goes to an address that was just checked.
`any` is for addresses that only the operator sets: Asterisk services, which are in inner networks, and simulators.
"""

from __future__ import annotations

import contextlib
import html
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, Literal
from urllib.parse import quote, quote_plus

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

from lib.runtime import egress, failpoints
from lib.runtime.egress import Address, NotResolved

log = logging.getLogger(__name__)

Network = Literal["public", "any"]

ANSWER_BYTES: Final = 64 * 1024
# For the name, every address and the handshake together.
CONNECT_SECONDS: Final = 2.0
HTTPS_PORT: Final = 443
_ADDRESSES: Final = 4
# Shorter secrets would match parts of unrelated text.
_SECRET_CHARACTERS: Final = 8
_SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    html.escape,
    quote,
    quote_plus,
    lambda text: json.dumps(text)[1:-1],
    lambda text: repr(text)[1:-1],
)


class NotSent(Exception):
    """The request was not sent: not allowed there, refused, not resolved, no TLS."""


class NoAnswer(Exception):
    """The request was sent, and no complete response came back; `status` if at least that did."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int
    text: str
    retry_after_seconds: float | None


def post_form(
    url: str,
    fields: Mapping[str, str],
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    network: Network = "public",
    secret: str = "",
) -> Response:
    """`secret`: masked where the response echoes it. Raises NotSent or NoAnswer."""
    request = {"method": "POST", "url": url, "data": dict(fields), "headers": dict(headers)}
    return _without(secret, _exchange(network, timeout_seconds, request))


def get(
    url: str,
    parameters: Mapping[str, str],
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    network: Network = "public",
    secret: str = "",
) -> Response:
    """`secret`: masked where the response echoes it. Raises NotSent or NoAnswer."""
    request = {"method": "GET", "url": url, "params": dict(parameters), "headers": dict(headers)}
    return _without(secret, _exchange(network, timeout_seconds, request))


def _exchange(network: Network, timeout_seconds: float, request: dict[str, Any]) -> Response:
    if timeout_seconds <= 0:
        raise NotSent("Too late: nothing was sent")
    _local.watch = watch = _Watch(timeout_seconds)
    try:
        return _ask(network, timeout_seconds, watch, request)
    finally:
        watch.end()


def _ask(network: Network, timeout_seconds: float, watch: _Watch, request: dict[str, Any]) -> Response:
    # "from None": the causes hold addresses and headers, and so secrets.
    try:
        response = _session(network).request(
            **request,
            timeout=(min(CONNECT_SECONDS, timeout_seconds), timeout_seconds),
            allow_redirects=False,
            stream=True,
        )
    except requests.exceptions.InvalidSchema:
        raise NotSent("Only https is allowed for an address of the internet: nothing was sent") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if not watch.is_sent:
            raise NotSent(f"Nothing was sent: {_words(error)}") from None
        if isinstance(error, requests.Timeout):
            raise NoAnswer(f"No answer within {timeout_seconds:g} s") from None
        raise NoAnswer("The connection broke before the answer") from None
    try:
        text = _read(response, watch.deadline).decode("utf-8", "replace")
    finally:
        response.close()
    failpoints.hit("response_read")
    return Response(
        status=response.status_code, text=text, retry_after_seconds=_seconds(response.headers.get("Retry-After"))
    )


def _words(error: Exception) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "no TLS connection, or the certificate is not the server's"
        case requests.exceptions.InvalidHeader() | UnicodeError():
            return "the API key holds characters that cannot be in a header"
        case requests.exceptions.InvalidURL():
            return "the address is not one"
    return "no connection"


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
    except (urllib3.exceptions.HTTPError, OSError):
        raise NoAnswer("The connection broke in the answer", status=response.status_code) from None
    raise NoAnswer("The answer did not end in time", status=response.status_code)


def _without(secret: str, answer: Response) -> Response:
    """Masks the secret: error pages echo requests, in HTML, in JSON, in an address, or nested in each other."""
    if len(secret) < _SECRET_CHARACTERS:
        return answer
    forms = {secret}
    for _ in range(2):
        forms |= {write(form) for form in forms for write in _SPELLINGS}
    spelled = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return replace(answer, text=re.sub(spelled, "•••", answer.text, flags=re.IGNORECASE))


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None


_local = threading.local()


class _Watch:
    """
    Watches one exchange: whether anything was sent; and ends it at the deadline, because a server that sends a byte now
    and then would outlast any socket timeout.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.is_sent = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def attach(self, connected: socket.socket) -> None:
        """Keeps a second handle of the socket: TLS takes over the first one."""
        with self._lock:
            self._close()
            self._socket = socket.fromfd(connected.fileno(), connected.family, connected.type)

    def end(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._close()

    def _cut(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Connection(HTTPConnection):
    is_judged = False

    def _new_conn(self) -> socket.socket:
        """Raises NotSent."""
        watch: _Watch = _local.watch
        until = min(watch.deadline, time.monotonic() + CONNECT_SECONDS)
        if self.is_judged:
            _require_public_form(self.host, self.port)
        try:
            addresses = egress.resolve(self.host, until=until)
        except NotResolved as error:
            raise NotSent(f"{error}: nothing was sent") from error
        if self.is_judged:
            _require_public(self.host, addresses)
        return _connect(addresses[:_ADDRESSES], self.port, watch, until)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        watch: _Watch = _local.watch
        if not watch.is_sent:
            assert self.sock is not None  # noqa: S101  (connected above)
            failpoints.hit("connected")
            if time.monotonic() > watch.deadline:  # the process was asleep
                raise NotSent("Too late: nothing was sent")
            watch.attach(self.sock)
            watch.is_sent = True
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own way
        failpoints.hit("request_written")
        return super().getresponse()


class _HTTPSConnection(_Connection, HTTPSConnection):
    pass


class _JudgedConnection(_HTTPSConnection):
    is_judged = True


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _JudgedPool(HTTPSConnectionPool):
    ConnectionCls = _JudgedConnection


def _require_public_form(host: str, port: int | None) -> None:
    if port != HTTPS_PORT:
        raise NotSent("Only port 443 is allowed for an address of the internet: nothing was sent")
    if egress.literal(host) is not None:
        raise NotSent("An address of the internet must be a name, not a number: nothing was sent")


def _require_public(host: str, addresses: list[Address]) -> None:
    """
    One address that is not public refuses the name: whoever set it could change the next answer of the resolver too.
    """
    refused = [str(address) for address in addresses if not egress.is_public(address)]
    if refused:
        log.warning("address refused", extra={"host": host, "addresses": refused})
        raise NotSent(
            f"{host} leads to an address that is not on the internet, so nothing was sent: check the address of the"
            " account and the name servers; a simulator must be named in RETAILCRM_EXTRA_HOSTS"
        )


def _connect(addresses: list[Address], port: int, watch: _Watch, until: float) -> socket.socket:
    """Connects to the first address that answers; each gets its share of the time that is left."""
    for index, address in enumerate(addresses):
        left = until - time.monotonic()
        if left <= 0:
            break
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.settimeout(left / (len(addresses) - index))
            watch.attach(connected)
            connected.connect((str(address), port))
        except OSError:
            connected.close()
            continue
        connected.settimeout(max(0.01, until - time.monotonic()))
        return connected
    raise NotSent("No connection: the server is away, or refuses; nothing was sent")


class _Adapter(HTTPAdapter):
    def __init__(self, pools: Mapping[str, type[HTTPConnectionPool]]) -> None:
        super().__init__(pool_connections=32, pool_maxsize=4, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = dict(pools)


class _Session(requests.Session):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.trust_env = False
        # A cookie of one account would be sent to the next one.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.adapters.clear()
        if network == "public":
            self.mount("https://", _Adapter({"https": _JudgedPool}))
        else:
            adapter = _Adapter({"http": _HTTPPool, "https": _HTTPSPool})
            for scheme in ("https://", "http://"):
                self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Always None: following a redirect would read its whole body first, without a limit."""


def _session(network: Network) -> _Session:
    """One per thread and network: a session is not safe to share, and connections are worth keeping."""
    sessions: dict[Network, _Session] = _local.__dict__.setdefault("sessions", {})
    if network not in sessions:
        sessions[network] = _Session(network)
    return sessions[network]


def close() -> None:
    """Closes this thread's connections."""
    for session in _local.__dict__.pop("sessions", {}).values():
        session.close()
