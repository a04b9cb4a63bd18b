"""
Guessing at tokens, which look like telephone numbers.

Tried: thousands of guesses from one address and from many, at intake and at smart redirect, beside hosts that post. What
must hold: few guesses are answered; one that is right is refused like the others; whoever posts does not notice, be it
from the address of who guesses; a new enterprise has its first event; the operator sees it, with addresses and without
tokens.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from lib.runtime.guesses import ALL_AT_ONCE, AT_ONCE, LINES_AT_ONCE
from lib.runtime.logs import JsonFormatter
from tests.conftest import OPERATOR_TOKEN
from tests.harness.enterprises import TOKEN

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
GUESSER, OWNER = "192.0.2.66", "192.0.2.7"
CALL = {"Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}


@pytest.fixture
def dispatch(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    provisioned()
    return function("dispatch-call-event")


@pytest.fixture
def post(dispatch):
    """An event with this token from this address; the answer."""
    began, count = int(datetime.now(UTC).timestamp()), iter(range(10**6))

    def send(token, address, *, where="header"):
        body = {**CALL, "UniqueId": f"{began}.{next(count)}"}
        headers = {"X-Forwarded-For": address}
        if where == "header":
            return dispatch.post("/start", json=body, headers={**headers, "Token": token})
        if where == "body":
            return dispatch.post("/start", json={**body, "Token": token}, headers=headers)
        envelope = {"uniqueId": body["UniqueId"], "event_type": "start", "raw": body}
        if where == "envelope":
            return dispatch.post("/dispatch/call-event", json={**envelope, "token": token}, headers=headers)
        batch = {"token": token, "events": [envelope]}
        return dispatch.post("/dispatch/call-events", json=batch, headers=headers)

    return send


def guessed(post, address, count, *, first=0, **options):
    """The statuses of so many different guesses."""
    return [post(f"99999{first + n:07}", address, **options).status_code for n in range(count)]


@pytest.mark.parametrize("where", ["header", "body", "envelope", "batch"])
def test_few_guesses_of_an_address_are_answered(post, where):
    assert guessed(post, GUESSER, 200, where=where) == [404] * AT_ONCE + [429] * (200 - AT_ONCE)

    refused = post("999991234567", GUESSER, where=where)
    assert refused.json["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_a_guess_that_is_right_is_refused_like_the_others_and_the_operator_hears_whose_it_is(post, dispatch, caplog):
    assert post(TOKEN, OWNER).status_code == 200
    guessed(post, GUESSER, 50)

    wrong, right = post("999991234568", GUESSER), post(TOKEN, GUESSER)

    assert (right.status_code, right.json) == (wrong.status_code, wrong.json)
    assert right.status_code == 429
    found = [record for record in caplog.records if record.message == "a token that is right came among guesses"]
    assert [(record.levelname, record.source, record.owner) for record in found] == [("ERROR", GUESSER, "0367")]


def test_hosts_that_post_do_not_notice_not_at_the_address_of_who_guesses_either(post):
    post(TOKEN, GUESSER)
    post(TOKEN, OWNER)
    guessed(post, GUESSER, 100)

    assert [post(TOKEN, address).status_code for address in (OWNER, GUESSER) * 20] == [200] * 40
    assert [post("secret-of-0367", address).status_code for address in (OWNER, GUESSER)] == [200] * 2


def test_an_enterprise_that_no_process_knows_yet_has_its_first_event_while_it_rains(post, provisioned):
    for n in range(60):
        guessed(post, f"198.51.100.{n}", AT_ONCE, first=1000 * n)
    provisioned("0368", token="token-of-0368")

    assert post("token-of-0368", OWNER).status_code == 200
    assert post(TOKEN, "203.0.113.5").status_code == 200


def test_many_addresses_together_have_few_guesses(post):
    """What a network of machines can do: each of its addresses has one, once all together were wrong too often."""
    answered = [guessed(post, f"198.51.{n // 250}.{n % 250}", AT_ONCE, first=1000 * n).count(404) for n in range(100)]

    assert sum(answered[: ALL_AT_ONCE // AT_ONCE]) == ALL_AT_ONCE
    # A few more leak out of the count of all while this test runs.
    assert sum(answered[ALL_AT_ONCE // AT_ONCE :]) < 70 + 100


def test_a_network_of_ipv6_is_one_address(post):
    answered = [post(f"99999{n:07}", f"2001:db8:1:{n:x}::{n:x}").status_code for n in range(100)]

    assert answered.count(404) == AT_ONCE


def test_a_host_whose_token_is_no_longer_known_is_told_so_each_time_and_welcome_again(post, provisioned):
    assert [post("375290000002", OWNER).status_code for _ in range(50)] == [404] * 50

    provisioned("0368", token="375290000002")

    deadline = time.monotonic() + 10
    while post("375290000002", OWNER).status_code == 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [post("375290000002", OWNER).status_code for _ in range(3)] == [200] * 3


def test_a_call_service_may_post_for_many_that_are_not_here(post, provisioned):
    """One address, forty enterprises that are provisioned here and two hundred that are not."""
    for n in range(40):
        provisioned(f"S{n}", token=f"token-of-S{n}")

    answers = [
        [post(f"token-of-S{n}", GUESSER).status_code, *guessed(post, GUESSER, 5, first=10 * n)] for n in range(40)
    ]

    assert answers == [[200, *[404] * 5]] * 40


def test_the_operator_sees_guesses_with_their_address_and_without_the_tokens(post, dispatch, caplog):
    for n in range(50):
        guessed(post, f"198.51.100.{n}", 20, first=1000 * n)
    written = [JsonFormatter().format(record) for record in caplog.records if record.name == "lib.runtime.guesses"]

    assert f'"source": "198.51.100.{0}"' in written[0]
    assert any('"severity": "ERROR"' in line for line in written)
    assert len(written) < 4 * LINES_AT_ONCE, "a thousand guesses"
    assert "99999" not in "".join(written)
    counted = dispatch.get("/stats", headers=OPERATOR).json["guesses"]["token"]
    assert counted["wrong"] >= ALL_AT_ONCE
    assert counted["refused"] == 50 * 20 - counted["wrong"]
    assert counted["last_source"].startswith("198.51.100.")


def test_smart_redirect_is_no_way_around(function, provisioned):
    provisioned()
    redirect = function("smart-redirect")

    def ask(token):
        headers = {"Token": token, "X-Forwarded-For": GUESSER}
        answer = redirect.post("/api/callevent/getcustomerdata", json={"Phone": "375291111111"}, headers=headers)
        return answer.status_code, answer.text

    answers = [ask(f"99999{n:07}") for n in range(50)]
    right = ask(TOKEN)

    assert [status for status, _ in answers].count(401) == AT_ONCE
    assert right == answers[-1], "a token that is right shows nothing"
    assert json.loads(right[1])["DialPlan"] is None
