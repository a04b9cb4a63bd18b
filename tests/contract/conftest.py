"""The administrators' API as it runs: gunicorn in a process of its own, PostgreSQL, broker, simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from infra.stand_ins import postgres
from tests.conftest import OPERATOR_TOKEN, VAULT_KEYS
from tests.harness.enterprises import enterprise
from tests.harness.page import API, PASSWORD
from tests.harness.servers import CRM, Broker, Function

SEED = int(os.environ.get("CONTRACT_SEED", "367"))
OF_BOTH = ("0367", "0368")
CUSTOMERS = {"0367": "+375291111111", "0368": "+375291111112"}
PUBLIC_URL = "http://127.0.0.1:8080"


def pytest_report_header() -> str:
    return f"contract: CONTRACT_SEED={SEED}"


def canary(number: str) -> str:
    """A word in everything that has a name at this enterprise."""
    return f"canary-of-{number}"


def unique_id(number: str) -> str:
    return f"1758798777.{number}"


def is_of(number: str, text: str) -> bool:
    """Whether an answer has anything of this enterprise."""
    return any(word in text for word in (canary(number), CUSTOMERS[number], unique_id(number)))


@dataclass(kw_only=True)
class Door:
    """The API, and the administrators of two enterprises in front of it: `cookies` by their enterprise."""

    url: str
    crm: CRM
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: {"Sec-Fetch-Site": "same-origin"})

    @property
    def base(self) -> str:
        return self.url + API

    def sign_in(self, number: str) -> None:
        """A new session, from an address of its own: attempts of others do not count against it."""
        body = {"enterprise_number": number, "login": "admin", "password": PASSWORD}
        headers = {**self.headers, "X-Forwarded-For": "192.0.2.1"}
        answer = requests.post(f"{self.base}/session", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        self.cookies[number] = dict(answer.cookies)


@pytest.fixture(scope="module")
def door(postgres_server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with _opened(postgres_server, template, tmp_path_factory.mktemp("contract") / "admin-api.log") as opened:
        yield opened


@pytest.fixture(scope="module")
def untouched_door(postgres_server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Where nothing was tried yet: everything can succeed."""
    with _opened(postgres_server, template, tmp_path_factory.mktemp("contract") / "admin-api.log") as opened:
        yield opened


@contextmanager
def _opened(postgres_server: str, template: str, log: Path) -> Iterator[Door]:
    with (
        postgres.database(postgres_server, template=template) as database_url,
        Broker.started() as broker,
        CRM.started() as crm,
    ):
        environment = {
            "DATABASE_URL": database_url,
            "GOOGLE_CLOUD_PROJECT": "local",
            "PUBSUB_EMULATOR_HOST": broker.host,
            "OPERATOR_TOKEN": OPERATOR_TOKEN,
            "VAULT_KEYS": VAULT_KEYS,
            "RETAILCRM_EXTRA_HOSTS": "127.0.0.1:*",
            "PUBLIC_URL": PUBLIC_URL,
            "ACCOUNT_LINK_SECRET": "a-secret-of-the-tests-with-32-bytes-and-more",
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", broker.host)
            for topic in ("module-commands", "call-events"):
                broker.topic(topic)
        for number in OF_BOTH:
            crm.account(number, behaviour={"other_per_second": 0})
            provision(_recognised(number, crm.url), environment)
        _insert_calls(database_url)
        with Function.started("admin-api", environment, log=log) as function:
            opened = Door(url=function.url, crm=crm)
            for number in OF_BOTH:
                opened.sign_in(number)
            yield opened
            assert [line for line in log.read_text().splitlines() if '"message": "bug"' in line] == []


def provision(data: dict[str, Any], environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "infra.commands.provision", "-"],
        input=json.dumps(data),
        env={**os.environ, **environment},
        text=True,
        check=True,
        timeout=60,
    )


def _recognised(number: str, domain: str) -> dict[str, Any]:
    """An enterprise whose every word is recognised, should it ever be answered to somebody else."""
    data = enterprise(number, token=f"token-of-{number}", domain=domain)
    data["name"] = canary(number)
    for user in data["users"]:
        user |= {"first_name": canary(number), "last_name": canary(number)}
    for line in data["lines"]:
        line["name"] = canary(number)
    return data


def _insert_calls(database_url: str) -> None:
    """Of either enterprise two, with a history row that failed."""
    with psycopg.connect(database_url) as conn:
        for number, customer in CUSTOMERS.items():
            for second in (7, 8):
                _insert_call(conn, number, customer, f"175879877{second}.{number}")


def _insert_call(conn: psycopg.Connection[Any], number: str, customer: str, unique_id: str) -> None:
    row = conn.execute(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, owner_extension, started_at, first_event_at, last_event_at) "
        "VALUES (%s, %s, 'in', %s, 'answered', '150', now(), now(), now()) RETURNING id",
        [number, unique_id, customer],
    ).fetchone()
    assert row is not None
    for event_type in ("start", "hangup"):
        raw = {"UniqueId": unique_id, "Phone": customer.lstrip("+"), "CallType": 0, "Trunk": "0001301"}
        conn.execute(
            "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, call_id) "
            "VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s)",
            [number, unique_id, event_type, json.dumps(raw), f"{event_type} {unique_id}".encode(), row[0]],
        )
    conn.execute(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, reason) "
        "VALUES (%s, %s, 'upload', %s, %s, 'failed', 'permanent')",
        [number, row[0], unique_id, json.dumps({"external_id": unique_id, "phone": customer, "duration": 5})],
    )
    conn.execute(
        "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data, status) "
        "VALUES (%s, 'retailcrm', 'upload', %s, '{}', 'success')",
        [number, json.dumps({"of": canary(number), "phone": customer})],
    )
