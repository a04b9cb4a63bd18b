"""Processes that are stopped for longer than their lease, and processes that are told to end under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from infra.stand_ins.postgres import free_port
from lib.intake.messages import event_message
from lib.runtime import config
from tests.harness import roles
from tests.harness.assembled import Desk
from tests.harness.enterprises import TOKEN
from tests.harness.servers import push_envelope
from tests.unit.calls.streams import Stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# How long a pop-up's request may take: who slept longer must not send it any more.
POPUP_SECONDS = config.RetailCRM().retailcrm_event_timeout_seconds


class Function:
    """A function as the platform runs it, in processes of its own."""

    def __init__(self, name, port, log, **environment):
        self.port, self.log = port, log
        arguments = [f"--source=functions/{name}/main.py", f"--target={name.replace('-', '_')}", f"--port={port}"]
        environment["DATABASE_URL"] = roles.url_of_function(name, os.environ["DATABASE_URL"])
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "functions_framework", *arguments, "--host=127.0.0.1"],
                env={**os.environ, "THREADS": "4", "WORKERS": "1", "PYTHONPATH": ".", **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while self.post("GET", "/health", None, seconds=2) != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def post(self, method, path, body, *, seconds):
        """The status; 0 without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def push(self, message, *, seconds=20.0):
        return self.post("POST", "/", push_envelope(message), seconds=seconds)

    def worker(self):
        [found] = psutil.Process(self.process.pid).children()
        return found

    def wait_until_asleep(self):
        deadline = time.monotonic() + 20
        while self.worker().status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wake(self):
        self.worker().send_signal(signal.SIGCONT)

    def terminate(self):
        """Its exit code; after ten seconds the platform's patience is over."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def start(tmp_path):
    started = []

    def run(name, **environment):
        function = Function(name, free_port(), tmp_path / f"{name}-{len(started)}.log", **environment)
        started.append(function)
        function.wait_until_ready()
        return function

    yield run
    for function in started:
        function.kill()


@pytest.fixture
def desk(process, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    return Desk(number="0367", sql=sql)


@contextmanager
def in_background(work):
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lapse(sql):
    """The lease runs out, as it does by itself after 25 s."""
    assert sql(
        "UPDATE deliveries SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'leased' RETURNING 1"
    )


def test_who_slept_before_it_sent_a_pop_up_sends_nothing_when_it_wakes(desk, start, crm_server, sql):
    stream = Stream(epoch=int(time.time()))
    messages = [
        event_message(event, received_at=event.received_at)
        for event in desk.store(stream.dial(0, stream.id(1), ["150", "151"]).scenario(stream.id(1)))
    ]
    sleeper = start("retailcrm-deliver", FAILPOINTS="attempt_committed=stop", FAILPOINTS_ALLOWED="yes")
    other = start("retailcrm-deliver")

    with in_background(lambda: sleeper.push(messages[0])):
        sleeper.wait_until_asleep()
        asleep_at = time.monotonic()
        lapse(sql)
        [(call_id,)] = sql("SELECT id FROM calls")
        assert other.push({"call_id": call_id, "enterprise_number": "0367"}) == 204
        settled = sql("SELECT state, reason, fence, finished_at FROM deliveries")
        time.sleep(max(0.0, asleep_at + POPUP_SECONDS + 0.3 - time.monotonic()))
        sleeper.wake()

    assert [state for state, *_ in settled] == ["in_doubt"]
    assert sql("SELECT state, reason, fence, finished_at FROM deliveries") == settled
    assert crm_server.entries("0367", "event") == []
    assert "overtaken" in sleeper.log.read_text()


def test_who_slept_after_it_sent_a_row_changes_nothing_of_what_its_successor_recorded(desk, start, crm_server, sql):
    stream = Stream(epoch=int(time.time()) - 30)
    main = stream.id(1)
    stream.start(0, main).dial(1, main, ["150"]).hangup(5, main, 0, "0", [""])
    desk.assemble_all(desk.store(stream.scenario(main)), deliver=False)
    sql("UPDATE deliveries SET state = 'superseded' WHERE effect <> 'upload' RETURNING 1")
    wake = {"crm": "retailcrm", "enterprise_number": "0367"}
    sleeper = start("retailcrm-upload", FAILPOINTS="request_written=stop", FAILPOINTS_ALLOWED="yes")
    other = start("retailcrm-upload")

    with in_background(lambda: sleeper.push(wake)):
        sleeper.wait_until_asleep()
        within(10, lambda: crm_server.rows("0367"))
        lapse(sql)
        assert other.push(wake) == 204
        recorded = sql("SELECT state, fence, finished_at FROM deliveries WHERE effect = 'upload'")
        sleeper.wake()

    assert [state for state, *_ in recorded] == ["delivered"]
    assert sql("SELECT state, fence, finished_at FROM deliveries WHERE effect = 'upload'") == recorded
    assert [row["externalId"] for row in crm_server.rows("0367")] == [main]
    assert len(crm_server.entries("0367", "upload")) == sql("SELECT count(*) FROM attempts")[0][0] == 2
    assert "overtaken" in sleeper.log.read_text()


def test_a_function_that_is_told_to_end_every_two_seconds_loses_nothing_that_it_acknowledged(
    desk, start, broker, process, sql
):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    config.current.cache_clear()
    broker.topic("call-events")
    running, acknowledged, over = [start("dispatch-call-event")], [], threading.Event()

    def load(lane):
        for number in range(10_000):
            unique_id = f"{int(time.time())}.{lane}{number:04}"
            body = {"Token": TOKEN, "UniqueId": unique_id, "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}
            if over.is_set():
                return
            if running[-1].post("POST", "/start", body, seconds=3) == 200:
                acknowledged.append(unique_id)
            else:
                time.sleep(0.05)

    lanes = [threading.Thread(target=load, args=[lane]) for lane in range(1, 4)]
    for lane in lanes:
        lane.start()
    codes = []
    for _ in range(3):
        time.sleep(2)
        ending = running[-1]
        running.append(start("dispatch-call-event"))
        codes.append(ending.terminate())
    over.set()
    for lane in lanes:
        lane.join()

    stored = {unique_id for (unique_id,) in sql("SELECT unique_id FROM call_events")}
    assert codes == [0, 0, 0]
    assert len(acknowledged) > 50
    assert set(acknowledged) <= stored
