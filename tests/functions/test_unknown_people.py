"""A card counts as shown to those whom the CRM knows; the others are told once more by their user ids."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from lib.calls import explain
from lib.crms import RETAILCRM
from lib.ledger import story
from lib.ledger.crm import Unknown
from lib.ledger.deliver import deliver_due
from lib.retailcrm import repair
from lib.runtime import db
from lib.store import people as people_of
from tests.functions.test_retailcrm_deliver import Gateway
from tests.functions.test_stats import steps_of
from tests.harness.assembled import counted
from tests.harness.ledger import fill, wait, workers
from tests.harness.servers import push_envelope


@pytest.fixture
def crm(fresh_crm):
    fresh_crm.forget("0367")
    fresh_crm.account("0367", behaviour={"other_per_second": 0})
    return fresh_crm


@pytest.fixture
def connected(crm, commands, page, provisioned):
    """The page of an administrator whose enterprise is connected."""
    provisioned(domain=crm.url)
    return page


@pytest.fixture
def gateway(connected, function, sql):
    return Gateway(function, sql)


def cards(crm):
    """Who saw a card, and how often."""
    return sorted((card["user_id"], card["code"], card["shown_times"]) for card in crm.cards("0367"))


def people(crm):
    return [(event["type"], event.get("codes"), event.get("userIds")) for event in crm.events("0367")]


def popups(sql):
    return sql(
        "SELECT extensions, user_ids, state, reason FROM deliveries WHERE effect = 'popup' ORDER BY extensions, generation"
    )


def commands_of(sql):
    return sql("SELECT action, state FROM module_commands ORDER BY id")


def test_whose_extension_is_unknown_sees_the_card_as_a_user_and_it_is_closed_so(gateway, crm, sql):
    crm.change("0367", "forget-codes", codes=["151"])

    gateway.ring(["150", "151"])
    gateway.missed()

    assert cards(crm) == [(18, "150", 1), (19, None, 1)]
    assert people(crm) == [
        ("in", ["150", "151"], None),
        ("in", None, [19]),
        ("hangup", ["150"], [19]),
    ]
    assert popups(sql) == [(["150"], [], "delivered", None), (["151"], [19], "delivered", None)]
    assert {card["hangup_status"] for card in crm.cards("0367")} == {"no answered"}
    assert [row["code"] for row in crm.rows("0367")] == ["150"]
    assert not any(entry["warnings"] for entry in crm.entries("0367", "event"))


def test_where_nobody_is_known_by_extension_all_are_told_as_users_and_counted_once(
    gateway,
    crm,
    sql,
    connected,
):
    crm.change("0367", "forget-codes", codes=["150", "151"])

    gateway.ring(["150", "151"])
    gateway.missed()

    assert cards(crm) == [(18, None, 1), (19, None, 1)]
    assert people(crm)[-1] == ("hangup", None, [18, 19])
    assert popups(sql) == [
        (["150", "151"], [], "superseded", "told_by_user_id"),
        (["150", "151"], [18, 19], "delivered", None),
    ]
    assert connected.get("stats/0367").json["today"]["popups"] == {"delivered": 1, "waiting": 0, "failed": 0}
    assert connected.get("calls/0367").json["calls"][0]["popup"]["state"] == "delivered"


def test_who_saw_nothing_is_said_everywhere(gateway, crm, sql, connected):
    crm.change("0367", "delete-user", user_id=19)
    gateway.ring(["151"])
    gateway.missed()

    assert cards(crm) == []
    assert people(crm) == [("in", ["151"], None), ("in", None, [19])], "nobody saw a card that would have to be closed"
    assert popups(sql)[-1] == (["151"], [19], "not_shown", "unknown_to_crm")
    stats = connected.get("stats/0367").json["today"]
    assert stats["popups"] == {"delivered": 0, "waiting": 0, "failed": 1}
    assert {"effect": "popup", "state": "not_shown", "count": 1} in stats["deliveries"]
    [row] = connected.get("calls/0367", state="not_shown").json["calls"]
    assert (row["popup"]["state"], row["popup"]["reason"]) == ("failed", "unknown_to_crm")
    assert connected.get("calls/0367", reason="unknown_to_crm").json["calls"] == [row]
    told = story.tell("0367", gateway.unique_id, crm="retailcrm")
    assert ("popup", "not_shown", ["151"]) in [(one["effect"], one["state"], one["extensions"]) for one in told["told"]]
    assert "nobody saw the card" in explain.as_text(told, "en")
    assert "карточку никто не увидел" in explain.as_text(told)
    drawn = connected.get(f"calls/0367/{gateway.unique_id}")
    assert "not_shown" in {one["state"] for one in drawn.json["told"]}


def test_one_who_saw_it_makes_nobody_else_see_it(gateway, crm, sql, connected):
    crm.change("0367", "delete-user", user_id=19)
    gateway.ring(["150", "151"])
    gateway.missed()

    assert cards(crm) == [(18, "150", 1)]
    assert popups(sql) == [(["150"], [], "delivered", None), (["151"], [19], "not_shown", "unknown_to_crm")]
    assert people(crm)[-1] == ("hangup", ["150"], None)
    assert connected.get("stats/0367").json["today"]["popups"] == {"delivered": 1, "waiting": 0, "failed": 1}


def test_the_second_try_is_news_or_nothing(gateway, crm, sql):
    crm.change("0367", "forget-codes", codes=["151"])
    crm.fault("ok", endpoint="event", requests=1)
    crm.fault("error_429", endpoint="event", requests=1, retry_after=30)

    gateway.ring(["151"])
    waiting = popups(sql)[-1]
    gateway.missed()

    assert waiting == (["151"], [19], "retry", "busy")
    assert popups(sql)[-1] == (["151"], [19], "not_shown", "unknown_to_crm")
    assert cards(crm) == []
    assert len(crm.entries("0367", "event")) == 2


def test_a_second_try_that_may_have_arrived_is_not_repeated_and_its_card_is_closed(gateway, crm, sql):
    crm.change("0367", "forget-codes", codes=["151"])
    crm.fault("ok", endpoint="event", requests=1)
    crm.fault("ok_then_rst", endpoint="event", requests=1)

    gateway.ring(["151"])
    gateway.wake()
    gateway.missed()

    assert cards(crm) == [(19, None, 1)]
    assert popups(sql)[-1] == (["151"], [19], "in_doubt", "in_doubt")
    assert people(crm)[-1] == ("hangup", None, [19])


def test_a_phone_that_rings_again_is_not_told_again(gateway, crm, sql):
    crm.change("0367", "forget-codes", codes=["151"])
    gateway.ring(["150", "151"])
    gateway.happen("dial", Phone="375291111111", CallType=0, Trunk="0001301", Extensions=["151", "152"])

    assert cards(crm) == [(18, "150", 1), (19, None, 1), (20, "152", 1)]


@pytest.mark.parametrize(
    ("failpoint", "after"),
    [
        # Told and recorded: who is left is told by the next process.
        ("result_committed=kill:1/1", [(["150"], [], "superseded"), (["150"], [18], "delivered")]),
        # Told, and nobody knows what came of it: not repeated in any way.
        ("result_recorded=kill:1/1", [(["150"], [], "in_doubt")]),
        ("response_read=kill:1/1", [(["150"], [], "in_doubt")]),
        # The second try stands, and was not sent, or was: nobody knows.
        ("attempt_committed=kill:1/2", [(["150"], [], "superseded"), (["150"], [18], "in_doubt")]),
        ("result_recorded=kill:1/2", [(["150"], [], "superseded"), (["150"], [18], "in_doubt")]),
    ],
)
def test_a_process_that_ends_between_the_tries_shows_nobody_a_second_card(  # noqa: PLR0917  (fixtures)
    crm_server, provisioned, process, sql, database_url, failpoint, after
):
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", behaviour={"telephony_per_second": 0})
    crm_server.change("0367", "forget-codes", codes=["150"])
    provisioned(domain=crm_server.url)
    [call] = fill(database_url, "0367", 1, effect="popup")
    process.setenv("FAILPOINTS", failpoint)
    process.setenv("FAILPOINTS_ALLOWED", "yes")
    with workers("0367", [[call]]) as running:
        [worker] = running
        assert worker.wait(timeout=60) == -signal.SIGKILL
    process.delenv("FAILPOINTS")

    sql("UPDATE deliveries SET lease_until = now() - interval '1 second' WHERE state = 'leased' RETURNING 1")
    with workers("0367", [[call]], rounds=2) as running:
        wait(running)

    assert [row[:3] for row in popups(sql)] == after
    assert sum(card["shown_times"] for card in crm_server.cards("0367")) <= 1
    sent = [entry["fields"]["event"] for entry in crm_server.entries("0367", "event")]
    assert len(sent) == len({str(event) for event in sent}), "no request twice"


def test_the_mapping_is_pushed_once_and_the_card_gets_through_and_the_warning_goes(
    gateway,
    crm,
    sql,
    connected,
    function,
):
    def run():
        assert register.post("/", json=push_envelope({"enterprise_number": "0367"})).status_code == 204

    register = function("register-module")
    connected.post("register/0367")
    run()
    sql("UPDATE module_commands SET created_at = now() - interval '1 hour' RETURNING 1")
    crm.change("0367", "forget-codes", codes=["151"])
    gateway.ring(["151"])
    gateway.missed()
    gateway.unique_id += "1"
    gateway.ring(["151"])
    asked = commands_of(sql)
    warned = [one["code"] for one in connected.get("stats/0367").json["attention"]]
    logged = sql("SELECT request_data, status FROM integration_logs WHERE event_type = 'repair_mapping'")

    run()
    still = [one["code"] for one in connected.get("stats/0367").json["attention"]]
    gateway.missed()
    gateway.unique_id += "1"
    gateway.ring(["151"])

    assert asked == [("register", "done"), ("push_mapping", "ready")]
    assert logged == [({"not_shown": ["151"], "managers": []}, "success")]
    assert "unknown_to_crm" in warned
    assert "unknown_to_crm" in still, "nobody has seen a card yet"
    assert "unknown_to_crm" not in [one["code"] for one in connected.get("stats/0367").json["attention"]]
    assert connected.get("managers/0367").json["unknown_to_crm"] == []
    assert people(crm)[-1] == ("in", ["151"], None)
    assert commands_of(sql) == [("register", "done"), ("push_mapping", "done")]


def test_a_warning_about_a_manager_goes_when_a_card_got_through_to_their_extension(
    gateway,
    crm,
    connected,
):
    crm.change("0367", "delete-user", user_id=19)
    gateway.ring(["151"])
    kinds = {one["kind"] for one in connected.get("managers/0367").json["unknown_to_crm"]}
    crm.forget("0367")
    crm.account("0367", behaviour={"other_per_second": 0})
    gateway.unique_id += "1"
    gateway.ring(["151"])

    assert kinds == {"extension", "manager"}
    assert connected.get("managers/0367").json["unknown_to_crm"] == []


def test_a_test_card_that_gets_through_ends_the_warning_and_one_that_does_not_keeps_it(
    gateway,
    crm,
    connected,
):
    def warned():
        return [one["value"] for one in connected.get("managers/0367").json["unknown_to_crm"]]

    crm.change("0367", "forget-codes", codes=["151"])
    gateway.ring(["151"])
    connected.post("test-popup/0367", {"user_id": 19, "seconds": 0})
    kept = warned()
    crm.forget("0367")
    crm.account("0367", behaviour={"other_per_second": 0})
    connected.post("test-popup/0367", {"user_id": 19, "seconds": 0})

    assert (kept, warned()) == (["151"], [])


def test_of_many_at_once_one_asks_for_the_mapping(provisioned, sql):
    provisioned()
    unknown = Unknown(extensions=frozenset({"151"}))
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: repair.push_mapping("0367", unknown), range(16)))
    sql("UPDATE module_commands SET state = 'done', finished_at = now() RETURNING 1")
    at_once = repair.push_mapping("0367", unknown)
    sql("UPDATE module_commands SET created_at = now() - interval '301 seconds' RETURNING 1")
    later = repair.push_mapping("0367", unknown)

    assert (sum(asked), at_once, later) == (1, False, True)
    assert commands_of(sql) == [("push_mapping", "done"), ("push_mapping", "ready")]


def test_a_pop_up_does_not_fail_because_the_mapping_cannot_be_repaired(gateway, crm, sql, process):
    from lib.runtime.errors import Unavailable

    def away(*_):
        raise Unavailable("The database is away")

    process.setattr(repair, "push_mapping", away)
    crm.change("0367", "forget-codes", codes=["151"])

    gateway.ring(["151"])

    assert cards(crm) == [(19, None, 1)]
    assert commands_of(sql) == []


def test_what_is_under_way_of_a_call_that_was_joined_is_recorded_where_it_is(
    crm_server, provisioned, sql, database_url, process
):
    """The pop-up moves to another call while the CRM is asked."""
    crm_server.clear()
    crm_server.forget("0367")
    crm_server.account("0367", behaviour={"telephony_per_second": 0})
    crm_server.change("0367", "forget-codes", codes=["150"])
    provisioned(domain=crm_server.url)
    call, other = fill(database_url, "0367", 2, effect="popup")
    sql("DELETE FROM deliveries WHERE call_id = %s RETURNING 1", other)
    send = RETAILCRM.send

    def moving(*arguments, **options):
        reply = send(*arguments, **options)
        sql("UPDATE deliveries SET call_id = %s WHERE call_id = %s RETURNING 1", other, call)
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(RETAILCRM), "send", lambda _, *arguments, **options: moving(*arguments, **options))
        deliver_due(RETAILCRM, "0367", [call])
    deliver_due(RETAILCRM, "0367", [other])

    assert sql("SELECT DISTINCT call_id FROM deliveries") == [(other,)]
    assert [row[:3] for row in popups(sql)] == [(["150"], [], "superseded"), (["150"], [18], "delivered")]
    assert [(card["user_id"], card["shown_times"]) for card in crm_server.cards("0367")] == [(18, 1)]


def log_popup(sql, asked, answered, *, minutes_ago=0, count=1):
    sql(
        "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data, "
        "status, created_at) "
        "SELECT '0367', 'retailcrm', 'popup', %s::jsonb, %s::jsonb, 'success', now() - make_interval(mins => %s) "
        "FROM generate_series(1, %s) RETURNING 1",
        json.dumps({"event": {"type": "in", "callExternalId": "1.1", **asked}}),
        json.dumps({"http_status": 200, "body": {"success": True, **answered}}),
        minutes_ago,
        count,
    )


def unknown(database_url):
    with psycopg.connect(database_url) as conn:
        return {(one.kind, one.value) for one in people_of.list_unknown_to_crm(conn, "0367")}


def test_whom_the_crm_names_in_a_map_is_unknown_too(provisioned, sql, database_url):
    provisioned()
    answer = {"notExistCodes": {"1": "151", "3": 152}, "notExistUsers": {"2": 19}}
    log_popup(sql, {"codes": ["150", "151", "150", "152"]}, answer, minutes_ago=5)
    at_first = unknown(database_url)
    log_popup(sql, {"codes": ["151", "152"]}, {"notExistCodes": {"1": "152"}})

    assert at_first == {("extension", "151"), ("extension", "152"), ("manager", "19")}
    assert ("extension", "152") in unknown(database_url)
    assert ("extension", "151") not in unknown(database_url)


def test_a_card_that_a_manager_saw_as_a_user_ends_the_warning_about_them(provisioned, sql, database_url):
    provisioned()
    log_popup(sql, {"userIds": [77]}, {"notExistUsers": [77]}, minutes_ago=5)
    at_first = unknown(database_url)
    log_popup(sql, {"userIds": [77]}, {})

    assert (at_first, unknown(database_url)) == ({("manager", "77")}, set())


def test_complaints_are_looked_for_in_the_latest_exchanges_alone(provisioned, sql, database_url, monkeypatch):
    provisioned()
    monkeypatch.setattr(people_of, "ENTRIES_AT_MOST", 10)
    log_popup(sql, {"codes": ["151"]}, {"notExistCodes": ["151"]}, minutes_ago=5)
    log_popup(sql, {"codes": ["150"]}, {}, count=9)
    within = unknown(database_url)
    log_popup(sql, {"codes": ["150"]}, {}, count=1)

    assert (within, unknown(database_url)) == ({("extension", "151")}, set())


def test_all_complaints_are_held_against_the_log_in_one_pass(provisioned, sql, database_url, process):
    provisioned()
    for extension in range(200, 260):
        log_popup(sql, {"codes": [str(extension)]}, {"notExistCodes": [str(extension)]}, minutes_ago=60)
    log_popup(sql, {"codes": ["150"]}, {}, count=3000)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE integration_logs")

    with db.connection() as conn, counted(process) as sent:
        found = people_of.list_unknown_to_crm(conn, "0367")

    assert len(found) == 60
    [statement] = [one for one in sent if "integration_logs" in one.text]
    with psycopg.connect(database_url) as conn:
        [[[plan]]] = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}", statement.parameters).fetchall()
    of_the_log = [step for step in steps_of(plan["Plan"]) if step.get("Relation Name") == "integration_logs"]
    assert of_the_log
    assert {step["Actual Loops"] for step in of_the_log} == {1}
