"""
Tried: guessing at a login, from one address or from many, until its owner cannot sign in any more; keeping the processors
busy with passwords that are wrong; guessing unseen.

Holds: a browser that has signed in before is let in at once, whoever else tries; any other after the seconds that it was
told. Few passwords of strangers are hashed at a time. Every failure is in the log, with its address, and repeated ones in the
log of the enterprise.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.admin import by_password
from lib.runtime import passwords
from lib.runtime.auth import token_sha256
from lib.runtime.logs import JsonFormatter
from lib.store import known_browsers
from tests.conftest import OPERATOR_TOKEN
from tests.harness.page import PASSWORD

PROXY = "192.0.2.1"
LONGEST_PAUSE = 10


@pytest.fixture
def logged():
    """What our code has written to the log."""

    class Kept(logging.Handler):
        lines: list[str] = []  # noqa: RUF012

        def emit(self, record):
            self.lines.append(self.format(record))

    kept = Kept()
    kept.lines = []
    kept.setFormatter(JsonFormatter())
    logger = logging.getLogger("lib")
    logger.addHandler(kept)
    yield kept.lines
    logger.removeHandler(kept)


@pytest.fixture
def at(browser, provisioned):
    """Signs in from an address, in a browser of its own or in one that is given."""
    provisioned()

    def attempt(address=PROXY, *, opened=None, login="admin", password=PASSWORD):
        headers = {"X-Forwarded-For": f"203.0.113.9, {address}"}
        return (opened or browser()).sign_in(login=login, password=password, headers=headers)

    return attempt


@pytest.fixture
def later(sql):
    """As if so many seconds had passed."""

    def wait(seconds):
        moved = f"interval '{seconds} seconds'"
        sql(f"UPDATE sign_in_attempts SET attempted_at = attempted_at - {moved} RETURNING 1")
        sql(f"UPDATE known_browsers SET tried_since = tried_since - {moved} RETURNING 1")

    return wait


@pytest.fixture
def guessed(sql):
    """Somebody has just been wrong at the administrator's login so often that the pauses are the longest."""
    login = token_sha256("0367/admin")
    sql(
        "INSERT INTO sign_in_attempts (login_sha256, address) SELECT %s, '192.0.2.99' FROM generate_series(1, 20) RETURNING 1",
        login,
    )


def wait_of(answer):
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "rate_limited")
    return int(answer.headers["Retry-After"])


def test_forty_wrong_sign_ins_behind_a_proxy_lock_out_nobody_behind_it(at, browser, later):
    known = browser()
    at(opened=known)
    known.delete("session")
    stranger = browser()

    wrong = [at(opened=stranger, login=f"admin{n}", password="wrong") for n in range(40)]

    assert {answer.status_code for answer in wrong} == {401, 429}
    assert at(opened=known).status_code == 200
    told = wait_of(at())
    assert told <= LONGEST_PAUSE
    later(told)
    assert at().status_code == 200


def test_sixty_wrong_sign_ins_at_one_login_from_seven_addresses_do_not_lock_it(at, browser, later):
    known = browser()
    at("198.51.100.1", opened=known)
    stranger = browser()

    def guess():
        return [at(f"192.0.2.{n}", opened=stranger, password="wrong").status_code for n in range(7)]

    guessed = [status for _ in range(9) for status in guess()]

    assert guessed.count(401) < 20
    assert at("198.51.100.1", opened=known).status_code == 200
    told = wait_of(at("198.51.100.2"))
    assert told <= LONGEST_PAUSE * 8
    for _ in range(0, told, LONGEST_PAUSE):
        later(LONGEST_PAUSE)
        guess()
    assert at("198.51.100.2").status_code == 200


def test_who_tries_again_before_the_time_keeps_the_turn_and_has_one_only(at, guessed, sql):
    told = [wait_of(at(password="wrong")) for _ in range(4)]

    assert sorted(told, reverse=True) == told
    assert sql("SELECT count(*) FROM sign_in_attempts WHERE is_waiting") == [(1,)]


def test_addresses_of_one_site_have_one_turn_together(at, guessed, sql):
    for n in range(5):
        wait_of(at(f"2001:db8:1:{n}::1", password="wrong"))

    assert sql("SELECT address FROM sign_in_attempts WHERE is_waiting") == [("2001:db8:1::/48",)]


def test_a_known_browser_may_be_wrong_ten_times_and_is_a_stranger_then(at, browser, sql):
    known = browser()
    at(opened=known)

    wrong = [at(opened=known, password="wrong").status_code for _ in range(known_browsers.TRIES + 1)]

    assert wrong == [401] * (known_browsers.TRIES + 1)
    assert sql("SELECT count(*) FROM sign_in_attempts") == [(1,)]
    assert at(opened=known).status_code == 200
    assert sql("SELECT count(*) FROM sign_in_attempts") == [(0,)]


def test_a_browser_is_known_at_its_own_login_only(at, browser, provisioned, sql):
    provisioned("0368", token="375290000002")
    known = browser()
    at(opened=known)

    at(opened=known, login="150", password="wrong")
    known.sign_in("0368", password="wrong")

    assert sql("SELECT count(*) FROM sign_in_attempts") == [(2,)]


def test_the_cookie_of_a_known_browser_is_new_each_time_and_kept_as_a_hash(at, browser, sql):
    known = browser()
    at(opened=known)
    planted = known.client.get_cookie("browser")
    at(opened=known)
    renewed = known.client.get_cookie("browser")
    thief = browser()
    thief.client.set_cookie("browser", planted.value)

    at(opened=thief, password="wrong")

    assert planted.value != renewed.value
    assert (renewed.http_only, renewed.same_site, renewed.max_age) == (True, "Lax", known_browsers.DAYS * 86400)
    assert sql("SELECT count(*) FROM known_browsers") == [(1,)]
    assert renewed.value not in str(sql("SELECT * FROM known_browsers"))
    assert sql("SELECT count(*) FROM sign_in_attempts") == [(1,)]


def test_few_passwords_of_strangers_are_hashed_at_a_time_and_a_known_browser_does_not_wait(
    at, browser, monkeypatch, sql
):
    known = browser()
    at(opened=known)
    right, busy, most = passwords.is_password, threading.Lock(), []
    strangers = [browser() for _ in range(6)]
    under_way = []

    def slowly(password, stored):
        with busy:
            under_way.append(password)
            most.append(len([each for each in under_way if each == "wrong"]))
        if password == "wrong":
            time.sleep(0.5)
        with busy:
            under_way.remove(password)
        return right(password, stored)

    monkeypatch.setattr(by_password, "is_password", slowly)
    with ThreadPoolExecutor(7) as pool:
        wrong = [pool.submit(at, f"198.51.100.{n}", opened=each, password="wrong") for n, each in enumerate(strangers)]
        time.sleep(0.2)
        let_in = pool.submit(at, opened=known).result()
        answers = [each.result() for each in wrong]

    assert max(most) <= by_password.STRANGERS_AT_ONCE
    assert let_in.status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {wait_of(answer) for answer in refused} == {1}
    # They lost nothing by it.
    assert sql("SELECT count(*) FROM sign_in_attempts") == [(len(strangers) - len(refused),)]


def test_one_site_that_goes_on_and_on_leaves_a_place_for_others(at, monkeypatch):
    """400 attempts a second of one address, each at another login: nobody else was let in."""
    judging, done = threading.Event(), threading.Event()
    right = passwords.is_password

    def slowly(password, stored):
        if password == "wrong":
            judging.set()
            done.wait(10)
        return right(password, stored)

    monkeypatch.setattr(by_password, "is_password", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(at, "2001:db8:0:1::1", login="somebody", password="wrong")
        assert judging.wait(10)
        again = at("2001:db8:0:2::1", login="somebody else", password="wrong")
        another = at("198.51.100.1")
        done.set()

    assert wait_of(again) == 1
    assert another.status_code == 200
    assert first.result().status_code == 401


def test_who_has_to_wait_takes_no_place_of_those_who_have_not(at, monkeypatch, sql):
    sql(
        "INSERT INTO sign_in_attempts (login_sha256, address) SELECT sha256(n::text::bytea), %s"
        " FROM generate_series(1, 40) n RETURNING 1",
        PROXY,
    )
    taken: list[str] = []
    places = by_password._among_strangers

    def watched(made):
        taken.append(made.address)
        return places(made)

    monkeypatch.setattr(by_password, "_among_strangers", watched)

    assert 1 <= wait_of(at()) <= LONGEST_PAUSE
    assert at("198.51.100.1").status_code == 200

    assert taken == ["198.51.100.1"]


def test_every_failure_is_in_the_log_with_its_address_and_without_what_was_typed(at, browser, logged):
    stranger = browser()
    at(opened=stranger, password="a wrong password")
    at(opened=stranger, login="a password in the wrong field")
    stranger.sign_in("0000", password="a wrong password", headers={"X-Forwarded-For": PROXY})

    lines = [json.loads(line) for line in logged if '"sign-in refused"' in line]

    assert [(line["enterprise"], line["address"]) for line in lines] == [
        ("0367", PROXY),
        ("0367", PROXY),
        (None, PROXY),
    ]
    assert "wrong password" not in "".join(logged)
    assert "wrong field" not in "".join(logged)


def test_a_session_that_is_over_or_of_another_enterprise_is_in_the_log(at, browser, logged):
    opened = browser()
    at(opened=opened)
    opened.ask("GET", "config/0368", headers={"X-Forwarded-For": PROXY})
    opened.client.set_cookie("session", "guessed")
    opened.ask("GET", "session", headers={"X-Forwarded-For": PROXY})

    said = {json.loads(line)["message"]: json.loads(line) for line in logged}

    assert said["session refused"]["address"] == PROXY
    assert said["session of another enterprise refused"]["enterprise"] == "0367"


def test_repeated_failures_at_a_login_are_in_the_log_of_its_enterprise(at, browser):
    stranger, administrator = browser(), browser()
    at(opened=administrator)
    for n in range(5):
        at(f"198.51.100.{n}", opened=stranger, password="wrong")
        at(f"198.51.100.{n}", opened=stranger, login="nobody of this name", password="wrong")

    [told] = administrator.get("logs/0367", event_type="sign_in").json["logs"]

    assert told["status"] == "error"
    assert told["request_data"] == {"login": "admin", "failed": 5, "address": "198.51.100.4"}


def test_the_operator_sees_who_guesses(at, browser):
    stranger = browser()
    for _ in range(12):
        at(opened=stranger, password="wrong")
    at("198.51.100.1", opened=stranger, login="150", password="wrong")

    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    counted = stranger.client.get("/stats", headers=headers).json["sign_in"]

    assert counted == {
        "failed": 11,
        "logins": 2,
        "addresses": {PROXY: 10, "198.51.100.1": 1},
        "waiting": 1,
        "within_seconds": 3600,
    }
