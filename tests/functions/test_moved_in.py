"""An enterprise that came from the old system, as its hosts and its CRM meet it, while both systems run and after."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from infra.stand_ins import postgres
from tests.harness import old_system
from tests.harness.old_system import PLAIN
from tests.harness.servers import Asterisk, push_envelope

CUSTOMER = "375291111111"
EVENT = ("event_id", "enterprise_number", "unique_id", "event_type", "raw", "record_url", "data_source", "received_at")


@pytest.fixture(scope="module")
def asterisk_server():
    with Asterisk.started() as started:
        yield started


@pytest.fixture
def crm(crm_process):
    crm_process.clear()
    crm_process.forget(PLAIN)
    crm_process.account(PLAIN)
    return crm_process


@pytest.fixture
def command(process, database_url):
    def run(module, *arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", f"infra.commands.{module}", "--by=petrova", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def asterisk(asterisk_server):
    asterisk_server.clear()
    return asterisk_server


@pytest.fixture
def theirs(command, postgres_server, crm, asterisk):
    """PLAIN, which has come; its account is the simulator's."""
    account = {"domain": f"{crm.url}/admin/", "api_key": f"key-of-{PLAIN}"}
    with postgres.database(postgres_server, template="template1") as url:
        made = old_system.make(url, crm_of_plain=account)
        asterisk.enterprise(PLAIN, made[0].row["secret"])
        command("moving", f"--only={PLAIN}", f"--asterisk-url={asterisk.url}", OLD_DATABASE_URL=url)
    return made[0]


@pytest.fixture
def switch(command):
    return lambda to: command("switch", f"--enterprises={PLAIN}", f"--to={to}")


class Hosts:
    """What they post is stored; whatever was stored since is pushed then, as Pub/Sub does."""

    def __init__(self, function, sql, token):
        self._dispatch, self._deliver = function("dispatch-call-event"), function("retailcrm-deliver")
        self._upload, self._sql, self._token = function("retailcrm-upload"), sql, token

    def post(self, event_type, unique_id, **body):
        raw = {
            "Token": self._token,
            "UniqueId": unique_id,
            "Phone": CUSTOMER,
            "CallType": 0,
            "Trunk": "0001301",
            **body,
        }
        assert self._dispatch.post(f"/{event_type}", json=raw).status_code == 200
        [row] = self._sql(
            "SELECT event_id::text, enterprise_number, unique_id, event_type, raw_data, record_url, data_source, "
            "received_at FROM call_events ORDER BY id DESC LIMIT 1"
        )
        event = {**dict(zip(EVENT, row, strict=True)), "received_at": row[-1].isoformat()}
        self._push({"event": event}, self._deliver)
        for number, crm in self._sql("SELECT enterprise_number, crm FROM row_timers"):
            self._push({"enterprise_number": number, "crm": crm}, self._upload)

    def ring(self, unique_id):
        self.post("start", unique_id)
        self.post("dial", unique_id, Extensions=["150"])

    def hang_up(self, unique_id):
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3 * 3600))
        self.post("hangup", unique_id, StartTime=now, EndTime=now, DateReceived=now, Extensions=[""], CallStatus="0")

    @staticmethod
    def _push(message, function):
        assert function.post("/", json=push_envelope(message)).status_code == 204


def soon(ask, status):
    """Another process changed the enterprise: every instance hears of it within a moment."""
    deadline = time.monotonic() + 10
    while (answer := ask()).status_code != status and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def test_events_with_the_names_by_which_hosts_and_recovery_knew_it_are_taken(theirs, function, sql):
    dispatch = function("dispatch-call-event")

    def post(token, unique_id):
        event = {"token": token, "uniqueId": unique_id, "event_type": "dial", "raw": {"Extensions": ["150"]}}
        return dispatch.post("/dispatch/call-event", json=event)

    live, recovered = post(theirs.row["name2"], "1760000000.1"), post(theirs.row["secret"], "1760000000.2")
    by_number, nobodys = post(PLAIN, "1760000000.3"), post("375290009999", "1760000000.4")

    assert [one.status_code for one in (live, recovered, by_number, nobodys)] == [202, 202, 404, 404]
    assert sql("SELECT DISTINCT enterprise_number FROM call_events") == [(PLAIN,)]


def test_a_click_of_the_module_that_the_old_system_registered_rings_and_nothing_else_is_done_by_the_number(
    theirs, function, switch, asterisk
):
    module = function("make-call")

    def ask(path="make-call", **given):
        query = {"clientId": PLAIN, "phone": CUSTOMER, "userId": "18", **given}
        return module.get(f"/retailcrm/{path}", query_string=query)

    off = ask()
    switch("on")
    on = soon(ask, 200)
    status = ask("status", status="free")

    assert (off.status_code, off.json["error"]["code"]) == (404, "integration_off")
    assert on.status_code == 200, on.json
    assert [(one["query"]["code"], one["query"]["phone"]) for one in asterisk.orders()] == [("150", f"+{CUSTOMER}")]
    assert status.status_code == 401


def test_while_both_run_a_call_is_told_by_the_one_that_was_on_when_it_ended(theirs, function, sql, switch, crm):
    hosts = Hosts(function, sql, theirs.row["name2"])
    before, across, after = (f"{int(time.time())}.{place}" for place in (1, 2, 3))

    hosts.ring(before)
    hosts.hang_up(before)
    hosts.ring(across)
    told_while_off = crm.entries(PLAIN)
    switch("on")
    is_on = function("dispatch-call-event")
    operator = {"Authorization": f"Bearer {os.environ['OPERATOR_TOKEN']}"}
    soon_on = time.monotonic() + 10
    while not is_on.get(f"/integrations/{PLAIN}", headers=operator).json["integrations"]["retailcrm"]:
        assert time.monotonic() < soon_on
    hosts.hang_up(across)
    hosts.ring(after)
    hosts.hang_up(after)

    assert told_while_off == []
    assert sorted(row["externalId"] for row in crm.rows(PLAIN)) == [across, after]
    assert [event["callExternalId"] for event in crm.events(PLAIN) if event["type"] == "in"] == [after]
