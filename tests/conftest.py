"""What tests share: a PostgreSQL (in a container where Docker runs, embedded elsewhere) and a clean process."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import pytest

from infra.deployment import migrate, rights
from infra.stand_ins import postgres
from tests.harness import roles

if TYPE_CHECKING:
    from tests.harness.servers import Broker

POSTGRES_IMAGE = "postgres:15-bookworm"
OPERATOR_TOKEN = "operator-token-of-the-tests"
VAULT_KEYS = "test:" + base64.b64encode(bytes(32)).decode()


@cache
def postgres_choice() -> tuple[str, str]:
    """`container` or `embedded`, and why."""
    wanted = os.environ.get("TEST_POSTGRES", "")
    if wanted == "embedded":
        return "embedded", "TEST_POSTGRES says so"
    docker = shutil.which("docker")
    if docker is None:
        return "embedded", "no Docker here"
    found = subprocess.run([docker, "image", "inspect", POSTGRES_IMAGE], capture_output=True, check=False, timeout=20)
    if found.returncode:
        return "embedded", f"no Docker that has {POSTGRES_IMAGE}"
    return "container", f"Docker has {POSTGRES_IMAGE}"


def pytest_report_header() -> str:
    choice, reason = postgres_choice()
    return f"postgres: {choice}, {reason}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with ExitStack() as stack:
        if postgres_choice()[0] == "container":
            # Its reaper is another image to fetch; the fixture ends the container itself.
            os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from testcontainers.postgres import PostgresContainer

                container = stack.enter_context(PostgresContainer(POSTGRES_IMAGE, driver=None))
                url = container.get_connection_url(host="127.0.0.1")
            yield url
        else:
            yield stack.enter_context(postgres.throwaway())


@pytest.fixture(scope="session")
def template(postgres_server: str) -> str:
    """The name of a database, made and migrated as it is where it is deployed, to be copied for each test."""
    import psycopg

    with psycopg.connect(postgres_server, autocommit=True) as conn:
        conn.execute("CREATE DATABASE gateway_template")
    base, _, _ = postgres_server.rpartition("/")
    url = f"{base}/gateway_template"
    roles.make(url)
    migrate.apply(roles.url_of(rights.MIGRATOR, url))
    return "gateway_template"


@pytest.fixture
def database_url(postgres_server: str, template: str) -> Iterator[str]:
    """A database of the test's own, migrated and empty."""
    with postgres.database(postgres_server, template=template) as url:
        yield url


@pytest.fixture
def process(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a function, and no memory of another test's; yields what changes the environment."""
    from lib.click.under_way import under_way
    from lib.enterprises.cache import enterprise_cache
    from lib.intake.limits import limits
    from lib.retailcrm.client_ids import clients
    from lib.runtime import config, db, delayed_publish, outbound, passwords, pubsub
    from lib.runtime.vault import vault

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(db, "pool", roles.PoolsByRole())
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    monkeypatch.setenv("OPERATOR_TOKEN", OPERATOR_TOKEN)
    monkeypatch.setenv("VAULT_KEYS", VAULT_KEYS)
    monkeypatch.setenv("RETAILCRM_EXTRA_HOSTS", "127.0.0.1:*")
    # Passwords have a test of their own; the others need not pay for what makes them hard to guess.
    monkeypatch.setattr(passwords, "METHOD", "pbkdf2:sha256:1000")
    config.current.cache_clear()
    yield monkeypatch
    if enterprise_cache.made is not None:
        enterprise_cache.made.close()
    enterprise_cache.forget()
    limits.forget()
    clients.forget()
    under_way.forget()
    delayed_publish.close()
    db.close()
    pubsub.close()
    outbound.close()
    vault.forget()
    config.current.cache_clear()


@pytest.fixture
def own_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A broker of the test's own, that this process publishes to."""
    from lib.runtime import config, pubsub
    from tests.harness.servers import Broker

    with Broker.started() as started:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", started.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
        config.current.cache_clear()
        yield started
        pubsub.close()
        config.current.cache_clear()
