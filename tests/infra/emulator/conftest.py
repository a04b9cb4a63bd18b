"""A real emulator process, the official clients, and endpoints to push to."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import PublisherOptions

ROOT = Path(__file__).parents[3]


def eventually(condition: Callable[[], bool], seconds: float = 40) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.02)


class Emulator:
    """A running `python -m infra.stand_ins.emulator`; start and stop it as a supervisor would."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.address = self.control = ""
        self.start()

    def start(self) -> None:
        """The first time on free ports, then again on the same ones."""
        ports = ["--port", "0"]
        if self.address:
            ports = ["--port", self.address.rpartition(":")[2], "--control-port", self.control.rpartition(":")[2]]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.stand_ins.emulator", *ports, *self._arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        found = re.search(r"gRPC (\S+), control (http://\S+),", self.first_line)
        assert found is not None, self.first_line
        self.address, self.control = found.groups()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def figures(self, subscription: str) -> dict[str, Any]:
        return next(each for each in self.ask("GET", "/state")["subscriptions"] if each["name"] == subscription)

    def wait_for(self, subscription: str, *, seconds: float = 40, **figures: int) -> None:
        """Until these figures of the subscription are reached."""
        eventually(lambda: figures.items() <= self.figures(subscription).items(), seconds)

    @contextmanager
    def clients(self) -> Iterator[tuple[PublisherClient, SubscriberClient]]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PUBSUB_EMULATOR_HOST", self.address)
            publisher = PublisherClient(publisher_options=PublisherOptions(enable_message_ordering=True))
            subscriber = SubscriberClient()
        with subscriber:
            yield publisher, subscriber
        publisher.stop()
        publisher.transport.close()


@dataclass
class Received:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> str:
        return base64.b64decode(self.envelope["message"]["data"]).decode()


@dataclass
class Endpoint:
    """A push endpoint: keeps what it is sent, and answers what `answer` says."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int] = lambda _: 204
    busy: int = 0
    busiest: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, received: Received) -> int:
        with self._changed:
            self.received.append(received)
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
            self._changed.notify_all()
        try:
            return self.answer(received)
        finally:
            with self._changed:
                self.busy -= 1

    def wait_for(self, count: int, seconds: float = 40) -> list[Received]:
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.received) >= count, seconds)
            assert enough, f"{len(self.received)} of {count} arrived"
            return list(self.received)

    def data(self) -> list[str]:
        with self._changed:
            return [received.data for received in self.received]


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 0.5  # ends idle connections, as servers do

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = endpoint.take(Received(time.monotonic(), self.path, headers, body))
            try:
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True  # the emulator stopped waiting

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # five, the default, loses connections of a burst for a second
        block_on_close = False  # handlers end by themselves, with their idle connections

    server = Server(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/push"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as running:
        yield running


@pytest.fixture
def other_endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as running:
        yield running


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    emulator = Emulator("--min-ack-deadline-seconds", "1")
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def shared_clients(shared_emulator: Emulator) -> Iterator[tuple[PublisherClient, SubscriberClient]]:
    with shared_emulator.clients() as clients:
        yield clients


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., Emulator]]:
    """Emulators of one's own, to be killed."""
    started: list[Emulator] = []

    def start(*arguments: str) -> Emulator:
        started.append(Emulator(*arguments))
        return started[-1]

    yield start
    for emulator in started:
        emulator.stop()


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    yield shared_emulator
    shared_emulator.ask("DELETE", "/faults")


@pytest.fixture
def publisher(shared_clients) -> PublisherClient:
    return shared_clients[0]


@pytest.fixture
def subscriber(shared_clients) -> SubscriberClient:
    return shared_clients[1]


@pytest.fixture
def project() -> str:
    """A project of its own for every test: nobody sees another's topics."""
    return f"projects/test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(publisher: PublisherClient, project: str) -> str:
    return str(publisher.create_topic(name=f"{project}/topics/call-events").name)


@pytest.fixture
def subscribe(subscriber: SubscriberClient, topic: str) -> Iterator[Callable[..., str]]:
    """Creates subscriptions to `topic`; they do not outlive the test, so that nothing is pushed to it any more."""
    created: list[str] = []

    def create(name: str = "deliver", **settings: Any) -> str:
        path = f"{topic.partition('/topics/')[0]}/subscriptions/{name}"
        subscriber.create_subscription(request={"name": path, "topic": topic, **settings})
        created.append(path)
        return path

    yield create
    for path in created:
        subscriber.delete_subscription(subscription=path)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually


@pytest.fixture
def publish(publisher: PublisherClient, topic: str) -> Callable[..., list[str]]:
    """Publishes to `topic`, one message for each of `data`; returns their ids once the emulator has them all."""

    def publish(*data: str, key: str = "", **attributes: str) -> list[str]:
        futures = [publisher.publish(topic, each.encode(), ordering_key=key, **attributes) for each in data]
        return [future.result(10) for future in futures]

    return publish


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    topic: str
    pull: Callable[[], list[Any]]


@pytest.fixture
def dead_letters(publisher: PublisherClient, subscriber: SubscriberClient, project: str) -> DeadLetters:
    """A dead-letter topic, and what has come to it within five seconds."""
    topic = str(publisher.create_topic(name=f"{project}/topics/deliver.dead").name)
    name = f"{project}/subscriptions/deliver.dead"
    subscriber.create_subscription(name=name, topic=topic)
    return DeadLetters(
        topic=topic,
        pull=lambda: list(subscriber.pull(subscription=name, max_messages=10, timeout=5).received_messages),
    )
