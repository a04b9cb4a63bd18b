"""The simulator's own record: requests in order, pop-ups, history, the stream, and what a restart leaves."""

from __future__ import annotations

import json
import time

import pytest
import requests

from infra.stand_ins.postgres import free_port
from tests.harness.servers import process
from tests.infra.retailcrm_simulator.client import CODES, EVENT, USERS, Account, a_call, a_module, an_event


def test_every_request_is_recorded_in_order_with_what_it_did_and_was_answered(account):
    before = time.time()
    account.event(codes=["150", "999"])
    account.upload(a_call(), a_call(result="missed"))
    account.get("/api/v5/users", limit=50)

    event, upload, users = account.ledger()

    assert (event["kind"], upload["kind"], users["kind"]) == ("event", "upload", "users")
    assert event["seq"] < upload["seq"] < users["seq"]
    assert before <= event["received_at"] <= event["applied_at"] <= event["answered_at"] <= time.time()
    assert (event["method"], event["path"]) == ("POST", EVENT)
    assert event["fields"] == {"event": an_event(codes=["150", "999"])}
    assert event["applied"]["shown_to"] == [{"code": "150", "user_id": 18}]
    assert event["answer"] == {"status": 200, "body": {"success": True, "notExistCodes": ["999"]}}
    assert event["received"].startswith("20")
    assert (upload["applied"], upload["answer"]["status"]) == (None, 400)
    assert users["query"] == {"limit": "50"}


def test_keys_are_masked(account):
    account.event()

    entry = account.ledger()[0]

    assert entry["headers"]["X-API-KEY"] == f"…{account.key[-4:]}"
    assert account.key not in json.dumps(entry)
    assert account.key not in requests.get(f"{account.url}/_sim/accounts", timeout=10).text


def test_the_ledger_is_asked_by_kind_time_and_number(account):
    account.event()
    account.upload(a_call())
    first, second = account.ledger()

    assert [entry["seq"] for entry in account.ledger(kind="upload")] == [second["seq"]]
    assert [entry["seq"] for entry in account.ledger(since=second["received_at"])] == [second["seq"]]
    assert [entry["seq"] for entry in account.ledger(after=first["seq"])] == [second["seq"]]
    assert [entry["seq"] for entry in account.ledger(limit=1)] == [second["seq"]]


@pytest.mark.parametrize("query", ["since=soon", "after=-1", "limit=nan", "since=1e999"])
def test_a_question_that_makes_no_sense_is_refused(simulator, query):
    answer = requests.get(f"{simulator}/_sim/ledger?{query}", timeout=10)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


def test_clearing_forgets_one_accounts_calls_and_keeps_the_account(new_account):
    one, other = new_account(), new_account()
    for account in (one, other):
        account.event()
        account.upload(a_call())

    requests.delete(f"{one.url}/_sim/ledger", params={"account": one.name}, timeout=10)

    assert (one.ledger(), one.told("popups")["popups"], one.told("ledger/calls")["calls"]) == ([], [], [])
    assert len(other.ledger()) == 2
    assert one.upload(a_call()).json() == {"success": True, "processedCallsCount": 1}


def test_a_card_pops_up_for_everybody_who_is_rung_and_goes_with_the_hangup(new_account):
    account = new_account(customers=[{"phones": ["+375291111111"], "first_name": "Мария"}])
    account.event(codes=["150", "151"], externalPhone="+375290000101")

    account.event(type="hangup", hangupStatus="answered", codes=["151"])

    first, second = account.told("popups")["popups"]
    assert (first["code"], first["user_id"], first["manager_name"]) == ("150", 18, "Анна Первая")
    assert (first["customer_name"], first["phone"], first["direction"]) == ("Мария", "+375291111111", "in")
    assert (first["hung_up_at"], first["shown_times"]) == (None, 1)
    assert (second["code"], second["hangup_status"]) == ("151", "answered")
    assert second["hung_up_at"] >= second["shown_at"]


@pytest.mark.parametrize(
    ("events", "warnings"),
    [
        (["in", "in"], [[], ["pop-up shown again to 150"]]),
        (["in", "hangup", "in"], [[], [], ["pop-up after the hangup of its call"]]),
        (["in", "hangup", "hangup"], [[], [], ["second hangup of its call"]]),
        (["hangup"], [["hangup of a call that had no pop-up"]]),
        (["out", "hangup"], [[], []]),
    ],
)
def test_an_order_that_should_never_be_is_noted(account, events, warnings):
    for kind in events:
        account.event(type=kind, **({"hangupStatus": "answered"} if kind == "hangup" else {}))

    assert [entry["warnings"] for entry in account.ledger()] == warnings


def test_rows_that_were_sent_and_never_applied_are_shown_apart(account):
    account.fault("hang_before_apply", requests=1, hang_seconds=0)
    with pytest.raises(requests.ConnectionError):
        account.upload(a_call())
    account.upload(a_call(externalId="other"))

    calls = account.told("ledger/calls")

    assert [(row["external_id"], row["sent"], row["applied"]) for row in calls["never_applied"]] == [
        (a_call()["externalId"], 1, 0)
    ]
    assert [(row["external_id"], row["manager_name"]) for row in calls["calls"]] == [("other", "Анна Первая")]


def test_statistics_count_by_kind_status_and_fault(account):
    account.fault("error_500", requests=1)
    account.event()
    account.event()
    account.upload(a_call(), a_call(externalId="2"))
    account.upload(a_call())

    stats = account.stats()

    assert stats["by_kind"] == {"event": 2, "upload": 2}
    assert stats["by_status"] == {"500": 1, "200": 3}
    assert stats["by_fault"] == {"error_500": 1}
    assert (stats["calls_held"], stats["duplicate_calls"], stats["popups"]) == (2, 1, 1)
    assert stats["rates"]["telephony"]["arrived_most_per_second"] == 4


def test_the_stream_tells_what_comes_as_it_comes(new_account):
    account, other = new_account(), new_account()
    url = f"{account.url}/_sim/stream?account={account.name}"
    with requests.get(url, stream=True, timeout=5) as stream:
        lines = stream.iter_lines(chunk_size=1)
        greeting = [next(lines), next(lines), next(lines)]
        other.event()
        account.event()
        told = [next(lines), next(lines), next(lines)]

    assert stream.headers["Content-Type"] == "text/event-stream"
    assert greeting[1] == b": connected"
    assert told[1] == b"event: request"
    entry = json.loads(told[2].removeprefix(b"data: "))
    assert (entry["account"], entry["kind"]) == (account.name, "event")


def test_accounts_modules_and_history_survive_a_restart_even_a_torn_line(tmp_path):
    port, state = free_port(), tmp_path / "state.json"
    arguments = ("infra.stand_ins.retailcrm_simulator", "--port", str(port), "--state", str(state))
    account = Account(url=f"http://127.0.0.1:{port}", name="demo", key="the-key-of-demo")
    health = f"{account.url}/_sim/health"
    data = {"name": "demo", "api_key": account.key, "users": USERS, "additional_codes": CODES}
    with process(*arguments, health=health):
        requests.post(f"{account.url}/_sim/accounts", json=data, timeout=10)
        account.post("/api/v5/integration-modules/acme-telephony/edit", integrationModule=a_module())
        account.post("/api/v5/users/18/status", status="busy")
        account.event()
        account.upload(a_call())
        before = account.ledger(), account.told("popups")["popups"], account.told("ledger/calls")
    with state.open("ab") as file:
        file.write(b'{"record": "request", "ent')

    with process(*arguments, health=health):
        after = account.ledger(), account.told("popups")["popups"], account.told("ledger/calls")
        again = account.upload(a_call()).json()
        # What a supervisor does on every start: the definition changes nothing that was learnt.
        created = requests.post(f"{account.url}/_sim/accounts", json=data, timeout=10)
        module = account.get("/api/v5/integration-modules/acme-telephony")
        status = account.get("/api/v5/users/18").json()["user"]["status"]

    assert after == before
    assert again["duplicateCalls"] == [a_call()["externalId"]]
    assert (created.status_code, module.status_code, status) == (200, 200, "busy")
    with process(*arguments, health=health):
        assert len(account.ledger()) == len(before[0]) + 3
