"""The emulator as a process: how it starts, refuses to start, and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest
from google.api_core import exceptions
from google.cloud.pubsub_v1.types import StreamingPullRequest


def test_it_says_that_it_is_for_development_only(start_emulator):
    emulator = start_emulator()

    assert "development only" in emulator.first_line
    assert emulator.first_line.count("\n") == 1


@pytest.mark.parametrize("taken", ["--port", "--control-port"])
def test_a_port_in_use_is_one_clear_sentence(taken):
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        other = "--control-port" if taken == "--port" else "--port"

        failed = subprocess.run(
            [sys.executable, "-m", "infra.stand_ins.emulator", taken, port, other, "0"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    assert failed.returncode == 1
    assert (
        failed.stderr
        == f"The Pub/Sub emulator cannot start: 127.0.0.1:{port} cannot be used: Address already in use.\n"
    )
    assert failed.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_it_is_doing(start_emulator, endpoint, number, capfd):
    emulator = start_emulator()
    over = threading.Event()

    def hang(_):
        over.wait(30)
        return 204

    endpoint.answer = hang
    with emulator.clients() as (publisher, subscriber):
        topic = publisher.create_topic(name="projects/demo/topics/call-events").name
        pull, push = "projects/demo/subscriptions/pull", "projects/demo/subscriptions/push"
        subscriber.create_subscription(name=pull, topic=topic)
        subscriber.create_subscription(
            request={"name": push, "topic": topic, "push_config": {"push_endpoint": endpoint.url}}
        )

        def requests():
            yield StreamingPullRequest(subscription=pull, stream_ack_deadline_seconds=10)
            over.wait(30)

        responses = subscriber.streaming_pull(requests=requests())
        publisher.publish(topic, b"one").result(5)
        endpoint.wait_for(1)
        assert next(iter(responses)).received_messages[0].message.data == b"one"

        emulator.process.send_signal(number)
        code = emulator.process.wait(10)
        over.set()
        with pytest.raises(exceptions.GoogleAPICallError):
            next(iter(responses))

    assert code == 0
    assert capfd.readouterr().err == ""
