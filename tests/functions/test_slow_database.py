"""A database that is slow, silent, full or gone under us: bounded waits, nothing left behind, nothing lost or double."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import requests

from lib.runtime import config, db, outage_guard
from lib.runtime.errors import InvalidPayload, Unavailable
from tests.conftest import VAULT_KEYS
from tests.harness.enterprises import TOKEN
from tests.harness.proxy import Proxy
from tests.harness.servers import Function, push_envelope
from tests.harness.wire import counted

pytestmark = pytest.mark.timeout(120)

POOL_SIZE = 4
RECOVERY_SECONDS = 5.0
# Deadlines here are one or two seconds; the rest is for machines that are busy.
BUSY_SECONDS = 5.0
SETTLED_SECONDS = 40.0


@pytest.fixture
def proxy(database_url):
    with Proxy.started(urlsplit(database_url).port) as started:
        yield started


@pytest.fixture
def through(database_url, proxy):
    address = urlsplit(database_url)
    return urlunsplit(address._replace(netloc=f"{address.netloc.rpartition(':')[0]}:{proxy.port}"))


@pytest.fixture
def slow_process(process, through):
    process.setenv("DATABASE_URL", through)
    process.setenv("DATABASE_POOL_SIZE", str(POOL_SIZE))
    process.setenv("DATABASE_STATEMENT_TIMEOUT_SECONDS", "1")
    config.current.cache_clear()
    yield process
    db.close()


def ask(query="SELECT 1", **options):
    with db.connection(**options) as conn:
        return conn.execute(query).fetchone()


def reconnect(process, url):
    db.close()
    process.setenv("DATABASE_URL", url)
    config.current.cache_clear()


def fill_pool():
    gate = threading.Barrier(POOL_SIZE)

    def hold(_):
        with db.connection() as conn:
            gate.wait(10)
            conn.execute("SELECT 1")

    with ThreadPoolExecutor(POOL_SIZE) as pool:
        list(pool.map(hold, range(POOL_SIZE)))


def refused_within(seconds, work=ask, **options):
    began = time.monotonic()
    with pytest.raises(Unavailable):
        work(**options)
    took = time.monotonic() - began
    assert took < seconds
    return took


def recovered():
    began = time.monotonic()
    while True:
        try:
            ask()
        except Unavailable:
            assert time.monotonic() - began < RECOVERY_SECONDS
            time.sleep(0.02)
        else:
            return time.monotonic() - began


def test_every_connection_carries_its_deadlines(slow_process):
    with db.connection() as conn:
        deadlines = {
            name: conn.execute(f"SHOW {name}").fetchall()[0][0]
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
        }
        parameters = conn.info.get_parameters()
        with socket.fromfd(conn.fileno(), socket.AF_INET, socket.SOCK_STREAM) as plug:
            keeps_alive = plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            unacknowledged_ms = plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert deadlines == {
        "statement_timeout": "1s",
        "lock_timeout": "1s",
        "idle_in_transaction_session_timeout": "2s",
        "timezone": "UTC",
    }
    assert parameters["connect_timeout"] == "2"
    assert (keeps_alive, idle, unacknowledged_ms) == (1, 5, 2000)


def test_a_statement_that_does_not_end_is_ended_and_the_others_go_on(slow_process):
    refused_within(BUSY_SECONDS, query="SELECT pg_sleep(30)")

    assert ask() == (1,), "a slow statement is not a database that is away"


def test_nobody_waits_for_a_lock_longer_than_the_deadline(slow_process, database_url, provisioned):
    provisioned()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM enterprises FOR UPDATE")

        refused_within(BUSY_SECONDS, query="SELECT number FROM enterprises FOR UPDATE")


def test_a_transaction_that_idles_is_ended_and_the_caller_is_told_to_come_again(slow_process):
    def idle():
        with db.transaction() as conn:
            conn.execute("SELECT 1")
            time.sleep(2.5)
            conn.execute("SELECT 1")

    refused_within(BUSY_SECONDS, idle)

    assert recovered() < RECOVERY_SECONDS


def test_a_server_that_became_read_only_is_left_and_the_caller_is_told_to_come_again(slow_process, provisioned):
    provisioned()
    with db.connection() as conn:
        conn.execute("SET default_transaction_read_only = on")
        first = conn.info.backend_pid

    with pytest.raises(Unavailable):
        ask("UPDATE enterprises SET name = 'x' RETURNING number")

    assert ask("SELECT pg_backend_pid()") != (first,)
    assert ask("UPDATE enterprises SET name = 'x' RETURNING number") == ("0367",)


@pytest.mark.parametrize("fault", ["slow by five seconds", "silent"])
def test_waits_are_bounded_no_caller_piles_up_and_no_thread_stays(slow_process, proxy, fault):
    fill_pool()
    threads = threading.active_count()
    proxy.delay_seconds, proxy.stalled = (5.0, False) if fault == "slow by five seconds" else (0.0, True)

    def attempt(_):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            ask()
        return time.monotonic() - began

    with ThreadPoolExecutor(40) as pool:
        waited = sorted(pool.map(attempt, range(400)))
    at_once = sum(1 for seconds in waited if seconds < 0.1)
    proxy.heal()
    back = recovered()

    assert waited[-1] < BUSY_SECONDS
    assert at_once > 200
    assert threading.active_count() <= threads
    print(f"{fault}: slowest {waited[-1]:.2f} s, {at_once} of 400 at once, back after {back:.2f} s")


def test_silence_in_the_middle_of_a_transaction_is_bounded_too(slow_process, proxy):
    def fall_silent():
        with db.transaction() as conn:
            conn.execute("SELECT 1")
            proxy.stalled = True
            time.sleep(0.1)
            conn.execute("SELECT 1")

    refused_within(BUSY_SECONDS, fall_silent)
    proxy.heal()

    assert recovered() < RECOVERY_SECONDS


def test_a_caller_in_a_hurry_is_answered_in_time(slow_process, proxy):
    ask()
    proxy.stalled = True
    time.sleep(0.1)

    assert refused_within(BUSY_SECONDS, within_seconds=0.5) > 0.3


def test_connections_that_were_cut_while_idle_cost_nobody_anything(slow_process, proxy):
    fill_pool()
    proxy.cut()
    time.sleep(0.1)

    with ThreadPoolExecutor(POOL_SIZE) as pool:
        answers = list(pool.map(lambda _: ask(), range(20)))

    assert answers == [(1,)] * 20


def test_connections_that_died_without_a_word_are_found_out_within_the_deadline(slow_process, proxy):
    fill_pool()
    proxy.kill_silently()

    back = recovered()
    with ThreadPoolExecutor(POOL_SIZE) as pool:
        answers = list(pool.map(lambda _: ask(), range(20)))

    assert back < RECOVERY_SECONDS
    assert answers == [(1,)] * 20


def test_when_the_pool_is_empty_the_wait_is_bounded_and_the_first_free_connection_serves(slow_process):
    release, taken = threading.Event(), threading.Semaphore(0)

    def hold():
        with db.connection():
            taken.release()
            release.wait(10)

    holders = [threading.Thread(target=hold) for _ in range(POOL_SIZE)]
    for holder in holders:
        holder.start()
        taken.acquire()
    waited = refused_within(BUSY_SECONDS)
    assert refused_within(BUSY_SECONDS) < 0.5, "the next one is told at once"
    release.set()
    for holder in holders:
        holder.join()

    assert waited > 0.9
    assert recovered() < RECOVERY_SECONDS


def test_a_use_costs_its_statement_and_no_ping(slow_process, database_url):
    with counted(database_url) as (url, counter):
        reconnect(slow_process, url)
        for _ in range(4):  # prepared by then
            ask()
        counter.reset()

        for _ in range(10):
            ask()
        one_each = (counter.round_trips, counter.statements, counter.connections)
        with db.transaction() as conn:
            conn.execute("SELECT 1")
        in_a_transaction = counter.round_trips - one_each[0]
        db.close()

    assert one_each == (10, 10, 0)
    assert in_a_transaction == 3


def test_a_connection_that_idled_for_long_is_pinged_first(slow_process, database_url, monkeypatch):
    monkeypatch.setattr(db, "TRUSTED_SECONDS", 0.2)
    with counted(database_url) as (url, counter):
        reconnect(slow_process, url)
        for _ in range(4):
            ask()
        counter.reset()
        time.sleep(0.3)

        ask()
        ask()
        asked = counter.round_trips
        db.close()

    assert asked == 3


def test_after_one_connection_fell_silent_the_others_are_pinged_before_anybody_depends_on_them(slow_process, proxy):
    fill_pool()
    proxy.kill_silently()
    refused_within(BUSY_SECONDS)

    time.sleep(outage_guard.PAUSE_SECONDS)

    assert ask() == (1,), "no second caller may find a dead one"
    with ThreadPoolExecutor(POOL_SIZE) as pool:
        assert list(pool.map(lambda _: ask(), range(20))) == [(1,)] * 20


def test_a_restart_of_the_server_costs_those_nothing_who_come_after_it(slow_process, database_url):
    """What a restart leaves behind: a farewell and a closed socket at the other end of each idle connection."""
    fill_pool()
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'gateway' AND datname = current_database()"
        )
    time.sleep(0.1)

    with ThreadPoolExecutor(POOL_SIZE) as pool:
        answers = list(pool.map(lambda _: ask(), range(20)))

    assert answers == [(1,)] * 20


def test_what_the_server_says_unasked_makes_nobody_give_the_connection_up(slow_process, database_url):
    with db.connection() as conn:
        conn.execute("LISTEN anything")
    before = ask("SELECT pg_backend_pid()")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("NOTIFY anything")
    time.sleep(0.2)

    assert ask("SELECT pg_backend_pid()") == before


def test_a_pipeline_is_one_round_trip_with_its_transaction_and_two_more_without(slow_process, database_url):
    with counted(database_url) as (url, counter):
        reconnect(slow_process, url)
        ask()
        trips = {}
        for name, pipe in (("alone", alone), ("with begin and commit", bracketed), ("in a transaction", enclosed)):
            counter.reset()
            assert pipe() == [(1,), (2,)]
            trips[name] = counter.round_trips
        db.close()

    assert trips == {"alone": 1, "with begin and commit": 1, "in a transaction": 3}


def alone(*queries):
    with db.connection() as conn, conn.pipeline():
        cursors = [conn.execute(query) for query in queries or ("SELECT 1", "SELECT 2")]
    return [cursor.fetchone() for cursor in cursors]


def bracketed(*queries):
    with db.connection() as conn:
        with conn.pipeline():
            conn.execute("BEGIN")
            cursors = [conn.execute(query) for query in queries or ("SELECT 1", "SELECT 2")]
            conn.execute("COMMIT")
        return [cursor.fetchone() for cursor in cursors]


def enclosed(*queries):
    with db.transaction() as conn, conn.pipeline():
        cursors = [conn.execute(query) for query in queries or ("SELECT 1", "SELECT 2")]
    return [cursor.fetchone() for cursor in cursors]


@pytest.mark.parametrize("pipe", [alone, bracketed, enclosed])
def test_silence_inside_a_pipeline_is_bounded_and_the_connection_is_given_up(slow_process, proxy, pipe):
    ask()

    def fall_silent():
        proxy.stalled = True
        time.sleep(0.1)
        pipe()

    refused_within(BUSY_SECONDS, fall_silent)
    proxy.heal()

    assert recovered() < RECOVERY_SECONDS
    assert pipe() == [(1,), (2,)]


def test_a_pipeline_in_a_hurry_is_answered_in_time(slow_process, proxy):
    ask()
    proxy.stalled = True
    time.sleep(0.1)

    def hurried(within_seconds):
        with db.connection(within_seconds=within_seconds) as conn, conn.pipeline():
            conn.execute("SELECT 1")

    assert 0.3 < refused_within(BUSY_SECONDS, hurried, within_seconds=0.5) < 1.5


@pytest.mark.parametrize("pipe", [alone, bracketed, enclosed])
@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ("SELECT 1 / 0", InvalidPayload),
        ("SELECT * FROM no_such_table", psycopg.errors.UndefinedTable),
        ("SELECT pg_sleep(30)", Unavailable),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
    ],
)
def test_an_error_inside_a_pipeline_is_told_as_outside_and_undoes_what_went_before(  # noqa: PLR0917  (fixtures)
    slow_process, provisioned, sql, pipe, fault, refusal
):
    provisioned()
    change = "UPDATE enterprises SET name = 'changed' RETURNING 1"

    for _ in range(4):  # often enough that the statement is prepared
        with pytest.raises(refusal):
            pipe(change, fault, change)
        assert recovered() < RECOVERY_SECONDS

    assert sql("SELECT name FROM enterprises") == [("Demo",)]
    assert pipe(change, "SELECT 2") == [(1,), (2,)]
    assert sql("SELECT name FROM enterprises") == [("changed",)]


@pytest.mark.parametrize("executions_before", range(4))
def test_a_statement_that_was_to_be_prepared_behind_an_error_can_still_be_executed(slow_process, executions_before):
    """All on the same connection, whichever execution is the one that prepares."""
    prepares = "SELECT 1 + %s"

    def fail_before_it():
        with db.connection() as conn, conn.pipeline():
            conn.execute("SELECT 1 / 0")
            for number in range(4):
                conn.execute(prepares, [number])

    for number in range(executions_before):
        with db.connection() as conn:
            assert conn.execute(prepares, [number]).fetchone() == (1 + number,)
    backend = ask("SELECT pg_backend_pid()")
    with pytest.raises(InvalidPayload):
        fail_before_it()

    for number in range(4):
        with db.connection() as conn:
            assert conn.execute(prepares, [number]).fetchone() == (1 + number,)
            assert (conn.info.backend_pid,) == backend


def messages():
    """A call that nobody answers, as intake publishes it when it could not store."""
    unique_id = f"{int(time.time())}.1"
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
    call = {"Token": TOKEN, "UniqueId": unique_id, "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}
    told: dict[str, dict[str, object]] = {
        "start": {},
        "dial": {"Extensions": ["150", "151"]},
        "hangup": {"Extensions": [""], "CallStatus": "0", "StartTime": now, "EndTime": now, "DateReceived": now},
    }
    return unique_id, [
        {
            "event": {
                "event_id": str(uuid.uuid4()),
                "enterprise_number": "0367",
                "unique_id": unique_id,
                "event_type": kind,
                "raw": {**call, **fields},
                "record_url": None,
                "data_source": "live",
                "received_at": datetime.now(UTC).isoformat(),
            }
        }
        for kind, fields in told.items()
    ]


def test_whichever_commit_is_not_answered_nothing_is_lost_and_nothing_double(  # noqa: PLR0917  (fixtures)
    database_url, through, proxy, provisioned, crm_server, sql, tmp_path
):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    environment = {
        "DATABASE_URL": through,
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:9",
        "GOOGLE_CLOUD_PROJECT": "local",
        "VAULT_KEYS": VAULT_KEYS,
        "RETAILCRM_EXTRA_HOSTS": "127.0.0.1:*",
    }
    popups_missed = lost = 0

    with (
        Function.started("retailcrm-deliver", environment, log=tmp_path / "deliver.log") as deliver,
        Function.started("retailcrm-upload", environment, log=tmp_path / "upload.log") as upload,
    ):

        def push(message, function=deliver):
            return requests.post(function.url, json=push_envelope(message), timeout=30).status_code

        def send_rows():
            while push({"enterprise_number": "0367", "crm": "retailcrm"}, upload) != 204:
                time.sleep(0.02)

        def settle():
            """What time and the sweep do: leases of what was left run out, calls are woken."""
            sql("UPDATE deliveries SET lease_until = clock_timestamp() WHERE state = 'leased' RETURNING id")
            sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE state IN ('ready', 'retry') RETURNING id")
            for call_id, number in sql("SELECT id, enterprise_number FROM calls"):
                while push({"call_id": call_id, "enterprise_number": number}) != 204:
                    time.sleep(0.02)
            send_rows()

        for passing in range(12):
            crm_server.clear()
            sql("DELETE FROM attempts RETURNING 1")
            sql("DELETE FROM deliveries RETURNING 1")
            sql("DELETE FROM call_events RETURNING 1")
            sql("DELETE FROM calls RETURNING 1")
            sql("DELETE FROM row_timers RETURNING 1")
            unique_id, events = messages()
            before = proxy.answers_lost
            proxy.passing, proxy.lose_answer_with = passing, b"COMMIT\x00"

            for message in events:
                while push(message) != 204:
                    time.sleep(0.02)
            send_rows()
            proxy.lose_answer_with = b""
            deadline = time.monotonic() + SETTLED_SECONDS
            settle()
            while sql("SELECT 1 FROM deliveries WHERE effect = 'upload' AND state = 'delivered'") == []:
                assert time.monotonic() < deadline, passing
                time.sleep(0.2)
                settle()

            lost += proxy.answers_lost - before
            popups = [told for told in crm_server.events("0367") if told["type"] == "in"]
            assert [row["externalId"] for row in crm_server.rows("0367")] == [unique_id], passing
            assert len(popups) <= 1, passing
            popups_missed += not popups
            assert sql("SELECT count(*) FROM call_events") == [(3,)]
            assert sql("SELECT state FROM deliveries WHERE effect = 'upload'") == [("delivered",)]
    assert lost >= 8
    print(f"{lost} commits not answered, pop-ups not shown: {popups_missed}")
