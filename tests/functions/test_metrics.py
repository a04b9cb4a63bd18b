"""`GET /metrics`: who may read it, and that what happens is counted."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from lib.runtime import db
from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.enterprises import TOKEN
from tests.harness.metrics import Metrics

FUNCTIONS = sorted(path.parent.name for path in Path("functions").glob("*/main.py"))


@pytest.fixture
def gateway(function, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    provisioned("0367", domain=crm_server.url)
    return Gateway(function, sql)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_tells_the_operator_and_nobody_else(function, administered, name):
    client = function(name)

    assert client.get("/dispatch/../metrics").status_code == 404
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer guessed"}).status_code == 403
    told = Metrics.of(client)
    again = Metrics.of(client)

    assert "process_resident_memory_bytes" in told.names
    route = {"route": "GET /metrics", "status": "200"}
    assert again("gateway_requests_total", **route) == told("gateway_requests_total", **route) + 1
    assert ("gateway_waiting" in told.names) == (name == "sweep-calls")


def test_events_are_counted_by_type_and_answer(function, provisioned, process):
    provisioned()
    client = function("dispatch-call-event")
    before = Metrics.of(client)
    event = {"token": TOKEN, "uniqueId": "1760000000.1", "event_type": "dial", "raw": {"UniqueId": "1760000000.1"}}

    client.post("/dispatch/call-event", json=event)
    client.post("/dispatch/call-event", json=event)
    client.post("/dispatch/call-event", json={**event, "token": "nobody's"})
    client.post("/dispatch/call-event", json={**event, "event_type": "of a stranger"})
    client.post("/hangup", json={"Token": TOKEN, "UniqueId": "1760000000.1"})
    client.post("/dispatch/call-events", json={"token": TOKEN, "events": [{**event, "event_type": "start"}, {}]})

    after = Metrics.of(client)
    counted = {
        (labels["type"], labels["answer"]): value - before("gateway_events_total", **labels)
        for name, pairs in after.values
        if name == "gateway_events_total" and (labels := dict(pairs))
        for value in [after(name, **labels)]
    }
    assert {key: value for key, value in counted.items() if value} == {
        ("dial", "stored"): 1,
        ("dial", "copy"): 1,
        ("dial", "unknown_token"): 1,
        ("unknown", "invalid_payload"): 2,
        ("hangup", "stored"): 1,
        ("start", "stored"): 1,
    }


def test_an_event_that_is_neither_stored_nor_published_counts_as_lost(function, provisioned, process):
    provisioned()
    client = function("dispatch-call-event")
    client.post("/hangup", json={"Token": TOKEN, "UniqueId": "1760000000.1"})
    before = Metrics.of(client)
    db.close()
    process.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/gateway")
    from lib.runtime import config

    config.current.cache_clear()

    assert client.post("/hangup", json={"Token": TOKEN, "UniqueId": "1760000000.2"}).status_code == 503

    after, lost = Metrics.of(client), {"type": "hangup", "answer": "unavailable"}
    assert after("gateway_events_total", **lost) == before("gateway_events_total", **lost) + 1
    assert after("gateway_pool_errors_total") >= 1


def test_a_pop_up_is_measured_from_the_receipt_of_its_event_and_every_attempt_is_counted(gateway, function):
    client = function("retailcrm-deliver")
    before = Metrics.of(client)
    attempt = {"crm": "retailcrm", "effect": "popup", "outcome": "done"}

    message = gateway.take("dial", Phone="+375291111111", CallType=0, Trunk="0001301", Extensions=["151"])
    threading.Event().wait(0.3)
    assert gateway.push(message) == 204

    after = Metrics.of(client)
    assert after("gateway_attempts_total", **attempt) == before("gateway_attempts_total", **attempt) + 1
    assert (
        after("gateway_popup_seconds_count", crm="retailcrm")
        == before("gateway_popup_seconds_count", crm="retailcrm") + 1
    )
    took = after("gateway_popup_seconds_sum", crm="retailcrm") - before("gateway_popup_seconds_sum", crm="retailcrm")
    assert 0.3 <= took < 15


def test_what_the_cache_and_the_pool_did_is_told(gateway, function):
    client = function("dispatch-call-event")
    before = Metrics.of(client)
    gateway.take("start", Phone="+375291111111", CallType=0, Trunk="0001301")
    gateway.take("hangup", **gateway.missed_body())
    from lib.enterprises.cache import enterprise_cache

    enterprise_cache().invalidate("0367")

    after = Metrics.of(client)
    assert after("gateway_cache_misses_total") >= 1
    assert after("gateway_cache_hits_total") >= 1
    assert after("gateway_cache_invalidations_total") >= before("gateway_cache_invalidations_total") + 1
    loads = "gateway_cache_load_seconds_count"
    assert after(loads, what="one") + after(loads, what="all") > before(loads, what="one") + before(loads, what="all")
    assert after("gateway_pool_asked_total") >= 2
    assert after("gateway_pool_connections", state="used") + after("gateway_pool_connections", state="idle") >= 1


def test_guesses_of_tokens_are_counted(function, provisioned):
    provisioned()
    client = function("dispatch-call-event")
    for guess in range(12):
        client.post("/hangup", json={"Token": f"guess {guess}", "UniqueId": "1.1"})

    told = Metrics.of(client)
    assert told("gateway_guesses_total", what="token", result="wrong") >= 10
    assert told("gateway_guesses_total", what="token", result="refused") >= 1


def test_sweep_calls_tells_what_the_database_alone_knows(function, provisioned, database_url, sql):
    provisioned()
    with psycopg.connect(database_url, autocommit=True) as conn:
        for wake_at, age in (("infinity", 600), ("now", 90)):
            conn.execute(
                "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, "
                "wake_at, received_at) VALUES (gen_random_uuid(), '0367', '1', 'bridge', '{}', sha256(%s::bytea), "
                "%s::timestamptz, now() - make_interval(secs => %s))",
                [wake_at, wake_at, age],
            )
        # Of an enterprise that is gone: nobody will ever assemble it.
        conn.execute(
            "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at, "
            "received_at) VALUES (gen_random_uuid(), '0999', '1', 'bridge', '{}', '', now(), now() - interval '1 day')"
        )
        conn.execute(
            "WITH call AS (INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, "
            "  last_event_at) VALUES ('0367', '1.1', 'in', now(), now(), now()) RETURNING id) "
            "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, created_at, finished_at)"
            "SELECT '0367', id, effect, id || effect || state, '{}', state, now() - interval '1 hour',"
            "  CASE state WHEN 'retry' THEN NULL ELSE now() - age END "
            "FROM call, (VALUES ('upload', 'retry', interval '0'), ('upload', 'failed', interval '1 minute'), "
            "  ('popup', 'expired', interval '1 minute'), ('popup', 'in_doubt', interval '2 hours')) one (effect, state, age)"
        )
        for reason, replayed in (
            ("Given up by call-events.retailcrm-deliver after 50 attempts", None),
            ("Given up by call-events.retailcrm-deliver after 50 attempts", "now"),
            ("Given up by ticks.sweep-calls after 50 attempts", None),
            ("event: must be an object", None),
        ):
            conn.execute(
                "INSERT INTO rejected_messages (source, reason, raw, replayed_at) VALUES ('x', %s, '', %s::timestamptz)",
                [reason, replayed],
            )
        conn.execute(
            "INSERT INTO crm_gates (account, away_since, ask_at, pauses) VALUES ('http://a', now() - interval '1 minute', now(), '{}'), "
            """('http://b', NULL, NULL, '{"0367": {"credentials": "00", "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}}')"""
        )

    told = Metrics.of(function("sweep-calls"))

    assert told("gateway_figures_read") == 1
    assert {lane: told("gateway_waiting", lane=lane) for lane in ("live", "recovered", "rows")} == {
        "live": 1,
        "recovered": 1,
        "rows": 1,
    }
    assert told("gateway_waiting_oldest_seconds", lane="live") == pytest.approx(90, abs=30)
    assert told("gateway_waiting_oldest_seconds", lane="recovered") == pytest.approx(600, abs=30)
    assert told("gateway_waiting_oldest_seconds", lane="rows") == pytest.approx(3600, abs=30)
    assert told("gateway_finished_deliveries", effect="upload", state="failed") == 1
    assert told("gateway_finished_deliveries", effect="popup", state="expired") == 1
    assert told("gateway_finished_deliveries", effect="popup", state="in_doubt") == 0
    assert told("gateway_rejected_messages", kind="dead_letter") == 1
    assert told("gateway_rejected_messages", kind="rejected") == 1
    assert (told("gateway_accounts", **{"is": "asked"}), told("gateway_accounts", **{"is": "away"})) == (2, 1)
    assert told("gateway_account_away_seconds") == pytest.approx(60, abs=30)
    assert told("gateway_paused_enterprises", reason="authentication") == 1
    assert told("gateway_paused_seconds") > 86_400


def test_while_the_database_is_away_the_metrics_say_so_in_time(function, process):
    process.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/gateway")
    from lib.runtime import config

    config.current.cache_clear()

    told = Metrics.of(function("sweep-calls"))

    assert told("gateway_figures_read") == 0
    assert "gateway_figures_read" in told.names
    assert "gateway_waiting" not in told.names
