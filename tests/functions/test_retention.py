"""What is old goes, a little at a time; what is not stays, and a copy stays a copy."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from lib.ledger import replay, retention
from lib.ledger.replay import Request
from lib.ledger.story import tell
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, NotFound
from lib.store import replays
from tests.functions.test_retailcrm_deliver import CUSTOMER, Gateway
from tests.harness import roles
from tests.harness.assembled import counted
from tests.harness.servers import push_envelope

DAYS = {
    "EVENTS": 10,
    "CALLS": 40,
    "ATTEMPTS": 10,
    "LOGS": 10,
    "REJECTED": 10,
    "CLICKS": 10,
    "SESSIONS": 10,
    "COMMANDS": 10,
    "REPLAYS": 10,
}
TABLES = (
    "calls",
    "call_events",
    "call_links",
    "deliveries",
    "attempts",
    "integration_logs",
    "rejected_messages",
    "clicks",
    "callbacks",
    "sessions",
    "sign_in_attempts",
    "known_browsers",
    "module_commands",
    "replays",
)


@pytest.fixture(autouse=True)
def kept(process):
    for name, days in DAYS.items():
        process.setenv(f"RETENTION_{name}_DAYS", str(days))
    config.current.cache_clear()
    step = retention.step

    def step_of_the_sweep(**options):
        with roles.taken_by("sweep-calls"):
            return step(**options)

    process.setattr(retention, "step", step_of_the_sweep)


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.account("0367")
    return crm_server


@pytest.fixture
def gateway(function, provisioned, crm, sql):
    provisioned(domain=crm.url)
    return Gateway(function, sql)


@pytest.fixture
def aged(sql):
    """As if everything of the calls had happened so many days before."""

    def age(days):
        for table, columns in {
            "calls": ("started_at", "first_event_at", "last_event_at", "over_at", "updated_at", "next_wake_at"),
            "call_events": ("received_at", "wake_at"),
            "deliveries": ("created_at", "finished_at", "run_at", "expires_at"),
            "attempts": ("started_at", "finished_at"),
        }.items():
            moved = ", ".join(f"{column} = {column} - interval '{days} days'" for column in columns)
            sql(f"UPDATE {table} SET {moved} RETURNING 1")

    return age


def sweep_all():
    """Until nothing is left to do; what was done in all."""
    done: dict[str, int] = {}
    while step := retention.step():
        for name, count in step.items():
            done[name] = done.get(name, 0) + count
    return done


def fill(url, number, *, count, age):
    """Calls at rest with three events each, all that was sent, and as much of everything else, so many days old."""
    with psycopg.connect(url) as conn:
        conn.execute("SET LOCAL synchronous_commit = off")
        conn.execute(
            """
            CREATE TEMP TABLE made ON COMMIT DROP AS
            SELECT n, clock_timestamp() - make_interval(days => %s) - n * interval '1 second' AS at
            FROM generate_series(1, %s) n
            """,
            [age, count],
        )
        conn.execute(
            """
            CREATE TEMP TABLE called ON COMMIT DROP AS
            WITH inserted AS (
                INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at,
                                   over_at, updated_at)
                SELECT %s, %s || '.' || n, 'in', at, at, at, at, at FROM made RETURNING id, started_at)
            SELECT id, started_at AS at FROM inserted
            """,
            [number, f"{number}-{age}"],
        )
        for statement in (
            """
            INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint,
                                     received_at, call_id)
            SELECT gen_random_uuid(), '{0}', id || '.' || part, 'bridge', '{{"Phone": "1"}}',
                   sha256((id || '.' || part)::bytea), at, id FROM called, generate_series(1, 3) part
            """,
            """
            INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at)
            SELECT '{0}', 'u' || id, id, at, at FROM called
            """,
            """
            INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, finished_at)
            SELECT '{0}', id, 'upload', id || '.1', '{{}}', 'delivered', at FROM called
            """,
            """
            INSERT INTO attempts (delivery_id, fence, started_at, request)
            SELECT d.id, 1, at, '{{}}' FROM called JOIN deliveries d ON d.call_id = called.id
            """,
            """
            INSERT INTO integration_logs (enterprise_number, integration_type, event_type, status, created_at)
            SELECT '{0}', 'retailcrm', 'upload', 'success', at FROM made
            """,
            "INSERT INTO rejected_messages (source, reason, raw, received_at) SELECT 's', 'r', 'x', at FROM made",
            "INSERT INTO clicks (enterprise_number, extension, phone, clicked_at) SELECT '{0}', '150', '1', at FROM made",
            """
            INSERT INTO callbacks (enterprise_number, customer, state, said_by, said_at)
            SELECT '{0}', '+' || n || '{0}' || at, 'closed', 'admin', at FROM made
            """,
            """
            INSERT INTO sessions (token_sha256, enterprise_number, created_at, last_seen_at)
            SELECT sha256((at || '{0}')::bytea), '{0}', at, at FROM made
            """,
            "INSERT INTO sign_in_attempts (login_sha256, address, attempted_at) SELECT 'x', '127.0.0.1', at FROM made",
            # They stay for 400 days.
            """
            INSERT INTO known_browsers (token_sha256, user_id, seen_at)
            SELECT sha256(at::text::bytea), (SELECT min(id) FROM users WHERE enterprise_number = '{0}'),
                   at - interval '390 days' FROM made
            """,
            """
            INSERT INTO module_commands (enterprise_number, action, state, created_at, finished_at)
            SELECT '{0}', 'register', 'done', at, at FROM made
            """,
            "INSERT INTO replays (enterprise_number, requested_by, created_at) SELECT '{0}', 'admin', at FROM made",
        ):
            conn.execute(statement.format(number))
        conn.execute("SELECT setval(pg_get_serial_sequence('call_events', 'id'), (SELECT max(id) FROM call_events))")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")


def counts(sql):
    return {table: sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def test_three_sweeps_at_once_delete_all_that_is_old_and_nothing_else(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=300, age=1)
    fresh = counts(sql)
    fill(database_url, "0367", count=1500, age=50)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: sweep_all(), range(3)))

    assert counts(sql) == fresh
    assert sum(one.get("calls", 0) for one in done) == sum(one.get("forgotten", 0) for one in done) == 1500
    assert sum(one.get("integration_logs", 0) for one in done) == 1500
    assert sql("SELECT count(*) FROM call_events WHERE raw_data = '{}'") == [(0,)]
    assert sql("SELECT count(*) FROM calls WHERE events_forgotten") == [(0,)]


def test_what_a_host_said_goes_before_the_key_by_which_a_copy_of_it_is_known(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=20, age=30)

    sweep_all()

    assert sql(
        "SELECT count(*), count(*) FILTER (WHERE raw_data = '{}'), min(length(fingerprint)) FROM call_events"
    ) == [(60, 60, 32)]
    left = counts(sql)
    assert (left["calls"], left["deliveries"], left["call_links"], left["attempts"]) == (20, 20, 0, 0)


@pytest.mark.parametrize(
    "waiting",
    [
        "UPDATE calls SET next_wake_at = clock_timestamp() RETURNING 1",
        "UPDATE calls SET due_at = clock_timestamp(), next_wake_at = clock_timestamp() - interval '90 days' RETURNING 1",
        "UPDATE deliveries SET state = 'retry', finished_at = NULL RETURNING 1",
        "UPDATE deliveries SET state = 'leased', lease_until = clock_timestamp(), finished_at = NULL RETURNING 1",
    ],
)
def test_a_call_that_something_waits_for_stays_whole_however_old_it_is(provisioned, sql, database_url, waiting):
    provisioned()
    fill(database_url, "0367", count=3, age=60)
    sql(waiting)
    before = counts(sql)

    sweep_all()

    after = counts(sql)
    assert [after[table] for table in TABLES[:4]] == [before[table] for table in TABLES[:4]]
    assert after["attempts"] == (3 if "deliveries" in waiting else 0)
    assert sql("SELECT count(*) FROM call_events WHERE raw_data = '{}'") == [(0,)]


def test_what_somebody_has_locked_is_passed_over_and_not_waited_for(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=5, age=60)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM calls ORDER BY id LIMIT 1 FOR NO KEY UPDATE")
        other.execute("SELECT FROM integration_logs ORDER BY id LIMIT 1 FOR UPDATE")
        began = time.monotonic()
        sweep_all()
        spent = time.monotonic() - began

    assert (counts(sql)["calls"], counts(sql)["integration_logs"]) == (1, 1)
    assert spent < 3
    sweep_all()
    assert set(counts(sql).values()) == {0}


def test_one_tick_deletes_all_that_is_old_when_it_has_the_time(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=4 * retention.ROWS, age=60)

    done = retention.step()

    assert [done[kind] for kind in ("forgotten", "integration_logs", "clicks")] == [2000, 2000, 2000]
    # Calls that were forgotten too late for this one.
    retention.step()
    assert set(counts(sql).values()) == {0}


def test_a_tick_that_has_no_time_left_leaves_the_rest_to_the_next_one(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=200, age=60)

    assert sum(retention.step(seconds=0).values()) <= 200
    assert any(counts(sql).values())
    sweep_all()
    assert set(counts(sql).values()) == {0}


def test_a_tick_that_comes_while_one_deletes_leaves_it_at_work_and_waits_for_nothing(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=3, age=60)
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE clicks")
        first = pool.submit(retention.step)
        until_somebody_waits_for_a_lock(sql)
        began = time.monotonic()
        second = retention.step()
        spent = time.monotonic() - began
        other.rollback()

    assert second == {}
    assert spent < 0.5
    assert first.result()["clicks"] == 3


def until_somebody_waits_for_a_lock(sql):
    deadline = time.monotonic() + 4
    while not sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["forgotten", "calls", "attempts", "integration_logs"])
def test_a_batch_does_not_read_again_what_the_ones_before_it_deleted_while_an_old_snapshot_lasts(
    provisioned, sql, database_url, kind
):
    provisioned()
    fill(database_url, "0367", count=3000, age=60)
    if kind == "calls":
        sql("UPDATE calls SET events_forgotten = true RETURNING 1")
    step = retention.steps(config.current(config.Retention))[kind]

    with psycopg.connect(database_url) as old, db.connection() as conn:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM calls LIMIT 1")
        end, read = datetime.min.replace(tzinfo=UTC), [entries_read(sql, conn)]
        while (deleted := step.run(conn, end)).count:
            read.append(entries_read(sql, conn))
            end = deleted.up_to or end

    assert len(read) == 3000 // step.full + 1
    first, *others = (after - before for before, after in pairwise(read))
    assert max(others) <= first * 1.5


def entries_read(sql, conn):
    """How many entries of indexes all transactions have read."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    return int(sql("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes")[0][0])


def batch(step):
    with db.connection() as conn:
        return step.run(conn, datetime.min.replace(tzinfo=UTC))


def steps_of(plan):
    return [plan, *(step for part in plan.get("Plans", ()) for step in steps_of(part))]


@pytest.mark.parametrize("age", [1, 60], ids=["nothing is old", "all is old"])
def test_no_statement_reads_more_than_it_deletes_however_much_is_kept(provisioned, sql, database_url, process, age):
    provisioned()
    fill(database_url, "0367", count=8000, age=age)
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint) "
        "SELECT gen_random_uuid(), mod(n, 5)::text, '1.' || n, 'start', '{}', sha256(n::text::bytea) "
        "FROM generate_series(1, 5000) n RETURNING 1"
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE call_events")
    with counted(process) as sent:
        began = time.perf_counter()
        done = [batch(step).count for step in retention.steps(config.current(config.Retention)).values()]
        spent = time.perf_counter() - began
    print(f"{len(sent)} statements, {sum(done)} rows, {spent * 1000:.0f} ms")

    scans, most = set(), 0
    with psycopg.connect(database_url) as conn:
        for one in sent:
            [[[plan]]] = conn.execute(
                f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {one.text}", one.parameters
            ).fetchall()
            for step in steps_of(plan["Plan"]):
                if step["Node Type"] == "Seq Scan":
                    scans.add((step["Relation Name"], " ".join(one.text.split())[:60]))
                most = max(most, step["Actual Rows"] + step.get("Rows Removed by Filter", 0))
            conn.rollback()
    assert {scan for scan in scans if scan[0] != "enterprises"} == set()
    assert most <= retention.ROWS
    assert spent < 2


def test_an_event_that_no_call_was_made_of_goes_after_its_key_is_needed_no_more(sql, database_url):
    for number, days in (("0367", 32), ("0367", 30), ("gone", 32), ("gone", 1)):
        sql(
            "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
            "VALUES (gen_random_uuid(), %s, '1.1', 'start', '{}', sha256(random()::text::bytea), "
            "clock_timestamp() - make_interval(days => %s)) RETURNING 1",
            number,
            days,
        )

    assert sweep_all() == {"events": 2}
    assert sql("SELECT enterprise_number FROM call_events ORDER BY 1") == [("0367",), ("gone",)]


def test_calls_of_an_enterprise_that_is_gone_go_too(provisioned, sql, database_url):
    provisioned()
    fill(database_url, "0367", count=3, age=60)
    sql("UPDATE deliveries SET state = 'retry', finished_at = NULL RETURNING 1")
    sql("UPDATE calls SET next_wake_at = updated_at RETURNING 1")
    sql("DELETE FROM enterprises RETURNING 1")

    sweep_all()

    assert set(counts(sql).values()) == {0}


def everything_happened(gateway):
    """An answered question of who rang, from the first event to the row; its messages."""
    bodies = [
        ("start", {"Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301"}),
        ("dial", {"Phone": CUSTOMER, "CallType": 0, "Trunk": "0001301", "Extensions": ["150", "151"]}),
        ("hangup", gateway.missed_body()),
    ]
    messages = [gateway.take(kind, **body) for kind, body in bodies]
    for message in messages:
        assert gateway.push(message) == 204
    gateway.send_rows()
    return bodies, messages


def test_a_late_copy_of_what_is_forgotten_is_a_copy_and_changes_nothing(gateway, crm, aged, sql):
    _, messages = everything_happened(gateway)
    told = len(crm.entries("0367"))
    aged(31)
    assert sweep_all()["forgotten"] == 1
    before = (
        sql("SELECT * FROM calls"),
        sql("SELECT id, event_id, raw_data, call_id, copies FROM call_events ORDER BY id"),
    )

    for message in messages * 2:
        assert gateway.push(message) == 204
    gateway.wake()

    assert [row[2] for row in before[1]] == [{}, {}, {}]
    assert (
        sql("SELECT * FROM calls"),
        sql("SELECT id, event_id, raw_data, call_id, copies FROM call_events ORDER BY id"),
    ) == before
    assert len(crm.entries("0367")) == told


def test_a_copy_that_a_host_sends_again_a_month_later_is_told_to_nobody(gateway, crm, aged, sql):
    bodies, _ = everything_happened(gateway)
    told = len(crm.entries("0367"))
    aged(31)
    sweep_all()

    for kind, body in (bodies[0], bodies[2]):
        gateway.happen(kind, **body)
    gateway.wake()

    assert sql("SELECT event_type, copies FROM call_events ORDER BY id") == [("start", 1), ("dial", 0), ("hangup", 1)]
    assert sql("SELECT count(*) FROM calls") == [(1,)]
    assert len(crm.entries("0367")) == told


def test_a_row_whose_events_are_forgotten_can_still_be_sent_again(gateway, crm, aged, sql):
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=1)
    everything_happened(gateway)
    aged(12)
    sweep_all()
    before = sql("SELECT result, owner_extension, over_at, decisions FROM calls")

    [(call_id,)] = sql("SELECT id FROM calls WHERE events_forgotten")
    with db.transaction() as conn:
        replay.send_again(conn, Request(by="admin", reason="mended"), enterprise_number="0367", call_id=call_id)
    gateway.wake()

    assert [row["externalId"] for row in crm.rows("0367")] == [gateway.unique_id]
    assert sql("SELECT result, owner_extension, over_at, decisions FROM calls") == before
    assert sweep_all().get("calls") is None


def test_the_story_of_a_call_whose_events_are_forgotten_says_so(gateway, aged):
    everything_happened(gateway)
    aged(12)
    sweep_all()

    with pytest.raises(NotFound, match="not kept any more"):
        tell("0367", gateway.unique_id, crm="retailcrm")


def test_what_was_replayed_goes_and_who_wanted_it_stays(gateway, crm, aged, sql, process):
    process.setenv("RETENTION_REPLAYS_DAYS", "400")
    config.current.cache_clear()
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=1)
    everything_happened(gateway)
    [(call_id,)] = sql("SELECT id FROM calls")
    with db.transaction() as conn:
        replay.send_again(conn, Request(by="ivanova", reason="mended"), enterprise_number="0367", call_id=call_id)
    gateway.wake()
    aged(50)

    sweep_all()

    assert sql("SELECT count(*) FROM deliveries") == [(0,)]
    assert sql("SELECT requested_by, reason, delivery_id, subject FROM replays") == [
        ("ivanova", "mended", None, f"upload {gateway.unique_id}, generation 1")
    ]


def test_a_tick_deletes_and_a_wrong_setting_keeps_no_call_from_being_woken(  # noqa: PLR0917  (fixtures)
    function, provisioned, broker, process, sql, database_url
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    subscription = broker.topic("call-events")
    client = function("sweep-calls")
    fill(database_url, "0367", count=2, age=20)

    assert client.post("/", json=push_envelope({})).status_code == 204
    assert sql("SELECT count(*) FROM integration_logs") == [(0,)]

    process.setenv("RETENTION_CALLS_DAYS", "30")
    config.current.cache_clear()
    fill(database_url, "0367", count=1, age=1)
    sql("UPDATE calls SET next_wake_at = clock_timestamp() RETURNING 1")
    assert client.post("/", json=push_envelope({})).status_code == 204
    assert len(broker.pull(subscription)) == 3


def test_a_tick_is_acknowledged_before_its_deadline_also_when_the_last_statement_is_slow():
    [ticks] = [
        one
        for one in json.loads(Path("infra/topology.json").read_text())["subscriptions"].values()
        if one["function"] == "sweep-calls"
    ]

    # Two statements of the sweep, and the last one of retention.
    slow = 3 * config.load(config.Database, {"DATABASE_URL": "x"}).database_statement_timeout_seconds
    assert retention.BUDGET_SECONDS + slow <= ticks["ack_deadline_seconds"]


def test_a_key_is_never_kept_for_less_than_pubsub_keeps_a_message():
    with pytest.raises(ConfigError) as refused:
        config.load(
            config.Retention,
            {"RETENTION_CALLS_DAYS": "30", "RETENTION_EVENTS_DAYS": "1", "RETENTION_LOGS_DAYS": "0"},
        )

    assert str(refused.value).split("; ") == [
        "RETENTION_EVENTS_DAYS must be 3 or more",
        "RETENTION_CALLS_DAYS must be 31 or more",
        "RETENTION_LOGS_DAYS must be 1 or more",
    ]
    with pytest.raises(ConfigError, match="CALLS_DAYS must not be less than RETENTION_EVENTS_DAYS"):
        config.load(config.Retention, {"RETENTION_CALLS_DAYS": "60"})


def test_the_given_up_rows_are_found_by_their_index(provisioned, sql, database_url, process):
    provisioned()
    fill(database_url, "0367", count=3000, age=1)
    sql("UPDATE deliveries SET state = 'failed' WHERE mod(id, 100) = 0 RETURNING 1")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE deliveries")
        [(now,)] = conn.execute("SELECT clock_timestamp() + interval '1 day'").fetchall()
        since = now.replace(year=now.year - 1)
        with counted(process) as sent:
            found = replays.list_given_up(conn, replays.Span(since=since, until=now), limit=10)
        [[[plan]]] = conn.execute(f"EXPLAIN (FORMAT JSON) {sent[0].text}", sent[0].parameters).fetchall()

    assert len(found) == 10
    assert [step for step in steps_of(plan["Plan"]) if step["Node Type"] == "Seq Scan"] == []
