"""
What the operator sees of the running system: alerts that fire and are over, in a real Prometheus; a dashboard whose
queries have answers; and the log, in which one `grep` follows a call.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
import requests
import yaml  # type: ignore[import-untyped]

from infra.stand_ins import player, rundir
from tests.harness import prometheus
from tests.harness.prometheus import WATCH, Prometheus, watching

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SCENARIOS = player.load()
# What a test cannot wait for.
THRESHOLDS = {'{lane="live"}) > 60': '{lane="live"}) > 3'}
# Of an outage before this test nothing is known, and of clicks nothing happened.
MAY_BE_EMPTY = {"Clicks by answer", "Answers of the functions by status"}


@pytest.fixture(scope="module")
def prom(stack, tmp_path_factory) -> Iterator[Prometheus]:
    if why := prometheus.missing():
        pytest.skip(why)
    with watching(stack, tmp_path_factory.mktemp("prometheus"), THRESHOLDS) as running:
        deadline = time.monotonic() + 60
        while len(running.query('up{job="gateway"} == 1')) < len(stack.layout.functions()):
            assert time.monotonic() < deadline, running.get("targets")
            time.sleep(0.5)
        yield running


@contextmanager
def paused(stack, part) -> Iterator[None]:
    """A function that hangs: its server and the worker of it."""
    server = psutil.Process(rundir.read_description(stack.layout.run_dir)["pids"][part])
    processes = [server, *server.children(recursive=True)]
    for one in processes:
        one.suspend()
    try:
        yield
    finally:
        for one in processes:
            one.resume()


def post(stack, body, *, address="127.0.0.1"):
    """As a host at this address, at intake itself."""
    url = f"{stack.url('dispatch-call-event')}/dial"
    return requests.post(url, json=body, headers={"X-Forwarded-For": address}, timeout=10).status_code


def push(stack, function, path, data, **attributes):
    message = {"data": base64.b64encode(data).decode(), "attributes": attributes, "messageId": "1"}
    body = {"message": message, "subscription": "projects/local/subscriptions/x"}
    assert requests.post(f"{stack.url(function)}{path}", json=body, timeout=10).status_code == 204


def mark_replayed(stack):
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        conn.execute("UPDATE rejected_messages SET replayed_at = now()")


def test_a_function_that_hangs_is_told_of_until_it_answers_again(stack, prom):
    prom.wait("FunctionIsDown", fires=False)
    with paused(stack, "make-call"):
        said = prom.wait("FunctionIsDown", fires=True)
    prom.wait("FunctionIsDown", fires=False)

    assert "make-call" in said["summary"]


def test_events_that_nobody_assembles_are_told_of_until_somebody_does(stack, prom, enrol):
    token = enrol("W1")
    with paused(stack, "retailcrm-deliver"):
        body = {"Token": token, "UniqueId": f"{int(time.time())}.1", "Phone": "+375291111111", "Extensions": ["151"]}
        assert post(stack, body) == 200
        prom.wait("EventsWait", fires=True)
    prom.wait("EventsWait", fires=False)


@pytest.mark.parametrize(
    ("name", "path", "attributes"),
    [
        ("MessagesAreRejected", "/", {}),
        ("DeadLetters", "/dead", {"CloudPubSubDeadLetterSourceSubscription": "call-events.retailcrm-deliver"}),
    ],
)
def test_what_was_given_up_is_told_of_until_it_is_replayed(stack, prom, name, path, attributes):
    mark_replayed(stack)
    prom.wait(name, fires=False)
    push(stack, "sweep-calls" if attributes else "retailcrm-deliver", path, b"no message of ours", **attributes)
    prom.wait(name, fires=True)
    mark_replayed(stack)
    prom.wait(name, fires=False)


def test_a_database_that_does_not_let_the_sweep_in_is_told_of_and_so_are_the_ticks_that_fail(stack, prom):
    with psycopg.connect(stack.layout.cluster.url, autocommit=True) as conn:
        conn.execute("ALTER ROLE gateway_sweep_calls NOLOGIN")
        try:
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway_sweep_calls'")
            prom.wait("DatabaseIsAway", fires=True)
            prom.wait("TicksStopped", fires=True)
        finally:
            conn.execute("ALTER ROLE gateway_sweep_calls LOGIN")
    prom.wait("DatabaseIsAway", fires=False)
    prom.wait("TicksStopped", fires=False)


def test_guesses_of_tokens_are_told_of_and_a_right_one_among_them_at_once(stack, prom, enrol):
    token, stranger = enrol("W2"), "203.0.113.7"
    # Whose it is, is known by then.
    assert post(stack, {"Token": token, "UniqueId": "1.1"}) == 200
    deadline = time.monotonic() + 90
    while "TokensAreGuessed" not in prom.firing():
        assert time.monotonic() < deadline
        for guess in range(30):
            post(stack, {"Token": f"guess {guess}", "UniqueId": "1.1"}, address=stranger)
    assert post(stack, {"Token": token, "UniqueId": "1.1"}, address=stranger) == 429
    prom.wait("RightTokenAmongGuesses", fires=True)
    for name in ("TokensAreGuessed", "RightTokenAmongGuesses"):
        prom.wait(name, fires=False)


def test_errors_of_the_crm_are_told_of_until_they_end(stack, prom, enrol):
    prom.wait("CRMErrorsGrow", fires=False)
    tokens = [enrol(f"W3-{index}", api_key="refused") for index in range(30)]
    for index, token in enumerate(tokens):
        body = {"Token": token, "UniqueId": f"{int(time.time())}.{index}", "Phone": "+375291111111", "CallType": 0}
        assert post(stack, body | {"Trunk": "0001301", "Extensions": ["151"]}) == 200
        time.sleep(0.4)
    prom.wait("CRMErrorsGrow", fires=True)
    prom.wait("CRMErrorsGrow", fires=False)


def test_every_query_of_the_dashboard_is_answered_and_every_metric_that_is_named_is_there(stack, prom, crm, enrol):
    player.play(SCENARIOS["2-1"], stack.url("gateway"), enrol("W4"), pause=stack.pause)
    dashboard = json.loads((WATCH / "dashboard.json").read_text())
    queries = [(panel["title"], one["expr"]) for panel in dashboard["panels"] for one in panel["targets"]]
    rules = [rule for group in yaml.safe_load((WATCH / "alerts.yml").read_text())["groups"] for rule in group["rules"]]

    empty = {title for title, query in queries if not prom.query(query)}
    described = {one["metric"] for one in prom.get("targets/metadata")}
    named = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for query in (*(query for _, query in queries), *(rule["expr"] for rule in rules))
        for name in re.findall(r"\b(?:gateway|process)_\w+", query)
    }

    assert empty <= MAY_BE_EMPTY
    assert named <= described
    assert {one["health"] for group in prom.get("rules")["groups"] for one in group["rules"]} == {"ok"}


def grep(stack, text):
    """The lines of all functions that have this text, as an operator finds them."""
    logs = sorted(str(stack.layout.log(name)) for name in stack.layout.functions())
    found = subprocess.run(["grep", "-h", "-F", text, *logs], capture_output=True, text=True, check=False)
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_one_grep_follows_a_call_through_all_functions(stack, crm, enrol):
    token = enrol("W5")
    # An outgoing call settles: the sweep wakes it for its row.
    played = player.play(SCENARIOS["1-1"], stack.url("gateway"), token, pause=stack.pause)
    call = played.scenario.main_unique_id
    deadline = time.monotonic() + 60
    while not crm.rows("W5"):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    time.sleep(1)  # the line follows the answer

    lines = grep(stack, call)

    said = {(line["function"], line["message"]) for line in lines}
    assert said >= {
        ("dispatch-call-event", "request"),
        ("retailcrm-deliver", "request"),
        ("retailcrm-deliver", "attempted"),
        ("sweep-calls", "calls woken"),
        ("retailcrm-upload", "attempted"),
    }
    assert {line["enterprise"] for line in lines if line["message"] == "request"} == {"W5"}
    taken_in = [line for line in lines if line["function"] == "dispatch-call-event"]
    assert all(line["event_id"] and line["unique_id"] for line in taken_in)
    # And the trace of each event, in every function that it went through.
    for line in taken_in:
        trace = line["logging.googleapis.com/trace"]
        assert re.fullmatch(r"projects/local/traces/[0-9a-f]{32}", trace)
        further = [one for one in grep(stack, trace) if one["function"] == "retailcrm-deliver"]
        assert {one["event_id"] for one in further if one["message"] == "request"} == {line["event_id"]}
        assert all(one["message_id"] for one in further if one["message"] == "request")


def test_a_dial_that_was_lost_is_said_when_its_hangup_stands_in_for_it(stack, crm, enrol):
    played = player.play(SCENARIOS["string-types"], stack.url("gateway"), enrol("W6"), pause=stack.pause)
    deadline = time.monotonic() + 30
    while not (found := [one for one in grep(stack, "synthetic dial") if one["enterprise"] == "W6"]):
        assert time.monotonic() < deadline
        time.sleep(0.3)

    assert found[0]["calls"] == [played.scenario.main_unique_id]
    assert found[0]["function"] == "retailcrm-deliver"
