"""
A second CRM beside RetailCRM, as a package and functions of its own: it has its own deliveries, lane, gate and story,
and lib knows of it by the registry alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg
import pytest
import requests
from flask import Flask, request

from infra.commands import provision
from infra.deployment import topology
from infra.deployment.topology import Target
from lib.calls.plan import CallRow, EndNotice, RingNotice
from lib.crms import CRMS
from lib.intake import messages
from lib.intake.push import Push, push_route
from lib.ledger import codec, story
from lib.ledger.crm import Reply, Unknown
from lib.ledger.send_rows import send_due
from lib.ledger.wake import wake
from lib.runtime import db, http, pubsub
from lib.runtime.errors import ConfigError
from lib.runtime.gate import Limits
from lib.store.enterprises import Enterprise
from tests.functions.test_retailcrm_deliver import CUSTOMER, Gateway
from tests.harness.enterprises import enterprise
from tests.harness.servers import push_envelope

NAME = "tiny"
# On a machine that is busy; a CRM that waited for another one would wait for its pauses, which are longer.
SOON_SECONDS = 10.0


class Stub(ThreadingHTTPServer):
    """The tiny CRM itself: it takes JSON at `/ring`, `/end` and `/rows`, and answers 503 while it is away."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.is_away = False
        self.heard: list[tuple[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def told(self, path: str) -> list[Any]:
        return [body for where, body in self.heard if where == path]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        stub = self.server
        assert isinstance(stub, Stub)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not stub.is_away:
            stub.heard.append((self.path, body))
        self.send_response(503 if stub.is_away else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Account:
    base_url: str
    credentials: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Said:
    path: str
    body: object

    def as_log(self) -> dict[str, object]:
        return {"path": self.path, "body": self.body}


class Tiny:
    """As the ledger sees it (`lib.ledger.crm.CRM`)."""

    name = NAME
    batch = 2

    def account_of(self, enterprise: Enterprise) -> Account:
        section = enterprise.integrations.get(NAME)
        if section is None or not section.domain or not section.api_key:
            raise ConfigError("The address or the key of the tiny CRM is not set")
        return Account(base_url=section.domain, credentials=section.api_key.encode())

    def limits(self) -> Limits:
        return Limits(per_second=0)

    def timeout_seconds(self, effect: str) -> float:
        return 3.0

    def ring(self, notice: RingNotice) -> Said:
        return Said(path="/ring", body={"call": notice.call_id, "who": list(notice.extensions), "from": notice.phone})

    def end(self, notice: EndNotice, extensions: Sequence[str], user_ids: Sequence[int]) -> Said:
        assert not user_ids, "it knows everybody"
        return Said(path="/end", body={"call": notice.call_id, "who": list(extensions)})

    def rows(self, rows: Sequence[CallRow]) -> Said:
        return Said(path="/rows", body=[{"call": row.external_id, "result": row.result} for row in rows])

    def send(self, account: Account, request: Said, *, timeout_seconds: float) -> Reply:
        try:
            answer = requests.post(
                account.base_url + request.path, json=request.body, timeout=max(0.1, timeout_seconds)
            )
        except requests.ConnectionError as error:
            return Reply(outcome="unavailable", error=str(error))
        if answer.status_code == 503:
            return Reply(outcome="busy", http_status=503, error="away")
        return Reply(outcome="done", http_status=answer.status_code)

    def repair(self, enterprise_number: str, unknown: Unknown) -> None:
        raise AssertionError("it knows everybody")


TINY = Tiny()
BOTH = {**CRMS, NAME: TINY}


def look(push: Push) -> None:
    """What `functions/retailcrm-deliver` does for RetailCRM."""
    wake(messages.parse(push.json(), published_at=push.published_at), crm=TINY, crms=BOTH)


def upload(push: Push) -> None:
    """What `functions/retailcrm-upload` does for RetailCRM."""
    lane = codec.lane_of(push.json())
    if lane.crm == NAME:
        send_due(lane, crm=TINY)


def application(handle) -> Flask:
    routes = http.Routes({"POST /": push_route(handle)})
    app = Flask(NAME)
    app.add_url_rule("/", view_func=lambda: routes.answer(request), methods=["POST"])
    return app


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(server) -> Iterator[str]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    with serving(stub):
        yield stub


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.account("0367")
    return crm_server


@pytest.fixture
def connected(process, crm, stub):
    """Writes the enterprise with both CRMs; `changes` are of the tiny one's section."""

    def write(**changes):
        data = enterprise(domain=crm.url)
        section = {"domain": stub.url, "api_key": "key-of-tiny", "user_extensions": {"7": "150", "8": "151"}}
        data["integrations_config"][NAME] = {"enabled": True, **section, **changes}
        assert provision.check(data) == []
        with db.transaction() as conn:
            provision.provision(conn, data)

    write()
    return write


@pytest.fixture
def gateway(process, connected, own_broker, function, sql) -> Iterator[Gateway]:
    """Both CRMs' functions, each behind a subscription of its own. Nothing ticks: whoever is late stays late."""
    process.setattr("lib.crms.CRMS", BOTH)
    gateway = Gateway(function, sql)
    applications = {
        "retailcrm-deliver": gateway.deliver.application,
        "retailcrm-upload": gateway.upload.application,
        "tiny-deliver": application(look),
        "tiny-upload": application(upload),
    }
    data = topology.read()
    for topic, theirs, ours in (
        ("call-events", "retailcrm-deliver", "tiny-deliver"),
        ("due-rows", "retailcrm-upload", "tiny-upload"),
    ):
        data["subscriptions"][f"{topic}.{ours}"] = data["subscriptions"][f"{topic}.{theirs}"] | {"function": ours}
    with ExitStack() as running:
        endpoints = {spec["function"]: "http://127.0.0.1:9" for spec in data["subscriptions"].values()}
        for name, app in applications.items():
            server = make_server("127.0.0.1", 0, app, server_class=Server, handler_class=Quiet)
            endpoints[name] = running.enter_context(serving(server))
        topology.apply(data, Target(project="local", endpoints=endpoints))
        yield gateway


def call(gateway, sql, number=1, *, seen_by=tuple(BOTH)):
    """A call that ends when these CRMs have shown it; Pub/Sub brings what intake hears to both."""
    gateway.unique_id = unique_id = f"{int(time.time())}.{number}"
    phone = f"37529111{number:04}"
    gateway.take("start", Phone=phone, CallType=0, Trunk="0001301")
    gateway.take("dial", Phone=phone, CallType=0, Trunk="0001301", Extensions=["150", "151"])
    eventually(lambda: all((unique_id, "popup") in delivered(sql, name) for name in seen_by), shown=lambda: states(sql))
    gateway.take("hangup", **gateway.missed_body() | {"Phone": phone})
    return unique_id


def eventually(condition, *, seconds=SOON_SECONDS, shown=list):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("\n".join(map(str, shown())))
        time.sleep(0.05)


def delivered(sql, name):
    return sql(
        "SELECT external_id, effect FROM deliveries WHERE crm = %s AND state = 'delivered' ORDER BY external_id, id",
        name,
    )


def states(sql):
    return sql("SELECT crm, external_id, effect, state, reason FROM deliveries ORDER BY id")


def wait_for(sql, calls, crms=tuple(BOTH)):
    """Until these CRMs have everything of these calls."""
    eventually(lambda: all(delivered(sql, name) == everything(calls) for name in crms), shown=lambda: states(sql))


def everything(calls):
    return [(one, effect) for one in sorted(calls) for effect in ("popup", "hangup", "upload")]


def test_each_crm_hears_of_everything_once_in_its_own_words(gateway, crm, stub, sql):
    calls = [call(gateway, sql, number) for number in range(1, 6)]
    wait_for(sql, calls)

    assert sorted(event["callExternalId"] for event in crm.events("0367")) == sorted(calls * 2)
    assert sorted(row["externalId"] for row in crm.rows("0367")) == sorted(calls)
    assert sorted(told["call"] for told in stub.told("/ring")) == sorted(calls)
    assert [told["who"] for told in stub.told("/ring") + stub.told("/end")] == [["150", "151"]] * 10
    assert sorted(told["call"] for told in stub.told("/end")) == sorted(calls)
    assert sorted(row["call"] for rows in stub.told("/rows") for row in rows) == sorted(calls)
    assert max(len(rows) for rows in stub.told("/rows")) <= TINY.batch
    assert sql("SELECT count(*) FROM call_events") == [(15,)]
    assert sql("SELECT count(*) FROM calls") == [(5,)]


def test_attempts_logs_lanes_and_gates_are_each_crms_own(gateway, crm, stub, sql):
    unique_id = call(gateway, sql)
    wait_for(sql, [unique_id])

    attempted = sql("SELECT d.crm, d.effect, a.outcome FROM attempts a JOIN deliveries d ON d.id = a.delivery_id")
    logged = sql("SELECT integration_type, event_type, status FROM integration_logs")
    assert sorted(attempted) == sorted((name, effect, "done") for name in BOTH for _, effect in everything([unique_id]))
    assert sorted(logged) == sorted((name, effect, "success") for name in BOTH for _, effect in everything([unique_id]))
    assert sorted(sql("SELECT enterprise_number, crm FROM row_timers")) == [("0367", "retailcrm"), ("0367", NAME)]
    assert sorted(sql("SELECT account FROM crm_gates")) == sorted([(crm.url,), (stub.url,)])


@pytest.mark.parametrize("away", ["retailcrm", NAME])
def test_a_crm_that_is_away_does_not_keep_the_other_waiting(gateway, crm, stub, sql, away):
    [there] = BOTH.keys() - {away}
    accounts = {"retailcrm": crm.url, NAME: stub.url}
    stub.is_away = away == NAME
    if away == "retailcrm":
        crm.fault("error_503", account="0367", requests=1000)

    calls = []
    for number in range(1, 5):
        calls.append(call(gateway, sql, number, seen_by=[there]))
        wait_for(sql, calls, [there])
    while_away = delivered(sql, away)
    gates = dict(sql("SELECT account, away_since IS NOT NULL FROM crm_gates"))

    assert while_away == []
    assert gates == {accounts[away]: True, accounts[there]: False}
    assert sql("SELECT DISTINCT crm FROM deliveries WHERE effect = 'upload' AND state <> 'delivered'") == [(away,)]


def test_rows_that_waited_for_a_crm_that_was_away_reach_it_once(gateway, stub, sql):
    stub.is_away = True
    calls = [call(gateway, sql, number, seen_by=["retailcrm"]) for number in range(1, 6)]
    wait_for(sql, calls, ["retailcrm"])
    stub.is_away = False

    def came():
        # The pauses run out, as they do by themselves.
        sql(
            "UPDATE crm_gates SET ask_at = clock_timestamp() WHERE account = %s AND away_since IS NOT NULL RETURNING 1",
            stub.url,
        )
        sql("UPDATE deliveries SET run_at = clock_timestamp() WHERE crm = %s AND state = 'retry' RETURNING 1", NAME)
        lane = {"enterprise_number": "0367", "crm": NAME}
        assert application(upload).test_client().post("/", json=push_envelope(lane)).status_code == 204
        return len([row for rows in stub.told("/rows") for row in rows]) == 5

    eventually(came)
    assert sorted(row["call"] for rows in stub.told("/rows") for row in rows) == sorted(calls)
    assert sql(
        "SELECT count(*) FROM deliveries WHERE crm = %s AND effect = 'upload' AND state = 'delivered'", NAME
    ) == [(5,)]


def test_whoever_assembles_wakes_the_functions_of_the_other_crms(gateway, stub, sql, database_url):
    """Their own message may have come, and gone, while somebody else was at the enterprise."""
    with psycopg.connect(database_url) as busy:
        busy.execute("SELECT pg_advisory_xact_lock(hashtextextended('assembly 0367', 0))")
        message = gateway.take("dial", Phone=CUSTOMER, CallType=0, Trunk="0001301", Extensions=["150"])
        time.sleep(1)  # both functions had it, and left it
        assert sql("SELECT count(*) FROM calls") == [(0,)]
    assert gateway.push(message) == 204

    eventually(lambda: [told["who"] for told in stub.told("/ring")] == [["150"]])


def test_a_wake_up_that_reaches_both_functions_comes_to_an_end(gateway, own_broker, sql):
    """One of them has its turn, and the other wakes itself once more: not both, for then one would lose again."""
    calls = [call(gateway, sql, number) for number in range(1, 4)]
    wait_for(sql, calls)
    subscription = own_broker.topic("call-events")
    for _ in range(5):
        for (call_id,) in sql("SELECT id FROM calls"):
            pubsub.publish(pubsub.CALL_EVENTS, {"enterprise_number": "0367", "call_id": call_id})

    eventually(lambda: not own_broker.pull(subscription))
    time.sleep(1)
    assert own_broker.pull(subscription) == []


def test_the_timer_of_a_call_counts_the_notices_of_every_crm(process, connected, function, sql):
    """Should that wake-up be lost too, the sweep finds the call."""
    process.setattr("lib.crms.CRMS", BOTH)
    connected(user_extensions={"7": "152"})
    gateway = Gateway(function, sql)
    gateway.happen("dial", Phone=CUSTOMER, CallType=0, Trunk="0001301", Extensions=["152"])
    sql("DELETE FROM deliveries WHERE crm = %s RETURNING 1", NAME)
    sql("UPDATE calls SET next_wake_at = NULL RETURNING 1")
    [(call_id,)] = sql("SELECT id FROM calls")
    assert gateway.push({"enterprise_number": "0367", "call_id": call_id}) == 204

    assert sql("SELECT crm, state FROM deliveries WHERE state <> 'delivered'") == [(NAME, "ready")]
    assert sql("SELECT next_wake_at <= clock_timestamp() FROM calls") == [(True,)]


def test_what_was_decided_is_told_of_each_crm_by_its_own_mapping(gateway, connected, crm, stub, sql):
    connected(user_extensions={"8": "151"})
    unique_id = call(gateway, sql)
    wait_for(sql, [unique_id])

    told = {name: story.tell("0367", unique_id, crm=name) for name in BOTH}
    unmapped = {
        name: [one["params"]["numbers"] for one in tale["decisions"] if one["code"] == "no_mapping"]
        for name, tale in told.items()
    }
    assert unmapped == {"retailcrm": [], NAME: [["150"]]}
    assert [event["codes"] for event in crm.events("0367")] == [["150", "151"]] * 2
    assert [body["who"] for body in stub.told("/ring") + stub.told("/end")] == [["151"]] * 2
    for name, paths in {
        "retailcrm": ["/api/v5/telephony/call/event"] * 2 + ["/api/v5/telephony/calls/upload"],
        NAME: ["/ring", "/end", "/rows"],
    }.items():
        assert [row["effect"] for row in told[name]["told"]] == ["popup", "hangup", "upload"]
        assert [one["request"]["path"] for row in told[name]["told"] for one in row["attempts"]] == paths


def test_one_integration_that_is_switched_off_leaves_the_other_alone(gateway, connected, stub, sql):
    connected(enabled=False)
    unique_id = call(gateway, sql, seen_by=["retailcrm"])
    wait_for(sql, [unique_id], ["retailcrm"])

    assert stub.heard == []
    assert sql("SELECT DISTINCT crm FROM deliveries") == [("retailcrm",)]
    told = {name: {one["code"] for one in story.tell("0367", unique_id, crm=name)["decisions"]} for name in BOTH}
    assert "integration_disabled" in told[NAME]
    assert "integration_disabled" not in told["retailcrm"]


def test_the_page_of_retailcrm_shows_retailcrms_alone(page, gateway, connected, crm, sql):
    connected(user_extensions={"8": "151"})
    unique_id = call(gateway, sql)
    wait_for(sql, [unique_id])
    sql("UPDATE deliveries SET state = 'failed', reason = 'permanent' WHERE effect = 'upload' RETURNING 1")

    [shown] = page.get("calls/0367").json["calls"]
    counted = page.get("stats/0367").json["today"]["deliveries"]
    logged = page.get("logs/0367").json["logs"]
    found = page.get("calls/0367", reason="no_mapping").json["calls"]
    asked = page.post(f"calls/0367/{unique_id}/replay")

    assert [one["effect"] for one in shown["deliveries"]] == ["popup", "hangup", "upload"]
    assert "no_mapping" not in shown["reasons"]
    assert {one["code"] for one in shown["decisions"]}.isdisjoint({"no_mapping"})
    assert found == []
    assert sorted((one["effect"], one["count"]) for one in counted) == [("hangup", 1), ("popup", 1), ("upload", 1)]
    assert len(logged) == 3
    assert asked.status_code == 202
    assert sql("SELECT crm FROM deliveries WHERE generation = 1") == [("retailcrm",)]
