"""The CRM of the bench and the load against it, over real HTTP."""

from __future__ import annotations

import pytest
import requests

from infra.stand_ins.processes import Processes
from tests.measure.bench import crm, telling
from tests.measure.bench.calls import missed
from tests.measure.bench.connection import status_when_complete
from tests.measure.bench.crm_stub import split
from tests.measure.bench.latency import delays_ms, lost
from tests.measure.bench.load import closed_loop, open_loop

BEGIN = 1_767_225_600.0


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crm")
    processes = Processes(str(folder))
    try:
        yield crm.start(processes, folder)
    finally:
        processes.close()


def test_it_keeps_what_it_was_told_and_answers_as_retailcrm_does(stub):
    stub.clear()
    _, dial, hangup = missed(1, BEGIN)
    answers = []
    for path, body in (dial, hangup, hangup):
        request = telling.request_for(path.removeprefix("/"), body)
        answers.append(requests.post(stub.url + request.path, data=request.fields, timeout=5).json())

    told = stub.told()

    assert answers == [{"success": True}, *[{"success": True, "processedCallsCount": 1}] * 2]
    assert list(told.popups) == [dial[1]["Phone"]]
    assert told.rows == {dial[1]["Phone"]: 2}


def test_a_slow_crm_receives_at_once_and_answers_late(stub):
    stub.clear()
    request = telling.request_for("dial", missed(1, BEGIN)[1][1])
    with stub.slow(150):
        answer = requests.post(stub.url + request.path, data=request.fields, timeout=5)

    assert answer.elapsed.total_seconds() > 0.15
    assert stub.told().popups


def test_the_open_loop_posts_each_event_when_it_is_due(stub):
    stub.clear()
    events = [(index * 0.02, event) for index, event in enumerate(missed(1, BEGIN) * 5)]

    outcome = open_loop(stub.url, events)

    assert len(outcome.acknowledged) == 15
    assert outcome.refused == 0
    assert 0.25 < outcome.seconds < 2
    assert {round(due - outcome.began_at, 2) for _, due, _ in outcome.acknowledged} == {
        round(at, 2) for at, _ in events
    }


def test_nobody_who_answers_is_a_refusal():
    assert open_loop("http://127.0.0.1:9", [(0.0, missed(1, BEGIN)[0])]).refused == 1


def test_the_closed_loop_ends_in_time(stub):
    events = iter(missed(1, BEGIN) * 100_000)

    outcome = closed_loop(stub.url, events, concurrency=4, seconds=0.3)

    assert 0.25 < outcome.seconds < 2
    assert outcome.acknowledged


def test_what_was_acknowledged_and_not_told_is_lost(stub):
    stub.clear()
    outcome = open_loop(stub.url, [(0.0, event) for event in missed(1, BEGIN)])

    assert lost(outcome, crm.Told()) == "1 of 1"
    assert lost(outcome, crm.Told(rows={"375290000001": 1})) == "0 of 1"
    assert delays_ms(outcome, {"375290000001": outcome.began_at + 0.5}) == [pytest.approx(500, abs=5)]


def test_requests_are_split_where_they_end():
    first = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"

    assert split(first[:-1]) is None
    assert split(first + b"GET /b") == ("POST", "/a", b"hi", False, b"GET /b")
    assert split(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n") == ("GET", "/b", b"", True, b"")


def test_an_answer_is_complete_with_its_last_byte():
    answer = b"HTTP/1.1 202 ACCEPTED\r\ncontent-length: 2\r\n\r\nok"

    assert status_when_complete(answer[:-1]) is None
    assert status_when_complete(answer) == 202
    assert status_when_complete(b"HTTP/1.1 204 No Content\r\n\r\n") == 204
