"""
No secret is found where it does not have to stand.

The whole system runs with secrets that cannot be mistaken. It is asked rightly and wrongly on every route, its CRM and
its Asterisk service say back whatever they were told; then the database, the logs, the files, the answers and the
process list are searched for every secret in every form in which it could be written.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import psycopg
import pytest
import requests
from psycopg import sql

from infra.commands import provision
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.stack import Crashed, Stack
from lib.intake import forms
from lib.runtime import config
from lib.runtime.vault import vault
from tests.harness.enterprises import enterprise
from tests.harness.servers import CRM

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

# Where a secret has to stand: a host's token is compared and shown to nobody, the secret is sent to the Asterisk
# service, RetailCRM is told the clientId. Everything else is sealed (API key), hashed (password, session) or not kept.
ALLOWED = {"token": {"enterprises.token"}, "secret": {"enterprises.secret"}, "client_id": {"enterprises.client_id"}}

# How the CRM of an enterprise behaves, by its number.
CRM_MODES = {
    "C1": "refuses",
    "C2": "page",
    "C3": "page_with_200",
    "C4": "redirect",
    "C5": "broken_headers",
    "C6": "map_of_errors",
    "C7": "agrees_and_echoes",
    "C8": "no_http",
}
ASTERISK_MODES = {
    "A1": "refuses",
    "A2": "page",
    "A3": "redirect",
    "A4": "broken_headers",
    "A5": "no_http",
    "A6": "list",
}
CUSTOMER = "375291111111"


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """`core`: what is looked for; the secret has more around it, that is written differently in other languages."""

    cores: dict[str, str] = field(default_factory=dict)

    def make(self, name: str, around: str = "{}") -> str:
        self.cores[name] = f"canary{name.replace('_', '')}{secrets.token_hex(8)}"
        return around.format(self.cores[name])

    def found_in(self, content: bytes) -> set[str]:
        return {name for name, core in self.cores.items() if any(form in content for form in spellings(core))}


def spellings(core: str) -> list[bytes]:
    plain = core.encode()
    # In base64 what stands before shifts the letters: of three shifts one fits.
    shifted = [base64.b64encode(b"x" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)]
    return [plain, plain.hex().encode(), plain[::-1], *shifted]


class Echo(BaseHTTPRequestHandler):
    """Says back everything that it was told, in the form that the mode wants."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        first = urlsplit(self.path).path.split("/")[1]
        key = self.headers.get("X-API-KEY", "")
        mode = first if first in ASTERISK_MODES.values() else CRM_MODES.get(key.rpartition("-")[2], "agrees_and_echoes")
        everything = {"headers": dict(self.headers), "path": self.path, "body": told, "key": key}
        getattr(self, f"_{mode}")(everything, key)

    do_POST = do_GET  # noqa: N815  (the name that the server looks for)

    def _refuses(self, everything, key):
        self._json(401, {"success": False, "errorMsg": f'Wrong "apiKey" value: {key}', "detail": str(everything)})

    def _page(self, everything, _):
        self._send(500, "text/html", f"<html><pre>{html.escape(json.dumps(everything))}</pre></html>")

    def _page_with_200(self, everything, key):
        self._send(200, "text/html", f"<html><a href='?{quote(key)}'>{everything}</a></html>")

    def _redirect(self, everything, key):
        location = f"http://127.0.0.1:9{self.path}?apiKey={quote(key)}"
        self._send(302, "text/plain", json.dumps(everything), Location=location)

    def _broken_headers(self, everything, key):
        body = json.dumps({"success": False, "errorMsg": key, "detail": str(everything)}).encode()
        head = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(body)}\r\n No header {key}\r\n{self.path}\r\n\r\n"
        self.wfile.write(head.encode("latin-1") + body)
        self.close_connection = True

    def _map_of_errors(self, everything, key):
        self._json(400, {"success": False, "errorMsg": key, "errors": {key: key, "all": everything}})

    def _agrees_and_echoes(self, everything, key):
        module = {"code": key, "name": key, "active": True, "accountUrl": key, "integrations": {"telephony": {}}}
        settings = {"timezone": {"value": key}}
        self._json(
            200,
            {
                "success": True,
                "scopes": [key],
                "credentials": [key],
                "versions": [key, "5.0"],
                "settings": settings,
                "integrationModule": module,
                "users": [{"id": 18, "firstName": key, "lastName": key}],
                "pagination": {"totalPageCount": 1, "currentPage": 1},
                "notExistCodes": [key],
                "notExistUsers": [key],
                "echo": everything,
            },
        )

    def _no_http(self, everything, _):
        self.wfile.write(json.dumps(everything).encode() + b"\r\n\r\n")
        self.close_connection = True

    def _list(self, everything, _):
        self._json(500, {"detail": [{"msg": everything, "loc": ["query", self.path]}]})

    def _json(self, status, body):
        self._send(status, "application/json", json.dumps(body))

    def _send(self, status, kind, text, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving_echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def echoes():
    """Address by number: an account for each, because accounts that fail are given a rest."""
    with contextlib.ExitStack() as servers:
        yield {number: servers.enter_context(serving_echo()) for number in (*CRM_MODES, *ASTERISK_MODES)}


@dataclass(kw_only=True)
class Client:
    """Asks, and keeps every answer but the cookie that a browser is given to keep."""

    answers: list[tuple[str, bytes]] = field(default_factory=list)
    session: requests.Session

    def ask(self, method: str, url: str, **options: Any) -> requests.Response:
        response = self.session.request(method, url, timeout=20, allow_redirects=False, **options)
        shown = {name: value for name, value in response.headers.items() if name != "Set-Cookie"}
        self.answers.append((f"{method} {urlsplit(url).path}", str(shown).encode() + response.content))
        return response


def wrong_bodies(function: str, told: dict[str, str]) -> list[tuple[dict[str, str], bytes]]:
    """Every secret that is told to the function, in every body that is not what was asked for."""
    names: dict[str, Any] = {**told, "Token": told["token"], "clientId": told["client_id"], "login": "admin"}
    deep: Any = names
    if function in {"dispatch-call-event", "smart-redirect"}:
        names, deep = {"Token": told["token"], "token": told["token"]}, {"Token": [None]}
    if function in {
        "retailcrm-deliver",
        "retailcrm-upload",
        "assemble-recovered",
        "register-module",
        "sweep-calls",
    }:  # Pub/Sub pushes what we have published
        names = deep = {"enterprise_number": "0367"}
    as_json = {"Content-Type": "application/json"}
    whole = json.dumps(names)
    bodies = [
        whole[:-1],
        f"[{whole}]",
        json.dumps({**names, "UniqueId": {"a": deep}}),
        json.dumps({**names, "UniqueId": "1.1", "uniqueId": [deep], "event_type": deep, "raw": [deep]}),
        json.dumps({name: {"value": value} for name, value in names.items()}),
        json.dumps({name: [value] for name, value in names.items()}),
        json.dumps(dict.fromkeys(names, 1) | {"changes": deep, "settings": deep, "events": [deep]}),
        json.dumps({"message": {"data": json.dumps(deep)}, "subscription": json.dumps(deep)}),
        json.dumps({**names, "api_key": names.get("api_key", "") + " ", "version": 0, "domain": "a" * 300}),
        json.dumps({**names, "password": names.get("password", "") * 200, "enterprise_number": "0367"}),
        json.dumps({**names, "phone": "?", "Phone": "?", "code": "?", "UniqueId": "1.1", "uniqueId": "1.1"}),
        "[" * 5000 + whole,
        whole + " " * 300_000 + whole,
        "\x00" + whole,
        '{"Token": "\\ud800' + names.get("token", "") + '"}',
    ]
    return [
        *((as_json, body.encode("utf-8", "surrogatepass")) for body in bodies),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            "&".join(f"{k}={quote(v)}" for k, v in names.items()).encode(),
        ),
        ({"Content-Type": "application/xml"}, f"<a>{html.escape(whole)}</a>".encode()),
        ({"Content-Type": "application/json; charset=x"}, whole.encode("utf-16")),
        ({}, b""),
    ]


def routes(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Function, method and path of everything that can be asked for from outside."""
    events = [("dispatch-call-event", "POST", f"/{kind}") for kind in forms.HOST_EVENT_TYPES]
    described = [
        ("admin-api", method.upper(), path.replace("{number}", "0367").replace("{", "").replace("}", ""))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    prefix = urlsplit((document.get("servers") or [{"url": ""}])[0]["url"]).path.rstrip("/")
    return [
        *events,
        ("dispatch-call-event", "POST", "/dispatch/call-event"),
        ("dispatch-call-event", "POST", "/dispatch/call-events"),
        ("dispatch-call-event", "GET", "/integrations/0367"),
        ("dispatch-call-event", "POST", "/cache/invalidate/0367"),
        *(("make-call", method, "/retailcrm/make-call") for method in ("GET", "POST")),
        *(("make-call", method, "/retailcrm/status") for method in ("GET", "POST")),
        ("make-call", "POST", "/retailcrm/activity"),
        *(("smart-redirect", method, "/api/callevent/getcustomerdata") for method in ("GET", "POST")),
        *(("smart-redirect", method, "/retailcrm/api/smart-redirect") for method in ("GET", "POST")),
        *((name, "POST", "/") for name in ("retailcrm-deliver", "retailcrm-upload", "assemble-recovered")),
        *((name, "POST", "/") for name in ("register-module", "sweep-calls")),
        ("register-module", "POST", "/tick"),
        *(
            ("admin-api", method, prefix + path if not path.startswith(prefix) else path)
            for _, method, path in described
        ),
        *(
            (name, "GET", path)
            for name in ("dispatch-call-event", "admin-api", "make-call")
            for path in ("/stats", "/health", "/none")
        ),
    ]


def call_events(token: str, unique_id: str) -> list[tuple[str, dict[str, Any]]]:
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
    times = {"StartTime": now, "EndTime": now, "DateReceived": now}
    frame = {"Token": token, "UniqueId": unique_id, "Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301"}
    return [
        ("start", frame),
        ("dial", {**frame, "Extensions": ["150"]}),
        ("hangup", {**frame, "Extensions": [""], "CallStatus": "0", **times}),
    ]


def stored(database_url: str) -> dict[str, bytes]:
    """Everything that stands in the database, by column; bytes as they are, everything else as text."""
    found: dict[str, bytes] = {}
    with psycopg.connect(database_url, autocommit=True) as conn:
        columns = conn.execute(
            "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
            "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        ).fetchall()
        for table, column in columns:
            query = sql.SQL("SELECT {0} FROM {1} WHERE {0} IS NOT NULL")
            values = conn.execute(query.format(sql.Identifier(column), sql.Identifier(table))).fetchall()
            found[f"{table}.{column}"] = b"\n".join(
                value if isinstance(value, bytes) else json.dumps(value, default=str, ensure_ascii=False).encode()
                for (value,) in values
            )
    return found


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


OPERATOR, SAME_ORIGIN = "operator_token", {"Sec-Fetch-Site": "same-origin"}
# Around the core stands what other languages write in other ways.
AROUND = 'k"{}/+&<=%'


@dataclass(kw_only=True)
class World:
    """The running system, with an enterprise for every way in which others answer; `told`: secrets by their field."""

    stack: Stack
    client: Client
    canaries: Canaries
    echoes: dict[str, str]
    told: dict[str, str]
    new_key: str
    operator: dict[str, str]
    given: Path
    tokens: dict[str, str] = field(default_factory=dict)
    client_ids: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    link: str = ""

    @property
    def gateway(self) -> str:
        return self.stack.url("gateway")

    @property
    def api(self) -> str:
        return self.gateway + "/retailcrm-admin/api"

    def echo_of(self, number: str) -> str:
        return self.echoes.get(number, self.echoes["C7"])

    @property
    def crm(self) -> CRM:
        return CRM(url=self.stack.url("retailcrm-simulator"))

    def sql(self, query: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url, autocommit=True) as conn:
            return conn.execute(query).fetchall()

    def enrol(self) -> None:
        self.crm.account("0367", api_key=f"{self.told['api_key']}-0367", module_active=False, additional_codes=[])
        self._provision("0367", domain=self.crm.url)
        for number in CRM_MODES:
            self._provision(number, smart_redirect_mode="routing+name")
        for number, mode in ASTERISK_MODES.items():
            self._provision(number, asterisk=mode)
        for wrong in ({"token": self.tokens["0367"]}, {"domain": "https://example.com"}, {"api_key": [self.told]}):
            with pytest.raises(Crashed) as refused:
                self._provision("W1", **wrong)
            self.client.answers.append(("provision", str(refused.value).encode()))
            del self.tokens["W1"]
        self.client_ids = dict(self.sql("SELECT number, client_id FROM enterprises"))
        self.canaries.cores["client_id"] = self.told["client_id"] = self.client_ids["0367"]

    def _provision(self, number, *, asterisk="refuses", token="", domain="", **retailcrm):
        token = token or self.told["token"] + number
        data = enterprise(number, token=token, domain=domain or self.echo_of(number))
        data |= {"secret": self.told["secret"] + number, "asterisk_url": f"{self.echo_of(number)}/{asterisk}"}
        data["users"][0]["password"] = self.told["password"]
        data["integrations_config"]["retailcrm"] |= {"api_key": f"{self.told['api_key']}-{number}", **retailcrm}
        self.tokens[number] = token
        if number not in {"0367", "W1"}:  # a process for each would take long
            with psycopg.connect(self.stack.database_url) as conn:
                provision.provision(conn, data)
            return
        path = self.given / f"{number}.json"
        path.write_text(json.dumps(data))
        self.stack.run("provision", "infra.commands.provision", str(path))

    def call_and_click(self) -> None:
        for index, (number, token) in enumerate(self.tokens.items()):
            for event_type, body in call_events(token, f"{int(time.time())}.{index}"):
                assert self.client.ask("POST", f"{self.gateway}/{event_type}", json=body).status_code == 200, number
            question = {"Token": token, "Phone": CUSTOMER}
            self.client.ask("POST", self.gateway + "/api/callevent/getcustomerdata", json=question)
        for number in ASTERISK_MODES:
            right = {"clientId": self.client_ids[number], "userId": "18", "code": "150", "phone": CUSTOMER}
            for query in (right, right | {"phone": "?"}, right | {"clientId": self.told["secret"] + number}):
                self.client.ask("GET", self.gateway + "/retailcrm/make-call", params=query)

    def open_the_page(self) -> None:
        """Of every enterprise: what can be seen, checked and registered."""
        for number in ("0367", *CRM_MODES):
            self.client.session.cookies.clear()
            body = {"enterprise_number": number, "login": self.told["password"], "password": self.told["password"]}
            self._post("session", body)
            answer = self._post("session", body | {"login": "admin"})
            assert answer.status_code == 200
            self.cookies[number] = answer.cookies["session"]
            self.document = self.document or self.client.ask("GET", f"{self.api}/openapi.json").json()
            self._post(f"config/{number}/test", {})
            self._post(f"config/{number}/test", {"domain": self.echo_of(number), "api_key": f"{self.new_key}-{number}"})
            for path, methods in self.document["paths"].items():
                filled = path.replace("{number}", number).removeprefix("/retailcrm-admin/api/").lstrip("/")
                if "{" not in filled and "post" in methods and "session" not in filled:
                    self._post(filled, {})
                if "{" not in filled and "get" in methods:
                    self.client.ask("GET", f"{self.api}/{filled}", headers=SAME_ORIGIN)
        self.canaries.cores["session_cookie"] = self.cookies["0367"]

    def _post(self, path: str, body: Any) -> requests.Response:
        return self.client.ask("POST", f"{self.api}/{path}", json=body, headers=SAME_ORIGIN)

    def is_through(self) -> bool:
        """Every CRM was told of the call, and of the module. (Whose key is refused is told of nothing more.)"""
        told = self.sql(
            "SELECT count(DISTINCT d.enterprise_number) FROM attempts a JOIN deliveries d ON d.id = a.delivery_id "
            "WHERE a.finished_at IS NOT NULL"
        )
        waiting = self.sql("SELECT count(*) FROM module_commands WHERE state IN ('ready', 'leased')")
        return told == [(len(self.tokens),)] and waiting == [(0,)]

    def read_every_call(self) -> None:
        for number, unique_id in self.sql("SELECT enterprise_number, main_unique_id FROM calls"):
            if number in self.cookies:
                self.client.session.cookies.set("session", self.cookies[number])
                for path in (f"calls/{number}/{unique_id}", f"calls/{number}", f"logs/{number}"):
                    self.client.ask("GET", f"{self.api}/{path}")

    def follow_the_link(self) -> None:
        """Of the account: issued by us, known to RetailCRM and to a browser."""
        url = self.crm.module("0367")["accountUrl"]
        self.link = url.partition("token=")[2].partition("&")[0]
        self.canaries.cores["account_link"] = self.told["link"] = self.link.rpartition(".")[2]
        self.client.ask("GET", url)
        for body in (
            {"opened": True},
            {"token": self.link},
            {"token": self.link[:-3]},
            {"token": self.link, "login": self.link},
        ):
            self._post("session", body)

    def ask_wrongly(self) -> None:
        cookies = self.client.session.cookies
        for function, method, path in routes(self.document):
            url = self.stack.url(function) + path
            for headers, body in wrong_bodies(function, self.told):
                cookies.clear()
                cookies.set("session", self.cookies["0367"])
                known = SAME_ORIGIN | self.operator | {"Token": self.tokens["0367"]}
                with contextlib.suppress(requests.ConnectionError):  # refused before it was read
                    self.client.ask(method, url, data=body, headers=headers | known)
            strange = {**self.told, "limit": self.told["token"], "cursor": self.told["api_key"], "clientId": "?"}
            self.client.ask(method, url, params=strange, headers=SAME_ORIGIN)
        token, link = self.tokens["0367"], self.link
        for part in ("gateway", "dispatch-call-event", "admin-api"):
            for head in (
                f"POST /start HTTP/1.1\r\nToken {token}",
                f"POST /start HTTP/1.1\r\nHost: a\r\nAuthorization : {self.operator['Authorization']}",
                f"GET /?token={link} HTTP/9.9\r\nHost: a",
                f"GET /?token={link} {link} HTTP/1.1\r\nHost: a",
                f"{token} / HTTP/1.1\r\nHost: a",
                f"POST /start HTTP/1.1\r\nHost: a\r\nContent-Length: {token}",
                f"POST /start HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {token}",
                f"POST /start HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{token}",
            ):
                send_bytes(self.stack.url(part), f"{head}\r\n\r\n".encode())

    def save_keys(self) -> None:
        self.client.session.cookies.clear()
        self.client.session.cookies.set("session", self.cookies["C1"])
        version = self.client.ask("GET", f"{self.api}/config/C1").json()["version"]
        for key in (f"{self.new_key} {self.new_key}", self.new_key, [self.new_key], self.new_key):
            body = {"api_key": key, "version": version}
            self.client.ask("PUT", f"{self.api}/config/C1", json=body, headers=SAME_ORIGIN)
        shown = self.client.ask("GET", f"{self.api}/config/C1").json()
        assert shown["version"] == version + 1
        assert shown["api_key"]["is_readable"]


def send_bytes(url: str, request: bytes) -> None:
    """What no client of HTTP would send. The server may say it back, to whom it came from and nobody else."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass


@contextlib.contextmanager
def settings_of(stack: Stack) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in stack.layout.environment().items():
            environment.setenv(name, value)
        config.current.cache_clear()
        vault.forget()
        try:
            yield
        finally:
            config.current.cache_clear()
            vault.forget()


def test_every_secret_is_found_only_where_it_has_to_stand(tmp_path, echoes):
    canaries = Canaries()
    told = {name: canaries.make(name, AROUND) for name in ("token", "secret", "api_key", "password")}
    new_key = canaries.make("new_api_key", "{}&<")
    canaries.cores["vault_key"] = base64.b64encode(secrets.token_bytes(32)).decode()
    settings = {
        "VAULT_KEYS": f"local:{canaries.cores['vault_key']}",
        "OPERATOR_TOKEN": canaries.make(OPERATOR),
        "ACCOUNT_LINK_SECRET": canaries.make("account_link_secret", "{}-with-32-bytes-and-more"),
        "LOG_LEVEL": "DEBUG",
    }
    run_dir, given = tmp_path / "run", tmp_path / "given"
    given.mkdir()

    with contextlib.closing(requests.Session()) as session:
        client = Client(session=session)
        with Stack(run_dir, free_base_port(), restart=True, settings=settings) as stack:
            canaries.cores["database_password"] = (run_dir / "postgres.password").read_text()
            operator = {"Authorization": f"Bearer {settings['OPERATOR_TOKEN']}"}
            world = World(
                stack=stack,
                client=client,
                canaries=canaries,
                echoes=echoes,
                told=told,
                new_key=new_key,
                operator=operator,
                given=given,
            )
            with settings_of(stack):
                world.enrol()
            world.call_and_click()
            world.open_the_page()
            is_through = wait_for(world.is_through, 20)
            world.read_every_call()
            world.follow_the_link()
            world.ask_wrongly()
            world.save_keys()
            in_database, listed = stored(stack.database_url), process_list()

    files = {str(path): path.read_bytes() for path in kept_files(run_dir)}
    found: dict[str, str] = {}
    for where, content in [*in_database.items(), *files.items(), *listed.items(), *client.answers]:
        for name in canaries.found_in(content):
            if where not in ALLOWED.get(name, set()):
                found[f"{name} in {where}"] = around(content, canaries.cores[name])
    assert found == {}
    # The search finds what is there, and what could have left something was done.
    assert all(name in canaries.found_in(in_database[column]) for name, there in ALLOWED.items() for column in there)
    assert is_through
    assert len(listed) >= 12
    assert len([path for path in files if path.endswith(".log")]) >= 12
    assert len(world.link) > 100


OPERATORS_COMMANDS = (
    ("infra.deployment.migrate",),
    ("infra.commands.admin", "--enterprise", "0367"),
    ("infra.commands.revoke", "--enterprise", "0367"),
    ("infra.commands.replay", "--since", "1h"),
    ("infra.commands.rotate_keys",),
    ("infra.commands.explain", "1.1"),
)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gateway:{}%zz@127.0.0.1:9/x",
        "postgresql//gateway:{}@127.0.0.1:9/x",
        "postgresql://gateway:CAN@{}@127.0.0.1:9/x",
        "postgresql://gateway:{}@PW@127.0.0.1:9/x",
        "postgresql://gateway:{}/PW@127.0.0.1:9/x",
    ],
)
def test_an_address_of_the_database_that_is_written_wrongly_is_not_quoted(url):
    core = secrets.token_hex(8)
    ask = "from lib.runtime import db, logs; logs.configure(); log = logs.logging.getLogger()\n"
    ask += "try:\n with db.connection(): pass\nexcept Exception: log.exception('bug')\nfinally: db.close()"
    environment = {**os.environ, "DATABASE_URL": url.format(core)}

    told = [
        subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False, timeout=30)
        for arguments in (["-c", ask], *(["-m", *command] for command in OPERATORS_COMMANDS))
    ]

    assert all(process.stdout + process.stderr for process in told)
    assert [str(process) for process in told if core.encode() in process.stdout + process.stderr] == []
    # A form that libpq reads is none that it can use.
    assert {process.stderr.count(b"\n") for process in told[1:]} == {1}


@pytest.mark.parametrize("command", OPERATORS_COMMANDS, ids=lambda command: command[0])
def test_a_database_that_is_away_is_one_sentence_of_a_command(command):
    password = secrets.token_hex(8)
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://gateway:{password}@127.0.0.1:9/x",
        "VAULT_KEYS": f"first:{base64.b64encode(bytes(32)).decode()}",
    }

    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, check=False, timeout=30
    )

    name = command[0].rpartition(".")[2].replace("_", "-")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ")
    assert [line for line in done.stderr.splitlines() if "WARNING" in line or "pool" in line or password in line] == []
    # What libpq says of an address that refuses has a second line of its own.
    assert len(done.stderr.splitlines()) <= (3 if name == "migrate" else 1)


def kept_files(run_dir: Path) -> list[Path]:
    """
    Logs and the broker's messages. Not what others keep: the memory of the CRM and of the Asterisk service, the data
    files of PostgreSQL (its tables are searched), and the two files that hold the secrets of the stack for its owner.
    """
    others = {"postgres", "secrets.json", "postgres.password", "retailcrm-simulator.json", "asterisk-simulator.json"}
    return [path for path in run_dir.rglob("*") if path.is_file() and path.relative_to(run_dir).parts[0] not in others]


def process_list() -> dict[str, bytes]:
    """As `ps` shows it."""
    listed = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            listed[f"process {process.pid}"] = " ".join([process.name(), *process.cmdline()]).encode()
    return listed


def around(content: bytes, core: str) -> str:
    place = next((found for form in spellings(core) if (found := content.find(form)) >= 0), 0)
    return content[max(0, place - 150) : place + 100].decode("utf-8", "replace")
