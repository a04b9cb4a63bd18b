"""API keys under a new key, while functions run that read and save them."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading

import psycopg
import pytest

from infra.commands import rotate_keys
from lib.runtime import config, db
from lib.runtime.vault import Vault, key_id_of, parse_keys, vault
from lib.store import sealed_keys
from tests.functions.test_retailcrm_deliver import Gateway

OLD = "old:" + base64.b64encode(bytes(32)).decode()
NEW = "new:" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def deployed(process):
    """As if the functions were started with these keys."""

    def deploy(*keys):
        process.setenv("VAULT_KEYS", ",".join(keys))
        config.current.cache_clear()
        vault.forget()

    deploy(OLD)
    return deploy


def rotate():
    done = subprocess.run(
        [sys.executable, "-m", "infra.commands.rotate_keys"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def enterprises(deployed, provisioned):
    for number in ("0367", "0368", "0369"):
        provisioned(number, token=f"token-of-{number}")


def stored(sql):
    query = "SELECT number, integrations_config #>> '{retailcrm,api_key}' FROM enterprises ORDER BY number"
    return dict(sql(query))


def test_calls_are_delivered_before_during_and_after(deployed, function, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    gateway = Gateway(function, sql)

    def call(number):
        gateway.unique_id = f"{gateway.unique_id.partition('.')[0]}.{number}"
        gateway.ring(["150"])
        gateway.missed()
        return gateway.unique_id

    wanted = [call(1)]
    for number, keys in enumerate(((OLD, NEW), (NEW, OLD)), start=2):
        deployed(*keys)
        wanted.append(call(number))
    over = threading.Event()
    said = []

    def rotating():
        said.append(rotate())
        over.set()

    thread = threading.Thread(target=rotating)
    thread.start()
    number = 10
    while not over.is_set() or number == 10:
        wanted.append(call(number))
        number += 1
    thread.join()
    deployed(NEW)
    wanted.append(call(number))

    assert said[0][0] == 0, said
    assert "1 of 1 API keys were sealed under new" in said[0][1]
    assert "Not needed any more: old" in said[0][1]
    assert [row["externalId"] for row in crm_server.rows("0367")] == wanted
    assert sql("SELECT DISTINCT state FROM deliveries") == [("delivered",)]


def test_each_key_says_the_same_as_before_and_a_second_run_changes_nothing(deployed, enterprises, sql):
    deployed(NEW, OLD)
    code, said = rotate()
    after = stored(sql)
    again = rotate()

    assert (code, "3 of 3 API keys were sealed under new" in said) == (0, True)
    assert {number: Vault(parse_keys(NEW)).decrypt(sealed, owner=number) for number, sealed in after.items()} == {
        number: f"key-of-{number}" for number in after
    }
    assert (again[0], "0 of 3" in again[1], stored(sql)) == (0, True, after)
    assert not any(f"key-of-{number}" in said for number in after)


def test_a_run_that_was_stopped_is_taken_up_by_the_next(deployed, enterprises, sql, monkeypatch):
    deployed(NEW, OLD)
    monkeypatch.setattr(rotate_keys, "STEP", 1)
    pages = rotate_keys._pages()
    [first] = next(pages)
    rotate_keys._seal(first)

    assert [key_id_of(sealed) for sealed in stored(sql).values()] == ["new", "old", "old"]
    assert "2 of 3" in rotate()[1]
    assert {key_id_of(sealed) for sealed in stored(sql).values()} == {"new"}


def test_a_key_that_is_saved_at_the_same_moment_stays(deployed, enterprises, provisioned, sql):
    deployed(NEW, OLD)
    with db.connection() as conn:
        [read, *_] = sealed_keys.list_sealed(conn, after=("", ""), limit=9)
    provisioned("0367", token="token-of-0367", api_key="another-key")
    saved = stored(sql)["0367"]

    assert rotate_keys._seal(read) is False
    assert stored(sql)["0367"] == saved
    assert vault().decrypt(saved, owner="0367") == "another-key"


def test_two_runs_and_administrators_who_save_at_once_lose_nothing(
    deployed, enterprises, provisioned, sql, database_url
):
    deployed(NEW, OLD)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM enterprises WHERE number = '0368' FOR UPDATE")
        runs = [threading.Thread(target=rotate) for _ in range(2)]
        for run in runs:
            run.start()
        other.execute(
            "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm,settle_seconds}', '7') "
            "WHERE number = '0368'"
        )
        other.commit()
    for run in runs:
        run.join()

    assert {key_id_of(sealed) for sealed in stored(sql).values()} == {"new"}
    assert sql(
        "SELECT integrations_config #>> '{retailcrm,settle_seconds}' FROM enterprises WHERE number = '0368'"
    ) == [("7",)]


def test_a_key_that_cannot_be_read_is_named_and_stays(deployed, enterprises, sql):
    lost = "lost:" + base64.b64encode(b"x" * 32).decode()
    sealed = Vault(parse_keys(lost)).encrypt("key", owner="0368")
    sql(
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm,api_key}', to_jsonb(%s::text)) "
        "WHERE number = '0368' RETURNING 1",
        sealed,
    )
    deployed(NEW, OLD)

    code, said = rotate()

    assert code == 1
    assert "2 of 3" in said
    assert "not readable: enterprise 0368: No vault key 'lost'" in said
    assert "Not needed any more: old" in said
    assert stored(sql)["0368"] == sealed


def test_with_one_key_there_is_nothing_to_do(deployed, enterprises, sql):
    before = stored(sql)
    code, said = rotate()

    assert (code, "has no older key than old" in said) == (0, True)
    assert stored(sql) == before
