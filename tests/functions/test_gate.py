"""The gate in front of a CRM: shared by real processes, on real PostgreSQL, before a real HTTP server."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import requests

from lib.crms import RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.ledger.deliver import deliver_due
from lib.ledger.send_rows import send_due
from lib.retailcrm import client, manager, rate_slot
from lib.runtime import config, db, gate
from lib.runtime.gate import Answer, Limits
from lib.store import gates
from lib.store.calls import claim_due
from lib.store.rows import Lane
from tests.harness.ledger import ROWS, fill, wait, workers

KEY = gates.Key(enterprise_number="0367", credentials=b"key")


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    return crm_server


@pytest.fixture
def account(crm, provisioned):
    provisioned(domain=crm.url)
    return crm.url


@pytest.fixture
def limited(process):
    """Sets limits of the account."""

    def limit(**settings):
        for name, value in settings.items():
            process.setenv(f"RETAILCRM_{name.upper()}", str(value))
        config.current.cache_clear()

    return limit


@pytest.fixture
def due_rows(broker, process):
    """The lanes that were woken since."""
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscription = broker.topic("due-rows")
    return lambda: broker.pull(subscription)


def away(sql, account, *, again_in=0):
    """It has been for long; somebody may ask again in so many seconds."""
    sql(
        "INSERT INTO crm_gates (account, failures, away_since, ask_at) "
        "VALUES (%s, 9, now() - interval '30 minutes', now() + make_interval(secs => %s)) RETURNING account",
        account,
        again_in,
    )


def ring(*call_ids, number="0367"):
    """As the push of a call does, with what it has due already."""
    deliver_due(RETAILCRM, number, call_ids)


def send_rows(number="0367"):
    """As the push of a lane does."""
    send_due(Lane(enterprise_number=number, crm=RETAILCRM.name), crm=RETAILCRM)


def sleeps_for(sql, number="0367"):
    """Seconds until the lane's timer wakes it."""
    [(seconds,)] = sql(
        "SELECT extract(epoch FROM wake_at - clock_timestamp())::float FROM row_timers WHERE enterprise_number = %s",
        number,
    )
    return seconds


def sizes_of(crm, number="0367"):
    return [len(entry["fields"]["calls"]) for entry in crm.entries(number, "upload")]


def states(sql):
    return sorted(sql("SELECT state, reason, count(*) FROM deliveries GROUP BY 1, 2"))


def test_four_processes_never_send_more_in_any_second_than_the_limit(account, crm, limited, sql, database_url):
    limited(telephony_per_second=20, deliveries_at_once=6)
    calls = fill(database_url, "0367", 100, effect="popup")

    with workers("0367", [calls[n::4] for n in range(4)], rounds=400, threads=3):
        deadline = time.monotonic() + 60
        while sql("SELECT count(*) FROM deliveries WHERE state <> 'delivered'") != [(0,)]:
            assert time.monotonic() < deadline, states(sql)
            sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING id")
            time.sleep(0.05)

    stats = requests.get(f"{crm.url}/_sim/stats", params={"account": "0367"}, timeout=10).json()["accounts"]["0367"]
    assert len(crm.events("0367")) == 100
    assert stats["rates"]["telephony"]["arrived_most_per_second"] <= 20
    assert sql("SELECT max(attempts_made), count(*) FROM deliveries") == [(1, 100)]


@pytest.mark.parametrize("mode", ["slow", "error_500"])
def test_of_eight_processes_exactly_one_finds_out_whether_the_crm_is_back(account, crm, sql, database_url, mode):
    calls = fill(database_url, "0367", 8, effect="popup")
    away(sql, account)
    crm.fault(mode, endpoint="event", delay_ms=1500)

    with workers("0367", [[call] for call in calls]) as running:
        wait(running)

    assert len(crm.entries("0367", "event")) == 1
    assert sql("SELECT count(*) FROM attempts") == [(1,)]
    assert sql("SELECT count(*) FROM deliveries WHERE attempts_made = 0 AND reason = 'crm_away'") == [(7,)]
    assert sql("SELECT away_since IS NOT NULL FROM crm_gates") == [(mode == "error_500",)]


def test_of_eight_processes_with_rows_one_risks_a_single_row_to_find_out(account, crm, sql, database_url):
    fill(database_url, "0367", 60)
    away(sql, account)
    crm.fault("error_500", endpoint="upload", delay_ms=1500)

    with workers("0367", [ROWS] * 8) as running:
        wait(running)

    assert sizes_of(crm) == [1]
    assert sql("SELECT count(*) FROM attempts") == [(1,)]
    assert sql("SELECT state, count(*) FROM deliveries WHERE attempts_made = 0 GROUP BY 1") == [("ready", 59)]


def test_a_crm_that_is_away_costs_no_attempts_and_what_waited_goes_out_in_batches(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 130)
    crm.fault("error_503", endpoint="upload")
    for _ in range(gate.FAILURES):
        sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING id")
        send_rows()
    asked = len(crm.entries("0367", "upload"))
    for _ in range(5):
        send_rows()

    assert (asked, len(crm.entries("0367", "upload"))) == (gate.FAILURES, gate.FAILURES)
    assert sql("SELECT state, reason, attempts_made FROM deliveries WHERE call_id = %s", calls[129]) == [
        ("ready", "crm_away", 0)
    ]
    assert sql("SELECT away_since IS NOT NULL FROM crm_gates") == [(True,)]

    crm.clear()
    sql("UPDATE crm_gates SET ask_at = now() RETURNING account")
    sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING id")
    send_rows()

    sent = [row["externalId"] for entry in crm.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert sizes_of(crm) == [1, 50, 50, 29]
    assert sent == [f"1760000000.{n}" for n in range(1, 131)]
    assert states(sql) == [("delivered", None, 130)]
    assert sql("SELECT count(*) FROM attempts WHERE outcome = 'done'") == [(130,)]
    assert sql("SELECT away_since FROM crm_gates") == [(None,)]


@pytest.mark.parametrize("first", ["upload", "popup"])
def test_when_the_crm_is_back_rows_go_at_once_whatever_pauses_they_had_grown(  # noqa: PLR0917  (fixtures)
    account, crm, sql, database_url, due_rows, first
):
    calls = fill(database_url, "0367", 130)
    sql(
        "UPDATE deliveries SET state = 'retry', reason = (ARRAY['unavailable', 'busy', 'in_doubt'])[mod(id, 3) + 1], "
        "attempts_made = 12, run_at = now() + interval '9 minutes' RETURNING id"
    )
    refused, paused = calls[5], calls[6]
    sql("UPDATE deliveries SET state = 'failed', finished_at = now() WHERE call_id = %s RETURNING id", refused)
    sql("UPDATE deliveries SET reason = 'authentication' WHERE call_id = %s RETURNING id", paused)
    away(sql, account, again_in=50)
    send_rows()
    asleep = sleeps_for(sql)
    sql("UPDATE crm_gates SET ask_at = now() RETURNING account")

    if first == "popup":
        ring(*fill(database_url, "0367", 1, effect="popup", prefix="1760000001."))
    else:
        sql("UPDATE deliveries SET run_at = now() WHERE call_id = %s RETURNING id", calls[0])
        send_rows()
    woken = due_rows()
    send_rows()

    assert asleep > 8 * 60
    assert woken == [{"enterprise_number": "0367", "crm": "retailcrm"}]
    assert sizes_of(crm) == ([50, 50, 28] if first == "popup" else [1, 50, 50, 27])
    assert len(crm.rows("0367")) == 128
    assert sql("SELECT state FROM deliveries WHERE call_id = %s", refused) == [("failed",)]
    assert sql("SELECT run_at > now() FROM deliveries WHERE call_id = %s", paused) == [(True,)]


def test_when_the_crm_is_back_the_lanes_of_everybody_on_its_account_are_woken(  # noqa: PLR0917  (fixtures)
    account, sql, provisioned, database_url, due_rows, limited
):
    another = account.replace("127.0.0.1", "127.0.0.2")
    limited(extra_hosts="127.0.0.1:*,127.0.0.2:*")
    provisioned("0368", token="another-token", domain=account)
    provisioned("0369", token="a-third-token", domain=another)
    for number in ("0368", "0369"):
        fill(database_url, number, 3, prefix=f"{number}.")
    fill(database_url, "0367", 1)
    away(sql, account, again_in=50)
    away(sql, another, again_in=50)
    for number in ("0367", "0368", "0369"):
        send_rows(number)
    asleep = [sleeps_for(sql, number) for number in ("0367", "0368", "0369")]
    sql("UPDATE crm_gates SET ask_at = now() WHERE account = %s RETURNING account", account)

    send_rows()
    woken = due_rows()

    assert min(asleep) > 40
    assert {"enterprise_number": "0368", "crm": "retailcrm"} in woken
    assert "0369" not in [message["enterprise_number"] for message in woken], "its account is another one"
    assert sleeps_for(sql, "0368") <= 0
    assert sleeps_for(sql, "0369") > 40


@pytest.mark.parametrize(
    ("again_in", "least", "most"),
    [(7, 6, 9), (50, 49, 61), (300, 59, 73)],
)
def test_a_lane_that_is_put_off_asks_again_when_it_may_and_every_minute_at_least(  # noqa: PLR0917  (fixtures)
    account, crm, sql, database_url, again_in, least, most
):
    fill(database_url, "0367", 40)
    away(sql, account, again_in=again_in)

    send_rows()

    assert least < sleeps_for(sql) < most
    assert states(sql) == [("ready", "crm_away", 40)], "each says why it waits"
    assert crm.entries("0367") == []


def test_a_row_that_is_to_wait_an_hour_does_not_keep_the_others_asleep(account, crm, sql, database_url):
    fill(database_url, "0367", 3)
    away(sql, account)
    crm.fault("error_429", endpoint="upload", retry_after=3600)

    send_rows()
    send_rows()

    assert states(sql) == [("ready", "crm_away", 2), ("retry", "busy", 1)]
    assert sleeps_for(sql) < 75


def test_an_answer_that_was_under_way_when_the_crm_went_away_shows_that_it_is_back(account, sql):
    limits = rate_slot.delivery_limits()
    with db.transaction() as conn:
        place = gates.enter(conn, account, limits, seconds=20, key=KEY)
    assert isinstance(place, gates.Place)
    sql(
        "UPDATE crm_gates SET failures = 4, away_since = now(), ask_at = now() + interval '5 seconds' RETURNING account"
    )

    with db.transaction() as conn:
        is_back = gates.leave(conn, place, limits, key=KEY, answer=Answer(outcome="done"))
        place = gates.enter(conn, account, limits, seconds=20, key=KEY)
        assert isinstance(place, gates.Place)
        again = gates.leave(conn, place, limits, key=KEY, answer=Answer(outcome="done"))

    assert (is_back, again) == (True, False)


def test_a_crm_that_is_still_away_leaves_the_rows_their_pauses(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 10)
    sql(
        "UPDATE deliveries SET state = 'retry', reason = 'in_doubt', run_at = now() + interval '9 minutes' RETURNING id"
    )
    sql("UPDATE deliveries SET run_at = now() WHERE call_id = %s RETURNING id", calls[0])
    away(sql, account)
    crm.fault("error_500", endpoint="upload")

    send_rows()

    assert len(crm.entries("0367", "upload")) == 1
    assert sql("SELECT count(*) FROM deliveries WHERE run_at > now() + interval '8 minutes'") == [(9,)]


def test_a_pop_up_that_waits_for_a_crm_that_is_away_expires_by_its_age(account, crm, sql, database_url):
    [call] = fill(database_url, "0367", 1, effect="popup", expires="1 second")
    away(sql, account, again_in=10)
    ring(call)
    waiting = states(sql)
    sql("UPDATE deliveries SET expires_at = now() - interval '1 millisecond' RETURNING id")
    ring(call)

    assert waiting == [("retry", "crm_away", 1)]
    assert states(sql) == [("expired", "expired", 1)]
    assert crm.entries("0367") == []


def test_a_refused_key_pauses_the_enterprise_and_a_new_one_is_used_at_once(
    account, crm, sql, provisioned, database_url
):
    provisioned(domain=crm.url, api_key="another-key")
    enterprise_cache().invalidate("0367")
    fill(database_url, "0367", 3, batch_limit=1)
    [ringing] = fill(database_url, "0367", 1, effect="popup", prefix="1760000001.")

    send_rows()
    send_rows()
    ring(ringing)
    refused = sql("SELECT count(*) FROM attempts")
    waiting, asleep = states(sql), sleeps_for(sql)
    provisioned(domain=crm.url)
    enterprise_cache().invalidate("0367")
    send_rows()

    assert refused == [(1,)]
    assert waiting == [("ready", "authentication", 2), ("retry", "authentication", 2)]
    assert asleep < 75, "a new key is used within a minute, whoever does not say that there is one"
    assert sql("SELECT count(*) FROM deliveries WHERE effect = 'upload' AND state = 'delivered'") == [(3,)]
    assert sql("SELECT pauses FROM crm_gates") == [({},)]


def test_after_a_pause_one_finds_out_whether_the_key_is_good_again(account, crm, sql, database_url):
    fill(database_url, "0367", 2, batch_limit=1)
    crm.fault("success_false", endpoint="upload", status=403, error_msg="Access denied.")
    send_rows()
    crm.clear()
    send_rows()
    before = len(crm.entries("0367", "upload"))
    sql(
        "UPDATE crm_gates SET pauses = jsonb_set(pauses, '{0367,until}', to_jsonb(now() - interval '1 second')) "
        "RETURNING account"
    )
    send_rows()

    assert before == 0
    assert states(sql) == [("delivered", None, 2)]


def test_what_can_wait_leaves_places_to_what_cannot(account, crm, limited, sql, database_url):
    limited(telephony_per_second=8, deliveries_at_once=0)
    with db.transaction() as conn:
        for _ in range(6):
            assert isinstance(gates.enter(conn, account, rate_slot.delivery_limits(), seconds=25, key=KEY), gates.Place)
    fill(database_url, "0367", 8)
    rings = fill(database_url, "0367", 3, effect="popup", prefix="1760000001.")

    send_rows()
    ring(*rings)

    kinds = [entry["kind"] for entry in crm.entries("0367")]
    assert (kinds.count("upload"), kinds.count("event")) == (0, 2)
    assert states(sql) == [("delivered", None, 2), ("ready", "crm_busy", 8), ("retry", "crm_busy", 1)]
    assert sql("SELECT max(attempts_made) FROM deliveries WHERE state <> 'delivered'") == [(0,)]


def test_a_pop_up_that_found_no_place_is_woken_within_about_a_second(  # noqa: PLR0917  (fixtures)
    account, crm, limited, sql, database_url, broker, process
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    limited(telephony_per_second=2, deliveries_at_once=0)
    subscription = broker.topic("call-events")
    calls = fill(database_url, "0367", 3, effect="popup")

    for call in calls:
        ring(call)
    [(wait_seconds,)] = sql("SELECT extract(epoch FROM run_at - now())::float FROM deliveries WHERE state = 'retry'")
    deadline = time.monotonic() + 5
    while not (woken := broker.pull(subscription)):
        assert time.monotonic() < deadline
    ring(calls[2])

    assert 0 < wait_seconds < 1.2
    assert woken == [{"call_id": calls[2], "enterprise_number": "0367", "crm": "retailcrm"}]
    assert states(sql) == [("delivered", None, 3)]
    assert sql("SELECT max(attempts_made) FROM deliveries") == [(1,)]


def test_one_account_has_so_many_requests_at_a_time_over_all_processes(account, crm, limited, sql, database_url):
    limited(deliveries_at_once=2)
    calls = fill(database_url, "0367", 8, effect="popup")
    crm.fault("slow", endpoint="event", delay_ms=1500)

    with workers("0367", [calls[n::4] for n in range(4)], threads=2) as running:
        wait(running)

    assert len(crm.entries("0367", "event")) == 2
    assert states(sql) == [("delivered", None, 2), ("retry", "crm_busy", 6)]


def test_retry_after_holds_back_the_account(account, crm, sql, database_url):
    fill(database_url, "0367", 2, batch_limit=1)
    crm.fault("error_429", endpoint="upload", requests=1, retry_after=30)

    send_rows()
    send_rows()

    assert len(crm.entries("0367", "upload")) == 1
    assert states(sql) == [("ready", "crm_busy", 1), ("retry", "busy", 1)]
    [(seconds,)] = sql("SELECT extract(epoch FROM run_at - now())::float FROM deliveries WHERE reason = 'busy'")
    assert 25 < seconds <= 31
    assert 25 < sleeps_for(sql) < 37


def test_a_place_whose_holder_died_is_free_again_when_its_time_is_over(account, process):
    limits = Limits(per_second=10, at_once=1)
    with db.transaction() as conn:
        held = gates.enter(conn, account, limits, seconds=0.3, key=KEY)
        refused = gates.enter(conn, account, limits, seconds=25, key=KEY)
    assert isinstance(held, gates.Place)
    assert isinstance(refused, gates.PutOff)
    deadline = time.monotonic() + 5
    while isinstance(entered := _entered(account, limits), gates.PutOff):
        assert time.monotonic() < deadline

    assert entered.until > held.until


def _entered(account, limits):
    with db.transaction() as conn:
        return gates.enter(conn, account, limits, seconds=25, key=KEY)


def test_who_asks_for_other_things_takes_a_turn_too(account, crm, limited, sql):
    limited(other_per_second=2)
    whom = client.Account(base_url=account, api_key="key-of-0367")

    began = time.monotonic()
    replies = [manager.get_settings(whom, timeout_seconds=3) for _ in range(4)]
    spent = time.monotonic() - began
    at_once = [manager.get_settings(whom, timeout_seconds=3, patience_seconds=0) for _ in range(2)]

    assert [reply.outcome for reply in replies] == ["done"] * 4
    assert 1 <= spent < 3
    assert "busy" in [reply.outcome for reply in at_once]
    stats = requests.get(f"{crm.url}/_sim/stats", params={"account": "0367"}, timeout=10).json()["accounts"]["0367"]
    assert stats["rates"]["other"]["arrived_most_per_second"] <= 2


def test_a_ringing_phone_does_not_wait_for_a_turn(account, limited, function, provisioned, crm):
    from tests.harness.enterprises import TOKEN

    limited(telephony_per_second=1)
    provisioned(domain=crm.url, smart_redirect_mode="routing+name")
    enterprise_cache().invalidate("0367")
    asked = function("smart-redirect")
    with db.transaction() as conn:
        gates.enter(conn, account, Limits(per_second=1), seconds=5, key=None)

    began = time.monotonic()
    body = {"UniqueId": "1.1", "Phone": "375291111111", "TrunkId": "0001301", "LoadDialPlan": True}
    answer = asked.post("/api/callevent/getcustomerdata", json=body, headers={"Token": TOKEN})
    spent = time.monotonic() - began

    assert answer.status_code == 200
    assert answer.get_json()["DialPlan"] is None
    assert spent < 0.9
    assert crm.entries("0367") == []


def test_neither_a_backlog_nor_what_is_behind_it_keeps_the_sweep_from_anybody(account, provisioned, database_url):
    provisioned("0368", token="another-token", domain=account)
    backlog = fill(database_url, "0367", 500, effect="popup")
    fill(database_url, "0368", 2, effect="popup")

    with db.connection() as conn:
        woken = claim_due(conn, limit=6, each=10)

    assert Counter(one.enterprise_number for one in woken) == {"0367": 4, "0368": 2}
    assert {backlog[0], backlog[1], backlog[-2], backlog[-1]} == {
        one.id for one in woken if one.enterprise_number == "0367"
    }


def test_that_the_crm_is_away_and_since_when_is_seen_by_the_operator(account, function, crm):
    from tests.conftest import OPERATOR_TOKEN

    for _ in range(gate.FAILURES):
        with db.transaction() as conn:
            place = gates.enter(conn, crm.url, rate_slot.delivery_limits(), seconds=5, key=KEY)
            assert isinstance(place, gates.Place)
            answer = Answer(outcome="unavailable")
            gates.leave(conn, place, rate_slot.delivery_limits(), key=KEY, answer=answer)

    stats = function("sweep-calls").get("/stats", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"}).get_json()

    with db.connection() as conn:
        since = gates.find_away_since(conn, crm.url)

    assert since is not None
    assert [(item["account"], item["state"]) for item in stats["accounts"]] == [(crm.url, "open")]
