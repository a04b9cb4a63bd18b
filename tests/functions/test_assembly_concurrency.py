"""Assembly by many processes at once, in the midst of a thousand calls, and what it costs."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from lib import db
from lib.assembly import assemble
from lib.store import calls, deliveries
from tests.assembled import Desk, counted, ended, with_copies
from tests.unit.calls import playback
from tests.unit.calls.streams import CUSTOMER, Stream

_, SCENARIOS = playback.load()
BY_ID = {scenario["id"]: scenario for scenario in SCENARIOS}


@pytest.fixture
def desk(process, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    return Desk(number="0367", sql=sql)


def waiting_for_locks(sql, count):
    """Until so many others stand in a queue of the database."""
    deadline = time.monotonic() + 5
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while sql(query)[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_event_whose_call_became_part_of_another_while_it_waited_goes_there_too(desk, sql, database_url):
    stream = Stream(epoch=int(time.time()) - 60)
    first, second = stream.id(0), stream.id(1)
    stream.start(0, first).joins(5, second, "SIP/0001301-0000000b", "B", "300", "300")
    desk.assemble_all(desk.store(stream.scenario(first)))
    ids = [call_id for (call_id,) in sql("SELECT id FROM calls ORDER BY id")]
    stream.events.clear()
    bridge, leave = desk.messages(
        stream.joins(6, first, "SIP/0001301-0000000a", "B", CUSTOMER, "300")
        .hangup(7, second, 2, "0", ["152"], "151", started=None)
        .scenario(first)
    )

    with ThreadPoolExecutor(2) as pool, psycopg.connect(database_url) as other:
        other.execute("SELECT FROM calls WHERE id = %s FOR UPDATE", [ids[1]])
        joining = pool.submit(assemble, bridge)
        waiting_for_locks(sql, 1)
        following = pool.submit(assemble, leave)
        waiting_for_locks(sql, 2)
        other.rollback()
        joining.result(10), following.result(10)

    assert len(ids) == 2
    assert sql("SELECT main_unique_id FROM calls") == [(first,)]
    assert desk.disorder() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_messages_that_nobody_stored_yet_on_sixteen_threads_lose_nothing_and_never_block_each_other(
    desk, crm_server, sql, seed
):
    """The worst of all: intake had no database, so every event first shows when its own message comes."""
    chance = random.Random(seed)
    messages = []
    for tag, scenario in enumerate(chance.sample(SCENARIOS, 8)):
        names = {CUSTOMER: f"3752933{tag:05}"}
        messages += desk.messages(ended(scenario, ago=3, tag=tag + 1, names=names))
    desk.assemble_all(with_copies(messages, chance), threads=16)
    desk.assemble_all(with_copies(desk.wakes(), chance), threads=16)

    calls, _ = desk.judged()
    assert {(one.main, one.events) for one in desk.held()} == {(one.main, one.events) for one in calls}
    assert desk.disorder() == []
    told = [row["externalId"] for row in crm_server.rows("0367")]
    assert len(told) == len(set(told)) == len(crm_server.entries("0367", "upload"))
    assert not [failure for failure in desk.failures if "Deadlock" in failure]


def test_a_call_that_ends_while_its_pop_ups_are_sent_never_blocks_its_delivery(desk):
    """Sixty short calls, each with its events on different threads at one moment."""
    messages = []
    for tag in range(60):
        stream = Stream(epoch=int(time.time()) - 2)
        main, phone = stream.id(tag), f"3752933{tag:05}"
        stream.start(0, main, phone).dial(0.1, main, ["150"], phone).dial(0.2, main, ["151"], phone)
        stream.dial(0.3, main, ["152"], phone).hangup(2, main, 0, "0", [""], phone)
        messages += desk.messages(stream.scenario(main))
    desk.assemble_all(messages, threads=16)
    desk.wake()

    assert not [failure for failure in desk.failures if "Deadlock" in failure]
    assert desk.held() == desk.judged()[0]
    assert desk.disorder() == []


def ringing(desk):
    """A call whose pop-up nobody has begun to send."""
    stream = Stream(epoch=int(time.time()) - 2)
    stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150", "151"])
    desk.assemble_all(desk.store(stream.scenario(stream.id(0))), deliver=False)
    [(call_id,)] = desk.sql("SELECT id FROM calls")
    return call_id


def test_who_begins_to_send_waits_for_who_decides_about_the_call(desk, sql):
    call_id = ringing(desk)

    with ThreadPoolExecutor(1) as pool, db.transaction() as deciding:
        calls.lock_calls(deciding, "0367", [call_id])
        claim = pool.submit(claim_next, call_id)
        waiting_for_locks(sql, 1)
        deliveries.withdraw_popups(deciding, call_id, reason="call_over")
    assert claim.result(10) is None
    assert sql("SELECT state, reason FROM deliveries") == [("expired", "call_over")]


def test_who_has_sent_waits_for_who_joins_calls_and_what_is_left_to_do_is_timed_at_the_joined_one(desk, sql):
    call_id = ringing(desk)
    claim = claim_next(call_id)
    [(joined,)] = sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at) "
        "VALUES ('0367', '', 'in', now(), now(), now()) RETURNING id"
    )

    def finish():
        with db.transaction() as conn:
            retry = deliveries.Result(outcome="busy", state="retry", reason="busy", retry_in_seconds=1)
            return deliveries.finish(conn, claim, retry)

    with ThreadPoolExecutor(1) as pool, db.transaction() as deciding:
        calls.lock_calls(deciding, "0367", [call_id, joined])
        finished = pool.submit(finish)
        waiting_for_locks(sql, 1)
        deliveries.move_deliveries(deciding, [claim.delivery.id], joined)

    assert finished.result(10)
    assert sql("SELECT call_id, state FROM deliveries") == [(joined, "retry")]
    assert sql("SELECT next_wake_at = run_at FROM calls c JOIN deliveries ON call_id = c.id") == [(True,)]


def claim_next(call_id):
    with db.transaction() as conn:
        return deliveries.claim_next(conn, call_id, lease_seconds=25)
