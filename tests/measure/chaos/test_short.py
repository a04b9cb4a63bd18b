"""The chaos run, short enough for every change; the long one is `make chaos DURATION=1800`."""

from __future__ import annotations

import pytest

from tests.measure.chaos.__main__ import run
from tests.measure.chaos.trouble import BROKER_AWAY, DATABASE_AWAY, WOKEN

NEEDED = (DATABASE_AWAY, BROKER_AWAY, WOKEN)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]


def test_a_minute_of_kills_stops_and_faults_loses_doubles_and_delays_nothing(tmp_path):
    outcome = run(tmp_path, seconds=40, seed=1, hosts=6, drain_seconds=240, needed=NEEDED)

    assert outcome.ok, outcome.report
    assert all(outcome.injections[fault] for fault in NEEDED), outcome.report
    assert outcome.kills >= 30, outcome.report
    assert outcome.verdict.acknowledged > 100, outcome.report
    assert outcome.verdict.rows > 30, outcome.report
