"""
Somebody has, or guesses, what a host or the operator proves itself by.

Tried: tokens that look like phone numbers; a token that leaked, after it was replaced, and after provisioning with a
file that still names it; a right token from a foreign network; an administrator's password that is one letter or the
login; an operator's token of a few letters.
Must hold: what is made here is random; a dropped token is refused at once and never comes back by itself; a token is
worth nothing outside of the networks that the enterprise names; weak words are refused, and say what to do.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from infra.commands import provision
from lib.runtime import config, db
from lib.runtime.auth import OPERATOR_CHARACTERS
from tests.harness.enterprises import TOKEN, enterprise

OUTSIDE, INSIDE = "203.0.113.7", "198.51.100.7"
EVENT = {"event_type": "dial", "data": {"UniqueId": "1758798777.27", "Phone": "375291111111"}}


def run(module, *arguments, typed=""):
    done = subprocess.run(
        [sys.executable, "-m", f"infra.commands.{module}", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def rotate(*arguments):
    return run("rotate_token", "--enterprise", "0367", "--by", "petrova", *arguments)


def token_in(said):
    [token] = re.findall(r"[0-9]{39}", said)
    return token


def provision_file(**changes):
    """What `make provision` says to a file; None takes a key out."""
    data = {name: value for name, value in {**enterprise(), **changes}.items() if value is not None}
    return run("provision", "-", typed=json.dumps(data))


@pytest.fixture
def post(function):
    """What a host is answered that posts an event."""
    client = function("dispatch-call-event")

    def send(token, address=INSIDE, path="/dial"):
        body = {"UniqueId": f"1758798777.{time.monotonic_ns()}", "Phone": "375291111111", "Token": token}
        return client.post(path, json=body, headers={"X-Forwarded-For": address})

    return send


@pytest.fixture
def ask(function):
    """What a dialplan is answered that asks whose customer is calling."""
    client = function("smart-redirect")

    def send(token, address=INSIDE):
        body = {"Phone": "375291111111", "TrunkId": "0001301"}
        headers = {"Token": token, "X-Forwarded-For": address}
        return client.post("/api/callevent/getcustomerdata", json=body, headers=headers)

    return send


def until(ask, is_good):
    deadline = time.monotonic() + 5
    while not is_good(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def test_what_a_new_enterprise_is_known_by_is_random_and_shown_once(process, sql):
    code, said = provision_file(token=None)
    again, said_again = provision_file(token=None)

    [(token, client_id)] = sql("SELECT token, client_id FROM enterprises")
    assert (code, again) == (0, 0)
    assert re.fullmatch(r"[0-9]{39}", token)
    assert re.fullmatch(r"[0-9a-f]{32}", client_id)
    assert f"its token, which is not shown again: {token}" in said
    assert token not in said_again


def test_an_enterprise_keeps_the_token_that_it_has_and_hears_that_it_can_be_guessed(process, sql):
    code, said = provision_file()
    provision_file(token=None)

    assert sql("SELECT token FROM enterprises") == [(TOKEN,)]
    assert (code, "its token can be guessed: make rotate-token ENTERPRISE=0367" in said) == (0, True)


def test_two_tokens_live_until_the_old_one_is_dropped_and_no_call_is_lost(provisioned, post, ask, sql):
    provisioned()
    before = post(TOKEN).status_code

    code, said = rotate()
    new = token_in(said)
    both = [until(lambda: post(new), lambda answer: answer.status_code == 200), post(TOKEN), ask(new), ask(TOKEN)]
    twice = rotate()
    dropped = rotate("--drop", "old")
    late = until(lambda: post(TOKEN), lambda answer: answer.status_code != 200)

    assert (code, before) == (0, 200)
    assert [answer.status_code for answer in both] == [200] * 4
    assert (twice[0], new in twice[1], "DROP=old" in twice[1]) == (1, False, True)
    assert (dropped[0], new in dropped[1]) == (0, False)
    assert (late.status_code, until(lambda: ask(TOKEN), lambda answer: answer.status_code != 200).status_code) == (
        404,
        401,
    )
    assert [post(new).status_code, ask(new).status_code] == [200, 200]
    assert sql("SELECT request_data FROM integration_logs WHERE event_type = 'rotate_token' ORDER BY id") == [
        ({"by": "petrova", "did": "made a new token"},),
        ({"by": "petrova", "did": "dropped the old token"},),
    ]


def test_the_operator_is_told_when_a_host_last_showed_the_old_token(provisioned, post, sql):
    provisioned()
    rotate()
    unused = rotate()[1]
    until(lambda: post(TOKEN), lambda _: sql("SELECT old_used_at FROM token_rotations") != [(None,)])

    assert "no host has shown the old one since" in unused
    assert re.search(r"a host last showed the old one at \S+ \S+ UTC, [01] minutes ago", rotate()[1])


def test_a_new_token_that_was_lost_is_taken_back(provisioned, post):
    provisioned()
    new = token_in(rotate()[1])

    code, _ = rotate("--drop", "new")

    assert code == 0
    assert post(TOKEN).status_code == 200
    assert until(lambda: post(new), lambda answer: answer.status_code != 200).status_code == 404


def test_a_file_that_was_not_brought_up_to_date_does_not_bring_a_token_back(provisioned, sql):
    provisioned()
    new = token_in(rotate()[1])
    meanwhile = provision_file(token=new)
    kept = sql("SELECT token FROM enterprises")
    rotate("--drop", "old")

    code, said = provision_file()
    another, _ = run("provision", "-", typed=json.dumps({**enterprise("0368"), "token": TOKEN}))

    assert (meanwhile[0], kept) == (0, [(TOKEN,)])
    assert "both tokens work until" in meanwhile[1]
    assert (code, another) == (1, 1)
    assert "take it out of the file" in said
    assert sql("SELECT token FROM enterprises") == [(new,)]


@pytest.mark.parametrize("arguments", [["--drop", "all"], ["--drop", "old"], ["--enterprise", "0999"]])
def test_what_cannot_be_rotated_is_one_clear_sentence(provisioned, arguments):
    provisioned()

    code, said = rotate(*arguments)

    assert (code, said.startswith("rotate-token: ")) == (1, True)


def test_a_token_is_worth_nothing_outside_of_the_networks_of_its_enterprise(process, post, ask, caplog, sql):
    with db.transaction() as conn:
        provision.provision(conn, {**enterprise(), "host_networks": ["198.51.100.0/24", "2001:db8::/48"]})
        provision.provision(conn, enterprise("0368", token="375290000002"))

    outside = [post(TOKEN, OUTSIDE), ask(TOKEN, OUTSIDE)]
    inside = [post(TOKEN), ask(TOKEN), post(TOKEN, "2001:db8::7"), post("375290000002", OUTSIDE)]

    assert [(answer.status_code, answer.json["error"]["code"]) for answer in outside] == [
        (403, "network_not_allowed")
    ] * 2
    assert "host_networks" in outside[0].json["error"]["message"]
    assert [answer.status_code for answer in inside] == [200] * 4
    lines = [record for record in caplog.records if record.message == "a token came from a network that is not its own"]
    assert [(line.enterprise, line.address) for line in lines] == [("0367", OUTSIDE)] * 2
    assert sql("SELECT count(*) FROM call_events WHERE enterprise_number = '0367'") == [(2,)]


def test_networks_stay_where_a_file_does_not_name_them_and_go_where_it_names_none(process, sql):
    said = [
        provision_file(host_networks=["198.51.100.0/24"])[0],
        provision_file()[0],
        len(sql("SELECT FROM enterprises WHERE host_networks = '{198.51.100.0/24}'")),
        provision_file(host_networks=[])[0],
        len(sql("SELECT FROM enterprises WHERE host_networks = '{}'")),
    ]

    assert said == [0, 0, 1, 0, 1]
    assert "host_networks[0]: must be a network" in provision_file(host_networks=["198.51.100.7/24"])[1]


@pytest.mark.parametrize("password", ["x", "admin", "adminadmin", "1234567890", "password-1", "aaaaaaaaaaaa", "q" * 9])
def test_a_password_that_anybody_guesses_is_refused(process, sql, password):
    data = enterprise()
    data["users"][0]["password"] = password

    code, said = provision_file(users=data["users"])

    assert (code, "users[0].password: must" in said) == (1, True)
    assert sql("SELECT * FROM enterprises") == []


def test_a_short_operator_token_closes_the_operators_routes_and_leaves_calls_alone(
    provisioned, post, function, process
):
    provisioned()
    short = "x" * (OPERATOR_CHARACTERS - 1)
    process.setenv("OPERATOR_TOKEN", short)
    config.current.cache_clear()

    answer = function("dispatch-call-event").get("/stats", headers={"Authorization": f"Bearer {short}"})

    assert answer.status_code == 403
    assert f"OPERATOR_TOKEN is shorter than {OPERATOR_CHARACTERS} characters" in answer.json["error"]["message"]
    assert post(TOKEN).status_code == 200
