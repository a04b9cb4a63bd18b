"""The lane of history: who sends a row, in which request, and what becomes of it when somebody ends, waits or fails."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from infra.stand_ins.processes import ROOT
from lib.crms import CRMS, RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall
from lib.ledger import send_rows as lanes
from lib.ledger.assemble import assemble
from lib.ledger.crm import Reply
from lib.ledger.deliver import deliver_due
from lib.ledger.send_rows import send_due
from lib.retailcrm import client
from lib.runtime import config
from lib.store import rows
from lib.store.events import NewEvent
from lib.store.rows import Lane
from tests.harness.assembled import counted
from tests.harness.ledger import ROWS, fill, wait, workers
from tests.harness.servers import push_envelope

LANE = Lane(enterprise_number="0367", crm=RETAILCRM.name)
MESSAGE = {"enterprise_number": "0367", "crm": "retailcrm"}


@pytest.fixture
def crm(crm_server, provisioned):
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    provisioned(domain=crm_server.url)
    return crm_server


@pytest.fixture
def published(broker, process):
    """What was published to a topic since."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscriptions = {name: broker.topic(name) for name in ("due-rows", "call-events")}
    return lambda topic: broker.pull(subscriptions[topic])


def send_rows():
    """As the push of the lane does."""
    send_due(LANE, crm=RETAILCRM)


def sizes_of(crm):
    return [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")]


def states(sql):
    return sorted(sql("SELECT state, reason, count(*) FROM deliveries WHERE effect = 'upload' GROUP BY 1, 2"))


def sleeps_for(sql):
    """Seconds until the lane's timer wakes it; None: nothing does."""
    [(seconds,)] = sql("SELECT extract(epoch FROM wake_at - clock_timestamp())::float FROM row_timers")
    return seconds


def end_of_call(sql, call_id, *, state="ready", run_in=0):
    """The call's end is still to be told."""
    sql(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, run_at, expires_at) "
        "SELECT enterprise_number, call_id, 'hangup', external_id, content - ARRAY['date'], %s, "
        "now() + make_interval(secs => %s), now() + interval '1 minute' FROM deliveries WHERE call_id = %s RETURNING id",
        state,
        run_in,
        call_id,
    )


def test_pop_ups_and_rows_share_no_function_and_no_subscription():
    topology = json.loads((ROOT / "infra" / "topology.json").read_text())
    functions = {one["topic"]: one["function"] for one in topology["subscriptions"].values()}

    assert functions["call-events"] == "retailcrm-deliver"
    assert functions["due-rows"] == "retailcrm-upload"
    assert "send_rows" not in (ROOT / "functions" / "retailcrm-deliver" / "main.py").read_text()


def test_a_push_of_the_lane_sends_its_rows_and_none_of_another_crm(crm, sql, database_url, function):
    fill(database_url, "0367", 3)
    sql("UPDATE deliveries SET crm = 'amocrm' WHERE external_id = '1760000000.2' RETURNING id")
    upload = function("retailcrm-upload")

    answers = [
        upload.post("/", json=push_envelope(body)).status_code
        for body in (MESSAGE, {**MESSAGE, "crm": "amocrm"}, {"enterprise_number": "0367"})
    ]

    assert answers == [204, 204, 204]
    assert [row["externalId"] for row in crm.rows("0367")] == ["1760000000.1", "1760000000.3"]
    assert states(sql) == [("delivered", None, 2), ("ready", None, 1)]
    assert len(sql("SELECT id FROM rejected_messages")) == 1, "the message that names no CRM"


def test_a_pop_up_goes_while_the_rows_of_its_enterprise_hang(crm, sql, database_url):
    fill(database_url, "0367", 60)
    [ringing] = fill(database_url, "0367", 1, effect="popup", prefix="1760000001.")
    crm.fault("slow", endpoint="upload", delay_ms=3000)

    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(send_rows) for _ in range(2)]
        deadline = time.monotonic() + 2
        while sql("SELECT count(DISTINCT started_at) FROM attempts") == [(0,)] and time.monotonic() < deadline:
            time.sleep(0.02)
        deliver_due(RETAILCRM, "0367", [ringing])
        still_hanging = [one for one in hanging if not one.done()]

    assert still_hanging
    assert len(crm.events("0367")) == 1


def test_rows_go_in_few_requests_oldest_first_and_then_nothing_wakes_the_lane(crm, sql, database_url):
    fill(database_url, "0367", 120)

    send_rows()

    sent = [row["externalId"] for entry in crm.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert sizes_of(crm) == [50, 50, 20]
    assert sent == [f"1760000000.{n}" for n in range(1, 121)]
    assert sleeps_for(sql) is None


def test_a_lane_that_was_busy_for_long_goes_on_with_a_message_of_its_own(
    crm, sql, database_url, published, monkeypatch
):
    fill(database_url, "0367", 120)
    monkeypatch.setattr(lanes, "LANE_SECONDS", -1.0)

    send_rows()

    assert sizes_of(crm) == [50]
    assert published("due-rows") == [MESSAGE]
    assert sleeps_for(sql) <= 0, "should the message be lost"


def test_a_batch_costs_the_same_whatever_waits_behind_it(crm, database_url, monkeypatch):
    """Blocks of the database that each statement of one batch touches; all of these rows are some tens of thousands."""
    fill(database_url, "0367", 20_000)
    monkeypatch.setattr(lanes, "LANE_SECONDS", -1.0)

    with counted(monkeypatch) as sent:
        send_rows()
    touched = {}
    with psycopg.connect(database_url) as conn:
        for one in (one for one in sent if "deliveries" in one.text):
            [[[explained]]] = conn.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {one.text}", one.parameters
            ).fetchall()
            touched[" ".join(one.text.split())[:70]] = explained["Plan"]["Shared Hit Blocks"]
            conn.rollback()

    assert sizes_of(crm) == [50]
    assert len(touched) >= 5
    assert {text: blocks for text, blocks in touched.items() if blocks > 5000} == {}


def test_a_worker_that_ends_in_the_middle_of_a_batch_leaves_it_to_the_next_one(crm, sql, database_url, monkeypatch):
    fill(database_url, "0367", 120)

    def end(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, "send", end)
        with pytest.raises(KeyboardInterrupt):
            send_rows()
    at_once = sleeps_for(sql)
    send_rows()
    meanwhile, asleep = states(sql), sleeps_for(sql)
    sql("UPDATE deliveries SET lease_until = now() - interval '1 ms' WHERE state = 'leased' RETURNING id")
    send_rows()

    assert at_once <= 0
    assert meanwhile == [("delivered", None, 70), ("leased", None, 50)]
    assert 15 < asleep <= 25
    assert states(sql)[0][::2] == ("delivered", 120)
    assert len(crm.rows("0367")) == 120
    assert sorted(sql("SELECT outcome, count(*) FROM attempts GROUP BY 1")) == [("done", 120), ("in_doubt", 50)]


def test_two_workers_that_draw_from_one_lane_send_every_row_once(crm, sql, database_url):
    fill(database_url, "0367", 400)

    with workers("0367", [ROWS] * 3, rounds=6) as running:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: send_rows(), range(6)))
        wait(running)
    deadline = time.monotonic() + 20
    while states(sql) != [("delivered", None, 400)]:
        assert time.monotonic() < deadline, states(sql)
        send_rows()
        time.sleep(0.2)

    assert sum(sizes_of(crm)) == 400
    assert len(crm.rows("0367")) == 400
    assert sql("SELECT max(attempts_made), count(*) FROM deliveries") == [(1, 400)]


def test_a_row_that_goes_alone_does_not_hold_up_those_behind_it(crm, sql, database_url):
    calls = fill(database_url, "0367", 40)
    sql("UPDATE deliveries SET batch_limit = 1 WHERE call_id = %s RETURNING id", calls[5])

    send_rows()

    assert sizes_of(crm) == [5, 1, 34]
    assert states(sql) == [("delivered", None, 40)]


def test_a_row_waits_for_the_end_of_its_call_and_does_not_hold_up_those_behind_it(crm, sql, database_url):
    calls = fill(database_url, "0367", 120)
    end_of_call(sql, calls[50], state="retry", run_in=40)

    send_rows()

    assert sizes_of(crm) == [50, 50, 19]
    assert sql("SELECT state FROM deliveries WHERE call_id = %s AND effect = 'upload'", calls[50]) == [("ready",)]
    assert 0 < sleeps_for(sql) <= rows.BLOCKED_SECONDS


def test_the_end_of_a_call_wakes_the_lane_for_the_row_that_waited_for_it(crm, sql, database_url, published):
    [call_id] = fill(database_url, "0367", 1)
    [ringing] = fill(database_url, "0367", 1, effect="popup", prefix="1760000001.")
    sql("UPDATE deliveries SET call_id = %s WHERE call_id = %s RETURNING id", call_id, ringing)
    sql("UPDATE calls SET over_at = NULL RETURNING id")

    send_rows()
    before = sizes_of(crm)
    deliver_due(RETAILCRM, "0367", [call_id])
    woken = published("due-rows")
    send_rows()

    assert before == []
    assert woken == [MESSAGE]
    assert [entry["kind"] for entry in crm.entries("0367")] == ["event", "upload"]


def test_a_row_does_not_wait_for_an_end_that_is_no_news_any_more(crm, sql, database_url):
    [call_id] = fill(database_url, "0367", 1)
    end_of_call(sql, call_id, state="retry", run_in=40)
    sql("UPDATE deliveries SET expires_at = now() - interval '1 ms' WHERE effect = 'hangup' RETURNING id")

    send_rows()

    assert sizes_of(crm) == [1]


def test_a_row_whose_call_changed_while_it_failed_is_derived_again_before_it_goes(
    crm, sql, database_url, published, monkeypatch
):
    [call_id] = fill(database_url, "0367", 1, with_events=True)
    sql(
        "INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at) "
        "VALUES ('0367', 'u:1760000000.1', %s, now(), now()) RETURNING call_id",
        call_id,
    )
    sql(
        "UPDATE call_events SET raw_data = raw_data || "
        '\'{"CallStatus": "2", "EndTime": "2026-01-01 10:00:25"}\' RETURNING id'
    )
    recorded = NewEvent(
        event_id=str(uuid4()),
        enterprise_number="0367",
        unique_id="1760000000.1",
        event_type="recording",
        raw={"UniqueId": "1760000000.1"},
        record_url="https://records.example/1.mp3",
        received_at=datetime.now(UTC) - timedelta(minutes=30),
    )

    def change(*_, **__):
        assemble(recorded, crm=None, crms=CRMS)
        return Reply(outcome="busy", http_status=503)

    with monkeypatch.context() as patched:
        patched.setattr(client, "send", change)
        send_rows()
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    published("call-events")
    send_rows()
    before, woken, asleep = sizes_of(crm), published("call-events"), sleeps_for(sql)
    for wake in woken:
        assemble(WakeCall(**wake), crm=None, crms=CRMS)
    due_at_once = sleeps_for(sql)
    send_rows()

    assert before == []
    assert woken == [{"call_id": call_id, "enterprise_number": "0367", "crm": "retailcrm"}]
    assert 0 < asleep <= rows.BLOCKED_SECONDS
    assert due_at_once <= 0
    [row] = crm.rows("0367")
    assert (row["result"], row["recordUrl"]) == ("answered", "https://records.example/1.mp3")


def test_rows_that_must_be_derived_again_are_asked_for_once(crm, sql, database_url, monkeypatch):
    fill(database_url, "0367", 3, with_events=True)
    sql("UPDATE deliveries SET is_stale = true RETURNING 1")
    asked = []
    monkeypatch.setattr(lanes, "_derive_again", lambda lane, call_ids: asked.append(len(call_ids)))

    for _ in range(3):
        send_due(LANE, crm=RETAILCRM)

    assert asked[0] == 3
    assert sum(asked) == 3


def test_a_row_that_is_refused_is_split_off_and_the_others_get_through(crm, sql, database_url):
    calls = fill(database_url, "0367", 50)
    sql(
        'UPDATE deliveries SET content = content || \'{"result": "missed"}\' WHERE call_id = %s RETURNING id',
        calls[36],
    )

    send_rows()

    assert states(sql) == [("delivered", None, 49), ("failed", "permanent", 1)]
    assert sql("SELECT call_id FROM deliveries WHERE state = 'failed'") == [(calls[36],)]
    [(words,)] = sql(
        "SELECT error FROM attempts a JOIN deliveries d ON d.id = a.delivery_id AND a.fence = d.fence "
        "WHERE d.state = 'failed'"
    )
    assert "result" in words
    assert len(crm.rows("0367")) == 49
    assert len(crm.entries("0367", "upload")) <= 14
    refused = [entry["fields"]["calls"] for entry in crm.entries("0367", "upload") if not entry["applied"]]
    assert [len(batch) for batch in refused if len(batch) == 1] == [1]


def test_a_refusal_that_is_no_rows_fault_is_not_split(crm, sql, database_url):
    fill(database_url, "0367", 10)
    crm.fault("success_false", endpoint="upload", error_msg="Telephony not enabled or not supports calls upload")

    send_rows()

    assert len(crm.entries("0367", "upload")) == 1
    assert states(sql) == [("retry", "account_refused", 10)]


def test_a_batch_in_doubt_is_sent_again_whole_and_every_row_is_held_once(crm, sql, database_url):
    fill(database_url, "0367", 20)
    crm.fault("ok_then_rst", endpoint="upload", requests=1)

    send_rows()
    doubted = states(sql)
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    send_rows()

    assert doubted == [("retry", "in_doubt", 20)]
    assert states(sql) == [("delivered", None, 20)]
    assert sizes_of(crm) == [20, 20]
    assert len(crm.rows("0367")) == 20
    assert sorted(sql("SELECT outcome, count(*) FROM attempts GROUP BY 1")) == [("done", 20), ("in_doubt", 20)]


def test_a_batch_that_breaks_the_crm_is_sent_again_in_parts(crm, sql, database_url):
    fill(database_url, "0367", 20)
    crm.fault("error_500", endpoint="upload", requests=1)

    send_rows()
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    send_rows()

    assert sizes_of(crm) == [20, 10, 10]
    assert states(sql) == [("delivered", None, 20)]


def test_rows_of_an_integration_that_is_switched_off_are_not_sent(crm, sql, provisioned, database_url):
    calls = fill(database_url, "0367", 120)
    sql("UPDATE deliveries SET is_stale = true WHERE call_id = %s RETURNING id", calls[3])
    end_of_call(sql, calls[4], state="retry", run_in=40)
    provisioned(domain=crm.url, enabled=False)
    enterprise_cache().invalidate("0367")

    send_rows()

    assert states(sql) == [("superseded", "integration_disabled", 120)]
    assert crm.entries("0367") == []


def test_rows_of_an_enterprise_that_is_gone_wait_until_they_are_too_old(crm, sql, database_url):
    calls = fill(database_url, "0367", 3)
    sql("UPDATE deliveries SET expires_at = now() - interval '1 s' WHERE call_id = %s RETURNING id", calls[0])
    sql("DELETE FROM enterprises RETURNING number")
    enterprise_cache().invalidate("0367")

    send_rows()

    assert crm.entries("0367") == []
    assert states(sql) == [("expired", "enterprise_gone", 1), ("ready", None, 2)]
    assert 3000 < sleeps_for(sql) <= 3600


def test_what_a_dead_worker_left_of_an_enterprise_that_is_gone_expires(crm, sql, database_url):
    fill(database_url, "0367", 1)
    sql(
        "UPDATE deliveries SET state = 'leased', lease_until = now() - interval '1 day', "
        "expires_at = now() - interval '1 hour' RETURNING 1"
    )
    sql("DELETE FROM enterprises WHERE number = '0367' RETURNING 1")
    enterprise_cache.forget()

    send_due(LANE, crm=RETAILCRM)

    assert sql("SELECT state FROM deliveries") == [("expired",)]


def test_a_row_that_nobody_wants_any_more_expires_and_the_others_go(crm, sql, database_url):
    calls = fill(database_url, "0367", 3)
    sql("UPDATE deliveries SET expires_at = now() - interval '1 s' WHERE call_id = %s RETURNING id", calls[0])

    send_rows()

    assert states(sql) == [("delivered", None, 2), ("expired", "expired", 1)]
    assert sizes_of(crm) == [2]


def test_a_row_that_is_entered_while_the_lane_goes_to_sleep_keeps_its_timer(crm, sql, database_url):
    """Whoever enters it has not committed when the lane finds nothing; should its message be lost, the timer is all."""
    [call_id] = fill(database_url, "0367", 1)
    sql("UPDATE deliveries SET state = 'superseded', reason = 'withdrawn', finished_at = now() RETURNING id")
    with psycopg.connect(database_url) as entering, ThreadPoolExecutor(1) as pool:
        entering.execute("UPDATE deliveries SET state = 'ready', reason = NULL WHERE call_id = %s", [call_id])
        rows.wake(entering, LANE)
        sending = pool.submit(send_rows)
        waiting_for_a_lock(sql)
        entering.commit()
        sending.result(10)

    assert states(sql) == [("ready", None, 1)]
    assert sleeps_for(sql) <= 0


def test_who_marks_rows_stale_and_who_has_sent_them_lock_them_in_the_same_order(crm, sql, database_url, monkeypatch):
    calls = fill(database_url, "0367", 2)
    [(first,), (second,)] = sql("SELECT id FROM deliveries ORDER BY id")
    marked = []
    with (
        psycopg.connect(database_url) as marking,
        psycopg.connect(database_url) as holding,
        ThreadPoolExecutor(2) as pool,
    ):

        def change(*_, **__):
            holding.execute("SELECT FROM deliveries WHERE id = %s FOR UPDATE", [second])
            marked.append(pool.submit(rows.mark_stale, marking, calls[::-1]))
            waiting_for_a_lock(sql)
            return Reply(outcome="done", http_status=200)

        monkeypatch.setattr(client, "send", change)
        sending = pool.submit(send_rows)
        waiting_for_a_lock(sql, 2)
        holding.commit()
        marked[0].result(10)
        marking.commit()
        sending.result(10)

    assert first < second
    assert states(sql) == [("delivered", None, 2)]


def waiting_for_a_lock(sql, count=1):
    """Until so many others stand in a queue of the database."""
    deadline = time.monotonic() + 5
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while sql(query)[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
