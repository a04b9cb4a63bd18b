"""What log lines and messages carry of the request that they belong to."""

from __future__ import annotations

import json
import logging
import re
from contextvars import Context

import pytest

from lib.runtime import log_context, pubsub
from lib.runtime.logs import JsonFormatter

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def line(**extra):
    record = logging.makeLogRecord({"name": "lib", "msg": "said", "levelname": "INFO", **extra})
    return json.loads(JsonFormatter(function="make-call", project="local").format(record))


def test_a_line_says_which_function_event_and_trace_it_is_of():
    with log_context.request(TRACEPARENT):
        log_context.bind(enterprise="0367", unique_id="1760000000.1", event_id="e", message_id="12345678901234567")
        said = line()

    assert (said["function"], said["enterprise"], said["unique_id"]) == ("make-call", "0367", "1760000000.1")
    assert (said["event_id"], said["message_id"]) == ("e", "12345678901234567")
    assert said["logging.googleapis.com/trace"] == f"projects/local/traces/{TRACE}"


def test_ids_that_are_long_numbers_stay_and_phones_in_ids_of_hosts_do_not():
    with log_context.request(""):
        log_context.bind(message_id="1234567890123456", unique_id="+375291111111")
        said = line()

    assert said["message_id"] == "1234567890123456"
    assert said["unique_id"] == "+3752••••1111"


def test_what_the_line_says_itself_wins():
    with log_context.request(""):
        log_context.bind(enterprise="0367")
        assert line(enterprise="0368")["enterprise"] == "0368"


@pytest.mark.parametrize(
    "given",
    ["", "nonsense", f"01-{TRACE}-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01", TRACEPARENT.upper()],
)
def test_a_request_without_a_trace_that_can_be_read_gets_one_of_its_own(given):
    with log_context.request(given):
        first = log_context.trace_id()
    with log_context.request(given):
        second = log_context.trace_id()

    assert re.fullmatch("[0-9a-f]{32}", str(first))
    assert first != second
    assert first != TRACE


def test_nothing_of_a_request_is_left_behind_it():
    def one_request():
        with log_context.request(TRACEPARENT):
            log_context.bind(enterprise="0367")
        return log_context.trace_id(), line(), dict(pubsub.message({}).attributes)

    trace, written, attributes = Context().run(one_request)  # other tests bind outside of any request

    assert (trace, attributes) == (None, {})
    assert "enterprise" not in written


def test_a_message_carries_the_trace_and_whoever_gets_it_follows():
    with log_context.request(TRACEPARENT):
        sent = pubsub.message({}, origin="sweep")
    with log_context.request(""):
        log_context.follow(sent.attributes["traceparent"])
        followed = log_context.trace_id()
        log_context.follow("nonsense")

        assert log_context.trace_id() == followed == TRACE
    assert sent.attributes["origin"] == "sweep"
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", sent.attributes["traceparent"])


def test_a_list_grows_without_repeats_and_has_an_end():
    with log_context.request(""):
        log_context.add("calls", ["1.1", "1.2"])
        log_context.add("calls", ["1.2", "1.3"])
        assert line()["calls"] == ["1.1", "1.2", "1.3"]
        log_context.add("calls", [f"2.{index}" for index in range(1000)])
        assert len(line()["calls"]) == log_context.IDS_AT_MOST
