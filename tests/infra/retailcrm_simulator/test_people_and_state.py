"""An account that changes under its module: nobody pays for it, it moves, managers and extensions go."""

from __future__ import annotations

import pytest
import requests

from tests.infra.retailcrm_simulator.client import EVENT, a_call, an_event

NOT_A_CHOICE = "The value you selected is not a valid choice."


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [("unpaid", 402, "Payment required"), ("gone", 404, "Account does not exist.")],
)
def test_an_account_that_takes_nothing_says_so_to_every_method(account, state, status, words):
    assert account.act("state", state=state).json()["state"] == state

    answers = [account.event(), account.upload(a_call()), account.get("/api/v5/users"), account.get("/api/v5/nothing")]

    assert {answer.status_code for answer in answers} == {status}
    assert {answer.json()["errorMsg"] for answer in answers} == {words}
    assert not any(entry["applied"] for entry in account.ledger())
    assert account.ledger()[0]["answer"]["status"] == status

    account.act("state", state="open")
    assert account.upload(a_call()).json() == {"success": True, "processedCallsCount": 1}


def test_an_account_that_moved_points_at_its_new_address(account):
    account.act("state", state="moved", moved_to="https://new.example.com/")

    answer = requests.post(
        account.url + EVENT, data={"event": "{}"}, headers={"X-API-KEY": account.key}, timeout=10, allow_redirects=False
    )

    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://new.example.com{EVENT}")
    assert answer.text.startswith("<html>")


def test_a_page_in_the_place_of_the_api(account):
    account.act("state", state="page")

    answer = account.event()

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert account.ledger()[0]["answer"] == {"status": 200, "body": None}
    assert account.told("popups")["popups"] == []


@pytest.mark.parametrize(
    ("what", "given", "status"),
    [
        ("state", {"state": "odd"}, 400),
        ("state", {}, 400),
        ("state", {"state": "moved", "moved_to": "nowhere"}, 400),
        ("delete-user", {"user_id": 77}, 404),
        ("forget-codes", {"codes": "150"}, 400),
    ],
)
def test_what_cannot_be_meant_is_refused(account, what, given, status):
    assert account.act(what, **given).status_code == status


def test_a_deleted_manager_owns_no_row_and_sees_no_card(account):
    assert account.act("delete-user", user_id=19).status_code == 200

    both = account.event(codes=["150", "151"])
    by_id = account.event(codes=[], userIds=[18, 19], callExternalId="2.2")
    refused = account.upload(a_call(externalId="a", code="150", userId=18), a_call(externalId="b", userId=19))
    taken = account.upload(a_call(externalId="a", code="150", userId=18), a_call(externalId="b", userId=None))

    assert both.json() == {"success": True, "notExistCodes": ["151"]}
    assert by_id.json() == {"success": True, "notExistUsers": [19]}
    assert (refused.status_code, refused.json()["errors"]) == (400, {"calls[1].userId": NOT_A_CHOICE})
    assert taken.json()["processedCallsCount"] == 2
    assert [user["id"] for user in account.get("/api/v5/users").json()["users"]] == [18, 20, 21]


def test_an_extension_that_was_deleted_is_known_again_once_the_module_says_so(new_account):
    account = new_account(module={"code": "demo-telephony"})
    account.act("forget-codes", codes=["151"])
    before = account.event(codes=["150", "151"]).json()
    shown = account.get("/api/v5/integration-modules/demo-telephony").json()["integrationModule"]
    telephony = shown["integrations"]["telephony"]
    telephony["additionalCodes"].append({"userId": 19, "code": "151"})
    whole = {**shown, "clientId": "demo-client-id"}
    account.post("/api/v5/integration-modules/demo-telephony/edit", integrationModule=whole)

    assert before == {"success": True, "notExistCodes": ["151"]}
    assert account.event(codes=["151"], callExternalId="2.2").json() == {"success": True}


def test_cards_by_codes_and_by_users_are_ended_as_they_were_shown(account):
    account.post(EVENT, event=an_event(codes=["150"]))
    by_user = an_event(userIds=[19])
    del by_user["codes"]
    account.post(EVENT, event=by_user)

    account.event(type="hangup", hangupStatus="answered", codes=["150"], userIds=[19])

    cards = account.told("popups")["popups"]
    assert [(card["code"], card["user_id"], card["hangup_status"]) for card in cards] == [
        ("150", 18, "answered"),
        ("151", 19, "answered"),
    ]


def test_an_owner_that_never_was_can_be_refused(new_account):
    account = new_account(behaviour={"unknown_owner": "refuse"})

    answer = account.upload(a_call(code="999", userId=77))

    assert answer.json()["errors"] == {"calls[0].code": NOT_A_CHOICE, "calls[0].userId": NOT_A_CHOICE}
