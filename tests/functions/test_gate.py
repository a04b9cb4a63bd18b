"""The gate in front of a CRM: shared by real processes, on real PostgreSQL, before a real HTTP server."""

from __future__ import annotations

import time
from collections import Counter
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from lib.enterprises.cache import enterprise_cache
from lib.ledger import deliver
from lib.ledger.deliver import deliver_due
from lib.retailcrm import client, manager, rate_slot
from lib.runtime import config, db, gate
from lib.runtime.gate import Answer, Limits
from lib.store import gates
from lib.store.calls import claim_due
from tests.harness.ledger import fill, wait, workers

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


def away(sql, account, *, again_in=0):
    """It has been for long; somebody may ask again in so many seconds."""
    sql(
        "INSERT INTO crm_gates (account, failures, away_since, ask_at) "
        "VALUES (%s, 9, now() - interval '30 minutes', now() + make_interval(secs => %s)) RETURNING account",
        account,
        again_in,
    )


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


def test_a_crm_that_is_away_costs_no_attempts_and_what_waited_goes_out_in_batches(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 130)
    crm.fault("error_503", endpoint="upload")
    for _ in range(gate.FAILURES):
        sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING id")
        deliver_due("0367", calls[0])
    asked = len(crm.entries("0367", "upload"))
    for call in calls[:5]:
        deliver_due("0367", call)

    assert (asked, len(crm.entries("0367", "upload"))) == (gate.FAILURES, gate.FAILURES)
    assert sql("SELECT state, reason, attempts_made FROM deliveries WHERE call_id = %s", calls[129]) == [
        ("ready", None, 0)
    ]
    assert sql("SELECT away_since IS NOT NULL FROM crm_gates") == [(True,)]

    crm.clear()
    sql("UPDATE crm_gates SET ask_at = now() RETURNING account")
    sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING id")
    deliver_due("0367", calls[0])

    sizes = [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")]
    sent = [row["externalId"] for entry in crm.entries("0367", "upload") for row in entry["fields"]["calls"]]
    assert sizes == [1, 50, 50, 29]
    assert sent == [f"1760000000.{n}" for n in range(1, 131)]
    assert states(sql) == [("delivered", None, 130)]
    assert sql("SELECT count(*) FROM attempts WHERE outcome = 'done'") == [(130,)]
    assert sql("SELECT away_since FROM crm_gates") == [(None,)]


@pytest.mark.parametrize("first", ["upload", "popup"])
def test_when_the_crm_is_back_rows_go_at_once_whatever_pauses_they_had_grown(account, crm, sql, database_url, first):
    calls = fill(database_url, "0367", 130)
    sql(
        "UPDATE deliveries SET state = 'retry', reason = (ARRAY['unavailable', 'busy', 'in_doubt'])[mod(id, 3) + 1], "
        "attempts_made = 12, run_at = now() + interval '9 minutes' RETURNING id"
    )
    refused, paused = calls[5], calls[6]
    sql("UPDATE deliveries SET state = 'failed', finished_at = now() WHERE call_id = %s RETURNING id", refused)
    sql("UPDATE deliveries SET reason = 'authentication' WHERE call_id = %s RETURNING id", paused)
    [probe] = fill(database_url, "0367", 1, effect="popup") if first == "popup" else [calls[0]]
    sql("UPDATE deliveries SET run_at = now() WHERE call_id = %s RETURNING id", probe)
    away(sql, account)

    deliver_due("0367", probe)

    sizes = [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")]
    assert sizes == ([50, 50, 28] if first == "popup" else [1, 50, 50, 27])
    assert len(crm.rows("0367")) == 128
    assert sql("SELECT state FROM deliveries WHERE call_id = %s", refused) == [("failed",)]
    assert sql("SELECT run_at > now() FROM deliveries WHERE call_id = %s", paused) == [(True,)]


def test_when_the_crm_is_back_the_rows_of_everybody_on_its_account_are_woken(
    account, crm, sql, provisioned, database_url
):
    crm.account("0368", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    provisioned("0368", token="another-token", domain=account)
    enterprise_cache().by_number("0368")
    theirs = fill(database_url, "0368", 3, prefix="1760000001.")
    [probe] = fill(database_url, "0367", 1)
    away(sql, account, again_in=50)
    for call in theirs:
        deliver_due("0368", call)
    asleep = sql("SELECT count(*) FROM calls WHERE enterprise_number = '0368' AND next_wake_at > now()")
    sql("UPDATE crm_gates SET ask_at = now() RETURNING account")

    deliver_due("0367", probe)

    assert asleep == [(3,)]
    assert sql("SELECT count(*) FROM calls WHERE enterprise_number = '0368' AND next_wake_at <= now()") == [(3,)]


def test_while_the_crm_is_away_the_first_rows_look_in_turn_and_the_others_go_with_them(account, sql, database_url):
    calls = fill(database_url, "0367", 40)
    away(sql, account, again_in=50)

    for call in calls:
        deliver_due("0367", call)

    looks = [
        (state, round(seconds / 60))
        for state, seconds in sql(
            "SELECT state, extract(epoch FROM next_wake_at - now())::float / 1.1 FROM calls c "
            "JOIN deliveries d ON d.call_id = c.id ORDER BY c.id"
        )
    ]
    assert [state for state, _ in looks] == ["retry"] * 40
    assert looks[0][1] <= 1
    assert all(minutes < 12 for _, minutes in looks[: deliver.LOOKERS])
    assert len([minutes for _, minutes in looks if minutes > 120]) == 40 - deliver.LOOKERS


def test_a_row_that_is_put_off_for_long_keeps_no_other_of_its_call_waiting(account, sql, database_url):
    calls = fill(database_url, "0367", deliver.LOOKERS + 1)
    sql(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, reason, run_at) "
        "SELECT enterprise_number, call_id, effect, 'another', content, 'retry', 'busy', now() + interval '40 seconds' "
        "FROM deliveries WHERE call_id = %s RETURNING id",
        calls[-1],
    )
    away(sql, account, again_in=50)

    deliver_due("0367", calls[-1])

    [(seconds,)] = sql("SELECT extract(epoch FROM next_wake_at - now())::float FROM calls WHERE id = %s", calls[-1])
    assert 20 < seconds <= 40


def test_who_ends_in_the_middle_of_a_backlog_leaves_a_row_that_wakes_soon(account, sql, database_url, monkeypatch):
    calls = fill(database_url, "0367", 120)
    sql("UPDATE calls SET next_wake_at = now() + interval '3 hours' RETURNING id")

    def end(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "send", end)
    with pytest.raises(KeyboardInterrupt):
        deliver_due("0367", calls[0])

    soon = sql("SELECT c.id FROM calls c WHERE next_wake_at < now() + interval '30 seconds' ORDER BY id")
    assert [call_id for (call_id,) in soon] == calls[:51]


def test_a_row_that_goes_alone_does_not_keep_those_behind_it_asleep(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 40)
    sql("UPDATE calls SET next_wake_at = now() + interval '3 hours' RETURNING id")
    sql("UPDATE deliveries SET batch_limit = 1 WHERE call_id = %s RETURNING id", calls[5])

    deliver_due("0367", calls[0])

    assert [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")] == [5, 1, 34]
    assert states(sql) == [("delivered", None, 40)]


def test_a_row_that_waits_for_the_end_of_its_call_does_not_hold_up_those_behind_it(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 120)
    sql("UPDATE calls SET next_wake_at = now() + interval '3 hours' RETURNING id")
    sql(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state, run_at, expires_at) "
        "SELECT enterprise_number, call_id, 'hangup', external_id, content, 'retry', now() + interval '40 seconds', "
        "now() + interval '1 minute' FROM deliveries WHERE call_id = %s RETURNING id",
        calls[50],
    )

    deliver_due("0367", calls[0])

    assert [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")] == [50, 50, 19]
    assert sql("SELECT state FROM deliveries WHERE call_id = %s AND effect = 'upload'", calls[50]) == [("ready",)]


def test_a_row_that_fails_wakes_the_next_one(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 3)
    sql("UPDATE calls SET next_wake_at = now() + interval '3 hours' RETURNING id")
    away(sql, account)
    crm.fault("error_429", endpoint="upload", retry_after=3600)

    deliver_due("0367", calls[0])

    soon = sql("SELECT id FROM calls WHERE next_wake_at < now() + interval '30 seconds'")
    assert soon == [(calls[1],)]


def test_rows_of_an_integration_that_is_switched_off_follow_each_other(  # noqa: PLR0917  (fixtures)
    account, sql, provisioned, database_url, broker, process
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscription = broker.topic("call-events")
    calls = fill(database_url, "0367", 20)
    sql("UPDATE calls SET next_wake_at = now() + interval '3 hours' RETURNING id")
    provisioned(domain=account, enabled=False)
    enterprise_cache().invalidate("0367")

    looked_at, rounds = calls[0], 0
    while sql("SELECT count(*) FROM deliveries WHERE state <> 'superseded'") != [(0,)]:
        deliver_due("0367", looked_at)
        deadline = time.monotonic() + 5
        while not (woken := broker.pull(subscription)) and sql("SELECT 1 FROM deliveries WHERE state <> 'superseded'"):
            assert time.monotonic() < deadline, states(sql)
        looked_at, rounds = (woken[0]["call_id"] if woken else 0), rounds + 1

    assert states(sql) == [("superseded", "integration_disabled", 20)]
    assert rounds < 10


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


@pytest.mark.parametrize(
    ("reason", "seconds", "ahead", "expected"),
    [
        ("crm_away", 7.0, 0, 7.0),
        ("crm_away", 300.0, 0, 60.0),
        ("crm_away", 7.0, 2, 127.0),
        ("authentication", 290.0, 1, 120.0),
        ("crm_away", 7.0, deliver.LOOKERS, 10_800.0),
        ("authentication", 290.0, deliver.LOOKERS, 10_800.0),
        ("crm_busy", 0.25, 0, 0.25),
        ("crm_busy", 0.25, 1, 60.25),
        ("crm_busy", 0.25, deliver.LOOKERS, 600.0),
    ],
)
def test_how_soon_a_row_that_was_put_off_is_looked_at(reason, seconds, ahead, expected):
    assert deliver.look_again_in(gates.PutOff(reason=reason, seconds=seconds), ahead=ahead) == expected


def test_a_crm_that_is_still_away_leaves_the_rows_their_pauses(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 10)
    sql(
        "UPDATE deliveries SET state = 'retry', reason = 'in_doubt', run_at = now() + interval '9 minutes' RETURNING id"
    )
    sql("UPDATE deliveries SET run_at = now() WHERE call_id = %s RETURNING id", calls[0])
    away(sql, account)
    crm.fault("error_500", endpoint="upload")

    deliver_due("0367", calls[0])

    assert len(crm.entries("0367", "upload")) == 1
    assert sql("SELECT count(*) FROM deliveries WHERE run_at > now() + interval '8 minutes'") == [(9,)]


def test_a_pop_up_that_waits_for_a_crm_that_is_away_expires_by_its_age(account, crm, sql, database_url):
    [call] = fill(database_url, "0367", 1, effect="popup", expires="1 second")
    away(sql, account, again_in=10)
    deliver_due("0367", call)
    waiting = states(sql)
    sql("UPDATE deliveries SET expires_at = now() - interval '1 millisecond' RETURNING id")
    deliver_due("0367", call)

    assert waiting == [("retry", "crm_away", 1)]
    assert states(sql) == [("expired", "expired", 1)]
    assert crm.entries("0367") == []


def test_a_row_that_is_refused_is_split_off_and_the_others_get_through(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 50)
    sql(
        'UPDATE deliveries SET content = content || \'{"result": "missed"}\' WHERE call_id = %s RETURNING id',
        calls[36],
    )

    deliver_due("0367", calls[0])
    for call in calls:
        deliver_due("0367", call)

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
    assert [len(rows) for rows in refused if len(rows) == 1] == [1]


def test_a_refusal_that_is_no_rows_fault_is_not_split(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 10)
    crm.fault("success_false", endpoint="upload", error_msg="Telephony not enabled or not supports calls upload")

    deliver_due("0367", calls[0])

    assert len(crm.entries("0367", "upload")) == 1
    assert states(sql) == [("failed", "permanent", 10)]


def test_a_batch_in_doubt_is_sent_again_whole_and_every_row_is_held_once(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 20)
    crm.fault("ok_then_rst", endpoint="upload", requests=1)

    deliver_due("0367", calls[0])
    doubted = states(sql)
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    deliver_due("0367", calls[7])

    assert doubted == [("retry", "in_doubt", 20)]
    assert states(sql) == [("delivered", None, 20)]
    assert [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")] == [20, 20]
    assert len(crm.rows("0367")) == 20
    assert sorted(sql("SELECT outcome, count(*) FROM attempts GROUP BY 1")) == [("done", 20), ("in_doubt", 20)]


def test_a_batch_that_breaks_the_crm_is_sent_again_in_parts(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 20)
    crm.fault("error_500", endpoint="upload", requests=1)

    deliver_due("0367", calls[0])
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    deliver_due("0367", calls[0])

    assert [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")] == [20, 10, 10]
    assert states(sql) == [("delivered", None, 20)]


def test_two_that_draw_from_one_backlog_send_every_row_once(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 400)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda call: deliver_due("0367", call), [call for call in calls[::20] for _ in range(3)]))
    for call in calls:
        deliver_due("0367", call)

    assert states(sql) == [("delivered", None, 400)]
    assert sum(len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")) == 400


def test_a_refused_key_pauses_the_enterprise_and_a_new_one_is_used_at_once(
    account, crm, sql, provisioned, database_url
):
    provisioned(domain=crm.url, api_key="another-key")
    enterprise_cache().invalidate("0367")
    calls = fill(database_url, "0367", 3, batch_limit=1)
    [ring] = fill(database_url, "0367", 1, effect="popup", prefix="1760000001.")

    for call in (*calls, ring):
        deliver_due("0367", call)
    refused = sql("SELECT count(*) FROM attempts")
    waiting = states(sql)
    provisioned(domain=crm.url)
    enterprise_cache().invalidate("0367")
    sql("UPDATE deliveries SET run_at = now() RETURNING id")
    for call in calls:
        deliver_due("0367", call)

    assert refused == [(1,)]
    assert waiting == [("retry", "authentication", 4)]
    assert sql("SELECT count(*) FROM deliveries WHERE effect = 'upload' AND state = 'delivered'") == [(3,)]
    assert sql("SELECT pauses FROM crm_gates") == [({},)]


def test_after_a_pause_one_finds_out_whether_the_key_is_good_again(account, crm, sql, database_url):
    calls = fill(database_url, "0367", 2, batch_limit=1)
    crm.fault("success_false", endpoint="upload", status=403, error_msg="Access denied.")
    deliver_due("0367", calls[0])
    crm.clear()
    deliver_due("0367", calls[1])
    before = len(crm.entries("0367", "upload"))
    sql(
        "UPDATE crm_gates SET pauses = jsonb_set(pauses, '{0367,until}', to_jsonb(now() - interval '1 second')) "
        "RETURNING account"
    )
    deliver_due("0367", calls[1])

    assert before == 0
    assert [state for state, _, _ in states(sql)] == ["delivered"]


def test_what_can_wait_leaves_places_to_what_cannot(account, crm, limited, sql, database_url):
    limited(telephony_per_second=8, deliveries_at_once=0)
    uploads = fill(database_url, "0367", 8, batch_limit=1)
    rings = fill(database_url, "0367", 3, effect="popup", prefix="1760000001.")

    for call in (*uploads, *rings):
        deliver_due("0367", call)

    kinds = [entry["kind"] for entry in crm.entries("0367")]
    assert (kinds.count("upload"), kinds.count("event")) == (6, 2)
    assert states(sql) == [("delivered", None, 8), ("retry", "crm_busy", 3)]
    assert sql("SELECT max(attempts_made) FROM deliveries WHERE state = 'retry'") == [(0,)]


def test_a_pop_up_that_found_no_place_is_woken_within_about_a_second(  # noqa: PLR0917  (fixtures)
    account, crm, limited, sql, database_url, broker, process
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    limited(telephony_per_second=2, deliveries_at_once=0)
    subscription = broker.topic("call-events")
    calls = fill(database_url, "0367", 3, effect="popup")

    for call in calls:
        deliver_due("0367", call)
    [(wait_seconds,)] = sql("SELECT extract(epoch FROM run_at - now())::float FROM deliveries WHERE state = 'retry'")
    deadline = time.monotonic() + 5
    while not (woken := broker.pull(subscription)):
        assert time.monotonic() < deadline
    deliver_due("0367", calls[2])

    assert 0 < wait_seconds < 1.2
    assert woken == [{"call_id": calls[2], "enterprise_number": "0367"}]
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
    calls = fill(database_url, "0367", 2, batch_limit=1)
    crm.fault("error_429", endpoint="upload", requests=1, retry_after=30)

    for call in calls:
        deliver_due("0367", call)

    assert len(crm.entries("0367", "upload")) == 1
    assert states(sql) == [("retry", "busy", 1), ("retry", "crm_busy", 1)]
    [(seconds,)] = sql("SELECT extract(epoch FROM run_at - now())::float FROM deliveries WHERE reason = 'busy'")
    assert 25 < seconds <= 31


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
    backlog = fill(database_url, "0367", 500)
    fill(database_url, "0368", 2)

    with db.connection() as conn:
        woken = claim_due(conn, limit=6, each=10)

    assert Counter(number for number, _ in woken) == {"0367": 4, "0368": 2}
    assert {backlog[0], backlog[1], backlog[-2], backlog[-1]} == {call for number, call in woken if number == "0367"}


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


def test_rows_for_crms_that_hang_leave_threads_for_the_pop_ups_of_others(crm, provisioned, limited, sql, database_url):
    limited(deliveries_at_once=20)  # they stand behind one address here, which is to hold none of them back
    hanging = [f"H{n}" for n in range(deliver.ROWS_AT_ONCE + 1)]
    for number in (*hanging, "0367"):
        crm.account(number, behaviour={"telephony_per_second": 0, "other_per_second": 0})
        provisioned(number, token=f"token-of-{number}", domain=crm.url)
    rows = {number: fill(database_url, number, 1, prefix=f"{number}-")[0] for number in hanging}
    [popup] = fill(database_url, "0367", 1, effect="popup")
    crm.fault("slow", endpoint="upload", delay_ms=5000)

    with ThreadPoolExecutor(len(hanging)) as pool:
        sending = [pool.submit(deliver_due, number, call_id) for number, call_id in rows.items()]
        done, _ = futures.wait(sending, return_when=futures.FIRST_COMPLETED)
        deadline = time.monotonic() + 2
        while sql("SELECT count(*) FROM attempts") < [(deliver.ROWS_AT_ONCE,)] and time.monotonic() < deadline:
            time.sleep(0.02)
        left_alone = sql("SELECT count(*) FROM deliveries WHERE effect = 'upload' AND attempts_made = 0")
        deliver_due("0367", popup)
        still_hanging = [future for future in sending if not future.done()]

    assert len(done) == 1
    assert left_alone == [(1,)]
    assert len(still_hanging) == deliver.ROWS_AT_ONCE
    assert len(crm.events("0367")) == 1


def test_a_push_that_has_looked_long_enough_leaves_the_rest_to_a_message_of_its_own(  # noqa: PLR0917  (fixtures)
    account, crm, sql, database_url, broker, process, monkeypatch
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    subscription = broker.topic("call-events")
    calls = fill(database_url, "0367", 2, effect="popup")
    monkeypatch.setattr(deliver, "LOOK_SECONDS", -1.0)

    deliver_due("0367", *calls)

    assert states(sql) == [("ready", None, 2)]
    assert sorted(message["call_id"] for message in broker.pull(subscription)) == calls


def test_a_row_that_finds_every_way_taken_waits_for_its_turn_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(deliver, "ROW_PATIENCE_SECONDS", 20.0)
    ways = deliver._RowWays()
    with ExitStack() as others, ExitStack() as own, ThreadPoolExecutor(1) as pool:
        taken = [ways.take(others) for _ in range(deliver.ROWS_AT_ONCE)]
        before = ways.are_in_use_by_turns()
        waiting = pool.submit(ways.take, own)
        is_waiting = not futures.wait([waiting], timeout=0.2).done
        others.close()
        got = waiting.result(timeout=20)
        after = ways.are_in_use_by_turns()

        monkeypatch.setattr(deliver, "ROW_PATIENCE_SECONDS", 0.05)
        rest = [ways.take(others) for _ in range(deliver.ROWS_AT_ONCE)]

    assert (taken, before, is_waiting, got, after) == ([True] * deliver.ROWS_AT_ONCE, False, True, True, True)
    assert rest == [True] * (deliver.ROWS_AT_ONCE - 1) + [False]
