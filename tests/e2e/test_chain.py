"""Calls through the running system, judged by what the CRM holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from infra.stand_ins import player
from lib.ledger.deliver import LEASE_SECONDS
from tests.harness.outcomes import differences

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SCENARIOS = player.load()
# An outgoing call settles for five seconds; a call that nobody hangs up is over after ninety.
SETTLED_SECONDS = 30.0
FINALIZED_SECONDS = 110.0


judged: dict[str, Mapping[str, Any]] = {}


def judge(crm, number, expected):
    return differences(expected, crm.events(number), crm.rows(number))


def judge_but_times(crm, number, expected):
    """While a part is started again the player is held up, and so are the times of the call."""
    return [wrong for wrong in judge(crm, number, expected) if not wrong.startswith("duration")]


def judge_within(crm, number, expected, seconds):
    deadline = time.monotonic() + seconds
    while (wrong := judge_but_times(crm, number, expected)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong


def test_every_scenario_in_real_time_each_in_an_enterprise_of_its_own(stack, crm, enrol):
    numbers = {scenario_id: f"S{index}" for index, scenario_id in enumerate(SCENARIOS)}
    tokens = {scenario_id: enrol(number) for scenario_id, number in numbers.items()}

    def play(scenario_id):
        return player.play(SCENARIOS[scenario_id], stack.url("gateway"), tokens[scenario_id], pause=stack.pause)

    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        played = dict(zip(SCENARIOS, pool.map(play, SCENARIOS), strict=True))

    assert not [sent for one in played.values() for sent in one.refused]
    deadline = time.monotonic() + FINALIZED_SECONDS
    wrong = {}
    while time.monotonic() < deadline:
        wrong = {
            scenario_id: found
            for scenario_id, one in played.items()
            if (found := judge(crm, numbers[scenario_id], one.scenario.expected))
        }
        if not wrong:
            break
        time.sleep(1)
    assert wrong == {}
    # Nothing more comes afterwards: what settled stays settled.
    time.sleep(8)
    for scenario_id, one in played.items():
        assert judge(crm, numbers[scenario_id], one.scenario.expected) == [], scenario_id
        assert [entry["warnings"] for entry in crm.entries(numbers[scenario_id]) if entry["warnings"]] == []


@pytest.mark.parametrize(
    "part", ["dispatch-call-event", "retailcrm-deliver", "retailcrm-upload", "sweep-calls", "emulator", "postgres"]
)
def test_a_part_that_is_killed_during_a_call_costs_nothing(stack, crm, enrol, part):
    number = f"K-{part}"
    token = enrol(number)
    killed: list[str] = []

    def tell(sent):
        if sent.event.endpoint == "/dial" and not killed:
            killed.append(part)
            time.sleep(1)
            stack.kill(part)
            stack.pause(0.3)
            stack.wait_until_ready(part)

    played = player.play(SCENARIOS["2-1"], stack.url("gateway"), token, pause=stack.pause, tell=tell)

    assert killed == [part]
    assert played.refused == []
    assert judge_within(crm, number, played.scenario.expected, SETTLED_SECONDS) == []
    judged[number] = played.scenario.expected
    with psycopg.connect(stack.database_url) as conn:
        assert conn.execute("SELECT count(*) FROM rejected_messages").fetchone() == (0,)


def test_events_taken_in_while_delivery_is_down_come_out_right(stack, crm, enrol):
    token = enrol("D1")
    scenario = SCENARIOS["2-4-doc"]

    def tell(sent):
        if sent.event.endpoint == "/start":
            stack.kill("retailcrm-deliver")
            stack.kill("emulator")

    played = player.play(scenario, stack.url("gateway"), token, pause=stack.pause, tell=tell)

    row = played.scenario.expected["upload"]
    deadline = time.monotonic() + SETTLED_SECONDS
    while not crm.rows("D1") and time.monotonic() < deadline:
        time.sleep(0.5)
    [found] = crm.rows("D1")
    assert (found["result"], found["externalId"]) == (row["result"], played.scenario.main_unique_id)


def test_nothing_came_twice_after_the_leases_of_the_killed_ran_out(stack, crm):
    time.sleep(LEASE_SECONDS + 3)

    for number, expected in judged.items():
        assert judge_but_times(crm, number, expected) == [], number
