"""`make backup` and `make restore`, with PostgreSQL's own programs, on a server that is destroyed between them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from psycopg import sql

from infra.commands import backup, provision, restore
from infra.deployment import grants, migrate, rights
from infra.stand_ins import postgres
from lib.runtime import config, db
from lib.runtime.vault import vault
from tests.conftest import VAULT_KEYS
from tests.harness import roles
from tests.harness.enterprises import TOKEN, enterprise
from tests.harness.servers import Function

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HANGUP = {"UniqueId": "1758798777.27", "CallType": 0, "CallStatus": "2", "Phone": "375291111111"}


@contextmanager
def server(folder, patch, *, migrated=True):
    """A server with the roles and an empty database `gateway`, to which libpq's variables lead; its address."""
    with postgres.server(folder, durable=False) as base:
        address = urlsplit(base)
        patch.setenv("PATH", f"{postgres._programs()}{os.pathsep}{os.environ['PATH']}")
        for name, value in (("HOST", address.hostname), ("PORT", address.port), ("USER", address.username)):
            patch.setenv(f"PG{name}", str(value))
        patch.setenv("PGPASSWORD", address.password)
        patch.delenv("PGDATABASE", raising=False)
        with psycopg.connect(base, autocommit=True) as conn:
            conn.execute("CREATE DATABASE gateway")
        url = base.rpartition("/")[0] + "/gateway"
        roles.make(url)
        if migrated:
            migrate.apply(roles.url_of(rights.MIGRATOR, url))
        yield url


@pytest.fixture
def address(tmp_path, monkeypatch):
    with server(tmp_path / "one", monkeypatch) as url:
        provide(url, monkeypatch)
        yield url


def provide(url, patch):
    """An enterprise with a sealed key, as `make provision` writes it."""
    patch.setenv("DATABASE_URL", url)
    patch.setenv("VAULT_KEYS", VAULT_KEYS)
    patch.setattr(db, "pool", roles.PoolsByRole())
    config.current.cache_clear()
    vault.forget()
    try:
        with psycopg.connect(url) as conn:
            provision.provision(conn, enterprise())
    finally:
        db.close()
        config.current.cache_clear()
        vault.forget()


@contextmanager
def intake(url, folder):
    """dispatch-call-event on this database, under its role."""
    environment = {"DATABASE_URL": url, "GOOGLE_CLOUD_PROJECT": "local", "PUBSUB_EMULATOR_HOST": "127.0.0.1:9"}
    with Function.started("dispatch-call-event", environment, log=folder / "intake.log") as function:
        yield lambda **changes: requests.post(
            f"{function.url}/dispatch/call-event",
            json={"token": TOKEN, "uniqueId": HANGUP["UniqueId"], "event_type": "hangup", "raw": {**HANGUP, **changes}},
            timeout=20,
        ).json()


def contents(url):
    """Everything in every table."""
    with psycopg.connect(url) as conn:
        tables = conn.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            table: conn.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(table))).fetchall()
            for (table,) in tables
        }


def databases(url):
    with psycopg.connect(url) as conn:
        return {name for (name,) in conn.execute("SELECT datname::text FROM pg_database").fetchall()}


def saved(folder):
    assert backup.main(["--here", "--to", str(folder)]) == 0
    return max(folder.glob("*.dump"))


def test_what_was_destroyed_is_there_again_and_the_functions_work_on_it(address, tmp_path, monkeypatch):
    with intake(address, tmp_path) as post:
        assert post()["success"] is True
    before = contents(address)
    file = saved(tmp_path / "backups")
    with psycopg.connect(address, autocommit=True) as conn:
        conn.execute("DROP TABLE calls, deliveries, attempts CASCADE")
        conn.execute("TRUNCATE enterprises CASCADE")
        conn.execute("TRUNCATE call_events CASCADE")
        left_open = psycopg.connect(address)  # as a function's is

    assert restore.main(["--here", "--yes", str(file)]) == 0

    left_open.close()
    assert contents(address) == before
    assert len(before["enterprises"]) == len(before["call_events"]) == 1
    roles.make(address)
    assert migrate.apply(roles.url_of(rights.MIGRATOR, address)) == []
    with psycopg.connect(address) as conn:
        assert grants.remarks(conn) == []
    with intake(address, tmp_path) as post:
        assert post()["reason"] == "duplicate"
        assert "event_id" in post(CallStatus="0")
    [kept] = {name for name in databases(address) if name.startswith("gateway_before_")}
    assert databases(address) >= {"gateway", kept}
    assert "gateway_restoring" not in databases(address)


def test_a_server_that_is_gone_is_made_again_from_a_dump(tmp_path, monkeypatch):
    with server(tmp_path / "one", monkeypatch) as lost:
        provide(lost, monkeypatch)
        with intake(lost, tmp_path) as post:
            post()
        before = contents(lost)
        file = saved(tmp_path / "backups")
    shutil.rmtree(tmp_path / "one")

    with server(tmp_path / "two", monkeypatch, migrated=False) as made:
        assert restore.main(["--here", "--yes", str(file)]) == 0

        assert contents(made) == before
        roles.make(made)
        migrate.apply(roles.url_of(rights.MIGRATOR, made))
        with intake(made, tmp_path) as post:
            assert post()["reason"] == "duplicate"


def test_without_a_yes_and_with_a_file_that_is_none_nothing_happens(address, tmp_path, capsys):
    file = saved(tmp_path / "backups")
    before, there = contents(address), databases(address)
    (cut := tmp_path / "cut.dump").write_bytes(file.read_bytes()[: file.stat().st_size * 99 // 100])
    (other := tmp_path / "other.dump").write_text("no dump")

    assert restore.main(["--here", str(file)]) == 0
    assert "YES=1" in capsys.readouterr().out
    for wrong in (cut, other, tmp_path / "nothing.dump"):
        assert restore.main(["--here", "--yes", str(wrong)]) == 1, wrong
        assert "make restore:" in capsys.readouterr().err

    assert contents(address) == before
    assert databases(address) == there


def test_a_server_without_the_roles_is_told_how_to_get_them(address, tmp_path, monkeypatch, capsys):
    file = saved(tmp_path / "backups")

    with postgres.server(tmp_path / "bare", durable=False) as bare:
        for name, value in (("PORT", urlsplit(bare).port), ("PASSWORD", urlsplit(bare).password)):
            monkeypatch.setenv(f"PG{name}", str(value))
        assert restore.main(["--here", "--yes", str(file)]) == 1

        assert "start the gateway on this server once" in capsys.readouterr().err
        assert databases(bare) == {"postgres", "template0", "template1"}


def test_a_dump_is_its_owners_and_the_newest_are_kept(address, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in (1, 2, 3):
        (folder / f"gateway-2026-01-0{day}T000000Z.dump").touch()

    assert backup.main(["--here", "--to", str(folder), "--keep", "2"]) == 0

    old, new = sorted(folder.iterdir())
    assert old.name == "gateway-2026-01-03T000000Z.dump"
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    monkeypatch.setenv("PGPORT", "9")
    assert backup.main(["--here", "--to", str(folder)]) == 1
    assert "make backup: pg_dump:" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == [old, new], "nothing unfinished is left"


SHIM = """#!{python}
import os, sys
words = sys.argv[2:]
with open({log!r}, "a") as log:
    print(" ".join(words)[:60], file=log)
if words[:3] == ["exec", "-T", "postgres"]:
    os.execvp(words[3], [word.replace("=gateway", "=postgres", 1) if "--username" in word else word for word in words[3:]])
if words == ["config", "--services"]:
    print("postgres gateway dispatch-call-event".replace(" ", chr(10)))
"""


def test_the_composition_is_stopped_restored_and_started_in_this_order(address, tmp_path, monkeypatch):
    """`docker` is a program that does here what Compose does in the container; the dump is real."""
    log = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    (docker := tmp_path / "bin" / "docker").write_text(SHIM.format(python=sys.executable, log=str(log)))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("COMPOSE", raising=False)
    before = contents(address)

    assert backup.main(["--to", str(tmp_path / "backups")]) == 0
    file = max(Path(tmp_path / "backups").iterdir())
    with psycopg.connect(address, autocommit=True) as conn:
        conn.execute("TRUNCATE enterprises CASCADE")
    assert restore.main(["--yes", str(file)]) == 0

    assert contents(address) == before
    asked = log.read_text().splitlines()
    stopped = asked.index("stop gateway dispatch-call-event")
    loaded = next(at for at, words in enumerate(asked) if "pg_restore --exit-on-error" in words)
    assert stopped < loaded < asked.index("up --detach") == len(asked) - 1


def test_docker_without_compose_is_said(tmp_path, monkeypatch, capsys):
    (docker := tmp_path / "docker").write_text(
        "#!/bin/sh\necho \"Run 'docker --help' for more information\" >&2\nexit 1\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("COMPOSE", raising=False)

    assert backup.main(["--to", str(tmp_path / "backups")]) == 1
    assert "Docker has no `compose` here" in capsys.readouterr().err
