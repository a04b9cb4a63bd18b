"""`make function`: one function in a terminal of its own, beside the running stack, or with no stack at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import requests

from infra.stand_ins.parts import Layout
from infra.stand_ins.postgres import free_port
from tests.conftest import VAULT_KEYS
from tests.harness import roles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

EVENT = {"UniqueId": "1758798777.27", "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"}


@contextmanager
def alone(name, *arguments, **environment):
    """The address of the function, from healthy to ended."""
    port = free_port()
    command = [sys.executable, "-m", "infra.stand_ins.function", name, f"--port={port}", *arguments]
    clean = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    running = subprocess.Popen(command, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/health", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.communicate(timeout=20)


def said(*arguments, **environment):
    command = [sys.executable, "-m", "infra.stand_ins.function", *arguments]
    clean = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stderr


def test_beside_the_stack_it_takes_events_in_under_its_own_role(stack, enrol):
    token = enrol("F1")

    with alone("dispatch-call-event", f"--run-dir={stack.layout.run_dir}") as url:
        answer = requests.post(f"{url}/start", json=EVENT, headers={"Token": token}, timeout=10)
        with psycopg.connect(stack.database_url) as conn:
            at_work = conn.execute(
                "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE usename LIKE 'gateway_dispatch%'"
            ).fetchall()
            stored = conn.execute("SELECT unique_id FROM call_events WHERE enterprise_number = 'F1'").fetchall()

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert at_work == [("gateway_dispatch_call_event",)]
    assert stored == [("1758798777.27",)]


@pytest.mark.parametrize("name", Layout(run_dir=Path()).functions())
def test_every_function_starts_without_a_stack(name, database_url):
    environment = {
        "DATABASE_URL": roles.url_of_function(name, database_url),
        "GOOGLE_CLOUD_PROJECT": "local",
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:9",
        "VAULT_KEYS": VAULT_KEYS,
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "ACCOUNT_LINK_SECRET": "a-secret-of-the-tests-with-32-bytes-and-more",
    }

    with alone(name, **environment) as url:
        assert requests.get(f"{url}/health", timeout=10).json()["function"] == name


def test_what_is_missing_is_said_in_a_sentence(tmp_path):
    for arguments, words in (
        ([], "NAME is one of admin-api, assemble-recovered, dispatch-call-event"),
        (["answer-mails"], "There is no function answer-mails"),
        (["make-call", f"--run-dir={tmp_path}"], "start one with `make run`, or set DATABASE_URL"),
    ):
        code, words_said = said(*arguments)
        assert code == 1
        assert words in words_said
        assert "Traceback" not in words_said
