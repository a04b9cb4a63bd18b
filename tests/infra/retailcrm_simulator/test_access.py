"""Keys, scopes, paths, and how much is too much."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.infra.retailcrm_simulator.client import EVENT, UPLOAD, a_call, an_event


def test_no_key_and_a_wrong_key_are_told_apart(simulator):
    without = requests.get(f"{simulator}/api/v5/users", timeout=10)
    wrong = requests.get(f"{simulator}/api/v5/users", headers={"X-API-KEY": "nobody's"}, timeout=10)

    assert (without.status_code, without.json()) == (403, {"success": False, "errorMsg": '"apiKey" is missing.'})
    assert (wrong.status_code, wrong.json()) == (403, {"success": False, "errorMsg": 'Wrong "apiKey" value.'})


def test_the_key_may_come_as_a_parameter_but_that_is_noted(account):
    query = requests.get(f"{account.url}/api/v5/settings", params={"apiKey": account.key}, timeout=10)
    form = requests.post(
        account.url + EVENT,
        data={"apiKey": account.key, "event": '{"phone":"1234567","type":"in","codes":["150"]}'},
        timeout=10,
    )

    assert (query.status_code, form.status_code) == (200, 200)
    entries = account.ledger()
    assert all(e["warnings"] == ["the key came as a parameter: access logs keep it"] for e in entries)
    assert account.key not in str(entries)


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("telephony_write", "POST", EVENT),
        ("telephony_write", "POST", UPLOAD),
        ("telephony_read", "GET", "/api/v5/telephony/manager?phone=1&ignoreStatus=1"),
        ("user_read", "GET", "/api/v5/users"),
        ("user_read", "GET", "/api/v5/users/18"),
        ("user_read", "GET", "/api/v5/user-groups"),
        ("user_write", "POST", "/api/v5/users/18/status"),
        ("integration_read", "GET", "/api/v5/integration-modules/demo-telephony"),
        ("integration_write", "POST", "/api/v5/integration-modules/demo-telephony/edit"),
    ],
)
def test_each_method_needs_its_scope(new_account, scope, method, path):
    without, only = new_account(scopes=[]), new_account(scopes=[scope])

    refused = requests.request(method, without.url + path, headers={"X-API-KEY": without.key}, timeout=10)
    let_in = requests.request(method, only.url + path, headers={"X-API-KEY": only.key}, timeout=10)

    assert (refused.status_code, refused.json()) == (403, {"success": False, "errorMsg": "Access denied."})
    assert let_in.status_code in {200, 400}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/api/v5/telephony/nothing", 404, "API method not found"),
        ("POST", "/api/v4/telephony/setting/x/edit", 404, "API method not found"),
        ("GET", "/api/v5/credentials", 404, "API method not found"),
        ("POST", "/api/v5/integration-modules//edit", 404, "API method not found"),
        ("GET", EVENT, 405, "Method Not Allowed"),
        ("POST", "/api/v5/users", 405, "Method Not Allowed"),
        ("GET", "/api/v5/users/99", 404, "Not found"),
        ("GET", "/api/v5/users/abc", 404, "Not found"),
    ],
)
def test_a_missing_object_is_an_error_in_json(account, method, path, status, message):
    answer = requests.request(method, account.url + path, headers={"X-API-KEY": account.key}, timeout=10)

    assert (answer.status_code, answer.json()) == (status, {"success": False, "errorMsg": message})


def test_credentials_name_the_scopes_of_a_key(new_account):
    account = new_account(scopes=["telephony_write"], sites=["north", "south"], site_access="access_selective")

    answer = account.get("/api/credentials").json()

    assert answer["scopes"] == ["telephony_write"]
    assert (answer["siteAccess"], answer["sitesAvailable"]) == ("access_selective", ["north", "south"])
    assert "/api/telephony/call/event" in answer["credentials"]
    assert "/api/users" not in answer["credentials"]


def test_an_old_key_has_paths_instead_of_scopes(new_account):
    account = new_account(scopes=None)

    answer = account.get("/api/credentials").json()

    assert "scopes" not in answer
    assert "/api/integration-modules/{code}/edit" in answer["credentials"]
    assert account.event().status_code == 200


def test_versions_and_system_are_told_outside_of_any_version(account):
    versions, system = account.get("/api/api-versions"), account.get("/api/system-info")

    assert versions.json() == {"success": True, "versions": ["3.0", "4.0", "5.0"]}
    assert system.json()["publicUrl"] == account.url
    assert set(system.json()) == {"success", "systemVersion", "publicUrl", "technicalUrl"}


def burst(account, path, times):
    with requests.Session() as session, ThreadPoolExecutor(8) as pool:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=8))
        send = lambda _: session.get(account.url + path, headers={"X-API-KEY": account.key}, timeout=10)  # noqa: E731
        return list(pool.map(send, range(times)))


@pytest.mark.parametrize(
    ("path", "share", "limit"),
    [("/api/v5/telephony/manager?phone=1&ignoreStatus=1", "telephony", 40), ("/api/v5/settings", "other", 10)],
)
def test_40_requests_a_second_for_telephony_and_10_for_the_rest(new_account, path, share, limit):
    account = new_account(behaviour={"telephony_per_second": 40, "other_per_second": 10})

    answers = burst(account, path, limit + 5)

    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 5
    assert {answer.status_code for answer in refused} == {503}
    assert refused[0].json() == {"success": False, "errorMsg": "Rate limit exceeded"}
    rates = account.stats()["rates"][share]
    assert rates == {"arrived_most_per_second": limit + 5, "accepted_most_per_second": limit, "refused": 5}
    assert sum(entry["limited"] for entry in account.ledger()) == 5


def test_the_second_slides(new_account):
    account = new_account(behaviour={"other_per_second": 2, "rate_limit_status": 429})
    first = [account.get("/api/v5/settings").status_code for _ in range(3)]

    time.sleep(1.05)
    then = account.get("/api/v5/settings").status_code

    assert (first, then) == ([200, 200, 429], 200)


def test_requests_of_one_account_do_not_limit_another(new_account):
    busy, quiet = new_account(behaviour={"other_per_second": 1}), new_account(behaviour={"other_per_second": 1})
    burst(busy, "/api/v5/settings", 5)

    assert quiet.get("/api/v5/settings").status_code == 200


def test_a_request_over_the_limit_is_not_applied(new_account):
    account = new_account(behaviour={"telephony_per_second": 1})

    account.event()
    refused = account.upload(a_call())

    assert refused.status_code == 503
    assert [row["external_id"] for row in account.told("ledger/calls")["never_applied"]] == [a_call()["externalId"]]
    assert an_event()["phone"] == account.told("popups")["popups"][0]["phone"]
