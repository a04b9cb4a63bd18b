"""`make outage`, short: without a time for comparison, which needs more calls than fit into a test."""

from __future__ import annotations

import pytest

from tests.measure.outage.__main__ import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_a_crm_that_is_away_costs_nothing_and_nobody_else_notices(tmp_path):
    report = run(tmp_path / "stack", seconds=10, control_seconds=0, calls_per_second=3)

    print("\n" + "\n".join(report.lines))
    assert report.broken == []
