"""Assembly by many processes at once, in the midst of a thousand calls, and what it costs."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from lib.calls.event import RawEvent, parse
from lib.calls.linking import link_keys
from lib.crms import CRMS, RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.intake.messages import WakeCall
from lib.ledger import assemble as assembling
from lib.ledger import deliver, derive
from lib.ledger import wake as waking
from lib.ledger.assemble import assemble
from lib.ledger.crm import Reply
from lib.ledger.wake import wake
from lib.runtime import config, db
from lib.runtime.errors import Unavailable
from lib.store import calls as call_store
from lib.store import deliveries, neighbourhood, notices, rows
from lib.store import events as event_store
from lib.store.rows import Lane
from tests.harness.assembled import Desk, counted, ended, with_copies
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


def plan(message):
    """Assembles without claiming."""
    return assemble(message, crm=None, crms=CRMS)


def test_an_event_that_comes_while_its_call_becomes_part_of_another_is_left_to_who_joins_them(desk, sql, database_url):
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

    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url) as other:
        other.execute("SELECT FROM calls WHERE id = %s FOR UPDATE", [ids[1]])
        joining = pool.submit(wake, bridge, crm=RETAILCRM, crms=CRMS)
        waiting_for_locks(sql, 1)
        following = plan(leave)
        is_left = sql("SELECT call_id FROM call_events WHERE event_id = %s", leave.event_id)
        other.rollback()
        joining.result(10)

    assert len(ids) == 2
    assert not following.is_ours, "it did not wait"
    assert is_left == [(None,)]
    assert sql("SELECT main_unique_id FROM calls") == [(first,)]
    assert desk.disorder() == []


def test_a_call_that_wakes_while_its_enterprise_is_busy_sends_what_it_has_due_at_once(desk, crm_server, sql):
    call_id = ringing(desk)

    with db.transaction() as busy:
        assert neighbourhood.turn(neighbourhood.take_turn(busy, "0367")).is_ours
        wake(WakeCall(enterprise_number="0367", call_id=call_id), crm=RETAILCRM, crms=CRMS)

    assert [told["type"] for told in crm_server.events("0367")] == ["in"]


def test_one_enterprise_at_work_does_not_keep_another_from_it(desk, provisioned, sql):
    provisioned("0368", token="another-token")
    another = Desk(number="0368", sql=sql)
    stream = Stream(epoch=int(time.time()) - 60)
    [message] = another.messages(stream.start(0, stream.id(0)).scenario(""))

    with db.transaction() as busy:
        assert neighbourhood.turn(neighbourhood.take_turn(busy, "0367")).is_ours
        done = plan(message)

    assert done.is_ours
    assert another.disorder() == []


@pytest.mark.parametrize("is_marked", [True, False])
def test_an_event_left_while_pop_ups_go_out_is_published_again_and_one_under_way_is_not(
    desk, crm_server, broker, process, is_marked
):
    """Nobody waits for the CRM of the call before; should the message be lost, the sweep finds the event."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscription = broker.topic("call-events")
    stream = Stream(epoch=int(time.time()) - 2)
    [start, dial] = desk.messages(stream.start(0, stream.id(0)).dial(1, stream.id(0), ["150"]).scenario(stream.id(0)))
    stream.events.clear()
    [late] = desk.messages(stream.start(1, stream.id(5), "375293333333").scenario(""))
    plan(start)
    left = waking._tell

    def tell(done, crm, number):
        assert [one.event_id for one in desk.lost()] == [late.event_id]
        left(done, crm, number)

    find_left = neighbourhood.find_left

    def find(conn, number):
        with db.transaction() as other:
            event_store.insert_event(other, late)
            if is_marked:
                neighbourhood.leave(other, late.event_id)
        return find_left(conn, number)

    process.setattr(neighbourhood, "find_left", find)
    process.setattr(waking, "_tell", tell)
    wake(dial, crm=RETAILCRM, crms=CRMS)

    assert [told["type"] for told in crm_server.events("0367")] == ["in"]
    published = [message["event"]["event_id"] for message in broker.pull(subscription) if "event" in message]
    assert (late.event_id in published) == is_marked


def test_an_event_that_comes_while_another_process_has_the_turn_is_left_to_it(desk, database_url):
    stream = Stream(epoch=int(time.time()) - 2)
    [start] = desk.store(stream.start(0, stream.id(0)).scenario(stream.id(0)))
    with psycopg.connect(database_url) as other:
        neighbourhood.take_turn(other, "0367").fetchone()
        wake(start, crm=RETAILCRM, crms=CRMS)
        with db.connection() as conn:
            left = neighbourhood.left(neighbourhood.find_left(conn, "0367"), "0367")

    assert left is not None
    assert left.event_id == start.event_id


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
    desk.wake()

    calls, _ = desk.judged()
    assert {(one.main, one.events) for one in desk.held()} == {(one.main, one.events) for one in calls}
    assert desk.disorder() == []
    told = [row["externalId"] for row in crm_server.rows("0367")]
    sent = [row["externalId"] for entry in crm_server.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert len(told) == len(set(told)) == len(sent)
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
        notices.lock_calls(deciding, [call_id])
        claim = pool.submit(claim_due, call_id)
        waiting_for_locks(sql, 1)
        deliveries.withdraw_popups(deciding, call_id, crm="retailcrm", reason="call_over")
    assert claim.result(10) == []
    assert sql("SELECT state, reason FROM deliveries") == [("expired", "call_over")]


def test_who_has_sent_waits_for_who_joins_calls_and_what_is_left_to_do_is_timed_at_the_joined_one(desk, sql):
    call_id = ringing(desk)
    [outgoing] = claim_due(call_id)
    [(joined,)] = sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at) "
        "VALUES ('0367', '', 'in', now(), now(), now()) RETURNING id"
    )

    with ThreadPoolExecutor(1) as pool, db.transaction() as deciding:
        notices.lock_calls(deciding, [call_id, joined])
        finished = pool.submit(deliver.finish, outgoing, Reply(outcome="busy", http_status=429))
        waiting_for_locks(sql, 1)
        deliveries.move_deliveries(deciding, [outgoing.claim.delivery.id], joined)

    finished.result(10)
    assert sql("SELECT call_id, state FROM deliveries") == [(joined, "retry")]
    assert sql("SELECT outcome FROM attempts") == [("busy",)]
    assert sql("SELECT next_wake_at = run_at FROM calls c JOIN deliveries ON call_id = c.id") == [(True,)]


def claim_due(*call_ids):
    """What may be sent now."""
    return list(deliver.claim_due(RETAILCRM, enterprise_cache().by_number("0367"), call_ids).outgoing)


def test_calls_that_are_both_being_told_of_become_one_when_the_first_answer_is_in(desk, sql):
    stream = Stream(epoch=int(time.time()) - 5)
    first, second = stream.id(0), stream.id(1, 1)
    stream.start(0, first).dial(1, first, ["150"])
    stream.start(2, second).dial(3, second, ["151"])
    desk.assemble_all(desk.store(stream.scenario(first)), deliver=False)
    claims = claim_due(*(call_id for (call_id,) in sql("SELECT id FROM calls")))
    stream.events.clear()
    stream.joins(4, first, "SIP/0001301-0000000a", "B", CUSTOMER, "151")
    stream.joins(4, second, "SIP/0001301-0000000b", "B", CUSTOMER, "150")
    bridge, other = desk.messages(stream.scenario(first))
    plan(bridge)
    with pytest.raises(Unavailable):
        plan(other)
    deliver.finish(claims[0], Reply(outcome="done", http_status=200))
    plan(other)

    assert len(claims) == 2
    assert sql("SELECT main_unique_id FROM calls") == [(first,)]
    assert sql("SELECT state FROM deliveries WHERE effect = 'popup' ORDER BY id") == [("delivered",), ("leased",)]
    assert desk.disorder() == []


def test_calls_whose_rows_are_both_being_sent_become_one_at_once(desk, sql):
    stream = Stream(epoch=int(time.time()) - 300)
    first, second = stream.id(0), stream.id(1, 1)
    stream.start(0, first).dial(1, first, ["150"]).hangup(20, first, 0, "0", [""])
    stream.start(2, second).dial(3, second, ["151"]).hangup(25, second, 0, "0", [""])
    desk.assemble_all(desk.store(stream.scenario(first)), deliver=False)
    with db.transaction() as conn:
        lane = Lane(enterprise_number="0367", crm="retailcrm")
        claimed = rows.claim(conn, lane, limit=50, lease_seconds=25).fetchall()
    stream.events.clear()
    stream.joins(15, first, "SIP/0001301-0000000a", "B", CUSTOMER, "151")
    stream.joins(16, second, "SIP/0001301-0000000b", "B", CUSTOMER, "150")
    desk.assemble_all(desk.messages(stream.scenario(first)), deliver=False)
    with db.transaction() as conn:
        done = deliveries.Result(outcome="done", state="delivered")
        finished = deliveries.finish(conn, [one.claim for one in claimed], [done] * 2).fetchall()

    assert sql("SELECT main_unique_id FROM calls") == [(first,)]
    assert len(finished) == 2
    assert all(one.is_stale for one in finished), "what was sent is compared with what the call has become"
    assert desk.disorder() == []


def two_that_are_being_told_of(desk, sql):
    """Claimed pop-ups of two calls, and the stored events that make them one."""
    stream = Stream(epoch=int(time.time()) - 5)
    first, second = stream.id(0), stream.id(1, 1)
    stream.start(0, first).dial(1, first, ["150"])
    stream.start(2, second).dial(3, second, ["151"])
    desk.assemble_all(desk.store(stream.scenario(first)), deliver=False)
    assert len(claim_due(*(call_id for (call_id,) in sql("SELECT id FROM calls")))) == 2
    stream.events.clear()
    stream.joins(4, first, "SIP/0001301-0000000a", "B", CUSTOMER, "151")
    stream.joins(4, second, "SIP/0001301-0000000b", "B", CUSTOMER, "150")
    return desk.store(stream.scenario(first))


def test_calls_that_are_both_being_told_of_hold_up_nothing_but_who_joins_them(desk, sql):
    first, second = two_that_are_being_told_of(desk, sql)
    other = Stream(epoch=int(time.time()) - 2)
    unrelated = desk.store(
        other.start(0, other.id(77), "375299999999").dial(1, other.id(77), ["152"], "375299999999").scenario("")
    )

    assert all(plan(message).is_ours for message in unrelated)
    plan(first)
    with pytest.raises(Unavailable):
        plan(second)


def test_a_left_event_that_must_wait_does_not_nack_the_message_of_another_event(desk, sql):
    joining = two_that_are_being_told_of(desk, sql)
    for message in joining:
        with db.connection() as conn:
            neighbourhood.leave(conn, message.event_id)
    other = Stream(epoch=int(time.time()) - 300)
    [unrelated] = desk.store(other.start(0, other.id(77), "375299999999").scenario(""))

    wake(unrelated, crm=RETAILCRM, crms=CRMS)

    assert {message.event_id for message in desk.lost()} & {message.event_id for message in joining}
    assert sql("SELECT count(*) FROM calls WHERE customer = '+375299999999'") == [(1,)]


def test_a_left_event_that_fails_does_not_nack_the_message_of_another_event(desk, sql, monkeypatch):
    stream = Stream(epoch=int(time.time()) - 300)
    [broken] = desk.store(stream.start(0, stream.id(0)).scenario(""))
    with db.connection() as conn:
        neighbourhood.leave(conn, broken.event_id)
    other = Stream(epoch=int(time.time()) - 300)
    [unrelated] = desk.store(other.start(0, other.id(77), "375299999999").scenario(""))
    parse = derive.parsed

    def parsed(event):
        if event.event_id == broken.event_id:
            raise ValueError("a bug in the rules")
        return parse(event)

    for module in (assembling, derive):
        monkeypatch.setattr(module, "parsed", parsed)

    wake(unrelated, crm=RETAILCRM, crms=CRMS)

    assert [message.event_id for message in desk.lost()] == [broken.event_id]
    assert sql("SELECT count(*) FROM calls WHERE customer = '+375299999999'") == [(1,)]


def test_what_a_dead_worker_left_does_not_keep_two_calls_apart(desk, sql):
    joining = two_that_are_being_told_of(desk, sql)
    sql("UPDATE deliveries SET lease_until = now() - interval '1 minute' RETURNING 1")

    for message in joining:
        plan(message)

    assert sql("SELECT count(*) FROM calls") == [(1,)]
    assert sql("SELECT DISTINCT state FROM deliveries WHERE effect = 'popup'") != [("leased",)]
    assert desk.disorder() == []


def test_who_was_refused_the_turn_does_not_hold_it(desk, sql, database_url):
    """Its second statement comes when the turn is free again."""
    [message] = desk.store(Stream(epoch=int(time.time())).start(0, "1.1").scenario(""))
    question = neighbourhood.Question(enterprise_number="0367", event_id=message.event_id)
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url) as refused:
        assert neighbourhood.turn(neighbourhood.take_turn(holder, "0367")).is_ours
        is_ours = neighbourhood.turn(neighbourhood.take_turn(refused, "0367")).is_ours
        holder.commit()
        found = neighbourhood.found(neighbourhood.read(refused, question, []), "0367")
        with db.transaction() as third:
            can_be_had = neighbourhood.turn(neighbourhood.take_turn(third, "0367")).is_ours

    assert not is_ours
    assert found.is_stored
    assert can_be_had


def test_the_end_of_a_call_and_the_assembly_of_another_do_not_wait_for_each_other(desk, sql, database_url):
    """A message of a call that was assembled comes again, while a row of another one is corrected."""
    stream = Stream(epoch=int(time.time()) - 300)
    one, other, phone = stream.id(0), stream.id(1, 100), "375298888888"
    stream.start(0, one).dial(1, one, ["150"]).hangup(20, one, 0, "0", [""])
    stream.start(100, other, phone).dial(101, other, ["151"], phone)
    stream.hangup(125, other, 0, "0", [""], phone, started=100)
    stored = desk.store(stream.scenario(one))
    desk.assemble_all(stored, deliver=False)
    ids = dict(sql("SELECT main_unique_id, id FROM calls"))
    stream.events.clear()
    desk.store(stream.hangup(126, other, 0, "0", ["151"], phone, started=100).scenario(other))
    again = next(message for message in stored if message.unique_id == one and message.event_type == "hangup")

    with psycopg.connect(database_url) as ending, ThreadPoolExecutor(1) as pool:
        notices.lock_calls(ending, [ids[one]])
        assembling = pool.submit(plan, again)
        waiting_for_locks(sql, 1)
        rows.wake_for_call(ending, Lane(enterprise_number="0367", crm="retailcrm"), ids[one])
        ending.commit()
        assembling.result(10)

    assert desk.disorder() == []


def test_an_event_that_another_version_puts_into_a_call_stays_there(desk, sql, database_url):
    """A version that knows nothing of turns, as during a deployment."""
    stream = Stream(epoch=int(time.time()) - 2)
    main = stream.id(0)
    start, dial = desk.store(stream.start(0, main).dial(1, main, ["150"]).scenario(main))

    with psycopg.connect(database_url) as old, ThreadPoolExecutor(1) as pool:
        [(call_id,)] = old.execute(
            "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at) "
            "VALUES ('0367', %s, 'in', now(), now(), now()) RETURNING id",
            [main],
        ).fetchall()
        old.execute(
            "INSERT INTO call_links (enterprise_number, key, call_id, first_at, last_at) "
            "VALUES ('0367', %s, %s, now(), now())",
            [f"u:{main}", call_id],
        )
        old.execute(
            "UPDATE call_events SET call_id = %s WHERE event_id = ANY(%s::uuid[])",
            [call_id, [start.event_id, dial.event_id]],
        )
        assembling = pool.submit(plan, dial)
        waiting_for_locks(sql, 1)
        old.commit()
        assembling.result(10)

    assert sql("SELECT DISTINCT call_id FROM call_events") == [(call_id,)]
    assert sql("SELECT id FROM calls") == [(call_id,)]


def test_a_call_that_the_sweep_woke_is_not_due_again_while_its_enterprise_is_busy(desk, sql):
    stream = Stream(epoch=int(time.time()) - 2)
    desk.assemble_all(desk.store(stream.start(0, stream.id(0)).scenario("")), deliver=False)
    sql("UPDATE calls SET due_at = now() - interval '1 second', next_wake_at = now() - interval '1 second' RETURNING 1")
    woken = []

    with db.transaction() as busy:
        assert neighbourhood.turn(neighbourhood.take_turn(busy, "0367")).is_ours
        for _ in range(3):
            with db.connection() as conn:
                due = call_store.claim_due(conn, limit=10)
            woken.append(len(due))
            for one in due:
                wake(WakeCall(enterprise_number=one.enterprise_number, call_id=one.id), crm=RETAILCRM, crms=CRMS)

    assert woken == [1, 0, 0]


def answered(epoch, phone, salt):
    """Five events of an incoming call at the one ring group of the house, answered by one of the three."""
    stream = Stream(epoch=int(epoch))
    main, extension = stream.id(salt), f"15{salt % 3}"
    line, telephone = f"SIP/0001301-{salt:08x}", f"SIP/{extension}-{salt:08x}"
    stream.start(0, main, phone).dial(1, main, ["150", "151", "152"], phone)
    stream.joins(5, main, line, f"B{salt}", phone, extension)
    return stream.joins(5, stream.id(salt + 1), telephone, f"B{salt}", extension, phone)


def fill(database_url, known, moments):
    """A call for each of these moments as assembly would have left it, written at once."""
    rows = {"calls": [], "call_events": [], "call_links": []}
    with psycopg.connect(database_url, autocommit=True) as conn:
        [[first]] = conn.execute("SELECT coalesce(max(id), 0) + 1 FROM calls").fetchall()
        for call_id, epoch in enumerate(moments, first):
            main, phone = f"{int(epoch)}.{call_id * 10}", f"37529{call_id % 10_000_000:07}"
            began = datetime.fromtimestamp(int(epoch), UTC)
            rows["calls"].append((call_id, "0367", main, "in", began, began, began))
            links = {}
            for event in answered(epoch, phone, call_id * 10).scenario(main)["events"]:
                unique_id, kind = event["body"]["UniqueId"], event["endpoint"].strip("/")
                event_id, raw = str(uuid4()), event["body"]
                received = began + timedelta(seconds=event["at"])
                parsed = parse(
                    RawEvent(event_id=event_id, event_type=kind, unique_id=unique_id, raw=raw, received_at=received)
                )
                keys = link_keys(parsed, known)
                links |= dict.fromkeys((*keys.exact, *keys.weak), parsed.moment)
                rows["call_events"].append(
                    (event_id, "0367", unique_id, kind, json.dumps(raw), event_id.encode(), received, call_id)
                )
            rows["call_links"] += [("0367", key, call_id, moment, moment) for key, moment in links.items()]
        for table, columns in {
            "calls": "id, enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at",
            "call_events": "event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at, "
            "call_id",
            "call_links": "enterprise_number, key, call_id, first_at, last_at",
        }.items():
            with conn.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows[table]:
                    copy.write_row(row)
        conn.execute("SELECT setval(pg_get_serial_sequence('calls', 'id'), (SELECT max(id) FROM calls))")
        conn.execute("ANALYZE calls, call_events, call_links")


def scanned(plan):
    """The tables that a plan reads from end to end."""
    found = [plan["Relation Name"]] if plan["Node Type"] == "Seq Scan" else []
    return found + [table for part in plan.get("Plans", ()) for table in scanned(part)]


def test_one_event_more_among_a_thousand_calls_costs_the_same_whatever_the_history(desk, sql, database_url, process):
    known, now = desk.directory(), int(time.time())
    fill(database_url, known, [now - 60 + number % 55 for number in range(1000)])
    costs: dict[str, list[tuple[int, int, int]]] = {}
    plans: set[tuple[str, str]] = set()
    read: list[int] = []
    found = neighbourhood.found

    def counting(*arguments):
        answer = found(*arguments)
        read.append(len(answer.waiting) + sum(1 + len(call.events) + len(call.ledger) for call in answer.calls))
        return answer

    process.setattr(neighbourhood, "found", counting)

    for round_, history in enumerate((0, 20_000)):
        if history:
            fill(database_url, known, [now - 500 - 400 * number for number in range(history)])
        events = desk.messages(answered(now - 8, f"3752944{round_:05}", 900_000_000 + round_ * 10).scenario(""))
        for name, message in zip(("start", "dial", "line", "telephone"), events, strict=True):
            read.clear()
            with counted(process) as sent:
                began = time.perf_counter()
                plan(message)
                spent = time.perf_counter() - began
            said = [one for one in sent if not one.is_boundary]
            costs.setdefault(name, []).append((len(said), sum(one.rows for one in said), sum(read)))
            print(
                f"{name} with {history} old calls: {costs[name][-1]} statements, rows, rows inside them, {spent * 1000:.1f} ms"
            )
            with psycopg.connect(database_url) as conn:
                for one in said if history else ():
                    [[explained]] = conn.execute(f"EXPLAIN (FORMAT JSON) {one.text}", one.parameters).fetchall()
                    plans |= {(table, " ".join(one.text.split())[:60]) for table in scanned(explained[0]["Plan"])}

    assert plans == set()
    assert [
        name for name, few_many in costs.items() if any(many > few for few, many in zip(*few_many, strict=True))
    ] == []
    assert max(statements for cost in costs.values() for statements, _, _ in cost) <= 12
    assert max(rows + inside for cost in costs.values() for _, rows, inside in cost) <= 60


def test_statements_that_were_prepared_long_ago_read_no_table_from_end_to_end(desk, sql, database_url):
    """The database plans a statement anew until it has seen it five times, and then without looking at its values."""
    known, now = desk.directory(), int(time.time())
    fill(database_url, known, [now - 60 - 20 * number for number in range(10_000)])
    messages = [
        message
        for salt in range(10)
        for message in desk.messages(answered(now - 8, f"3752944{salt:05}", 900_000_000 + salt * 10).scenario(""))
    ]
    scans = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s) ORDER BY 1"
    tables = ["calls", "call_events", "call_links", "deliveries"]
    desk.assemble_all(messages[:4], deliver=False)
    db.close()
    before = sql(scans, tables)
    desk.assemble_all(messages[4:], deliver=False)
    db.close()

    assert sql(scans, tables) == before


@pytest.mark.parametrize("scenario", ["2-1", "2-18-capture"])
def test_the_statements_of_a_call_grow_with_its_events_and_no_faster(desk, process, scenario):
    messages = desk.messages(ended(BY_ID[scenario], ago=600))

    per_event, began = [], time.perf_counter()
    for message in messages:
        with counted(process) as sent:
            desk.assemble(message, deliver=False)
        per_event.append(len([one for one in sent if not one.is_boundary]))
    spent = (time.perf_counter() - began) / len(messages)

    print(f"{scenario}: {len(messages)} events, {per_event} statements, {spent * 1000:.1f} ms for each")
    assert max(per_event) <= 16, "what is told for good is looked at twice"
    assert sum(per_event) <= 12 * len(per_event)


def test_a_message_that_comes_again_while_the_first_is_at_work_is_the_same_event(desk, sql):
    """Its channel moved in between, so the same words would be another event if they came from the host."""
    stream = Stream(epoch=int(time.time()) - 30)
    stream.joins(5, stream.id(0), "SIP/151-0000001e", "B", "151", CUSTOMER)
    stream.leaves(6, stream.id(0), "SIP/151-0000001e", "B", "151", CUSTOMER, 1)
    first, second = desk.messages(stream.scenario(stream.id(0)))
    with db.transaction() as conn:
        stored = [event_store.insert_event(conn, message) for message in (first, second, first)]

    assert [one.event_id for one in stored] == [first.event_id, second.event_id, first.event_id]
    assert sql("SELECT occurrence FROM call_events") == [(0,), (0,)]


def test_in_a_great_backlog_a_row_is_made_from_all_that_is_stored_of_the_channel(desk, sql):
    """Two thousand events of others came between the call and its hangup, and none of them was looked at yet."""
    messages = desk.store(ended(BY_ID["2-1"], ago=600))
    hangup = next(message for message in messages if message.event_type == "hangup")
    sql(
        "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
        "SELECT gen_random_uuid(), '0367', '1.' || n, 'new_callerid', '{}', sha256(n::text::bytea), "
        "  %s::timestamptz + n * interval '1 ms' FROM generate_series(-1000, 1000) n RETURNING id",
        hangup.received_at,
    )
    began = time.perf_counter()
    plan(hangup)
    spent = time.perf_counter() - began

    own = {message.event_id for message in messages if message.unique_id == hangup.unique_id}
    [main] = [call for call in desk.held() if call.main == hangup.unique_id]
    [(assembled,)] = sql("SELECT count(*) FROM call_events WHERE call_id IS NOT NULL")
    print(f"{assembled} events that waited were taken along in {spent:.2f} s")
    assert own <= main.events
    assert assembled <= neighbourhood.WAITING + len(messages)
    assert desk.uploads()[hangup.unique_id]["result"] == "answered"
