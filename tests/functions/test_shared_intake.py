"""Events that come together share a round trip to the database and one to Pub/Sub; each is answered for itself."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.intake import accept as intake
from lib.runtime import combine, config, db, pubsub
from lib.store import events
from lib.store.events import NewEvent
from tests.conftest import VAULT_KEYS
from tests.harness.enterprises import TOKEN
from tests.harness.servers import Function
from tests.harness.wire import counted

TOGETHER = 12
# QUICK_SECONDS and UNSTORED_SECONDS; the rest is for machines that are busy.
ANSWERED_SECONDS = 3.0
ids = (f"00000000-0000-0000-0000-{number:012}" for number in itertools.count(1))


def event(unique_id, kind="start", **raw):
    return {"token": TOKEN, "uniqueId": unique_id, "event_type": kind, "raw": {"UniqueId": unique_id, **raw}}


@pytest.fixture
def dispatch(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    provisioned()
    return function("dispatch-call-event")


@pytest.fixture
def published(broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    subscription = broker.topic("call-events")
    return lambda: [body["event"] for body in broker.pull(subscription)]


@pytest.fixture
def recovered(broker, process):
    """The events of batches, which have a topic of their own."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    subscription = broker.topic("recovered-events")
    return lambda: [event for body in broker.pull(subscription) for event in body["events"]]


@pytest.fixture
def patient(monkeypatch):
    """Machines that are busy change nothing: nobody overtakes, and nobody gives up."""
    monkeypatch.setattr(combine, "PATIENCE_SECONDS", 30.0)
    monkeypatch.setattr(db, "QUICK_SECONDS", 30.0)


@pytest.fixture
def requests_to_pubsub(broker, monkeypatch):
    """How many messages each request had."""
    sizes = []
    publish = pubsub._publish

    def recorded(topic, messages, within_seconds):
        sizes.append(len(messages))
        publish(topic, messages, within_seconds)

    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    for topic in ("call-events", "recovered-events"):
        broker.topic(topic)
    monkeypatch.setattr(pubsub, "_publish", recorded)
    return sizes


def post_together(dispatch, bodies):
    """Each on a thread of its own."""

    def post(body):
        with dispatch.application.test_client() as client:
            return client.post("/dispatch/call-event", json=body)

    pool = ThreadPoolExecutor(len(bodies))
    answers = [pool.submit(post, body) for body in bodies]
    pool.shutdown(wait=False)
    return answers


@contextmanager
def held_up(database_url):
    """No event can be stored meanwhile: a slow commit, as far as intake can tell."""
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE call_events IN SHARE MODE")
        yield


def refuse_to_store(database_url, unique_id):
    """The database finds something about its data, as it does with what no check of ours foresees."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.unique_id = '{unique_id}' THEN RAISE 'odd' USING ERRCODE = '22023'; END IF;
                RETURN NEW;
            END $$
            """
        )
        conn.execute("CREATE TRIGGER refuse BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION refuse()")


def wait_for_leader(sql):
    """Until the statement of whoever goes first is at the server."""
    deadline = time.monotonic() + 10
    blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not sql(blocked):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for(count):
    deadline = time.monotonic() + 10
    while len(intake._storing._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def warm_up(dispatch):
    """The enterprise is known afterwards, and the statement prepared on every connection."""
    for number in range(16):
        dispatch.post("/dispatch/call-event", json=event(f"1.{number}"))


def through(process, url):
    db.close()
    process.setenv("DATABASE_URL", url)
    config.current.cache_clear()


def test_an_event_that_comes_alone_costs_one_statement_and_one_round_trip(dispatch, process, database_url):
    with counted(database_url) as (url, counter):
        through(process, url)
        warm_up(dispatch)
        counter.reset()

        statuses = [dispatch.post("/dispatch/call-event", json=event(f"2.{number}")).status_code for number in range(5)]
        cost = (counter.statements, counter.round_trips, counter.connections)
        db.close()

    assert statuses == [202] * 5
    assert cost == (5, 5, 0)


def test_those_who_come_during_a_commit_share_the_next_round_trip(  # noqa: PLR0917  (fixtures)
    dispatch, process, database_url, patient, requests_to_pubsub, sql
):
    with counted(database_url) as (url, counter):
        through(process, url)
        warm_up(dispatch)
        with held_up(database_url):
            [first] = post_together(dispatch, [event("2.0")])
            wait_for_leader(sql)
            counter.reset()
            requests_to_pubsub.clear()
            others = post_together(dispatch, [event(f"2.{number}") for number in range(1, TOGETHER)])
            wait_for(TOGETHER - 1)
        answers = [answer.result(30) for answer in (first, *others)]
        cost = (counter.statements, counter.round_trips)
        db.close()

    assert [answer.status_code for answer in answers] == [202] * TOGETHER
    assert cost == (1, 2), "the answer to the first, which was asked before, and one for all others"
    stored = dict(sql("SELECT event_id::text, unique_id FROM call_events WHERE unique_id LIKE '2.%%'"))
    assert [stored[answer.json["event_id"]] for answer in answers] == [f"2.{number}" for number in range(TOGETHER)]
    assert sum(requests_to_pubsub) == TOGETHER
    assert max(requests_to_pubsub) > 1


def test_copies_that_come_together_are_one_event_and_one_message(dispatch, database_url, patient, published, sql):
    dispatch.post("/dispatch/call-event", json=event("1.0"))
    with held_up(database_url):
        answers = post_together(dispatch, [event("2.0")])
        wait_for_leader(sql)
        answers += post_together(dispatch, [event("2.0") for _ in range(TOGETHER - 1)])
        wait_for(TOGETHER - 1)
    statuses = Counter(answer.result(30).status_code for answer in answers)

    assert statuses == {202: 1, 200: TOGETHER - 1}
    assert sql("SELECT copies FROM call_events WHERE unique_id = '2.0'") == [(TOGETHER - 1,)]
    assert [one["unique_id"] for one in published()].count("2.0") == 1


def test_one_that_cannot_be_stored_harms_none_of_those_that_came_with_it(dispatch, database_url, patient, sql):
    refuse_to_store(database_url, "2.2")
    dispatch.post("/dispatch/call-event", json=event("1.0"))
    with held_up(database_url):
        [first] = post_together(dispatch, [event("2.0")])
        wait_for_leader(sql)
        others = post_together(dispatch, [event("2.1"), event("2.2"), event("2.3")])
        wait_for(3)

    assert [answer.result(30).status_code for answer in (first, *others)] == [202, 202, 400, 202]
    assert sql("SELECT unique_id, copies FROM call_events WHERE unique_id LIKE '2.%%' ORDER BY unique_id") == [
        ("2.0", 0),
        ("2.1", 0),
        ("2.3", 0),
    ]


def test_behind_a_commit_that_hangs_nobody_waits_longer_than_alone(dispatch, database_url, published):
    dispatch.post("/dispatch/call-event", json=event("1.0"))
    began = time.monotonic()
    with held_up(database_url):
        answers = post_together(dispatch, [event(f"2.{number}") for number in range(TOGETHER)])
        statuses = [answer.result(30).status_code for answer in answers]
        took = time.monotonic() - began

    assert statuses == [202] * TOGETHER
    assert took < ANSWERED_SECONDS
    told = {one["unique_id"]: one["received_at"] for one in published()}
    assert {told[f"2.{number}"] for number in range(TOGETHER)} == {None}


def test_an_event_whose_commit_was_not_answered_is_no_copy_of_itself(process, provisioned, sql):
    provisioned()
    new = stored_as("dial", "1.1")
    with db.connection() as conn:
        first = events.insert_event(conn, new)
        again = events.insert_events(conn, [new])

    assert [first.is_copy, again[0].is_copy] == [False, False]
    assert sql("SELECT copies FROM call_events") == [(0,)]


def stored_as(kind, unique_id, *, number="0367", source="live", **raw):
    return NewEvent(
        event_id=next(ids),
        enterprise_number=number,
        unique_id=unique_id,
        event_type=kind,
        raw={"UniqueId": unique_id, **raw},
        data_source=source,
    )


ANY_EVENT = st.tuples(
    st.sampled_from(["start", "dial", "bridge", "bridge_leave", "hangup"]),
    st.sampled_from(["1.1", "1.2"]),
    st.sampled_from(["live", "live", "download"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(ANY_EVENT, min_size=2, max_size=12), cuts=st.sets(st.integers(1, 11), max_size=3))
def test_copies_are_recognised_in_a_batch_as_one_after_another(process, sql, told, cuts):
    sql("DELETE FROM call_events RETURNING 1")
    alone = [stored_as(kind, channel, number="1", source=source) for kind, channel, source in told]
    shared = [stored_as(kind, channel, number="2", source=source) for kind, channel, source in told]
    edges = [0, *sorted(cut for cut in cuts if cut < len(told)), len(told)]

    with db.connection() as conn:
        one_by_one = [events.insert_event(conn, new).is_copy for new in alone]
        in_batches = [
            stored.is_copy
            for begin, end in itertools.pairwise(edges)
            for stored in events.insert_events(conn, shared[begin:end])
        ]

    assert in_batches == one_by_one
    kept = "SELECT event_type, unique_id, occurrence, copies FROM call_events WHERE enterprise_number = %s ORDER BY id"
    assert sql(kept, "2") == sql(kept, "1")


def test_instances_that_store_the_same_copies_in_any_order_do_not_deadlock(process, provisioned, sql):
    provisioned()
    chance = random.Random(1)

    def store(told):
        return [one.is_copy for one in intake._store(told, 10.0)]

    with ThreadPoolExecutor(3) as pool:
        for round_number in range(30):
            channels = [(f"{round_number}.{channel}", number) for channel in range(8) for number in ("0367", "0368")]
            batches = [
                [stored_as("start", channel, number=number) for channel, number in chance.sample(channels, 16)]
                for _ in range(3)
            ]
            found = [copy for batch in pool.map(store, batches) for copy in batch]
            assert Counter(found) == {False: 16, True: 32}

    assert sql("SELECT count(*), sum(copies) FROM call_events") == [(30 * 16, 30 * 32)]


def posted(dispatch, told, **more):
    body = {"token": TOKEN, "events": told, **more}
    return dispatch.post("/dispatch/call-events", json=body, headers={"Token": TOKEN})


def test_a_batch_is_stored_in_one_round_trip_and_published_in_one_request(
    dispatch, process, database_url, requests_to_pubsub, sql
):
    told = [event(f"2.{number % 7}", "dial", number=number) for number in range(500)]
    with counted(database_url) as (url, counter):
        through(process, url)
        posted(dispatch, [event("1.0")])
        counter.reset()
        requests_to_pubsub.clear()

        answer = posted(dispatch, told, origin="download")
        trips = counter.round_trips
        db.close()

    assert answer.json["success"] is True
    assert trips == 1
    assert requests_to_pubsub == [500 // intake.MESSAGE_EVENTS]
    kept = sql("SELECT event_id::text, raw_data ->> 'number' FROM call_events WHERE unique_id LIKE '2.%%' ORDER BY id")
    assert kept == [(one["event_id"], str(number)) for number, one in enumerate(answer.json["results"])]


def test_whatever_one_event_of_a_batch_holds_the_others_are_stored_in_order(dispatch, sql, recovered, database_url):
    deep = {}
    for _ in range(200):
        deep = {"a": deep}
    refuse_to_store(database_url, "2.30")
    told = [event(f"2.{number}") for number in range(40)]
    told[3] = event("2.3", deep=deep)
    told[20] = "no event"
    told[21] = event("2.0")
    told[22] = event("2.22", text="\x00")
    told[39] = event("2.39", number=float("nan"))

    answer = dispatch.post("/dispatch/call-events", data=json.dumps({"token": TOKEN, "events": told}))
    results = answer.json["results"]

    said = ["error" if "error" in one else one.get("reason", "stored") for one in results]
    assert [place for place, word in enumerate(said) if word == "error"] == [20, 30]
    assert [place for place, word in enumerate(said) if word == "duplicate"] == [21]
    kept = [f"2.{number}" for number, word in enumerate(said) if word == "stored"]
    assert [unique_id for (unique_id,) in sql("SELECT unique_id FROM call_events ORDER BY id")] == kept
    assert [one["unique_id"] for one in recovered()] == kept


def test_a_batch_goes_through_pub_sub_while_the_database_is_away(dispatch, recovered, process):
    posted(dispatch, [event("1.0")])
    recovered()
    through(process, "postgresql://postgres@127.0.0.1:9/none")

    results = posted(dispatch, [event(f"2.{number}") for number in range(10)]).json["results"]

    assert [one["success"] for one in results] == [True] * 10
    assert [one["unique_id"] for one in recovered()] == [f"2.{number}" for number in range(10)]


def test_a_batch_is_refused_event_by_event_when_both_are_away(dispatch, process):
    posted(dispatch, [event("1.0")])
    through(process, "postgresql://postgres@127.0.0.1:9/none")
    pubsub.close()
    process.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    config.current.cache_clear()

    results = posted(dispatch, [event("2.0"), "no event"]).json["results"]

    assert [one["error"]["code"] for one in results] == ["unavailable", "invalid_payload"]


def test_a_batch_fits_into_as_few_requests_as_pub_sub_takes(monkeypatch):
    messages = [pubsub.message({"number": number, "text": "x" * 1000}) for number in range(2500)]
    requests_made = []

    def take(_, request, __):
        requests_made.append(len(request))
        if any(b'"number": 1500,' in one.data for one in request):
            raise pubsub.NotTaken("too odd")

    monkeypatch.setattr(pubsub, "_publish", take)
    outcomes = pubsub.publish_each("call-events", messages)

    assert [place for place, error in enumerate(outcomes) if error] == [1500]
    assert requests_made[:2] == [1000, 1000]
    assert max(requests_made) == 1000
    assert len(requests_made) < 30


@pytest.mark.timeout(120)
def test_what_was_answered_is_kept_though_the_process_dies_between_commit_and_answer(  # noqa: PLR0917  (fixtures)
    database_url, provisioned, published, broker, sql, tmp_path
):
    provisioned()
    environment = {
        "DATABASE_URL": database_url,
        "PUBSUB_EMULATOR_HOST": broker.host,
        "GOOGLE_CLOUD_PROJECT": "local",
        "VAULT_KEYS": VAULT_KEYS,
        "FAILPOINTS": "event_committed=kill:1/60",
        "FAILPOINTS_ALLOWED": "yes",
    }
    accepted, broken, guard = [], [], threading.Lock()

    with Function.started("dispatch-call-event", environment, log=tmp_path / "intake.log") as function:

        def post(number):
            body = event(f"2.{number}")
            try:
                answer = requests.post(f"{function.url}/dispatch/call-event", json=body, timeout=30)
            except requests.RequestException:
                with guard:
                    broken.append(body["uniqueId"])
                time.sleep(0.5)
                return
            with guard:
                accepted.append((body["uniqueId"], json.loads(answer.text)["event_id"]))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(post, range(200)))

    stored = dict(sql("SELECT unique_id, event_id::text FROM call_events"))
    assert len(accepted) + len(broken) == 200
    assert len(accepted) > 100
    assert broken
    assert {unique_id: stored[unique_id] for unique_id, _ in accepted} == dict(accepted)
    told = Counter(one["unique_id"] for one in published())
    # Who died behind its answer has published nothing: the sweep does.
    assert all(told[unique_id] <= 1 for unique_id, _ in accepted)
