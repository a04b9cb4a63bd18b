"""Whom to call back: who is in the list, who leaves it, and what people say about it."""

from __future__ import annotations

import csv
import io

import pytest

CUSTOMER, OTHER = "+375291111111", "+375292222222"


@pytest.fixture
def call(connected, sql):
    """Writes a call that is over, so many minutes ago; its unique id."""
    count = iter(range(1, 1000))

    def write(minutes, *, customer=CUSTOMER, kind="in", result="no answer", owner=None, is_over=True, number="0367"):
        unique_id = f"1760000000.{next(count)}"
        sql(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, line_id, result, owner_extension,
                               started_at, first_event_at, last_event_at, over_at)
            SELECT %s, %s, %s, %s, '0001301', %s, %s, at, at, at, CASE WHEN %s THEN at + interval '20 seconds' END
            FROM (VALUES (clock_timestamp() - make_interval(mins => %s))) AS began (at) RETURNING 1
            """,
            number,
            unique_id,
            kind,
            customer,
            result,
            owner,
            is_over,
            minutes,
        )
        return unique_id

    return write


@pytest.fixture
def listed(connected):
    def ask(**query):
        answer = connected.get("callbacks/0367", **query)
        assert answer.status_code == 200, answer.json
        return answer.json

    return ask


def customers(page):
    return [row["customer"] for row in page["callbacks"]]


def test_a_customer_who_called_in_vain_is_listed_once_with_all_of_their_calls(call, listed):
    call(50)
    last = call(10, owner="150")

    [row] = listed()["callbacks"]

    assert (row["customer"], row["calls"], row["unique_id"]) == (CUSTOMER, 2, last)
    assert row["first_at"] < row["last_at"]
    assert (row["tries"], row["last_try_at"], row["state"]) == (0, None, None)
    assert (row["owner_extension"], row["owner_name"]) == ("150", "Anna")


@pytest.mark.parametrize("kind", ["in", "out"])
def test_a_talk_afterwards_takes_them_off_the_list(call, listed, kind):
    call(30)
    call(20, customer=OTHER)

    call(10, kind=kind, result="answered", owner="151")

    assert customers(listed()) == [OTHER]


def test_a_talk_before_does_not_and_tells_whose_customer_it_is(call, listed):
    call(60, result="answered", owner="151")
    call(30, owner="150")

    [row] = listed()["callbacks"]

    assert (row["calls"], row["owner_extension"]) == (1, "151")


def test_what_nobody_can_be_called_back_for_is_not_listed(call, listed):
    call(10, customer=None)
    call(10, is_over=False)
    call(10, kind="out")
    call(10, kind="internal")
    call(10, number="0368")
    call(15 * 24 * 60)

    assert listed()["callbacks"] == []


def test_tries_are_our_calls_since_the_first_in_vain(call, listed):
    call(90, kind="out")
    call(60)
    call(50, kind="out")
    call(40)
    call(30, kind="out")

    [row] = listed()["callbacks"]

    assert row["tries"] == 2
    assert row["last_try_at"] > row["last_at"]


def test_somebody_takes_a_customer_and_gives_them_back(call, connected, listed):
    unique_id = call(10)

    assert (
        connected.post("callbacks/0367", {"unique_id": unique_id, "state": "taken", "note": " завтра "}).status_code
        == 200
    )
    [row] = listed()["callbacks"]
    assert (row["state"], row["said_by"], row["note"]) == ("taken", "admin", "завтра")

    connected.post("callbacks/0367", {"unique_id": unique_id, "state": "open"})
    [row] = listed()["callbacks"]
    assert (row["state"], row["said_by"], row["note"]) == (None, None, None)


def test_who_is_closed_is_back_after_the_next_call_in_vain(call, connected, listed, sql):
    unique_id = call(10)
    connected.post("callbacks/0367", {"unique_id": unique_id, "state": "closed", "note": "ошиблись номером"})
    assert listed()["callbacks"] == []

    sql("UPDATE callbacks SET said_at = said_at - interval '7 minutes' RETURNING 1")
    call(5)

    [row] = listed()["callbacks"]
    assert row["calls"] == 2


def test_what_was_said_is_in_the_log(call, connected):
    connected.post("callbacks/0367", {"unique_id": call(10), "state": "closed", "note": "спам"})

    [entry] = connected.get("logs/0367", event_type="callback").json["logs"]
    assert entry["request_data"] == {"by": "admin", "phone": CUSTOMER, "state": "closed", "note": "спам"}


@pytest.mark.parametrize("unique_id", ["1760000000.999", "hidden"])
def test_about_nobody_nothing_can_be_said(call, connected, unique_id, sql):
    hidden = call(10, customer=None)

    answer = connected.post(
        "callbacks/0367", {"unique_id": hidden if unique_id == "hidden" else unique_id, "state": "closed"}
    )

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_call")
    assert sql("SELECT count(*) FROM callbacks") == [(0,)]


def test_they_are_counted_by_manager_and_found_by_manager(call, listed):
    call(40, owner="150")
    call(30, customer=OTHER, owner="150")
    call(20, customer="+375293333333")

    owners = [(owner["owner_extension"], owner["owner_name"], owner["customers"]) for owner in listed()["owners"]]

    assert owners == [("150", "Anna", 2), (None, None, 1)]
    assert customers(listed(extension="150")) == [OTHER, CUSTOMER]
    assert customers(listed(extension="nobody")) == ["+375293333333"]


def test_pages_follow_each_other(call, listed):
    for n in range(5):
        call(10 * n + 10, customer=f"+37529111111{n}")

    first = listed(limit="2")
    second = listed(limit="2", after=first["next"])
    third = listed(limit="2", after=second["next"])

    assert customers(first) + customers(second) + customers(third) == [f"+37529111111{n}" for n in range(5)]
    assert third["next"] is None


def test_the_list_is_taken_along(call, connected):
    call(10, owner="150")

    answer = connected.get("callbacks/0367", format="csv")

    [row] = csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff")), delimiter=";")
    assert (row["Номер клиента"], row["Звонков"], row["Ответственный"]) == ("375 29 111-11-11", "1", "Anna")
