"""The servers around the functions, as real processes: the broker, the CRM and the Asterisk service."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from infra.stand_ins.postgres import free_port
from tests.harness import roles

START_SECONDS = 15.0
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def process(*arguments: str, health: str) -> Iterator[None]:
    """A module of ours as a process, from healthy to ended."""
    running = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(health, timeout=1).raise_for_status()
                break
            except requests.RequestException:
                if running.poll() is not None or time.monotonic() > deadline:
                    assert running.stdout is not None
                    raise AssertionError(f"{arguments[0]} did not start: {running.stdout.read()!r}") from None
                time.sleep(0.05)
        yield
    finally:
        running.terminate()
        running.communicate(timeout=10)


@dataclass(frozen=True, kw_only=True)
class Broker:
    host: str
    control: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Broker]:
        port, control = free_port(), free_port()
        broker = cls(host=f"127.0.0.1:{port}", control=f"http://127.0.0.1:{control}")
        arguments = ("infra.stand_ins.emulator", "--port", str(port), "--control-port", str(control))
        with process(*arguments, health=f"{broker.control}/health"):
            yield broker

    def topic(self, name: str) -> str:
        """A topic with a pull subscription to look into; its subscription."""
        from google.api_core.exceptions import AlreadyExists
        from google.cloud import pubsub_v1

        publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        topic, subscription = f"projects/local/topics/{name}", f"projects/local/subscriptions/{name}.test"
        try:
            for create in (
                lambda: publisher.create_topic(name=topic),
                lambda: subscriber.create_subscription(name=subscription, topic=topic),
            ):
                try:
                    create()
                except AlreadyExists:
                    continue
            subscriber.seek(request={"subscription": subscription, "time": datetime.now(UTC)})
        finally:
            publisher.transport.close()
            subscriber.close()
        return subscription

    def pull(self, subscription: str) -> list[dict[str, Any]]:
        """Everything that was published since the topic was asked for."""
        from google.api_core.exceptions import DeadlineExceeded
        from google.cloud import pubsub_v1

        subscriber = pubsub_v1.SubscriberClient()
        found: list[dict[str, Any]] = []
        try:
            while True:
                try:
                    answer = subscriber.pull(
                        subscription=subscription, max_messages=40, timeout=1 if not found else 0.3, retry=None
                    )
                except DeadlineExceeded:
                    return found
                if not answer.received_messages:
                    return found
                found += [json.loads(received.message.data) for received in answer.received_messages]
                subscriber.acknowledge(
                    subscription=subscription, ack_ids=[received.ack_id for received in answer.received_messages]
                )
        finally:
            subscriber.close()


@dataclass(frozen=True, kw_only=True)
class CRM:
    """The simulator of RetailCRM and what it was told."""

    url: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[CRM]:
        port = free_port()
        crm = cls(url=f"http://127.0.0.1:{port}")
        with process("infra.stand_ins.retailcrm_simulator", "--port", str(port), health=f"{crm.url}/_sim/health"):
            yield crm

    def account(self, name: str, **changes: Any) -> None:
        """An account with an active telephony module; its managers 18 to 21 have the extensions 150 to 153."""
        data = {
            "name": name,
            "api_key": f"key-of-{name}",
            "timezone": "Europe/Minsk",
            "users": [{"id": user} for user in (18, 19, 20, 21)],
            "additional_codes": [{"user_id": user, "code": str(user + 132)} for user in (18, 19, 20, 21)],
            "module_active": True,
            **changes,
        }
        self._control("POST", "accounts", json=data)

    def forget(self, account: str) -> None:
        """With its modules, which an account else keeps."""
        requests.delete(f"{self.url}/_sim/accounts", params={"account": account}, timeout=10)  # or it is not there

    def module(self, account: str) -> dict[str, Any]:
        """The module as it was last accepted."""
        [*_, edit] = [entry for entry in self.entries(account, "module_edit") if entry["applied"]]
        module: dict[str, Any] = edit["fields"]["integrationModule"]
        return module

    def fault(self, mode: str, **options: Any) -> None:
        self._control("POST", "faults", json={"mode": mode, **options})

    def change(self, account: str, what: str, **given: Any) -> None:
        """`state`, `delete-user` or `forget-codes`: what happens to an account without the module."""
        self._control("POST", what, json={"account": account, **given})

    def cards(self, account: str) -> list[dict[str, Any]]:
        """The pop-ups that its managers saw."""
        found: list[dict[str, Any]] = self._control("GET", "popups", params={"account": account})["popups"]
        return found

    def clear(self) -> None:
        self._control("DELETE", "faults")
        self._control("DELETE", "ledger")

    def entries(self, account: str, kind: str = "") -> list[dict[str, Any]]:
        """What it was told, in order: `event` and `upload` requests with what they did."""
        found: list[dict[str, Any]] = self._control("GET", "ledger", params={"account": account})["entries"]
        return [entry for entry in found if entry["kind"] == kind or not kind]

    def events(self, account: str) -> list[dict[str, Any]]:
        """The `call/event`s that were applied."""
        return [entry["applied"]["event"] for entry in self.entries(account, "event") if entry["applied"]]

    def rows(self, account: str) -> list[dict[str, Any]]:
        """The history rows it holds."""
        answer = self._control("GET", "ledger/calls", params={"account": account})
        return [row["call"] for row in answer["calls"]]

    def _control(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = requests.request(method, f"{self.url}/_sim/{path}", timeout=10, **options)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@dataclass(frozen=True, kw_only=True)
class Asterisk:
    """The simulator of the Asterisk service and the orders that it was given."""

    url: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Asterisk]:
        port = free_port()
        asterisk = cls(url=f"http://127.0.0.1:{port}")
        with process("infra.stand_ins.asterisk_simulator", "--port", str(port), health=f"{asterisk.url}/_sim/health"):
            yield asterisk

    def enterprise(self, number: str, secret: str, **changes: Any) -> None:
        self._control("POST", "enterprises", json={"number": number, "secret": secret, **changes})

    def fault(self, mode: str, **options: Any) -> None:
        self._control("POST", "faults", json={"mode": mode, **options})

    def clear(self) -> None:
        for path in ("faults", "ledger", "enterprises"):
            self._control("DELETE", path)

    def orders(self) -> list[dict[str, Any]]:
        """In the order in which they came; secrets are masked."""
        found: list[dict[str, Any]] = self._control("GET", "ledger")["orders"]
        return found

    def _control(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = requests.request(method, f"{self.url}/_sim/{path}", timeout=10, **options)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function as the platform runs it: gunicorn with threads, in a process of its own, under its role."""

    url: str
    pid: int

    @classmethod
    @contextmanager
    def started(cls, name: str, environment: Mapping[str, str], *, log: Path, threads: int = 8) -> Iterator[Function]:
        port = free_port()
        settings = {"WORKERS": "1", "THREADS": str(threads), **environment}
        settings["DATABASE_URL"] = roles.url_of_function(name, environment["DATABASE_URL"])
        with log.open("ab") as output:
            running = subprocess.Popen(
                [
                    *(sys.executable, "-m", "functions_framework", f"--source={ROOT / 'functions' / name / 'main.py'}"),
                    *(f"--target={name.replace('-', '_')}", "--host=127.0.0.1", f"--port={port}"),
                ],
                cwd=ROOT,
                env={**os.environ, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        function = cls(url=f"http://127.0.0.1:{port}", pid=running.pid)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    requests.get(f"{function.url}/health", timeout=5)
                    break
                except requests.RequestException:
                    assert running.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield function
        finally:
            running.terminate()
            running.wait(20)

    def threads(self) -> int:
        """Of the process that serves."""
        [worker] = psutil.Process(self.pid).children()
        return int(worker.num_threads())


def push_envelope(body: object, *, message_id: str = "1") -> dict[str, Any]:
    """A push as Pub/Sub wraps it."""
    data = base64.b64encode(json.dumps(body).encode()).decode()
    return {
        "message": {"data": data, "attributes": {}, "messageId": message_id, "publishTime": "2026-01-01T00:00:00Z"},
        "subscription": "projects/local/subscriptions/call-events.retailcrm-deliver",
    }
