"""The whole system, as `make run` starts it, for the stories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest

from infra.commands import provision
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.stack import Stack
from lib.runtime import config
from lib.runtime.vault import vault
from tests.harness.enterprises import enterprise
from tests.harness.servers import CRM


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), free_base_port(), restart=True) as running:
        yield running


@pytest.fixture(scope="module")
def crm(stack: Stack) -> CRM:
    return CRM(url=stack.url("retailcrm-simulator"))


@pytest.fixture
def enrol(stack: Stack, crm: CRM, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Makes an enterprise with an account of its own in the CRM; its token."""
    for name, value in stack.layout.environment().items():
        monkeypatch.setenv(name, value)
    config.current.cache_clear()
    vault.forget()

    def make(number: str, *, changes: Mapping[str, Any] | None = None, **retailcrm: Any) -> str:
        token = f"token-of-{number}"
        crm.account(number)
        data = enterprise(number, token=token, domain=crm.url, **retailcrm) | dict(changes or {})
        assert provision.check(data) == []
        with psycopg.connect(stack.database_url) as conn:
            provision.provision(conn, data)
        return token

    yield make
    config.current.cache_clear()
    vault.forget()
