"""The gateway in front of real servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.stand_ins import gateway
from infra.stand_ins.http_server import Limits
from infra.stand_ins.postgres import free_port

DISPATCH = "dispatch-call-event"


@dataclass
class Function:
    """A function's server that answers what it is told to, and remembers what it was asked."""

    port: int = field(default_factory=free_port)
    status: int = 200
    answer: bytes = b'{"status": "ok"}'
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    broken_answers: int = 0
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Function]:
        function = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                function.requests.append((self.command, self.path, dict(self.headers), body))
                if function.broken_answers:
                    function.broken_answers -= 1
                    self.close_connection = True
                    return
                time.sleep(function.delay_seconds)
                self.send_response(function.status)
                self.send_header("Content-Length", str(len(function.answer)))
                for name, value in function.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(function.answer)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  (the server's own names)

            def log_message(self, *_args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        with Server(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@contextmanager
def running_gateway(upstreams: dict[str, str], *, ui=None, links=None, **limits) -> Iterator[int]:
    """`limits`: fields of Limits."""
    port = free_port()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    started = threading.Event()

    async def serve() -> None:
        stop = asyncio.Event()
        running.append((asyncio.get_running_loop(), stop))
        async with gateway.serving(port, upstreams, ui=ui, links=links, limits=Limits(**limits)):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(5)
        yield port
    finally:
        loop, stop = running[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@pytest.fixture
def function() -> Iterator[Function]:
    with Function().running() as running:
        yield running


@pytest.fixture
def port(function: Function) -> Iterator[int]:
    with running_gateway({DISPATCH: function.url}, patience_seconds=1.5, upstream_seconds=1.0) as listening:
        yield listening


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("POST", f"/{kind}")
            for kind in ("start", "dial", "bridge", "bridge_create", "bridge_leave", "bridge_destroy")
        ),
        ("POST", "/new_callerid"),
        ("POST", "/hangup"),
        ("POST", "/dispatch/call-event"),
        ("POST", "/dispatch/call-events?a=%2F%20b"),
        ("GET", "/integrations/0367"),
        ("POST", "/cache/invalidate/0367"),
    ],
)
def test_a_request_reaches_its_function_as_it_was_sent(port, function, method, path):
    answer = ask(port, method, path, b'{"a": 1}', {"Token": "375290000001", "Content-Type": "application/json"})

    assert (answer.status, answer.body) == (200, b'{"status": "ok"}')
    asked_method, asked_path, headers, body = function.requests[0]
    assert (asked_method, asked_path, body) == (method, path, b'{"a": 1}')
    assert headers["Token"] == "375290000001"
    assert headers["Content-Type"] == "application/json"


def test_the_function_learns_who_asked_and_keeps_the_callers_own_chain(port, function):
    ask(port, "POST", "/start", b"{}", {"X-Forwarded-For": "192.0.2.7", "Host": "gateway.example.com"})

    headers = function.requests[0][2]
    assert headers["X-Forwarded-For"] == "192.0.2.7, 127.0.0.1"
    assert headers["Host"] == "gateway.example.com"


def test_the_functions_answer_comes_back_with_its_headers_and_the_missing_security_headers(port, function):
    function.status = 429
    function.headers = {"Retry-After": "2", "Content-Type": "application/json", "Referrer-Policy": "same-origin"}

    answer = ask(port, "POST", "/start", b"{}")

    assert answer.status == 429
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/start/", "//start", "/retailcrm/make-call", "/retailcrm-admin/", "/stats/make-call"]
)
def test_a_path_without_a_running_function_does_not_exist(port, function, path):
    answer = ask(port, "GET", path)

    assert (answer.status, answer.code) == (404, "not_found")
    assert function.requests == []


def test_a_body_over_the_limit_is_refused_before_the_function_hears_of_it(port, function):
    answer = ask(port, "POST", "/start", b"x" * (256 * 1024 + 1))

    assert (answer.status, answer.code) == (413, "too_large")
    assert function.requests == []


def test_a_chunked_body_that_never_ends_is_cut_off(port, function):
    began = time.monotonic()

    def endless() -> Iterator[bytes]:
        while time.monotonic() - began < 10:
            yield b"x" * 64 * 1024
            time.sleep(0.001)

    with pytest.raises(ConnectionError):
        ask(port, "POST", "/hangup", endless())

    assert time.monotonic() - began < 5
    assert function.requests == []


def test_a_chunked_body_within_the_limit_arrives_whole(port, function):
    ask(port, "POST", "/hangup", iter([b'{"a":', b" 1}"]))

    assert function.requests[0][3] == b'{"a": 1}'


def test_an_event_waits_out_the_restart_of_its_function():
    function = Function()
    with running_gateway({DISPATCH: function.url}, patience_seconds=5) as port:
        answers: list[Answer] = []
        host = threading.Thread(target=lambda: answers.append(ask(port, "POST", "/hangup", b"{}")))
        host.start()
        time.sleep(0.4)
        with function.running():
            host.join()

    assert [answer.status for answer in answers] == [200]
    assert len(function.requests) == 1


def test_a_function_that_is_away_is_named(port):
    with running_gateway({DISPATCH: f"http://127.0.0.1:{free_port()}"}, patience_seconds=0.2) as lonely:
        answer = ask(lonely, "POST", "/start", b"{}")

    assert (answer.status, answer.code) == (502, "upstream_unavailable")
    assert DISPATCH in answer.body.decode()


def test_a_function_that_takes_too_long_is_given_up(port, function):
    function.delay_seconds = 1.5

    answer = ask(port, "POST", "/start", b"{}")

    assert (answer.status, answer.code) == (504, "upstream_timeout")


def test_an_event_is_sent_again_when_the_function_died_before_it_answered(port, function):
    function.broken_answers = 1

    answer = ask(port, "POST", "/hangup", b'{"a": 1}')

    assert answer.status == 200
    assert [body for *_, body in function.requests] == [b'{"a": 1}', b'{"a": 1}']


def test_a_request_that_must_not_happen_twice_is_not_repeated(function):
    function.broken_answers = 1
    with running_gateway({"make-call": function.url}) as port:
        answer = ask(port, "POST", "/retailcrm/make-call?phone=375291111111")

    assert (answer.status, answer.code) == (502, "upstream_unavailable")
    assert len(function.requests) == 1


def test_health_is_that_of_every_function(function):
    down = f"http://127.0.0.1:{free_port()}"
    with (
        running_gateway({DISPATCH: function.url}) as good,
        running_gateway({DISPATCH: function.url, "make-call": down}) as bad,
    ):
        healthy, degraded = ask(good, "GET", "/health"), ask(bad, "GET", "/health")

    assert (healthy.status, json.loads(healthy.body)["status"]) == (200, "ok")
    assert (degraded.status, json.loads(degraded.body)["functions"]["make-call"]) == (503, {"status": "unreachable"})


def test_stats_of_a_function_are_asked_with_the_operators_token(port, function):
    answer = ask(port, "GET", f"/stats/{DISPATCH}", headers={"Authorization": "Bearer operator"})

    assert answer.status == 200
    method, path, headers, _ = function.requests[0]
    assert (method, path, headers["Authorization"]) == ("GET", "/stats", "Bearer operator")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not even http\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: minus one\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_get_an_error_of_the_common_form(port, raw):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(raw)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            status, body = response.status, response.read()

    assert status in {400, 404}
    assert set(json.loads(body)["error"]) == {"code", "message"}


def test_the_first_page_lists_the_addresses_escaped(function):
    with running_gateway({DISPATCH: function.url}, links={"CRM <simulator>": "http://127.0.0.1:1/?a&b"}) as port:
        answer = ask(port, "GET", "/")

    assert answer.status == 200
    assert b'<a href="http://127.0.0.1:1/?a&amp;b">CRM &lt;simulator&gt;</a>' in answer.body


@pytest.fixture
def page(tmp_path: Path, function: Function) -> Iterator[int]:
    (tmp_path / "secret.txt").write_text("not for the page")
    ui = tmp_path / "ui"
    ui.mkdir()
    (ui / "index.html").write_text("<h1>Настройки</h1>")
    (ui / "app.js").write_text("export {}")
    (ui / "out").symlink_to(tmp_path / "secret.txt")
    with running_gateway({DISPATCH: function.url}, ui=ui) as port:
        yield port


def test_the_page_is_served_under_a_strict_policy(page):
    answer = ask(page, "GET", "/retailcrm-admin/")

    assert (answer.status, answer.body.decode()) == (200, "<h1>Настройки</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/retailcrm-admin", "/retailcrm-admin?a=b"])
def test_the_page_without_its_slash_leads_to_it(page, path):
    answer = ask(page, "GET", path)

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[int, Function]]:
    """The page, and an admin-api that lets everybody in."""
    (tmp_path / "index.html").write_text("<h1>Настройки</h1>")
    headers = {"Set-Cookie": "link=abc; HttpOnly; Path=/; SameSite=Lax", "Location": "/retailcrm-admin/#/?opened=1"}
    admin = Function(status=303, headers=headers, answer=b"")
    with admin.running(), running_gateway({"admin-api": admin.url}, ui=tmp_path, patience_seconds=0.2) as port:
        yield port, admin


FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://demo.retailcrm.ru"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/retailcrm-admin/?enterprise_number=0367&token=a.b.c", b""),
        ("GET", "/retailcrm-admin?enterprise_number=0367&token=a.b.c", b""),
        ("POST", "/retailcrm-admin/?enterprise_number=0367&token=a.b.c", b"clientId=xyz"),
        ("POST", "/retailcrm-admin/", b"enterprise_number=0367&token=a.b.c&clientId=xyz"),
    ],
)
def test_a_visitor_by_the_link_is_signed_in_by_the_function(door, method, path, body):
    port, admin = door

    answer = ask(port, method, path, body, FORM | {"Cookie": "session=before"})

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/#/?opened=1")
    assert answer.headers["set-cookie"].startswith("link=abc; HttpOnly")
    asked_method, asked_path, headers, asked_body = admin.requests[0]
    assert (asked_method, asked_body) == (method, body)
    assert asked_path.rstrip("?") == path.replace("admin?", "admin/?")
    assert (headers["Cookie"], headers["X-Forwarded-For"]) == ("session=before", "127.0.0.1")


def test_a_link_that_nobody_can_look_at_leads_to_the_page_with_the_reason(door):
    port, admin = door
    admin.status = 503

    answer = ask(port, "GET", "/retailcrm-admin/?token=a.b.c")

    assert (answer.status, answer.headers["location"]) == (
        303,
        "/retailcrm-admin/#/?refused=upstream_unavailable",
    )
    assert answer.headers["cache-control"] == "no-store"


def test_where_nobody_can_let_in_the_address_still_loses_its_token(page):
    answer = ask(page, "GET", "/retailcrm-admin/?token=a.b.c")

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/")


def test_a_head_request_signs_nobody_in(door):
    port, admin = door

    answer = ask(port, "HEAD", "/retailcrm-admin/?token=a.b.c")

    assert answer.status == 200
    assert admin.requests == []


def test_a_form_that_is_too_large_lets_nobody_in(door):
    port, admin = door

    answer = ask(port, "POST", "/retailcrm-admin/", b"token=" + b"x" * 20_000, FORM)

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/#/?refused=link_invalid")
    assert admin.requests == []


def test_a_file_that_the_browser_has_already_is_not_sent_again(page):
    first = ask(page, "GET", "/retailcrm-admin/app.js")
    again = ask(page, "GET", "/retailcrm-admin/app.js", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_a_file_that_changed_is_sent_with_another_mark(page, tmp_path):
    first = ask(page, "GET", "/retailcrm-admin/app.js")
    (tmp_path / "ui" / "app.js").write_text("export const changed = true")

    again = ask(page, "GET", "/retailcrm-admin/app.js", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status, again.body) == (200, b"export const changed = true")


def test_long_files_are_packed_for_browsers_that_can_unpack(page, tmp_path):
    text = "export const words = 'many of them';\n" * 100
    (tmp_path / "ui" / "long.js").write_text(text)

    packed = ask(page, "GET", "/retailcrm-admin/long.js", headers={"Accept-Encoding": "br, gzip"})
    plain = ask(page, "GET", "/retailcrm-admin/long.js")

    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body).decode() == plain.body.decode() == text
    assert packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers


def test_progress_is_streamed_line_by_line():
    port = free_port()
    may_end = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._chunk(b'{"check": 1}\n')
            may_end.wait(5)
            self._chunk(b'{"result": 2}\n')
            self._chunk(b"")

        def _chunk(self, part: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()

        def log_message(self, *_args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with running_gateway({"admin-api": f"http://127.0.0.1:{port}"}) as listening:
            connection = http.client.HTTPConnection("127.0.0.1", listening, timeout=5)
            connection.request("GET", "/retailcrm-admin/api/managers/0367")
            response = connection.getresponse()

            first = response.readline()
            may_end.set()
            rest = response.read()
            connection.close()
        server.shutdown()
        thread.join()

    assert (first, rest) == (b'{"check": 1}\n', b'{"result": 2}\n')
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_brings_its_modules_with_their_type(page):
    answer = ask(page, "GET", "/retailcrm-admin/app.js")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "name", ["../secret.txt", "%2e%2e/secret.txt", "/etc/passwd", "out", "a%00b", "x" * 5000, "nothing.js"]
)
def test_nothing_outside_the_page_can_be_read(page, name):
    answer = ask(page, "GET", f"/retailcrm-admin/{name}")

    assert (answer.status, answer.code) == (404, "not_found")
