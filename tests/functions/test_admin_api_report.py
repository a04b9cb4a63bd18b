"""The report of a day, a week or a month."""

from __future__ import annotations

import csv
import io

import pytest
from psycopg.types.json import Jsonb


@pytest.fixture
def call(connected, sql):
    """Writes a call that is over and began then, with its history row if somebody talked."""
    count = iter(range(1, 1000))

    def write(began, *, kind="in", result="no answer", owner=None, talk=None, waited=None, number="0367"):
        [(call_id,)] = sql(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, owner_extension, started_at,
                               first_event_at, last_event_at, over_at)
            SELECT %s, %s, %s, '+375291111111', %s, %s, at, at, at, at FROM (VALUES (%s::timestamptz)) AS began (at)
            RETURNING id
            """,
            number,
            f"17600{next(count)}.1",
            kind,
            result,
            owner,
            began,
        )
        if talk is not None:
            sql(
                """
                INSERT INTO deliveries (enterprise_number, call_id, crm, effect, external_id, content, state)
                VALUES (%s, %s, 'retailcrm', 'upload', %s, %s, 'delivered')
                RETURNING 1
                """,
                number,
                call_id,
                f"row {call_id}",
                Jsonb({"duration": talk, "waiting": waited}),
            )

    return write


@pytest.fixture
def report(connected):
    def ask(**query):
        answer = connected.get("report/0367", **query)
        assert answer.status_code == 200, answer.json
        return answer.json

    return ask


def test_a_day_is_counted_by_hour_of_the_enterprise_and_by_manager(call, report):
    call("2026-01-14T22:30:00+03:00", result="answered", owner="150", talk=10, waited=1)  # the day before
    call("2026-01-15T00:00:00+03:00")
    call("2026-01-15T09:10:00+03:00", result="answered", owner="150", talk=60, waited=4)
    call("2026-01-15T09:50:00+03:00", result="answered", owner="151", talk=30, waited=8)
    call("2026-01-15T09:55:00+03:00", kind="out", owner="150")
    call("2026-01-15T23:59:59+03:00", kind="out", result="answered", owner="150", talk=5)
    call("2026-01-15T10:00:00+03:00", kind="internal")
    call("2026-01-16T00:00:00+03:00")
    call("2026-01-15T10:00:00+03:00", number="0368")

    day = report(date="2026-01-15")

    assert (day["since"], day["until"], day["step"]) == ("2026-01-15", "2026-01-16", "hour")
    assert day["total"] == {
        "incoming": 3,
        "answered": 2,
        "missed": 1,
        "outgoing": 2,
        "reached": 1,
        "talk_seconds": 95,
        "wait_seconds": 6.0,
    }
    assert [(part["at"][11:13], part["incoming"], part["outgoing"]) for part in day["parts"]] == [
        ("00", 1, 0),
        ("09", 2, 1),
        ("23", 0, 1),
    ]
    assert [(owner["owner_extension"], owner["owner_name"], owner["talk_seconds"]) for owner in day["owners"]] == [
        ("150", "Anna", 65),
        ("151", "Boris", 30),
        (None, None, 0),
    ]


def test_a_day_stands_beside_the_same_weekday_before(call, report):
    call("2026-01-08T12:00:00+03:00")
    call("2026-01-09T12:00:00+03:00")
    call("2026-01-15T12:00:00+03:00", result="answered", owner="150", talk=1, waited=1)

    day = report(date="2026-01-15")

    assert day["before"]["since"] == "2026-01-08"
    assert (day["total"]["missed"], day["before"]["total"]["missed"]) == (0, 1)


@pytest.mark.parametrize(
    ("span", "period", "before"),
    [
        ("week", ("2026-01-12", "2026-01-19"), ("2026-01-05", "2026-01-12")),
        ("month", ("2026-01-01", "2026-02-01"), ("2025-12-01", "2026-01-01")),
    ],
)
def test_weeks_and_months_are_counted_by_day(call, report, span, period, before):
    call("2026-01-15T23:30:00+03:00")
    call("2026-01-16T00:30:00+03:00")

    found = report(span=span, date="2026-01-15")

    assert (found["since"], found["until"]) == period
    assert (found["before"]["since"], found["before"]["until"]) == before
    assert [part["at"] for part in found["parts"]] == ["2026-01-15T00:00:00", "2026-01-16T00:00:00"]


def test_without_a_date_it_is_today_and_nothing_happened_yet(report):
    today = report()

    assert today["since"] == today["today"]
    assert today["total"]["incoming"] == 0
    assert (today["parts"], today["owners"], today["total"]["wait_seconds"]) == ([], [], None)


def test_a_day_that_is_none_is_refused_at_its_field(connected):
    answer = connected.get("report/0367", date="2026-02-30")

    assert answer.status_code == 400
    assert answer.json["error"]["fields"]["date"]["message"] == "is no day of the calendar"


def test_the_managers_are_taken_along(call, connected):
    call("2026-01-15T09:10:00+03:00", result="answered", owner="150", talk=60, waited=4)

    answer = connected.get("report/0367", date="2026-01-15", format="csv", language="en")

    [row] = csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff")))
    assert (row["Owner"], row["Answered"], row["Talk, s"]) == ("Anna", "1", "60")
