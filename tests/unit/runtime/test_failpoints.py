from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import timeit

import pytest

from lib.runtime import failpoints
from lib.runtime.errors import ConfigError

ALLOWED = {"FAILPOINTS_ALLOWED": "yes", "PUBSUB_EMULATOR_HOST": "127.0.0.1:9"}


def run(code, **environment):
    """A process that says `alive` unless a failpoint ends it."""
    command = [sys.executable, "-c", f"from lib.runtime import failpoints\n{code}\nprint('alive')"]
    kept = {name: value for name, value in os.environ.items() if name not in {"FAILPOINTS", *ALLOWED}}
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=30, check=False)


def test_an_armed_failpoint_kills_the_process_and_reports_it():
    ended = run(
        "failpoints.hit('event_inserting'); failpoints.hit('event_committed')",
        FAILPOINTS="event_committed=kill",
        **ALLOWED,
    )

    assert ended.returncode == -signal.SIGKILL
    assert json.loads(ended.stderr)["failpoint"] == "event_committed"


def test_every_third_hit_is_the_third():
    ended = run(
        "for n in range(9): print(n, flush=True); failpoints.hit('delivery_claimed')",
        FAILPOINTS="delivery_claimed=kill:1/3",
        **ALLOWED,
    )

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize(
    "environment",
    [
        {"FAILPOINTS_ALLOWED": "yes"},
        {"PUBSUB_EMULATOR_HOST": "127.0.0.1:9"},
        {"FAILPOINTS_ALLOWED": "1", "PUBSUB_EMULATOR_HOST": "127.0.0.1:9"},
    ],
)
def test_failpoints_are_not_armed_without_permission_or_outside_of_an_emulator(environment):
    ended = run(
        "failpoints.hit('event_committed'); failpoints.soon('event_committed')",
        FAILPOINTS="event_committed=kill",
        **environment,
    )

    assert ended.stdout == "alive\n"
    assert "not obeyed" in ended.stderr


@pytest.mark.parametrize(
    "text",
    [
        "K15=kill",
        "event_committed",
        "event_committed=explode",
        "event_committed=kill:often",
        "event_committed=kill:1/x",
    ],
)
def test_an_impossible_rule_is_refused(text):
    with pytest.raises(ConfigError, match="FAILPOINTS"):
        failpoints.parse(text)


def test_an_unarmed_failpoint_costs_a_call_of_an_empty_function():
    each = (
        min(timeit.repeat("hit('event_committed')", globals={"hit": failpoints.hit}, number=10_000, repeat=5)) / 10_000
    )

    assert failpoints.hit is failpoints.soon
    assert each < 2e-6
