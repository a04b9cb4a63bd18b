"""The streams of the fuzz run through the intake function, on PostgreSQL; for longer: `make fuzz MINUTES=10`."""

from __future__ import annotations

import psycopg
import pytest

from tests.measure.fuzz.case import draw
from tests.measure.fuzz.intake import Intake

SEED = 2
CASES = 16


@pytest.fixture
def intake(function, provisioned, broker, process, database_url):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    provisioned()
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Intake(client=function("dispatch-call-event"), conn=conn)


def test_every_event_of_a_spoiled_call_is_taken_and_stored_as_it_is_read(intake):
    cases = [draw(SEED, number) for number in range(CASES)]

    found = [(case.number, finding) for case in cases for finding in intake.findings(case)]

    assert found == []
    assert sum(len(case.stream) for case in cases) > 5 * CASES
