"""
The gateways, from outside: what a stranger may take of them, and what of a request is left behind.

Tried on both, the local one and a real nginx: addresses whose secret part ends in a log or stays in an address bar,
bodies and heads that never end, one address that takes every place, requests as a proxy sends them. What must hold:
no log has a word of a query, others get through, and a person who is not let in sees the page without the token.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import routes
from infra.deployment.nginx import render
from infra.stand_ins.postgres import free_port
from lib.runtime.logs import JsonFormatter
from tests.harness import nginx
from tests.infra.test_gateway import Answer, Function, running_gateway

SECRET = "s3cr3t-of-a-link"
STRANGER, HOST = "127.0.0.2", "127.0.0.1"
# Of the local gateway; nginx has those of the routes.
LOCAL_CONNECTIONS = 20
LOCAL_SECONDS = 0.4


@dataclass(frozen=True, kw_only=True)
class Door:
    """A gateway before a function. `places`: how many requests of one address it has going at once."""

    port: int
    function: Function
    places: int
    log: Callable[[], str]

    def ask(self, method: str, path: str, body: bytes | None = None, *, source: str = HOST, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10, source_address=(source, 0))
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def said(self, text: str) -> str:
        """The log, once it has this text: a line may follow its answer."""
        deadline = time.monotonic() + 5
        while text not in self.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert text in self.log()
        return self.log()

    def send(self, raw: bytes, *, source: str = HOST) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))
        connection.sendall(raw)
        return connection

    def answer(self, raw: bytes) -> bytes:
        """Of a connection that is closed behind the answer."""
        with self.send(raw) as connection:
            return received(connection)


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


@contextmanager
def local_door(folder: Path, function: Function) -> Iterator[Door]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    limits = {"patience_seconds": 0.1, "upstream_seconds": LOCAL_SECONDS, "connections": LOCAL_CONNECTIONS}
    limits |= {"head_seconds": LOCAL_SECONDS, "body_seconds": LOCAL_SECONDS * 2}
    upstreams = {route.function: function.url for route in routes.ROUTES}
    try:
        with running_gateway(upstreams, ui=page(folder), **limits) as port:
            yield Door(port=port, function=function, places=LOCAL_CONNECTIONS, log=written.getvalue)
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def nginx_door(folder: Path, function: Function, **environment: str) -> Iterator[Door]:
    if why := nginx.missing():
        pytest.skip(why)
    address = f"127.0.0.1:{function.port}"
    with nginx.running(folder, function=address, ui=page(folder), **environment) as running:
        yield Door(port=running.port, function=function, places=routes.REQUESTS_AT_ONCE, log=running.log)


def page(folder: Path) -> Path:
    (ui := folder / "srv" / "retailcrm-admin").mkdir(parents=True)
    (ui / "index.html").write_text("<!doctype html><h1>Настройки</h1>")
    for one in (ui.parent, ui):
        one.chmod(0o755)
    return ui


@pytest.fixture
def function() -> Iterator[Function]:
    with Function().running() as running:
        yield running


# In CI it runs where the composition's tests do: with the image, or a package of the machine.
real_nginx = pytest.mark.containers


@pytest.fixture(params=[local_door, pytest.param(nginx_door, marks=real_nginx)], ids=["local", "nginx"])
def open_door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Function], Door]]:
    """Opens either gateway before a function."""
    with ExitStack() as stack:
        yield lambda function: stack.enter_context(request.param(tmp_path, function))


@pytest.fixture
def door(open_door: Callable[[Function], Door], function: Function) -> Door:
    return open_door(function)


LINK = f"/retailcrm-admin/?enterprise_number=0367&token={SECRET}"
CLICK = f"/retailcrm/make-call?clientId={SECRET}&code=151&phone=375291111111"


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/metrics/sweep-calls", "/stats/../metrics", "//metrics", "/dispatch/../metrics"]
)
def test_no_gateway_leads_a_stranger_to_the_metrics(door, function, path):
    """What a gateway passes on as it stands, a function finds nothing at."""
    answer = door.ask("GET", path, Authorization=f"Bearer {SECRET}")

    passed_on = [asked for _, asked, _, _ in function.requests]
    assert not [asked for asked in passed_on if asked.startswith("/metrics")]
    assert answer.status == 404 or passed_on == ["/dispatch/../metrics"]


@pytest.mark.parametrize("is_away", [True, False], ids=["away", "broken"])
def test_no_log_has_a_word_of_a_query_whatever_befalls_the_request(open_door, function, is_away):
    """An upstream that is away or breaks off, a body that is buffered or too large, what is no HTTP, as to a proxy."""
    function.broken_answers = 1000
    door = open_door(Function(port=free_port()) if is_away else function)
    large = b"x" * (routes.LARGE_BODY * 2)

    asked = [
        door.ask("GET", LINK),
        door.ask("POST", LINK, b"token=" + SECRET.encode()),
        door.ask("POST", LINK, large),
        door.ask("GET", CLICK),
        door.ask("POST", f"/start?token={SECRET}", b"{}", Token=SECRET),
        door.ask("POST", f"/dispatch/call-events?token={SECRET}", large, Token=SECRET),
        door.ask("GET", f"/retailcrm-admin/%3Ftoken={SECRET}"),
        door.ask("GET", f"/nothing/{SECRET}"),
    ]
    for raw in (
        f"GET {LINK} HTTP/9.9\r\nHost: x\r\n\r\n",
        f"GET http://127.0.0.1{CLICK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET http://[{SECRET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"{SECRET.upper().replace('3', 'E')} {CLICK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"POST {CLICK} HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
        f"POST {CLICK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nnot a chunk\r\n\r\n",
    ):
        door.answer(raw.encode())

    # What fails is not silent.
    said = door.said("make-call") + door.said("dispatch-call-event")
    assert SECRET not in said
    assert SECRET.upper().replace("3", "E") not in said
    assert {answer.status for answer in asked if "location" not in answer.headers} <= {404, 502}


@real_nginx
def test_a_body_that_cannot_be_kept_leaves_no_query_in_the_log(tmp_path, function):
    """As when the tmpfs is full: nginx says so at a level that nobody turns off."""
    with nginx_door(tmp_path, function) as door:
        if not (kept := tmp_path / "temp" / "client_body").exists():
            pytest.skip("its files are in a container")
        kept.rmdir()
        answer = door.ask("POST", f"/start?token={SECRET}", b"x" * (routes.LARGE_BODY * 2))
        said = door.said('"status": "500"')

    assert (answer.status, answer.code) == (500, "internal")
    assert SECRET not in said


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [(502, "upstream_unavailable"), (500, "upstream_unavailable"), (503, "upstream_unavailable"),
     (429, "upstream_unavailable"), (504, "upstream_timeout"), (413, "link_invalid"), (400, "link_invalid")],
)  # fmt: skip
def test_an_opening_that_fails_leads_to_the_page_without_the_token(door, method, status, reason):
    door.function.status = status

    answer = door.ask(method, LINK, b"clientId=xyz" if method == "POST" else None)

    assert (answer.status, answer.headers["location"]) == (303, f"/retailcrm-admin/#/?refused={reason}")
    assert len(door.function.requests) == 1


@pytest.mark.parametrize("path", ["/retailcrm-admin/", "/retailcrm-admin", "/retailcrm-admin/index.html"])
def test_an_opening_that_finds_nobody_leads_to_the_page_without_the_token(open_door, path):
    door = open_door(Function(port=free_port()))

    for method, body in (("GET", None), ("POST", b"clientId=xyz")):
        answer = door.ask(method, f"{path}?enterprise_number=0367&token={SECRET}", body)
        assert (answer.status, answer.headers["location"]) == (
            303,
            "/retailcrm-admin/#/?refused=upstream_unavailable",
        )


@pytest.mark.parametrize("size", [routes.OPENING.body_limit + 1, 300 * routes.KB], ids=["form", "anything"])
def test_an_opening_with_a_body_that_is_too_large_leads_to_the_page_without_the_token(door, size):
    answer = door.ask("POST", LINK, b"x" * size)

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/#/?refused=link_invalid")
    assert door.function.requests == []


def test_an_opening_that_takes_too_long_leads_to_the_page_without_the_token(door):
    door.function.delay_seconds = routes.OPERATIONS_SECONDS + 0.5

    answer = door.ask("GET", LINK)

    assert (answer.status, answer.headers["location"]) == (303, "/retailcrm-admin/#/?refused=upstream_timeout")


@pytest.mark.parametrize("way", ["GET", "HEAD"])
def test_the_page_without_its_slash_does_not_hand_the_token_on(door, way):
    door.function.status, door.function.headers = 303, {"Location": "/retailcrm-admin/#/?entered=1"}

    with_token = door.ask(way, f"/retailcrm-admin?token={SECRET}")
    without = door.ask(way, "/retailcrm-admin?a=b")

    assert SECRET not in with_token.headers.get("location", "")
    assert (without.status, without.headers["location"]) == (303, "/retailcrm-admin/")


UNFINISHED = b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


def test_one_address_does_not_take_every_place(door):
    """Bodies that never end hold places of their address, and no other's."""
    with ExitStack() as held:
        for _ in range(door.places):
            held.enter_context(door.send(UNFINISHED, source=STRANGER))

        refused = eventually(lambda: door.ask("POST", "/start", b"{}", source=STRANGER), status=429)
        heard = door.ask("POST", "/start", b"{}", source=HOST)

    assert (refused.code, refused.headers["retry-after"]) == ("rate_limited", "1")
    assert heard.status == 200
    assert door.said(STRANGER)


def test_large_bodies_of_one_address_leave_room_for_events_and_for_others(door):
    """What is larger than an event is memory until it is whole: eight of an address at a time."""
    size = routes.LARGE_BODY + 1
    head = f"POST /dispatch/call-events HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    chunked = b"POST /dispatch/call-events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    with ExitStack() as held:
        for index in range(routes.LARGE_BODIES_AT_ONCE):
            held.enter_context(door.send(head + b"[" if index % 2 else chunked, source=STRANGER))

        refused = eventually(
            lambda: door.ask("POST", "/dispatch/call-events", b"x" * size, source=STRANGER), status=429
        )
        event = door.ask("POST", "/start", b"{}", source=STRANGER)
        of_another = door.ask("POST", "/dispatch/call-events", b"x" * size, source=HOST)

    assert (refused.code, refused.headers["retry-after"]) == ("rate_limited", "1")
    assert (event.status, of_another.status) == (200, 200)


def eventually(ask: Callable[[], Answer], *, status: int) -> Answer:
    """What was sent just before may not have been read yet."""
    deadline = time.monotonic() + 5
    while (answer := ask()).status != status and time.monotonic() < deadline:
        time.sleep(0.02)
    assert answer.status == status
    return answer


def test_a_place_is_free_again_when_its_connection_ends(tmp_path, function):
    with local_door(tmp_path, function) as door:
        with ExitStack() as held:
            for _ in range(door.places):
                held.enter_context(door.send(UNFINISHED, source=STRANGER))
            eventually(lambda: door.ask("POST", "/start", b"{}", source=STRANGER), status=429)

        assert eventually(lambda: door.ask("POST", "/start", b"{}", source=STRANGER), status=200)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", b""),
        (b"POST /start HTTP/1.1\r\nHost: x\r\n", b""),
        (UNFINISHED, b"408"),
        (UNFINISHED.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked"), b"400"),
    ],
    ids=["nothing", "head", "body", "no chunk"],
)
def test_what_never_comes_to_its_end_is_not_waited_for(tmp_path, function, raw, status):
    with local_door(tmp_path, function) as door:
        heard = door.answer(raw)

    assert heard[9:12] == status
    assert function.requests == []


def test_a_connection_may_rest_between_two_requests_but_not_within_one(tmp_path, function):
    request = b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with local_door(tmp_path, function) as door, door.send(request) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(LOCAL_SECONDS * 2)
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")

        connection.sendall(request[:20])
        assert received(connection) == b""

    assert len(function.requests) == 2


def test_a_body_that_comes_slowly_is_taken_as_long_as_it_comes(tmp_path, function):
    with local_door(tmp_path, function) as door, door.send(UNFINISHED[:-1]) as connection:
        for _ in range(10):
            time.sleep(LOCAL_SECONDS / 4)
            connection.sendall(b"{" * 10)

        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_who_leaves_in_the_middle_is_no_bug(tmp_path, function):
    with local_door(tmp_path, function) as door:
        door.send(UNFINISHED).close()
        time.sleep(LOCAL_SECONDS)

        assert '"bug"' not in door.log()


def test_requests_as_a_proxy_sends_them_are_answered(door):
    """`GET http://host/path`: also a way to have a gateway ask somebody else."""
    other = "http://203.0.113.9:8080"
    body = b"POST %s/start?x=%%2F HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

    answers = [
        door.answer(body % other.encode()),
        door.answer(f"GET {other} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()),
        door.answer(b"CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    ]

    assert [answer.split(b" ")[1] for answer in answers[:2]] == [b"200", b"200"]
    assert answers[2].split(b" ")[1] in {b"400", b"405"}
    assert [(method, path) for method, path, *_ in door.function.requests] == [("POST", "/start?x=%2F")]


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script_Name"])
def test_no_client_says_which_part_of_a_path_was_not_asked_for(door, name):
    """gunicorn, asked from loopback, takes it away: `/retailcrm-admin/api/health` was the function's own `/health`."""
    head = f"GET /retailcrm-admin/api/health HTTP/1.1\r\nHost: x\r\n{name}: /retailcrm-admin/api\r\nConnection: close\r\n\r\n"

    assert b" 200 " in door.answer(head.encode())

    [(_, path, headers, _)] = door.function.requests
    assert path == "/retailcrm-admin/api/health"
    assert "script_name" not in {name.lower() for name in headers}


@pytest.mark.parametrize("path", ["/start", "/retailcrm-admin/", "/nothing"])
def test_browsers_that_came_by_https_are_told_to_stay_there(door, path):
    by_https = door.ask("GET", path, X_Forwarded_Proto="https")
    by_http = door.ask("GET", path)

    assert by_https.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in by_http.headers


@real_nginx
def test_a_public_address_with_https_is_https_whatever_the_terminator_says(tmp_path, function):
    with nginx_door(tmp_path, function, PUBLIC_URL="https://gateway.example.com") as door:
        answer = door.ask("POST", "/start", b"{}")

    assert answer.headers["strict-transport-security"]
    assert function.requests[0][2]["X-Forwarded-Proto"] == "https"


@real_nginx
def test_behind_a_trusted_proxy_each_client_counts_for_itself(tmp_path, function):
    size = routes.LARGE_BODY + 1
    head = "POST /dispatch/call-events HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {}\r\nContent-Length: {}\r\n\r\n["
    with nginx_door(tmp_path, function, TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.0/8") as door, ExitStack() as held:
        for _ in range(routes.LARGE_BODIES_AT_ONCE):
            held.enter_context(door.send(head.format("192.0.2.7", size).encode()))

        def ask(chain):
            return door.ask("POST", "/dispatch/call-events", b"x" * size, X_Forwarded_For=chain)

        eventually(lambda: ask("192.0.2.7"), status=429)
        assert ask("192.0.2.66, 192.0.2.7").status == 429, "the entry that the proxy wrote counts, not the client's own"
        assert ask("192.0.2.8").status == 200

    assert function.requests[-1][2]["X-Forwarded-For"] == "192.0.2.8, 127.0.0.1"


@real_nginx
def test_without_a_trusted_proxy_nobody_counts_as_somebody_else(tmp_path, function):
    size = routes.LARGE_BODY + 1
    with nginx_door(tmp_path, function) as door, ExitStack() as held:
        for index in range(routes.LARGE_BODIES_AT_ONCE):
            head = f"POST /start HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.{index}\r\nContent-Length: {size}\r\n\r\n["
            held.enter_context(door.send(head.encode()))

        eventually(lambda: door.ask("POST", "/start", b"x" * size, X_Forwarded_For="192.0.2.99"), status=429)


@real_nginx
def test_one_address_may_come_in_a_burst_but_not_for_ever(tmp_path, function):
    count = routes.REQUESTS_BURST + routes.REQUESTS_PER_SECOND * 5
    request = b"GET /retailcrm-admin/none.js HTTP/1.1\r\nHost: x\r\n%s\r\n"
    with nginx_door(tmp_path, function) as door:
        statuses = []
        while len(statuses) < count:
            # Fewer than end a kept connection.
            answers = door.answer(request % b"" * 499 + request % b"Connection: close\r\n")
            statuses += [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
        of_another = door.ask("POST", "/start", b"{}", source=STRANGER)

    assert statuses[: routes.REQUESTS_BURST] == [b"404"] * routes.REQUESTS_BURST
    assert b"429" in statuses
    assert of_another.status == 200


def test_no_address_takes_more_than_a_small_part_of_nginx():
    configuration = render.render()
    [connections] = {int(line.split()[1][:-1]) for line in configuration.splitlines() if "worker_connections" in line}

    # A request holds a connection of its client and one to a function; there are two workers.
    assert "worker_processes 2;" in configuration
    assert connections * 2 >= routes.REQUESTS_AT_ONCE * 2 * 30
    others = {route.function for route in routes.ROUTES} - {"dispatch-call-event"}
    assert connections * 2 - len(others) * routes.REQUESTS_OF_A_FUNCTION * 2 >= routes.REQUESTS_AT_ONCE * 2 * 4


@real_nginx
def test_what_nginx_says_is_json_with_the_address_and_what_was_refused(tmp_path):
    with nginx_door(tmp_path, Function(port=free_port())) as door:
        door.ask("GET", CLICK)
        lines = [json.loads(line) for line in door.said("make-call").splitlines() if line.startswith("{")]

    [line] = lines
    assert line["severity"] == "WARNING"
    assert (line["function"], line["method"], line["status"], line["address"]) == ("make-call", "GET", "502", HOST)
