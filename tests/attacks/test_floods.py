"""
More than one enterprise's share.

Tried: full batches of one enterprise, many at a time; single events as fast as they go; ids of the far future. What must
hold: the others' live events are answered; who sent too much is told when to come again, and then all of it is there; a
batch is one statement of the database; what a host says of tomorrow is not shown.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import pytest

from lib.intake.limits import BURST_SECONDS, Limits, limits
from lib.runtime import config, db
from lib.runtime.errors import RateLimited
from tests.conftest import VAULT_KEYS
from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.enterprises import TOKEN
from tests.harness.intake import Intake, together
from tests.harness.wire import counted

ATTACKERS = "token-of-0368"
EVENTS = 500
BATCHES = 10
# A second on a machine that has nothing else to do.
LATE_SECONDS = 5.0


@pytest.fixture
def enterprises(provisioned):
    provisioned()
    provisioned("0368", token=ATTACKERS)


@pytest.fixture
def dispatch(function, enterprises, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    return function("dispatch-call-event")


def batch(number):
    """As a host posts what it has to recover."""
    events = [
        {
            "uniqueId": f"{1_760_000_000 + number}.{n}",
            "event_type": "start",
            "raw": {"Phone": "375291111111", "CallType": 0, "Trunk": "0001301", "UniqueId": f"{number}.{n}"},
        }
        for n in range(EVENTS)
    ]
    return {"origin": "download", "events": events}


def settings_of(process, **changed):
    for name, value in changed.items():
        process.setenv(name.upper(), str(value))
    config.current.cache_clear()
    limits.forget()
    for buckets in filter(None, limits()._buckets.values()):
        buckets._clock = lambda: 0.0  # however slow the machine is


@pytest.mark.timeout(300)
def test_batches_of_one_enterprise_leave_the_others_events_alone_and_are_all_there_in_the_end(  # noqa: PLR0917  (fixtures)
    database_url, enterprises, broker, process, tmp_path, sql
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    environment = {
        "DATABASE_URL": database_url,
        "PUBSUB_EMULATOR_HOST": broker.host,
        "GOOGLE_CLOUD_PROJECT": "local",
        "VAULT_KEYS": VAULT_KEYS,
    }

    def post_until_taken(intake, number):
        refusals = 0
        while (answer := intake.post("/dispatch/call-events", batch(number), token=ATTACKERS)).status_code == 429:
            assert answer.json()["error"]["code"] == "rate_limited"
            refusals += 1
            time.sleep(int(answer.headers["Retry-After"]))
        assert answer.json()["success"], answer.text
        return refusals

    def ring_on(intake):
        waits = []
        for n in range(20):
            began = time.monotonic()
            assert intake.ring(TOKEN, f"{int(time.time())}.{n}") == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.2)
        return waits

    with Intake.started(environment, log=tmp_path / "intake.log") as intake:
        assert intake.ring(TOKEN, "1760000000.1") == 200
        *refusals, waits = together(
            [*(partial(post_until_taken, intake, n) for n in range(BATCHES)), partial(ring_on, intake)]
        )

    print(f"a live event waited {max(waits):.2f} s at most, {sum(refusals)} batches were refused")
    assert sum(refusals) > 0
    assert max(waits) < LATE_SECONDS
    assert sql("SELECT count(*) FROM call_events WHERE enterprise_number = '0368'") == [(BATCHES * EVENTS,)]


def test_one_batch_of_an_enterprise_at_a_time_and_few_of_all():
    shared = Limits(config.Intake(), threads=8)

    with shared.batch("0367"):
        for _ in range(2):
            with pytest.raises(RateLimited) as refused, shared.batch("0367"):
                raise AssertionError
        assert refused.value.retry_after_seconds == 1
        with shared.batch("0368"), pytest.raises(RateLimited), shared.batch("0369"):
            raise AssertionError
        with shared.batch("0369"):
            pass
    with shared.batch("0367"):
        pass


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (4, 1), (8, 2), (64, 2), (0, 2)])
def test_batches_never_have_most_of_the_threads(threads, at_once):
    assert Limits(config.Intake(), threads=threads)._batches_at_once == at_once


def test_who_posts_events_faster_than_any_host_waits_and_nobody_else_does(dispatch, process):
    settings_of(process, intake_events_per_second=1)

    def ring(token, n):
        return dispatch.post("/start", json={"Token": token, "UniqueId": f"{int(time.time())}.{n}", "CallType": 0})

    answers = [ring(ATTACKERS, n) for n in range(BURST_SECONDS + 20)]

    refused = answers[BURST_SECONDS:]
    assert [answer.status_code for answer in answers] == [200] * BURST_SECONDS + [429] * len(refused)
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert [ring(TOKEN, n).status_code for n in range(10)] == [200] * 10
    one = {"token": ATTACKERS, "events": batch(0)["events"][:1]}
    assert dispatch.post("/dispatch/call-events", json=one).status_code == 200, "batches are counted for themselves"


def test_who_posts_more_bytes_than_any_host_waits(dispatch, process):
    settings_of(process, intake_bytes_per_second=10_000)
    body = {"Token": ATTACKERS, "CallType": 0, "x": "x" * 60_000}

    answers = [dispatch.post("/start", json={**body, "UniqueId": f"1760000000.{n}"}) for n in range(20)]

    assert [answer.status_code for answer in answers] == [200] * 8 + [429] * 12
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 7


def test_the_busiest_host_that_is_known_is_never_refused():
    """A day of 6,481 events at once, and a queue of 10,000 at a hundred a second."""
    now = [0.0]
    allowed = Limits(config.Intake(), threads=8)
    for buckets in filter(None, allowed._buckets.values()):
        buckets._clock = lambda: now[0]

    for _ in range(6_481):
        allowed.take("0367", "batch", events=1, size=700)
    for _ in range(10_000):
        now[0] += 0.01
        allowed.take("0367", "single", events=1, size=700)


def test_a_limit_of_zero_is_none(dispatch, process):
    settings_of(process, intake_events_per_second=0, intake_bytes_per_second=0)

    for n in range(100):
        limits().take("0367", "single", events=10**6, size=10**9 + n)


def test_a_batch_is_one_statement(dispatch, process, database_url):
    with counted(database_url) as (url, counter):
        process.setenv("DATABASE_URL", url)
        db.close()
        config.current.cache_clear()
        first = dispatch.post("/dispatch/call-events", json=batch(1), headers={"Token": ATTACKERS})
        answers, statements = [], []
        for n in range(2, 5):
            counter.reset()
            answers.append(dispatch.post("/dispatch/call-events", json=batch(n), headers={"Token": ATTACKERS}))
            statements.append(counter.statements)
        db.close()

    assert first.json["success"]
    assert [one["success"] for answer in answers for one in answer.json["results"]] == [True] * EVENTS * 3
    assert min(statements) == 1, "the cache of enterprises may have asked something meanwhile"


def test_an_id_of_the_far_future_moves_nothing_there(function, provisioned, fresh_crm, sql):
    fresh_crm.account("0367")
    provisioned(domain=fresh_crm.url)
    gateway = Gateway(function, sql)
    gateway.unique_id = "9999999999.1"

    gateway.ring()

    [(last,)] = sql("SELECT last_event_at FROM calls")
    assert last <= datetime.now(UTC)
