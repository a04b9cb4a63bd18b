"""Recorded calls as hosts spoil them; for longer, and through intake too: `make fuzz MINUTES=10`."""

from __future__ import annotations

from tests.measure.fuzz.case import draw
from tests.measure.fuzz.report import summary
from tests.measure.fuzz.runs import attempt

SEED = 1
CASES = 800
# The rules do not hold these yet: taken out as they come to.
NOT_YET = {
    *("names", "encodings", "numbers", "lists", "types", "keys", "recordings", "garbage", "lines_as_numbers"),
    *("founding_form", "technologies", "second_devices", "own_numbers", "utc", "hour_off", "nineteen_seventy"),
    "again",
}


def held(number: int) -> bool:
    case = draw(SEED, number)
    spoiled = {one.name for one in case.spoilings} | {"again" for part in case.parts if part.again}
    return not spoiled & NOT_YET


def test_whatever_hosts_do_to_a_call_it_has_one_truthful_row_or_a_reason():
    tried = attempt(SEED, filter(held, range(CASES)))

    assert not tried.first, summary(SEED, tried.kinds, tried.first, tried.unblamed)
    assert tried.cases > CASES / 10
