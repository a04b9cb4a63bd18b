"""The spool as a process, and a gateway that notes what it gets and can be away, slow, refusing or somebody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from infra.stand_ins.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
SPOOL = ROOT / "infra" / "spool" / "spool.py"
START_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Got:
    path: str
    token: str
    body: dict[str, Any]
    answer: int

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.body.get("events", [self.body])
        return events


@dataclass(kw_only=True)
class Gateway:
    """
    `status`: what it answers, 0 for nothing at all; `somebody_else`: the status with which another server answers in its
    place; `refused`: ids whose events are wrong; `held`: tokens to wait.
    """

    port: int
    status: int = 200
    retry_after: str = ""
    somebody_else: int = 0
    refused: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    got: list[Got] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [
            event for one in self.got if one.answer < 300 for event in one.events if id_of(event) not in self.refused
        ]

    @property
    def ids(self) -> list[str]:
        return [id_of(event) for event in self.taken]

    def answer(self, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.somebody_else:
            return self.somebody_else, {"detail": "Welcome"}
        if token in self.held:
            return 429, error("rate_limited")
        if self.status >= 300:
            return self.status, error("unavailable" if self.status >= 500 else "unknown_token")
        if path == "/dispatch/call-events":
            results = [self._result(event) for event in body["events"]]
            return 200, {"success": all(one["success"] for one in results), "results": results}
        if id_of(body) in self.refused:
            return 400, error("invalid_payload")
        return (202, {"success": True, "event_id": "1"}) if path.startswith("/dispatch") else (200, {"status": "ok"})

    def _result(self, event: dict[str, Any]) -> dict[str, Any]:
        if id_of(event) in self.refused:
            return {"success": False, **error("invalid_payload")}
        return {"success": True, "event_id": "1"}


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "said by the test"}}


def id_of(event: dict[str, Any]) -> str:
    return str(event.get("uniqueId") or event.get("UniqueId") or "")


@contextmanager
def gateway() -> Iterator[Gateway]:
    found = Gateway(port=free_port())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not found.status:
                self.close_connection = True
                self.connection.close()
                return
            status, content = found.answer(self.path, self.headers.get("Token", ""), body)
            found.got.append(Got(path=self.path, token=self.headers.get("Token", ""), body=body, answer=status))
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if status == 429:
                self.send_header("Retry-After", found.retry_after or "1")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", found.port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(kw_only=True)
class Spool:
    """A process that can be killed and started again on the same folder and port."""

    to: str
    data: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *more: str) -> Spool:
        command = [sys.executable, str(SPOOL), "--listen", f"127.0.0.1:{self.port}", "--to", self.to]
        command += ["--data", str(self.data), *self.options, *more]
        log = self.data.with_suffix(".log")
        with log.open("wb") as errors:
            self.running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=_environment())
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                requests.get(self.url + "/health", timeout=1)
            except requests.RequestException:
                if self.running.poll() is not None:
                    break
                time.sleep(0.02)
            else:
                return self
        self.kill()
        raise AssertionError(f"the spool did not start: {log.read_text()}")

    def kill(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    def stop(self) -> int:
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(timeout=30)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=headers, timeout=10)

    def health(self) -> dict[str, Any]:
        return requests.get(self.url + "/health", timeout=5).json()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
