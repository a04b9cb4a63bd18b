"""
Somebody guesses at clientIds, by which RetailCRM's callbacks say of which enterprise they are.

Tried: a rain of unknown ones, so that those of others are refused with them; guessing until one fits; the enterprise's
number after the module was registered, and after provisioning with a file from before.
Must hold: who guesses is slowed, alone; a clientId that an instance has never seen is believed meanwhile; the number
is worth nothing as soon as RetailCRM has the clientId.
"""

from __future__ import annotations

import pytest

from lib.retailcrm.client_ids import clients
from lib.runtime.guesses import AT_ONCE
from tests.harness.servers import push_envelope

CUSTOMER = "+375291111111"
GUESSER, CRM, ELSEWHERE = "203.0.113.7", "198.51.100.7", "198.51.100.8"


@pytest.fixture
def ask(function):
    """A status that a callback brings, from an address."""
    client = function("make-call")

    def send(client_id, address, path="/retailcrm/status"):
        query = {"clientId": client_id, "userId": "19", "status": "free", "phone": CUSTOMER}
        return client.get(path, query_string=query, headers={"X-Forwarded-For": address})

    return send


@pytest.fixture
def client_ids(provisioned, sql):
    for number in ("0367", "0368"):
        provisioned(number, token=f"token-of-{number}")
    return [row[0] for row in sql("SELECT client_id FROM enterprises ORDER BY number")]


def rain(ask, address, count=100):
    return [ask(f"{number:032x}", address).status_code for number in range(count)]


def test_a_rain_of_unknown_clientids_refuses_none_that_is_right_and_was_never_seen(ask, client_ids):
    statuses = rain(ask, GUESSER)

    assert statuses == [401] * AT_ONCE + [429] * (100 - AT_ONCE)
    assert [ask(client_id, CRM).status_code for client_id in client_ids] == [200, 200]


def test_who_guesses_hears_nothing_of_a_clientid_that_is_right(ask, client_ids):
    known = ask(client_ids[0], GUESSER).status_code
    rain(ask, GUESSER)

    wrong, unseen, seen = (ask(given, GUESSER) for given in ("f" * 32, client_ids[1], client_ids[0]))

    assert known == seen.status_code == 200
    assert (wrong.status_code, wrong.json) == (unseen.status_code, unseen.json)
    assert wrong.status_code == 429
    assert int(wrong.headers["Retry-After"]) >= 1


def test_who_guesses_stands_in_the_log_with_the_address(ask, client_ids, caplog):
    rain(ask, GUESSER)

    lines = [(record.message, record.source) for record in caplog.records if hasattr(record, "source")]
    assert {("unknown clientId", GUESSER), ("the clientId is guessed", GUESSER)} <= set(lines)
    assert not any("00000000" in str(record.__dict__) for record in caplog.records)


@pytest.fixture
def crm(fresh_crm):
    return fresh_crm


@pytest.fixture
def connected(crm, commands, page, provisioned):
    """The page of an enterprise by whose number clicks ring, connected to a CRM that does not know the module yet."""
    provisioned(domain=crm.url, accept_number_as_client_id=True)
    return page


def test_the_number_is_over_as_soon_as_the_module_is_registered(*, connected, function, ask, provisioned, crm, sql):
    before = ask("0367", CRM, "/retailcrm/make-call")
    connected.post("register/0367")
    function("register-module").post("/", json=push_envelope({"enterprise_number": "0367"}))
    clients.forget()
    after = ask("0367", ELSEWHERE, "/retailcrm/make-call")
    provisioned(domain=crm.url, accept_number_as_client_id=True)
    again = ask("0367", ELSEWHERE, "/retailcrm/make-call")

    assert before.status_code == 502  # it would ring: the Asterisk service is away
    assert [answer.status_code for answer in (after, again)] == [401, 401]
    [(client_id, accepts)] = sql(
        "SELECT client_id, integrations_config #> '{retailcrm,accept_number_as_client_id}' FROM enterprises"
    )
    assert accepts is False
    assert crm.module("0367")["clientId"] == client_id
    command = connected.get("register/0367").json["commands"][0]
    assert [step["name"] for step in command["steps"]][-1] == "client_id"
