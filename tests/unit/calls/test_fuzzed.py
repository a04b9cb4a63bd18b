"""Recorded calls as hosts spoil them; for longer, and through intake too: `make fuzz MINUTES=10`."""

from __future__ import annotations

from tests.measure.fuzz.report import summary
from tests.measure.fuzz.runs import attempt

SEED = 1
CASES = 800


def test_whatever_hosts_do_to_a_call_it_has_one_truthful_row_or_a_reason():
    tried = attempt(SEED, range(CASES))

    assert not tried.first, summary(SEED, tried.kinds, tried.first, tried.unblamed)
    assert tried.cases == CASES
