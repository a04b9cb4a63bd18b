"""What a function gives back again and again ends in `rejected_messages`, whichever subscription it came by."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from wsgiref.simple_server import WSGIRequestHandler, make_server

import functions_framework
import pytest

from infra.deployment import topology
from infra.deployment.topology import Target
from lib.runtime import pubsub
from tests.harness.servers import Broker


class Refusing(BaseHTTPRequestHandler):
    """A function whose database is away."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def sweep(process) -> Iterator[str]:
    """The function that takes dead letters, over HTTP."""
    app = functions_framework.create_app("sweep_calls", "functions/sweep-calls/main.py")
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_subscription_has_dead_letters_that_are_kept():
    data = topology.read()
    named = [name for name in data["subscriptions"] if not name.endswith(".dead")]

    for name in named:
        spec, dead = data["subscriptions"][name], data["subscriptions"][f"{name}.dead"]
        assert name == f"{spec['topic']}.{spec['function']}"
        assert spec["dead_letter_topic"] == dead["topic"]
        assert (dead["function"], dead["path"]) == ("sweep-calls", "/dead")
    assert {data["subscriptions"][name]["topic"] for name in named} == {
        pubsub.CALL_EVENTS,
        pubsub.RECOVERED_EVENTS,
        pubsub.DUE_ROWS,
        pubsub.TICKS,
        pubsub.MODULE_COMMANDS,
    }


def test_what_is_refused_to_the_end_is_kept_with_its_bytes_and_where_it_came_from(refusing, sweep, sql, process):
    data = topology.read()
    for spec in data["subscriptions"].values():
        if "dead_letter_after_attempts" in spec:
            spec |= {"dead_letter_after_attempts": 5, "retry_min_seconds": 0, "retry_max_seconds": 0}
        if spec["path"] != "/dead":
            spec["function"] = "refusing"
    with Broker.started() as broker:
        process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
        topology.apply(data, Target(project="local", endpoints={"refusing": refusing, "sweep-calls": sweep}))
        for topic in sorted({spec["topic"] for spec in data["subscriptions"].values() if spec["path"] != "/dead"}):
            pubsub.publish(topic, {"of": topic})
        deadline = time.monotonic() + 40
        while sql("SELECT count(*) FROM rejected_messages") != [(6,)]:
            assert time.monotonic() < deadline, sql("SELECT source, reason FROM rejected_messages")
            time.sleep(0.1)
        kept = sql("SELECT source, reason, raw FROM rejected_messages ORDER BY source")
        pubsub.close()

    names = sorted(name for name in data["subscriptions"] if not name.endswith(".dead"))
    assert [source for source, _, _ in kept] == [f"projects/local/subscriptions/{name}.dead" for name in names]
    for name, (_, reason, raw) in zip(names, kept, strict=True):
        assert reason == f"Given up by {name} after 5 attempts"
        assert json.loads(raw)["message"]["attributes"]["CloudPubSubDeadLetterSourceSubscription"] == name
