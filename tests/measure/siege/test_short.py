"""A siege of a few seconds: that the program sees what it should. The whole of it is `make siege`."""

from __future__ import annotations

import time

import pytest

from tests.measure.siege import guesses, verdict
from tests.measure.siege.attack import Attack, Ground, Tally
from tests.measure.siege.posting import in_batches
from tests.measure.siege.recovery import starts
from tests.measure.siege.siege import besiege

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

# Machines that run tests have other work too; `make siege` is strict.
LATE_SECONDS = 10.0


def few(ground: Ground, tally: Tally) -> None:
    """Calls of another enterprise, while somebody guesses."""
    now = time.time()
    in_batches(starts(40, first_at=now - 3600, last_at=now), ground, tally, origin="download")
    guesses.TOKENS.run(ground, tally)


def test_a_phone_rings_beside_a_small_attack_and_all_that_was_accepted_is_there(tmp_path):
    attack = Attack(name="few", title="a few", run=few, bystanders=1)

    seen = besiege(attack, tmp_path, seconds=3.0, limit=LATE_SECONDS, say=print)

    assert verdict.broken(seen, limit=LATE_SECONDS) == []
    assert len(seen.rings) == 6
    assert seen.peak[1] > 20
    assert (seen.own.offered, seen.own.accepted, seen.own.calls) == (40, 40, 40)
    assert sum(count for status, count in seen.answers.items() if status >= 400) > 100
