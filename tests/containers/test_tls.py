"""Caddy in front of nginx, both real, with a certificate of Caddy's own: what the profile `tls` does, without Docker."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter

from infra import routes
from infra.commands import env
from infra.stand_ins.postgres import free_port
from tests.harness import nginx
from tests.infra.test_gateway import Function

ROOT = Path(__file__).resolve().parents[2]
CADDYFILE = ROOT / "infra/deployment/Caddyfile"
CADDY = os.environ.get("CADDY") or shutil.which("caddy") or ""
CLIENT = "127.0.0.2"

needs_caddy = pytest.mark.skipif(
    not CADDY or bool(nginx.missing()),
    reason=nginx.missing() or "no caddy here (Debian: apt install caddy; or CADDY=…)",
)


@dataclass
class Entrance:
    port: int
    trust: Path
    log: Path

    def ask(self, method, path, **options):
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", From(CLIENT))
            url = f"https://localhost:{self.port}{path}"
            return session.request(method, url, verify=str(self.trust), timeout=10, **options)


class From(HTTPAdapter):
    """Asks from this address of the machine."""

    def __init__(self, address):
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


@contextmanager
def caddy(folder, gateway):
    """Caddy with our Caddyfile and a certificate authority of its own."""
    port, plain, log = free_port(), free_port(), folder / "caddy.log"
    (configuration := folder / "Caddyfile").write_text(
        # It would try to listen on port 80, and to make this machine trust it.
        CADDYFILE.read_text().replace("\tadmin off\n", f"\tadmin off\n\thttp_port {plain}\n\tskip_install_trust\n", 1)
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "DOMAIN": f"https://localhost:{port}",
        "CADDY_TLS": "tls internal",
        "CADDY_GATEWAY": gateway,
    }
    with log.open("wb") as written:
        process = subprocess.Popen(
            [CADDY, "run", "--adapter", "caddyfile", "--config", str(configuration)],
            env=environment,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    trust = folder / "data/caddy/pki/authorities/local/root.crt"
    try:
        deadline = time.monotonic() + 20
        while not (trust.exists() and is_trusted(port, trust)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Entrance(port=port, trust=trust, log=log)
    finally:
        process.terminate()
        process.wait(10)


def is_trusted(port, trust):
    """It listens, and has issued the certificate."""
    context = ssl.create_default_context(cafile=str(trust))
    try:
        with (
            socket.create_connection(("localhost", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except OSError:
        return False


@pytest.fixture
def function():
    with Function().running() as running:
        yield running


@pytest.fixture
def entrance(function, tmp_path):
    (inside := tmp_path / "nginx").mkdir()
    place = f"127.0.0.1:{function.port}"
    with (
        nginx.running(inside, function=place, TRUSTED_PROXIES="127.0.0.1/32", PUBLIC_URL="https://localhost") as behind,
        caddy(tmp_path, f"127.0.0.1:{behind.port}") as opened,
    ):
        yield opened


@needs_caddy
def test_an_event_comes_through_tls_with_the_address_of_its_host(entrance, function):
    headers = {"Token": "of-a-host", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}

    answer = entrance.ask("POST", "/dial", json={"UniqueId": "1.1"}, headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    [(_, path, seen, body)] = function.requests
    assert (path, body, seen["Token"]) == ("/dial", b'{"UniqueId": "1.1"}', "of-a-host")
    # What the host says of itself is not believed; the functions trust the last two.
    assert seen["X-Forwarded-For"] == f"{CLIENT}, 127.0.0.1"
    assert seen["X-Forwarded-Proto"] == "https"
    assert answer.headers["Strict-Transport-Security"] == routes.STRICT_TRANSPORT


@needs_caddy
def test_the_bounds_of_the_gateway_are_the_clients_and_hold_behind_tls(entrance, function):
    too_large = entrance.ask("POST", "/dial", data=b"x" * 300_000)
    batch = entrance.ask("POST", "/dispatch/call-events", data=b"x" * 4_000_000)

    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "too_large")
    assert batch.status_code == 200
    assert entrance.ask("GET", "/health").json() == {"status": "ok"}


@needs_caddy
def test_a_gateway_that_is_away_is_said_in_json_and_no_secret_is_logged(tmp_path):
    with caddy(tmp_path, f"127.0.0.1:{free_port()}") as entrance:
        answer = entrance.ask("GET", "/retailcrm/make-call?clientId=canary-client", headers={"Token": "canary-token"})

        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        assert answer.headers["Content-Type"] == "application/json"
        assert "canary" not in entrance.log.read_text()


def test_the_composition_gives_caddy_what_its_file_asks_for():
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = composed["services"]["tls"]

    assert service["profiles"] == ["tls"]
    assert set(service["environment"]) == {"DOMAIN", "CADDY_TLS"}
    assert "./infra/deployment/Caddyfile:/etc/caddy/Caddyfile:ro" in service["volumes"]
    assert f"idle {routes.HOST_IDLE_SECONDS}s" in CADDYFILE.read_text()
    assert set(service["networks"]) <= set(composed["services"]["gateway"]["networks"])


def test_an_environment_file_for_a_domain_has_what_tls_needs(tmp_path):
    file = tmp_path / ".env"

    assert env.main([str(file), "--domain", "telephony.example.com"]) == 0

    lines = file.read_text().splitlines()
    assert {
        "PUBLIC_URL=https://telephony.example.com",
        "DOMAIN=telephony.example.com",
        "COMPOSE_PROFILES=tls",
        "TRUSTED_PROXIES=172.16.0.0/12",
        "GATEWAY_LISTEN=127.0.0.1:8080",
    } <= set(lines)
    with pytest.raises(SystemExit):
        env.main([str(tmp_path / "other"), "--domain", "https://telephony.example.com/"])
