"""One simulator for all tests, as a real process; every test has accounts of its own in it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from infra.stand_ins.postgres import free_port
from tests.harness.servers import process
from tests.infra.retailcrm_simulator.client import CODES, USERS, Account


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process("infra.stand_ins.retailcrm_simulator", "--port", str(port), health=f"{url}/_sim/health"):
        yield url


@pytest.fixture
def new_account(simulator: str) -> Iterator[Callable[..., Account]]:
    """Makes accounts with a telephony module that is active already, and no limits, unless told otherwise."""
    numbers = itertools.count(1)
    made: list[Account] = []

    def make(**changes: Any) -> Account:
        unique = f"{uuid.uuid4().hex}{next(numbers)}"
        data = {
            "name": f"demo-{unique}",
            "api_key": f"key-{unique}",
            "timezone": "Europe/Minsk",
            "users": USERS,
            "additional_codes": CODES,
            **changes,
        }
        data["behaviour"] = {"telephony_per_second": 0, "other_per_second": 0, **changes.get("behaviour", {})}
        answer = requests.post(f"{simulator}/_sim/accounts", json=data, timeout=10)
        assert answer.status_code == 201, answer.text
        made.append(Account(url=simulator, name=data["name"], key=data["api_key"]))
        return made[-1]

    yield make
    for account in made:
        for what in ("faults", "ledger", "accounts"):
            requests.delete(f"{simulator}/_sim/{what}", params={"account": account.name}, timeout=10)


@pytest.fixture
def account(new_account: Callable[..., Account]) -> Account:
    return new_account()
