"""
One enterprise posts as much as it can: batches of a whole day, a flood of live events. What must hold: another
enterprise's ring waits for none of it, in assembly or delivery, and everything of the flood is there in the end.

Counted, not timed: what was assembled before the ring was, how many threads were at the enterprise that floods.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lib.crms import CRMS, RETAILCRM
from lib.intake.messages import event_message
from lib.ledger import assemble as assembling
from lib.ledger import derive
from lib.ledger import recovered as lane
from lib.ledger import wake as waking
from lib.ledger.recovered import BITE_EVENTS, RecoveredLane
from lib.runtime import config, db
from lib.store import events as event_store
from lib.store import neighbourhood
from lib.store import recovered as store
from tests.harness.assembled import Desk, ended
from tests.harness.enterprises import TOKEN
from tests.harness.servers import push_envelope
from tests.unit.calls import playback
from tests.unit.calls.streams import Stream

LOUD, QUIET = "0367", "0368"
TOKENS = {LOUD: TOKEN, QUIET: "token-of-the-quiet-one"}
_, SCENARIOS = playback.load()
BY_ID = {scenario["id"]: scenario for scenario in SCENARIOS}


@pytest.fixture
def neighbours(provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    for number, token in TOKENS.items():
        provisioned(number, token=token)


@pytest.fixture
def published(broker, neighbours):
    """From a topic to what was published to it since it was looked at last."""
    subscriptions = {topic: broker.topic(topic) for topic in ("call-events", "recovered-events", "due-rows")}
    return lambda topic: broker.pull(subscriptions[topic])


@pytest.fixture
def loud(neighbours, sql):
    return Desk(number=LOUD, sql=sql)


@pytest.fixture
def quiet(neighbours, sql):
    return Desk(number=QUIET, sql=sql)


def starts(count, *, prefix="1760000000"):
    return [
        {"uniqueId": f"{prefix}.{n}", "event_type": "start", "raw": {"Phone": f"37529{n:07}", "CallType": 0}}
        for n in range(count)
    ]


def post(dispatch, number, told, **more):
    answer = dispatch.post("/dispatch/call-events", json={"token": TOKENS[number], "events": told, **more})
    assert answer.json["success"], answer.json


def ring(dispatch, number, unique_id="1760000001.1"):
    body = {"UniqueId": unique_id, "Phone": "375293333333", "CallType": 0, "Trunk": "0001301", "Extensions": ["150"]}
    assert dispatch.post("/dial", json={"Token": TOKENS[number], **body}).status_code == 200


def assembled(sql, number):
    query = "SELECT count(*) FROM call_events WHERE enterprise_number = %s AND call_id IS NOT NULL"
    return sql(query, number)[0][0]


def waiting(sql, number):
    query = "SELECT count(*) FROM call_events WHERE enterprise_number = %s AND call_id IS NULL"
    return sql(query, number)[0][0]


def old_rings(count, *, ago=3600):
    """A stream of so many missed calls of an hour ago, three events each."""
    stream = Stream(epoch=int(time.time()) - ago)
    for n in range(count):
        phone, main = f"37529{n:07}", stream.id(n, n)
        stream.start(n, main, phone).dial(n, main, ["150"], phone)
        stream.hangup(n + 20, main, 0, "0", [""], phone, started=n)
    return stream.scenario("")


def recover(desk, scenario):
    """As intake stores a batch."""
    messages = [replace(one, is_recovered=True) for one in desk.messages(scenario)]
    with db.transaction() as conn:
        event_store.insert_events(conn, messages)
    return messages


def work_off(crms=CRMS):
    RecoveredLane(crms).work()


@pytest.fixture
def bites(process):
    """What each bite of the lane was asked for and read, in order: (enterprise, events)."""
    taken = []
    assemble = assembling.assemble_recovered

    def counting(bite, *, crms):
        before = len(read)
        done = assemble(bite, crms=crms)
        taken.append((bite.enterprise_number, max(read[before:], default=0)))
        return done

    read = []
    found = neighbourhood.found

    def reading(*arguments):
        answer = found(*arguments)
        read.append(len(answer.waiting))
        return answer

    process.setattr(neighbourhood, "found", reading)
    process.setattr(lane, "assemble_recovered", counting)
    process.setattr(lane, "PAUSE_SECONDS", 0.0)
    return taken


@pytest.mark.parametrize("origin", ["download", "live"])
def test_a_ring_behind_a_batch_of_500_is_assembled_before_the_21st_of_them(function, published, sql, origin):
    """One process of one thread takes everything of the live topic, in order; the batch is not in it."""
    dispatch, deliver = function("dispatch-call-event"), function("retailcrm-deliver")
    post(dispatch, LOUD, starts(500), origin=origin)
    ring(dispatch, QUIET)

    for message in published("call-events"):
        assert deliver.post("/", json=push_envelope(message)).status_code == 204
        if assembled(sql, QUIET):
            break

    assert assembled(sql, QUIET) == 1
    assert assembled(sql, LOUD) <= BITE_EVENTS


def test_a_batch_is_a_few_messages_with_whole_events(function, published):
    post(function("dispatch-call-event"), LOUD, starts(500), origin="download")

    messages = published("recovered-events")

    assert len(messages) <= 5
    assert sorted(event["unique_id"] for message in messages for event in message["events"]) == sorted(
        event["uniqueId"] for event in starts(500)
    )
    assert published("call-events") == []


def test_a_batch_that_the_database_could_not_take_is_stored_from_its_messages(function, published, process, sql):
    dispatch = function("dispatch-call-event")
    post(dispatch, LOUD, starts(1, prefix="1759999999"))
    published("recovered-events")
    with process.context() as away:
        away.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
        db.close()
        config.current.cache_clear()
        post(dispatch, LOUD, starts(150), origin="download")
    db.close()
    config.current.cache_clear()
    messages = published("recovered-events")

    for message in messages * 2:
        assert function("assemble-recovered").post("/", json=push_envelope(message)).status_code == 204

    assert len(messages) == 2
    assert sql("SELECT count(*), count(call_id) FROM call_events WHERE data_source = 'download'") == [(150, 150)]


def test_live_assembly_leaves_recovered_events_alone_and_the_lane_leaves_live_ones(loud, sql, bites):
    recover(loud, old_rings(10))
    stream = Stream(epoch=int(time.time()) - 2)
    start, dial = loud.store(stream.start(0, stream.id(900)).dial(1, stream.id(900), ["150"]).scenario(""))

    waking.wake(dial, crm=RETAILCRM, crms=CRMS)
    live = sql(
        "SELECT data_source, wake_at = 'infinity', count(*) FROM call_events WHERE call_id IS NOT NULL GROUP BY 1, 2"
    )
    [late] = loud.store(Stream(epoch=int(time.time()) - 2).start(0, stream.id(901)).scenario(""))
    work_off()

    assert start is not None
    assert live == [("live", False, 2)], "its own start was taken along, and nothing of the lane"
    assert sql("SELECT event_id::text FROM call_events WHERE call_id IS NULL") == [(late.event_id,)]
    assert max(events for _, events in bites) <= BITE_EVENTS


def test_a_live_event_becomes_part_of_the_call_that_was_recovered(loud, sql):
    stream = Stream(epoch=int(time.time()) - 60)
    main = stream.id(0)
    recover(loud, stream.start(0, main).dial(1, main, ["150"]).scenario(main))
    work_off()
    stream.events.clear()

    loud.assemble_all(loud.store(stream.hangup(30, main, 0, "0", [""], started=0).scenario(main)))

    assert sql("SELECT count(DISTINCT call_id), count(*) FROM call_events") == [(1, 3)]
    assert loud.disorder() == []


def test_bites_go_round_the_enterprises(loud, quiet, bites):
    recover(loud, old_rings(60))
    recover(quiet, old_rings(7))

    work_off()

    assert [number for number, _ in bites[:4]] == [LOUD, QUIET, LOUD, QUIET]
    assert sum(events for _, events in bites) == 180 + 21
    assert max(events for _, events in bites) <= BITE_EVENTS


def test_bites_that_take_long_become_smaller(loud, process, bites):
    process.setattr(lane, "BITE_SECONDS", 0.0)
    recover(loud, old_rings(20))

    work_off()

    assert [events for _, events in bites[:5]] == [20, 10, 5, 2, 1]
    assert sum(events for _, events in bites) == 60


def test_a_live_event_that_came_during_a_bite_is_handed_on_and_goes_before_the_next_one(  # noqa: PLR0917  (fixtures)
    loud, quiet, published, process, bites, sql
):
    recover(loud, old_rings(30))
    recover(quiet, old_rings(30))
    live = []
    find_left = neighbourhood.find_left

    def find(conn, number):
        """As a push that was refused the turn leaves its event, while the first bite is assembled."""
        if not live:
            live.extend(loud.store(Stream(epoch=int(time.time())).start(0, "1760000001.1").scenario("")))
            with db.connection() as other:
                neighbourhood.leave(other, live[0].event_id)
        return find_left(conn, number)

    process.setattr(neighbourhood, "find_left", find)
    rounds = []
    find_next = store.find_next

    def looking(conn, **asked):
        answer = find_next(conn, **asked)
        rounds.append(answer and (answer.enterprise_number, answer.has_live))
        if len(rounds) == 4:
            handed_on = [message["event"]["event_id"] for message in published("call-events") if "event" in message]
            assert handed_on == [live[0].event_id]
            waking.wake(live[0], crm=RETAILCRM, crms=CRMS)
        return answer

    process.setattr(store, "find_next", looking)
    work_off()

    assert rounds[:4] == [(LOUD, False), (QUIET, False), (LOUD, True), (QUIET, False)]
    assert [number for number, _ in bites[:3]] == [LOUD, QUIET, QUIET]
    assert sql("SELECT count(*) FROM call_events WHERE call_id IS NULL") == [(0,)]


def test_a_recovered_day_ends_in_the_calls_and_rows_that_the_rules_want(  # noqa: PLR0917  (fixtures)
    loud,
    function,
    published,
    crm_server,
    provisioned,
    sql,
):
    crm_server.clear()
    crm_server.account(LOUD, behaviour={"telephony_per_second": 0, "other_per_second": 0})
    provisioned(LOUD, token=TOKENS[LOUD], domain=crm_server.url)
    told = [
        {"uniqueId": one.unique_id, "event_type": one.event_type, "raw": one.raw}
        for tag, scenario in enumerate(("2-1", "2-2"), 1)
        for one in loud.messages(ended(BY_ID[scenario], ago=3600, tag=tag, names={"375291111111": f"37529111111{tag}"}))
    ]
    told += [
        {"uniqueId": one.unique_id, "event_type": one.event_type, "raw": one.raw}
        for one in loud.messages(old_rings(40, ago=7200))
    ]
    post(function("dispatch-call-event"), LOUD, told, origin="download")

    # The first message is lost with its process: the sweep finds what it was about.
    lost, *_ = published("recovered-events")
    sql("UPDATE call_events SET received_at = received_at - interval '10 s' RETURNING 1")
    assert function("sweep-calls").post("/", json=push_envelope({})).status_code == 204
    [again] = published("recovered-events")
    assert function("assemble-recovered").post("/", json=push_envelope(again)).status_code == 204
    sql("UPDATE calls SET due_at = now(), next_wake_at = now() WHERE due_at IS NOT NULL RETURNING 1")
    loud.wake()

    calls, rows = loud.judged()
    assert len(lost["events"]) > 50
    assert again == {"events": []}
    assert {(one.main, one.events) for one in loud.held()} == {(one.main, one.events) for one in calls}
    assert loud.uploads().keys() == rows.keys()
    assert {row["externalId"] for row in crm_server.rows(LOUD)} == rows.keys()
    assert crm_server.events(LOUD) == [], "no pop-ups for what is over"
    assert loud.disorder() == []


def test_an_event_that_cannot_be_assembled_leaves_the_lane_and_the_others_go_on(loud, process, bites, sql, published):
    messages = recover(loud, old_rings(20))
    poison = messages[31]
    keys_of = derive.keys_of

    def failing(event, known):
        if event.event_id == poison.event_id:
            raise ValueError("no keys")
        return keys_of(event, known)

    process.setattr(assembling, "keys_of", failing)
    work_off()

    left = sql("SELECT event_id::text, wakes, wake_at < 'infinity' FROM call_events WHERE call_id IS NULL")
    assert left == [(poison.event_id, 1, True)]
    process.setattr(assembling, "keys_of", keys_of)
    sql("UPDATE call_events SET wake_at = now() WHERE call_id IS NULL RETURNING 1")
    with db.connection() as conn:
        assert [one.event_id for one in event_store.claim_unassembled(conn, limit=10)] == [poison.event_id]
    loud.assemble_all(loud.lost(), deliver=False)
    assert waiting(sql, LOUD) == 0


def test_the_lane_is_one_thread_of_a_process_and_nobody_s_call_is_forgotten(loud, process, sql):
    """A message that comes while the lane finds nothing more is not lost between its last look and its end."""
    here = RecoveredLane(CRMS)
    find_next, looks = store.find_next, []

    def looking(conn, **asked):
        answer = find_next(conn, **asked)
        looks.append(answer)
        if len(looks) == 1:
            recover(loud, old_rings(1))
            here.work()
            assert waiting(sql, LOUD) == 3, "it was left to the thread that is at work"
        return answer

    process.setattr(store, "find_next", looking)
    here.work()

    assert looks[0] is None
    assert waiting(sql, LOUD) == 0


def test_an_enterprise_that_is_gone_stops_nobody(loud, quiet, sql):
    recover(loud, old_rings(10))
    recover(quiet, old_rings(10))
    sql("DELETE FROM enterprises WHERE number = %s RETURNING 1", LOUD)

    work_off()

    assert (waiting(sql, LOUD), waiting(sql, QUIET)) == (30, 0)
    with db.connection() as conn:
        assert store.find_next(conn, after="", live_within_seconds=2.0) is None


class Held:
    """Work at an enterprise that ends when the test says so."""

    def __init__(self):
        self.lock, self.free = threading.Lock(), threading.Event()
        self.at, self.most, self.done = 0, 0, []

    def wake(self, message, **_):
        if message.enterprise_number == QUIET:
            self.done.append(message)
            return
        with self.lock:
            self.at += 1
            self.most = max(self.most, self.at)
        assert self.free.wait(20)
        with self.lock:
            self.at -= 1
            self.done.append(message)


@pytest.fixture
def held(process):
    found = Held()
    process.setattr(waking, "wake", found.wake)
    process.setenv("THREADS", "6")
    config.current.cache_clear()
    yield found
    found.free.set()


def until(is_so):
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["event", "call"])
def test_a_flood_of_one_enterprise_leaves_threads_for_the_ring_of_another(held, loud, quiet, function, kind):
    deliver = function("retailcrm-deliver").application
    stream = Stream(epoch=int(time.time()))
    for n in range(30):
        stream.start(0, stream.id(n), f"37529{n:07}")
    flood = loud.store(stream.scenario(""))
    bodies = [event_message(one, received_at=one.received_at) for one in flood]
    if kind == "call":
        bodies = [{"call_id": n + 1, "enterprise_number": LOUD} for n in range(30)]
    [ring_] = quiet.store(Stream(epoch=int(time.time())).dial(0, "1760000001.1", ["150"]).scenario(""))

    def push(body):
        return deliver.test_client().post("/", json=push_envelope(body)).status_code

    with ThreadPoolExecutor(6) as pool:
        pushes = [pool.submit(push, body) for body in bodies]
        try:
            last = pool.submit(push, event_message(ring_, received_at=ring_.received_at))
            assert last.result(10) == 204
            beside = [message.event_id for message in held.done]
            until(lambda: sum(one.done() for one in pushes) == 28)
        finally:
            held.free.set()
        assert {one.result(20) for one in pushes} == {204}

    assert beside == [ring_.event_id]
    assert held.most == 2, "a third of six"
    told = [message for message in held.done if message.enterprise_number == LOUD]
    if kind == "call":
        assert sorted(message.call_id for message in told) == list(range(1, 31)), "none is lost, none comes twice"
    else:
        # One more round takes along all that was left to it.
        assert len(told) == 3


def test_an_event_that_only_pub_sub_has_is_stored_before_it_is_left_to_others(held, loud, function, sql):
    deliver = function("retailcrm-deliver").application
    stream = Stream(epoch=int(time.time()))
    for n in range(5):
        stream.start(0, stream.id(n), f"37529{n:07}")
    messages = loud.messages(stream.scenario(""))
    bodies = [event_message(one, received_at=None) for one in messages]

    def push(body):
        return deliver.test_client().post("/", json=push_envelope(body)).status_code

    with ThreadPoolExecutor(6) as pool:
        pushes = [pool.submit(push, body) for body in bodies]
        try:
            until(lambda: sum(one.done() for one in pushes) == 3)
            kept = sql("SELECT count(*) FROM call_events")
        finally:
            held.free.set()

    assert kept == [(3,)], "those of the two that are at work are theirs to store"
