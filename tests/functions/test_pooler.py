"""The functions through a real PgBouncer in transaction mode: nothing of a session may be counted on."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from infra.deployment import migrate
from infra.deployment.migrate import Migration
from lib.enterprises.cache import enterprise_cache
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, InvalidPayload, Unavailable
from tests.harness.enterprises import TOKEN
from tests.harness.pooler import SERVER_CONNECTIONS, pooler
from tests.harness.servers import push_envelope


@pytest.fixture
def pooled(database_url, process):
    """This process reaches the database through a pooler, as `migrate` left it."""
    process.setenv("DATABASE_LISTEN_URL", database_url)
    process.setenv("DATABASE_POOL_MODE", "transaction")
    process.setenv("DATABASE_STATEMENT_TIMEOUT_SECONDS", "1")
    config.current.cache_clear()
    migrate.keep_session_settings(database_url, db.session_settings(config.current(config.Database)))
    with pooler(database_url) as url:
        process.setenv("DATABASE_URL", url)
        config.current.cache_clear()
        yield url
        if enterprise_cache.made is not None:
            enterprise_cache.made.close()
        enterprise_cache.forget()
        db.close()


def at_once(work, count):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


def ask(query="SELECT 1"):
    with db.connection() as conn:
        return conn.execute(query).fetchone()


def test_connections_of_the_process_share_those_of_the_pooler(pooled):
    gate = threading.Barrier(6)

    def work(_):
        with db.connection() as conn:
            gate.wait(10)
            return conn.execute("SELECT pg_backend_pid()").fetchone()

    with ThreadPoolExecutor(6) as pool:
        servers = set(pool.map(work, range(6)))

    assert len(servers) <= SERVER_CONNECTIONS


def test_the_role_keeps_the_deadlines_that_a_session_cannot_bring(pooled):
    kept = {name: ask(f"SHOW {name}")[0] for name in ("statement_timeout", "lock_timeout", "timezone")}

    assert kept == {"statement_timeout": "1s", "lock_timeout": "1s", "timezone": "UTC"}
    with pytest.raises(Unavailable):
        ask("SELECT pg_sleep(30)")
    assert ask() == (1,)


def test_migrate_gives_the_role_its_deadlines_and_is_not_bound_by_them(pooled, sql):
    assert [migrate.main(), migrate.main()] == [0, 0]

    [(kept,)] = sql(
        "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
        "WHERE d.datname = current_database()"
    )
    assert "statement_timeout=1000" in kept
    slow = Migration(version=1, name="0001_slow", sql="SELECT pg_sleep(1.5)")
    known = [slow, *migrate.read()[1:]]
    sql("DELETE FROM schema_migrations WHERE version = 1 RETURNING 1")
    assert migrate.apply(config.current(config.Database).session_url, known) == ["0001_slow"]


def test_without_them_the_log_says_so(pooled, database_url, caplog):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {conn.info.dbname} RESET ALL")
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert ask() == (1,)

    assert "the server has no deadlines of ours" in caplog.text


def test_transactions_and_pipelines_hold_and_no_prepared_statement_stays_behind(pooled, provisioned, sql):
    provisioned()

    def change(number):
        with db.transaction() as conn:
            conn.execute("UPDATE enterprises SET name = %s", [str(number)])
            with db.connection() as other, other.pipeline():
                both = [other.execute("SELECT %s::int", [number]), other.execute("SELECT %s::int + 1", [number])]
            return [cursor.fetchall() for cursor in both]

    answers = [change(number) for number in range(20)]

    def spoil(_):
        with pytest.raises(InvalidPayload), db.connection() as conn, conn.pipeline():
            conn.execute("SELECT 1 / 0")
        with db.connection() as conn, conn.pipeline():
            one, prepared = conn.execute("SELECT 1"), conn.execute("SELECT count(*) FROM pg_prepared_statements")
        return one.fetchone(), prepared.fetchone()

    assert answers == [[[(number,)], [(number + 1,)]] for number in range(20)]
    assert at_once(spoil, 40) == [((1,), (0,))] * 40
    assert sql("SELECT name FROM enterprises") == [("19",)]


def test_pipelines_that_hold_a_transaction_keep_it_together_and_leave_none_open(pooled, provisioned, sql):
    provisioned()

    def count_up(number):
        with db.connection() as conn, conn.pipeline():
            conn.execute("BEGIN")
            conn.execute("SELECT pg_advisory_xact_lock(1)")
            conn.execute("UPDATE enterprises SET name = (CASE name WHEN 'Demo' THEN 0 ELSE name::int END + 1)::text")
            if number % 4 == 3:
                conn.execute("SELECT 1 / 0")
            conn.execute("COMMIT")

    def attempt(number):
        try:
            count_up(number)
        except InvalidPayload:
            return False
        return True

    assert sum(at_once(attempt, 40)) == 30
    assert sql("SELECT name FROM enterprises") == [("30",)]
    assert sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == [(0,)]


def test_an_advisory_lock_is_held_by_one_transaction_at_a_time(pooled):
    inside, most = [], []

    def enter(_):
        with db.transaction() as conn:
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('a lock of this test', 0))")
            inside.append(1)
            most.append(len(inside))
            conn.execute("SELECT pg_sleep(0.01)")
            inside.pop()

    at_once(enter, 20)

    assert max(most) == 1


def test_a_pooler_that_restarts_is_found_again(database_url, process):
    process.setenv("DATABASE_LISTEN_URL", database_url)
    process.setenv("DATABASE_POOL_MODE", "transaction")
    for _ in range(2):
        with pooler(database_url) as url:
            process.setenv("DATABASE_URL", url)
            config.current.cache_clear()
            assert ask() == (1,)
        with pytest.raises(Unavailable):
            ask()
        db.close()


def test_a_call_goes_from_the_host_to_the_crm(  # noqa: PLR0917  (fixtures)
    pooled, function, provisioned, own_broker, crm_server, sql
):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    subscription, rows = own_broker.topic("call-events"), own_broker.topic("due-rows")
    dispatch, deliver, sweep = (function(name) for name in ("dispatch-call-event", "retailcrm-deliver", "sweep-calls"))
    upload = function("retailcrm-upload")
    calls = [f"{int(time.time())}.{number}" for number in range(6)]

    def post(unique_id):
        application = dispatch.application
        common = {"Token": TOKEN, "UniqueId": unique_id, "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
        ended = {"Extensions": [""], "CallStatus": "0", "StartTime": now, "EndTime": now, "DateReceived": now}
        with application.test_client() as client:
            return [
                client.post(path, data=json.dumps({**common, **more})).status_code
                for path, more in (("/start", {}), ("/dial", {"Extensions": ["150"]}), ("/hangup", ended))
            ]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(post, calls)) == [[200] * 3] * 6
    messages = own_broker.pull(subscription)
    assert len(messages) == 18

    def push(message):
        with deliver.application.test_client() as client:
            while (status := client.post("/", json=push_envelope(message)).status_code) == 503:
                time.sleep(0.05)
            return status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(push, messages)) == {204}
    deadline = time.monotonic() + 40
    while len(crm_server.rows("0367")) < 6:
        assert time.monotonic() < deadline
        sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state IN ('ready', 'retry') RETURNING id")
        sql("UPDATE calls SET next_wake_at = clock_timestamp() WHERE next_wake_at IS NOT NULL RETURNING id")
        sql("UPDATE row_timers SET wake_at = clock_timestamp() WHERE wake_at IS NOT NULL RETURNING crm")
        assert sweep.post("/", json=push_envelope({})).status_code == 204
        for message in own_broker.pull(subscription):
            push(message)
        for message in own_broker.pull(rows):
            assert upload.post("/", json=push_envelope(message)).status_code == 204

    assert sorted(row["externalId"] for row in crm_server.rows("0367")) == calls
    assert sql("SELECT count(*), max(copies) FROM call_events") == [(18, 0)]


def test_a_changed_configuration_is_heard_by_the_address_of_the_server(pooled, function, provisioned, database_url):
    provisioned()
    dispatch = function("dispatch-call-event")
    assert dispatch.post("/start", json={"Token": TOKEN, "UniqueId": "1.1"}).status_code == 200
    deadline = time.monotonic() + 10
    while enterprise_cache().last_invalidation is None:
        assert time.monotonic() < deadline
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("SELECT pg_notify('integration_config_changed', '{\"enterprise_number\": \"0367\"}')")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("mode", "listen", "word"), [("statement", "x", "must be session or transaction"), ("transaction", "", "LISTEN")]
)
def test_a_pooler_without_an_address_for_sessions_is_refused(mode, listen, word):
    with pytest.raises(ConfigError, match=word):
        config.load(
            config.Database,
            {"DATABASE_URL": "x", "DATABASE_POOL_MODE": mode, "DATABASE_LISTEN_URL": listen},
        )
