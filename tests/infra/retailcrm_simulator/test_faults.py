"""Each fault as a client meets it on the socket, and what the simulator did of the request."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.infra.retailcrm_simulator.client import UPLOAD, a_call


def connected(account, call, timeout=5.0):
    """A socket on which the upload of one call has been sent."""
    host, port = urlsplit(account.url).hostname, urlsplit(account.url).port
    sock = socket.create_connection((host, port), timeout=timeout)
    body = f"calls={quote(json.dumps([call]))}"
    sock.sendall(
        f"POST {UPLOAD} HTTP/1.1\r\nHost: {host}:{port}\r\nX-API-KEY: {account.key}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return closing(sock)


def held(account):
    return [row["external_id"] for row in account.told("ledger/calls")["calls"]]


def last(account):
    entry = account.ledger()[-1]
    return entry["fault"], entry["applied"] is not None, (entry["answer"] or {}).get("status")


def test_half_of_a_request_is_recorded_and_not_applied(account):
    host, port = urlsplit(account.url).hostname, urlsplit(account.url).port
    with socket.create_connection((host, port)) as sock:
        head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {account.key}\r\nContent-Length: 100\r\n\r\ncalls=%5B"
        sock.sendall(head.encode())
        time.sleep(0.1)
    time.sleep(0.1)

    [entry] = account.ledger()
    assert (entry["kind"], entry["applied"]) == ("upload", None)
    assert entry["warnings"] == ["the body did not come whole"]


def test_applied_and_then_reset(account):
    account.fault("ok_then_rst")

    with connected(account, a_call()) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1000)

    assert held(account) == [a_call()["externalId"]]
    assert last(account) == ("ok_then_rst", True, None)


def test_applied_and_reset_in_the_middle_of_the_answer(account):
    account.fault("ok_then_rst", sent_bytes=40)

    with connected(account, a_call()) as sock:
        first = sock.recv(1000)
        with pytest.raises(ConnectionResetError):
            sock.recv(1000)

    assert first.startswith(b"HTTP/1.1 200 OK")
    assert len(first) == 40


def test_applied_and_then_silent(account):
    account.fault("apply_then_hang")

    with connected(account, a_call(), timeout=0.5) as sock, pytest.raises(TimeoutError):
        sock.recv(1000)

    assert held(account) == [a_call()["externalId"]]
    assert last(account) == ("apply_then_hang", True, None)


def test_silent_and_never_applied(account):
    account.fault("hang_before_apply", hang_seconds=0.3)

    with connected(account, a_call()) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1000)

    assert held(account) == []
    assert last(account) == ("hang_before_apply", False, None)


@pytest.mark.parametrize(
    ("mode", "options", "told", "applied"),
    [
        ("error_500", {}, (500, "Internal server error"), False),
        ("error_500_after_apply", {}, (500, "Internal server error"), True),
        ("error_503", {}, (503, "Service temporary unavailable"), False),
        ("error_429", {}, (429, "Rate limit exceeded"), False),
        ("error_503", {"apply": True}, (503, "Service temporary unavailable"), True),
        ("success_false", {}, (200, "The request was not accepted"), False),
        ("success_false", {"error_msg": "Telephony not enabled"}, (200, "Telephony not enabled"), False),
        (
            "success_false",
            {"status": 404, "error_msg": "Account does not exist."},
            (404, "Account does not exist."),
            False,
        ),
    ],
)
def test_refusals_in_json(account, mode, options, told, applied):
    status, message = told
    account.fault(mode, **options)

    answer = account.upload(a_call())

    assert (answer.status_code, answer.json()) == (status, {"success": False, "errorMsg": message})
    assert "Retry-After" not in answer.headers
    assert last(account) == (mode, applied, status)


@pytest.mark.parametrize("retry_after", [7, "Wed, 21 Oct 2037 07:28:00 GMT", "soon"])
def test_a_refusal_may_say_when_to_come_again(account, retry_after):
    account.fault("error_429", retry_after=retry_after)

    assert account.upload(a_call()).headers["Retry-After"] == str(retry_after)


def test_half_of_the_json(account):
    account.fault("truncated_json")

    answer = account.upload(a_call())

    assert (answer.status_code, answer.text) == (200, '{"success": true, "pr')
    assert held(account) == [a_call()["externalId"]]


@pytest.mark.parametrize("status", [200, 405, 502, 504])
def test_a_web_page_instead_of_json(account, status):
    account.fault("html", status=status)

    answer = account.upload(a_call())

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")
    assert held(account) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_where_the_test_wants(account, status):
    account.fault("redirect_30x", status=status, location="http://169.254.169.254/latest")

    answer = requests.post(account.url + UPLOAD, headers={"X-API-KEY": account.key}, allow_redirects=False, timeout=10)

    assert (answer.status_code, answer.headers["Location"]) == (status, "http://169.254.169.254/latest")


def test_one_byte_at_a_time(account):
    account.fault("slow_drip", interval_ms=50)

    with connected(account, a_call()) as sock:
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"}"):
            pieces.append(sock.recv(1000))

    assert len(pieces) > 20
    assert b'{"success": true, "processedCallsCount": 1}' in b"".join(pieces)


def test_a_drip_is_slower_than_any_patience(account):
    account.fault("slow_drip")

    started = time.monotonic()
    with requests.post(
        account.url + UPLOAD,
        data={"calls": json.dumps([a_call()])},
        headers={"X-API-KEY": account.key},
        stream=True,
        timeout=5,
    ) as answer:
        first = [answer.raw.read(1), answer.raw.read(1)]

    assert first == [b"{", b'"']
    assert 0.8 < time.monotonic() - started < 3


def test_ten_megabytes_of_json(account):
    account.fault("huge_body")

    answer = account.upload(a_call())

    assert len(answer.content) == 10_000_000
    assert answer.json()["processedCallsCount"] == 1


def test_slow_but_right(account):
    account.fault("slow", delay_ms=300)

    started = time.monotonic()
    answer = account.upload(a_call())

    assert time.monotonic() - started >= 0.3
    assert answer.json()["success"] is True


def test_a_slow_request_is_applied_though_its_client_left(account):
    account.fault("slow", delay_ms=300)

    with connected(account, a_call(), timeout=0.1) as sock, pytest.raises(TimeoutError):
        sock.recv(1)

    assert held(account) == []
    time.sleep(0.5)
    assert held(account) == [a_call()["externalId"]]


def test_a_fault_for_some_requests_ends_by_itself_and_they_queue_up(account):
    account.fault("error_503", requests=2)
    account.fault("error_500", requests=1)

    statuses = [account.upload(a_call()).status_code for _ in range(4)]

    assert statuses == [503, 503, 500, 200]


def test_a_fault_hits_only_its_endpoint(account):
    account.fault("error_500", endpoint="event")
    account.fault("error_503", endpoint="other")
    account.fault("error_429", endpoint="users", requests=1)

    statuses = [
        account.event().status_code,
        account.upload(a_call()).status_code,
        account.get("/api/v5/users").status_code,
        account.get("/api/v5/users").status_code,
    ]

    assert statuses == [500, 200, 429, 503]


def test_a_fault_hits_only_its_account(new_account):
    broken, sound = new_account(), new_account()
    broken.fault("error_500")

    assert (broken.event().status_code, sound.event().status_code) == (500, 200)


def test_a_standing_fault_takes_the_place_of_the_earlier_one_and_ok_ends_it(account):
    account.fault("error_500")
    account.fault("error_503")
    second = account.event().status_code

    account.fault("ok")

    assert (second, account.event().status_code) == (503, 200)


def test_faults_are_taken_back(account):
    account.fault("error_500", endpoint="event")
    account.fault("error_500", endpoint="upload")

    gone = requests.delete(
        f"{account.url}/_sim/faults", params={"account": account.name, "endpoint": "event"}, timeout=10
    )

    assert gone.json() == {"removed": 1}
    assert (account.event().status_code, account.upload(a_call()).status_code) == (200, 500)


def test_a_fault_may_come_by_chance(account):
    account.fault("error_500", probability=0.5)

    statuses = [account.event(callExternalId=str(number)).status_code for number in range(60)]

    assert 10 < statuses.count(500) < 50


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, "mode: This value should not be blank"),
        ({"mode": "explode"}, "mode: must be one of ok, slow,"),
        ({"mode": "ok", "endpoint": "somewhere"}, "endpoint: must be one of all,"),
        ({"mode": "ok", "requests": 0}, "requests: This value should be 1 or more"),
        ({"mode": "ok", "probability": 2}, "probability: "),
        ({"mode": "ok", "status": 20}, "status: "),
        ({"mode": "redirect_30x", "location": "a\r\nSet-Cookie: x"}, "location: "),
        ({"mode": "ok", "delay": 3}, "delay: unknown field"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(simulator, rule, problem):
    answer = requests.post(f"{simulator}/_sim/faults", json=rule, timeout=10)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(problem)
