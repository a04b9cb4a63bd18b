"""nginx in the containers answers as the gateway of `make run` does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import routes
from infra.deployment.nginx import render
from infra.stand_ins.postgres import free_port
from tests.harness import nginx as real_nginx
from tests.infra.test_gateway import Function, ask, running_gateway

LIMITED = [route for route in routes.ROUTES if route.body_limit <= 2**20]


def test_the_configuration_of_nginx_is_that_of_the_routes():
    assert render.TARGET.read_text() == render.render(), "run `make nginx`"


def test_no_route_leads_where_pushes_arrive():
    text = render.render()

    assert not [line for line in text.splitlines() if "location" in line and ("/dead" in line or "/tick" in line)]
    for function in ("retailcrm-deliver", "retailcrm-upload", "assemble-recovered", "sweep-calls", "register-module"):
        assert {line.split()[2] for line in text.splitlines() if f"$function {function};" in line} == {
            f"/health/{function}",
            f"/stats/{function}",
        }


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("srv") / "retailcrm-admin"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><h1>Настройки</h1>")
    (folder / "js" / "app.js").write_text("export {};" + " " * 2000)
    (folder.parent / "secret.txt").write_text("not for the page")
    (folder / "out").symlink_to(folder.parent / "secret.txt")
    for one in (folder.parent, *folder.rglob("*")):
        if not one.is_symlink():
            one.chmod(0o755 if one.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def function() -> Iterator[Function]:
    with Function().running() as running:
        yield running


@pytest.fixture(scope="module")
def start_nginx(tmp_path_factory: pytest.TempPathFactory, ui: Path) -> Iterator[Callable[[str], int]]:
    """nginx.conf as it is in the composition, but for where the functions are; the port."""
    if why := real_nginx.missing():
        pytest.skip(why)
    with ExitStack() as stack:

        def start(address: str) -> int:
            running = real_nginx.running(tmp_path_factory.mktemp("nginx"), function=address, ui=ui)
            return stack.enter_context(running).port

        yield start


@pytest.fixture(scope="module")
def nginx(start_nginx: Callable[[str], int], function: Function) -> int:
    return start_nginx(f"127.0.0.1:{function.port}")


@pytest.fixture(scope="module")
def doors(nginx: int, function: Function, ui: Path) -> Iterator[SimpleNamespace]:
    """Both gateways in front of the same server."""
    upstreams = {route.function: function.url for route in routes.ROUTES}
    with running_gateway(upstreams, ui=ui) as local:
        yield SimpleNamespace(local=local, nginx=nginx)


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "doors" in request.fixturenames or "nginx" in request.fixturenames:
        function = request.getfixturevalue("function")
        function.requests.clear()
        function.status, function.headers, function.delay_seconds, function.broken_answers = 200, {}, 0.0, 0


def both(doors, method, path, body=None, headers=None):
    return [ask(door, method, path, body, headers) for door in (doors.local, doors.nginx)]


def security(answer):
    return {name: answer.headers.get(name.lower()) for name in routes.SECURITY_HEADERS}


@pytest.mark.containers
@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.path)
def test_a_request_arrives_alike(doors, function, route):
    path = f"{route.path}{'a%2Fb/c' if route.path.endswith('/') else ''}?phone=%2B375&x=%20y"
    headers = {"Token": "375290000001", "X-Forwarded-For": "192.0.2.7", "Host": "gateway.example.com", "a_b": "c"}

    local, nginx = both(doors, "POST", path, b'{"a": 1}', {**headers, "Content-Type": "application/json"})

    assert (local.status, local.body, security(local)) == (nginx.status, nginx.body, security(nginx))
    by_local, by_nginx = function.requests
    assert by_local[:2] == by_nginx[:2] == ("POST", path)
    assert by_local[3] == by_nginx[3] == b'{"a": 1}'
    for name in ("Token", "X-Forwarded-For", "X-Forwarded-Proto", "Host", "Content-Type", "a_b"):
        assert by_local[2][name] == by_nginx[2][name], name
    assert by_nginx[2]["X-Forwarded-For"] == "192.0.2.7, 127.0.0.1"


@pytest.mark.containers
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("GET", path)
            for path in (
                "/nothing",
                "/start/",
                "//start",
                "/dispatch",
                "/retailcrm-admin/api",
                "/dead",
                "/tick",
                "/.page",
                "/.link",
            )
        ),
        *(("GET", f"/retailcrm-admin/{name}") for name in ("nothing.js", "js", "out", "%2e%2e/secret.txt", "a%00b")),
        *((method, "/retailcrm-admin/") for method in ("PUT", "DELETE")),
        ("PUT", "/retailcrm-admin/js/app.js"),
    ],
)
def test_missing_and_forbidden_paths_are_refused_alike(doors, function, method, path):
    local, nginx = both(doors, method, path)

    assert nginx.status in {local.status, 400}
    assert set(json.loads(nginx.body)["error"]) == {"code", "message"}
    assert nginx.status == 400 or (nginx.code, security(nginx)) == (local.code, security(local))
    assert function.requests == []


@pytest.mark.containers
@pytest.mark.parametrize("route", LIMITED, ids=lambda route: route.path)
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_a_body_over_the_limit_is_refused_alike(doors, function, route, chunked):
    body = b"x" * (route.body_limit + 1)
    for door in (doors.local, doors.nginx):
        try:
            answer = ask(door, "POST", route.path, iter([body, b"x" * 2**20]) if chunked else body)
            assert (answer.status, answer.code) == (413, "too_large")
        except ConnectionError:
            assert chunked, "the rest of it is not read"

    assert function.requests == []


@pytest.mark.containers
def test_a_header_that_the_function_sets_wins(doors, function):
    function.status = 429
    function.headers = {"Retry-After": "2", "Content-Type": "application/json", "Referrer-Policy": "same-origin"}

    local, nginx = both(doors, "POST", "/start", b"{}")

    for answer in (local, nginx):
        assert (answer.status, answer.headers["retry-after"], answer.headers["referrer-policy"]) == (
            429,
            "2",
            "same-origin",
        )
    assert security(local) == security(nginx)


@pytest.mark.containers
@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not even http\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: minus one\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_get_an_error_of_the_common_form(nginx, raw):
    with socket.create_connection(("127.0.0.1", nginx), timeout=5) as connection:
        connection.sendall(raw)
        answer = b""
        while part := connection.recv(65536):
            answer += part

    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


@pytest.mark.containers
def test_the_page_comes_with_its_policy_is_asked_for_each_time_and_sent_once(doors):
    for path in ("/retailcrm-admin/", "/retailcrm-admin/js/app.js"):
        local, nginx = both(doors, "GET", path, headers={"Accept-Encoding": "gzip"})

        assert (local.status, nginx.status) == (200, 200)
        for name in routes.PAGE_HEADERS:
            assert name == "Vary" or nginx.headers[name.lower()] == local.headers[name.lower()], name
        again = ask(
            doors.nginx, "GET", path, headers={"Accept-Encoding": "gzip", "If-None-Match": nginx.headers["etag"]}
        )
        assert (again.status, again.body) == (304, b"")
    assert nginx.headers["content-encoding"] == "gzip"
    assert "javascript" in nginx.headers["content-type"]


@pytest.mark.containers
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/retailcrm-admin/?enterprise_number=0367&token=x"),
        ("POST", "/retailcrm-admin/?enterprise_number=0367"),
        ("POST", "/retailcrm-admin/"),
    ],
)
def test_the_link_of_an_account_is_exchanged_by_the_function(nginx, function, method, path):
    function.status, function.headers = 303, {"Location": "/retailcrm-admin/", "Set-Cookie": "session=secret"}

    answer = ask(nginx, method, path, b"token=x" if method == "POST" else None)

    assert (answer.status, answer.headers["location"], answer.headers["set-cookie"]) == (
        303,
        "/retailcrm-admin/",
        "session=secret",
    )
    [(_, asked, _, body)] = function.requests
    assert (asked, body) == (path, b"token=x" if method == "POST" else b"")


@pytest.mark.containers
def test_a_function_that_is_away_is_named(start_nginx):
    lonely = start_nginx(f"127.0.0.1:{free_port()}")

    answer = ask(lonely, "POST", "/retailcrm/make-call")

    assert (answer.status, answer.code) == (502, "upstream_unavailable")
    assert "make-call" in answer.body.decode()


@pytest.mark.containers
def test_a_request_that_must_not_happen_twice_is_not_repeated(nginx, function):
    function.broken_answers = 1

    answer = ask(nginx, "GET", "/retailcrm/make-call?phone=375291111111")

    assert (answer.status, answer.code) == (502, "upstream_unavailable")
    assert len(function.requests) == 1
