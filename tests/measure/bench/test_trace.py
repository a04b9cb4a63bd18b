from __future__ import annotations

import importlib
import json
import operator
import time

import pytest

from tests.measure.bench import stages
from tests.measure.bench.trace import marks
from tests.measure.bench.trace.spans import Spans


def test_a_stage_takes_what_it_took_without_the_stages_inside_it(tmp_path):
    spans = Spans(tmp_path, "ack")
    inner = spans.wrap("store", lambda: time.sleep(0.05))

    def route() -> None:
        time.sleep(0.02)
        inner()

    spans.wrap("route", route)()
    deadline = time.monotonic() + 5
    while not any(file.read_text() for file in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)

    [file] = tmp_path.iterdir()
    [line] = [json.loads(text) for text in file.read_text().splitlines()]
    assert line == {"route": pytest.approx(20, abs=15), "store": pytest.approx(50, abs=15)}


def test_messages_that_told_the_crm_something_are_reported_apart():
    lines = {"deliver": [{"route": 1.0, "HTTP": 2.0}, {"route": 5.0}]}

    found = stages.report(lines, events=2).splitlines()

    assert found[2:] == [
        "| deliver, CRM asked: route | 1 | 1.00 | 1.00 | 0.50 |",
        "| deliver, CRM asked: HTTP | 1 | 2.00 | 2.00 | 1.00 |",
        "| deliver, nothing to tell: route | 1 | 5.00 | 5.00 | 2.50 |",
    ]


def test_what_is_outside_of_a_function_is_its_callers_time_without_its_own():
    lines = {"ack": [{"route": 1.0, "store": 2.0}], "emulator": [{stages.PUSH: 9.0}], "deliver": [{"route": 4.0}]}

    assert stages.report_outside(lines, [5.0]).splitlines()[2:] == [
        "| ack | 5.00 | 3.00 | 2.00 |",
        f"| {stages.PUSH} | 9.00 | 4.00 | 5.00 |",
    ]


@pytest.mark.parametrize("process", sorted(marks.PROCESSES))
def test_the_marks_are_there(process):
    _, wanted = marks.PROCESSES[process]
    for mark in (mark for stage in wanted.values() for mark in stage):
        module, _, path = mark.partition(":")
        assert callable(operator.attrgetter(path)(importlib.import_module(module))), mark
