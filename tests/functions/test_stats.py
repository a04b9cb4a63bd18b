"""`GET /stats`: how many deliveries are in which state, at a cost that does not grow with the ledger."""

from __future__ import annotations

import re

import psycopg
import pytest

from lib.store.states import STATES
from tests.conftest import OPERATOR_TOKEN
from tests.harness.assembled import counted

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@pytest.fixture
def ledger(provisioned, database_url):
    """Deliveries of ten calls, so many of each state and age."""
    provisioned()

    def fill(*, count, state, age_seconds=0):
        is_finished = state in STATES[5:]
        with psycopg.connect(database_url) as conn:
            conn.execute(
                """
                WITH call AS (
                    INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at,
                                       last_event_at)
                    SELECT '0367', n::text, 'in', now(), now(), now() FROM generate_series(1, %(count)s) n
                    RETURNING id)
                INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, lease_until,
                                        created_at, finished_at)
                SELECT '0367', id, 'popup', id::text, '{}', %(state)s, CASE WHEN %(state)s = 'leased' THEN now() END,
                       now() - make_interval(secs => %(age)s),
                       CASE WHEN %(finished)s THEN now() - make_interval(secs => %(age)s) END
                FROM call
                """,
                {"count": count, "state": state, "age": age_seconds, "finished": is_finished},
            )

    return fill


def test_every_state_is_counted_the_live_ones_exactly_and_the_finished_ones_of_the_last_hour(function, ledger):
    for number, state in enumerate(STATES[:-1], start=1):
        ledger(count=number, state=state, age_seconds=60)
        ledger(count=10, state=state, age_seconds=3 * 86_400)

    stats = function("sweep-calls").get("/stats", headers=OPERATOR).get_json()

    assert stats["deliveries"] == {
        **{state: 10 + number for number, state in enumerate(STATES[:5], start=1)},
        **{state: number for number, state in enumerate(STATES[5:-1], start=6)},
        "superseded": 0,
    }
    assert stats["deliveries_finished_within_seconds"] == 3600


def test_the_states_are_those_of_the_table(sql):
    [(check,)] = sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'deliveries_state_check'")

    assert sorted(re.findall(r"'(\w+)'::text", check)) == sorted(STATES)


def test_counting_reads_no_delivery_that_was_finished_long_ago(function, ledger, database_url, process):
    ledger(count=20_000, state="delivered", age_seconds=3 * 86_400)
    ledger(count=50, state="delivered", age_seconds=60)
    ledger(count=50, state="retry")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE deliveries")

    with counted(process) as sent:
        function("sweep-calls").get("/stats", headers=OPERATOR)

    [statement] = [one for one in sent if "FROM deliveries" in one.text and "GROUP BY state" in one.text]
    with psycopg.connect(database_url) as conn:
        plan = conn.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters).fetchall()[0][0][0]["Plan"]
    assert "Seq Scan" not in {step["Node Type"] for step in steps_of(plan)}


def steps_of(plan):
    return [plan, *(step for part in plan.get("Plans", ()) for step in steps_of(part))]


def test_recovered_events_that_wait_are_counted_apart_from_those_that_nobody_worked_on(function, provisioned, sql):
    provisioned()
    for wake_at, count in (("infinity", 3), ("now", 2)):
        sql(
            "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at, "
            "received_at) SELECT gen_random_uuid(), '0367', n::text, 'bridge', '{}', sha256((%s || n)::bytea), "
            "%s::timestamptz, now() - interval '2 minutes' FROM generate_series(1, %s) n RETURNING 1",
            wake_at,
            wake_at,
            count,
        )

    stats = function("sweep-calls").get("/stats", headers=OPERATOR).get_json()

    assert stats["recovered_events_waiting"] == 3
    assert stats["led_to_nothing"]["waiting"] == 2
