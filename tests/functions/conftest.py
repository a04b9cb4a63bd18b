"""Functions as the platform runs them: through functions-framework, on real PostgreSQL, broker and CRM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import functions_framework
import psycopg
import pytest
from flask.testing import FlaskClient

from infra.commands import provision
from lib.runtime import config, db
from tests.harness import roles
from tests.harness.enterprises import enterprise
from tests.harness.page import Page
from tests.harness.servers import CRM, Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with Broker.started() as started:
        yield started


@pytest.fixture(scope="session")
def crm_process() -> Iterator[CRM]:
    with CRM.started() as started:
        yield started


@pytest.fixture
def crm_server(crm_process: CRM) -> CRM:
    """The simulator; whatever another test made of the account of enterprise 0367 is forgotten."""
    crm_process.forget("0367")
    return crm_process


class ServerLike(FlaskClient):
    """
    Closes each response when it is written, as a server does: what follows behind an answer is done then. The function
    comes to the database under its own role.
    """

    def open(self, *arguments: Any, **options: Any) -> Any:
        with roles.taken_by(self.application.extensions["function"]):
            return super().open(*arguments, **{"buffered": True, **options})


@pytest.fixture
def function(process: pytest.MonkeyPatch) -> Callable[[str], FlaskClient]:
    """A client of a function by the name of its folder."""

    def client(name: str) -> FlaskClient:
        app = functions_framework.create_app(name.replace("-", "_"), f"functions/{name}/main.py")
        app.test_client_class = ServerLike
        app.extensions["function"] = name
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


ACCOUNT_LINK_SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"


@pytest.fixture
def administered(process: pytest.MonkeyPatch) -> None:
    """What the page and the module's registration need to know."""
    process.setenv("PUBLIC_URL", "http://127.0.0.1:8080")
    process.setenv("ACCOUNT_LINK_SECRET", ACCOUNT_LINK_SECRET)
    config.current.cache_clear()


@pytest.fixture
def fresh_crm(crm_server: CRM) -> CRM:
    """The simulator with a new account of enterprise 0367, which may be asked as fast as tests do."""
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", module_active=False, additional_codes=[], behaviour={"other_per_second": 0})
    return crm_server


@pytest.fixture
def commands(broker: Broker, administered: None, process: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What was published to `module-commands`."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscription = broker.topic("module-commands")
    return lambda: broker.pull(subscription)


@pytest.fixture
def browser(administered: None, function: Callable[[str], FlaskClient]) -> Callable[[], Page]:
    """Opens the page in a browser of its own."""
    return lambda: Page(client=function("admin-api"))


@pytest.fixture
def page(browser: Callable[[], Page], provisioned: Callable[..., None]) -> Page:
    """The page, with the administrator of enterprise 0367 signed in."""
    provisioned()
    opened = browser()
    assert opened.sign_in().status_code == 200
    return opened


@pytest.fixture
def connected(
    fresh_crm: CRM, commands: Callable[[], list[dict[str, Any]]], page: Page, provisioned: Callable[..., None]
) -> Page:
    """The page of an administrator whose enterprise is connected to the simulator."""
    fresh_crm.forget("0367")
    fresh_crm.account("0367")
    provisioned(domain=fresh_crm.url)
    return page
