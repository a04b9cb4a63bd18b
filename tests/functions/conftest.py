"""Functions as the platform runs them: through functions-framework, on real PostgreSQL, broker and CRM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import functions_framework
import psycopg
import pytest
from flask.testing import FlaskClient

from infra import provision
from lib import db
from tests.enterprises import enterprise
from tests.servers import CRM, Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with Broker.started() as started:
        yield started


@pytest.fixture(scope="session")
def crm_server() -> Iterator[CRM]:
    with CRM.started() as started:
        yield started


@pytest.fixture
def function(process: pytest.MonkeyPatch) -> Callable[[str], FlaskClient]:
    """A client of a function by the name of its folder."""

    def client(name: str) -> FlaskClient:
        app = functions_framework.create_app(name.replace("-", "_"), f"functions/{name}/main.py")
        return app.test_client()

    return client


@pytest.fixture
def provisioned(process: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes an enterprise, as `make provision` does."""

    def write(number: str = "0367", **changes: Any) -> None:
        data = enterprise(number, **changes)
        assert provision.check(data) == []
        with db.transaction() as conn:
            provision.provision(conn, data)

    return write


@pytest.fixture
def sql(database_url: str) -> Callable[..., list[tuple[Any, ...]]]:
    def run(query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url, autocommit=True) as conn:
            return conn.execute(query, parameters).fetchall()

    return run
