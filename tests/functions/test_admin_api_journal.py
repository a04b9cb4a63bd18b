from __future__ import annotations

import csv
import io
import json

import pytest

from lib.admin import exports
from lib.admin.exported_words import HEADS, VALUES
from lib.admin.screens import callbacks as callbacks_screen
from lib.admin.screens import calls as calls_screen
from lib.admin.screens import logs as logs_screen
from lib.admin.screens import report as report_screen
from tests.conftest import OPERATOR_TOKEN
from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.page import API

CUSTOMER = "375291111111"
BEARER = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@pytest.fixture
def crm(fresh_crm):
    fresh_crm.forget("0367")
    fresh_crm.account("0367", behaviour={"other_per_second": 0})
    return fresh_crm


@pytest.fixture
def connected(crm, commands, page, provisioned):
    provisioned(domain=crm.url)
    return page


@pytest.fixture
def gateway(connected, function, sql):
    return Gateway(function, sql)


@pytest.fixture
def missed(gateway):
    """A call that 150 and an unmapped number missed; its id."""
    gateway.ring(["150", "109"])
    gateway.missed()
    return gateway.unique_id


@pytest.fixture
def many(connected, sql):
    """Seven calls of seven customers, a minute apart, two of them at the same moment."""
    for minute, last in ((1, 1), (2, 2), (3, 3), (3, 4), (4, 5), (5, 6), (6, 7)):
        sql(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, owner_extension, started_at,
                               first_event_at, last_event_at, decisions)
            SELECT '0367', %s, CASE WHEN %s %% 2 = 0 THEN 'out' ELSE 'in' END, '+37529111111' || %s, 'answered', '150',
                   at, at, at, '[]'
            FROM (VALUES (timestamptz '2026-01-01T10:00:00Z' + %s * interval '1 minute')) AS t (at) RETURNING 1
            """,
            f"17{last}.1",
            last,
            last,
            minute,
        )
    return connected


def ids(answer):
    return [call["unique_id"] for call in answer.json["calls"]]


def fields(answer):
    assert answer.status_code == 400
    return {name: problem["message"] for name, problem in answer.json["error"]["fields"].items()}


def test_a_call_is_listed_with_its_outcome(connected, missed):
    [call] = connected.get("calls/0367").json["calls"]

    assert (call["unique_id"], call["kind"], call["customer"]) == (missed, "in", f"+{CUSTOMER}")
    assert (call["result"], call["owner_extension"]) == ("no answer", "150")
    assert [(item["effect"], item["state"]) for item in call["deliveries"]] == [
        ("popup", "delivered"),
        ("hangup", "delivered"),
        ("upload", "delivered"),
    ]
    assert "no_mapping" in call["reasons"]


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ({"phone": "29 111-11-11"}, True),
        ({"phone": "+375291111111"}, True),
        ({"phone": "8 (029) 111-11-11"}, True),
        ({"phone": "tel:+375291111111;ext=101"}, True),
        ({"phone": '"Иван Петров, отдел закупок" <sip:+375291111111@10.0.0.5>'}, True),
        ({"phone": "1111"}, True),
        ({"phone": "2222222"}, False),
        ({"phone": "+79291111111"}, False),
        ({"extension": "150"}, True),
        ({"extension": "151"}, False),
        ({"manager": "18"}, True),
        ({"manager": "19"}, False),
        ({"manager": "999"}, False),
        ({"kind": "in"}, True),
        ({"kind": "out"}, False),
        ({"result": "no answer"}, True),
        ({"result": "answered"}, False),
        ({"reason": "no_mapping"}, True),
        ({"reason": "internal"}, False),
        ({"state": "delivered"}, True),
        ({"state": "failed"}, False),
        ({"since": "2020-01-01T00:00:00Z"}, True),
        ({"until": "2020-01-01T00:00:00Z"}, False),
        ({"phone": "291111111", "kind": "in", "manager": "18", "reason": "no_mapping"}, True),
    ],
)
def test_calls_are_found_by(connected, missed, query, is_found):
    assert bool(connected.get("calls/0367", **query).json["calls"]) is is_found


def test_pages_follow_each_other_without_gaps_and_repeats(many):
    answer = many.get("calls/0367", limit="2")
    found = ids(answer)
    while answer.json["next"]:
        answer = many.get("calls/0367", limit="2", after=answer.json["next"])
        found += ids(answer)

    assert found == ["177.1", "176.1", "175.1", "174.1", "173.1", "172.1", "171.1"]


def test_a_filter_goes_on_over_pages(many):
    first = many.get("calls/0367", limit="2", kind="out")
    second = many.get("calls/0367", limit="2", kind="out", after=first.json["next"])

    assert (ids(first), ids(second)) == (["176.1", "174.1"], ["172.1"])
    assert second.json["next"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"after": "x"}, "after"),
        ({"after": "MjAyNi0wMS0wMVQwMDowMDowMCAx"}, "after"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-31T00:00:00Z"}, "since"),
        ({"kind": "sideways"}, "kind"),
        ({"colour": "red"}, "colour"),
        ({"manager": "x"}, "manager"),
        ({"phone": "somebody"}, "phone"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(connected, query, field):
    assert field in fields(connected.get("calls/0367", **query))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T10:03:00Z"])
def test_a_time_at_the_edge_of_the_calendar_is_a_time(many, moment):
    since, until = many.get("calls/0367", since=moment), many.get("calls/0367", until=moment)

    assert len(ids(since)) + len(ids(until)) == 7


def test_a_call_at_which_nobody_will_look_again_is_over_and_its_result_unknown(many, sql):
    sql("UPDATE calls SET last_event_at = now(), result = 'no answer', due_at = NULL RETURNING 1")
    goes_on = many.get("calls/0367").json["calls"][0]
    sql("UPDATE calls SET last_event_at = now() - interval '5 hours' RETURNING 1")
    is_left = many.get("calls/0367").json["calls"][0]
    sql("UPDATE calls SET due_at = now() RETURNING 1")
    is_due = many.get("calls/0367").json["calls"][0]

    assert [(call["is_over"], call["result"]) for call in (goes_on, is_left, is_due)] == [
        (False, None),
        (True, None),
        (False, None),
    ]
    assert [call["upload"]["state"] for call in (goes_on, is_left, is_due)] == ["open", "none", "open"]
    assert many.get("calls/0367", result="no answer").json["calls"] == []


def test_a_list_can_be_had_as_a_file(many, sql):
    sql("UPDATE calls SET line_id = '=1+1' WHERE main_unique_id = '177.1' RETURNING 1")

    answer = many.get("calls/0367", format="csv")

    assert answer.mimetype == "text/csv"
    assert answer.text.startswith("\ufeff")
    [header, first, *others] = csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";")
    assert header[:4] == ["Начало", "Код звонка", "Направление", "Номер клиента"]
    assert first[:5] == ["01.01.2026 13:06:00", "177.1", "Входящий", "375 29 111-11-17", "'=1+1"]
    assert len(others) == 6


def test_a_file_is_in_the_language_of_the_page(many):
    text = many.get("calls/0367", format="csv", language="en").text.removeprefix("\ufeff")

    [header, first, *_] = csv.reader(io.StringIO(text))
    assert header[:3] == ["Started", "Call ID", "Direction"]
    assert first[:3] == ["2026-01-01 13:06:00", "177.1", "Incoming"]
    assert first[6] == "Answered"


def test_a_file_has_all_rows_however_many_pages_they_are(many, monkeypatch):
    monkeypatch.setattr(exports, "_ROWS_AT_ONCE", 2)

    rows = list(csv.reader(io.StringIO(many.get("calls/0367", format="csv").text), delimiter=";"))

    assert [row[1] for row in rows[1:]] == [f"17{last}.1" for last in (7, 6, 5, 4, 3, 2, 1)]


@pytest.mark.parametrize(
    ("language", "said"), [("ru", "Здесь 4 последних строк, не все"), ("en", "the latest 4 rows, not all")]
)
def test_a_file_says_what_it_leaves_out(many, monkeypatch, language, said):
    monkeypatch.setattr(exports, "MOST_ROWS", 4)

    *rows, last = many.get("calls/0367", format="csv", language=language).text.splitlines()

    assert len(rows) == 1 + 4
    assert said in last
    assert {"ru": "01.01.2026 13:03:00", "en": "2026-01-01 13:03:00"}[language] in last


def test_every_column_and_value_of_a_file_has_words(connected):
    for words in (HEADS, VALUES):
        assert set(words["ru"]) == set(words["en"])
    for column, known in VALUES["ru"].items():
        assert set(known) == set(VALUES["en"][column])
    assert {*calls_screen._COLUMNS, *logs_screen._COLUMNS, *callbacks_screen._COLUMNS, *report_screen._COLUMNS} <= set(
        HEADS["ru"]
    )


def test_a_call_tells_its_whole_story(connected, missed):
    answer = connected.get(f"calls/0367/{missed}")

    assert [event["event_type"] for event in answer.json["timeline"]] == ["start", "dial", "hangup"]
    assert [row["effect"] for row in answer.json["told"]] == ["popup", "hangup", "upload"]
    assert answer.json["told"][0]["attempts"][0]["http_status"] == 200
    assert [row["is_replayable"] for row in answer.json["told"]] == [False, False, False]
    assert [row["managers"] for row in answer.json["told"]] == [
        [{"extension": "150", "name": "Anna", "user_id": 18}]
    ] * 3
    assert [(lane["number"], lane["role"], lane["name"]) for lane in answer.json["lanes"]] == [
        (f"+{CUSTOMER}", "customer", None),
        ("150", "extension", "Anna"),
        ("109", "extension", None),
    ]
    assert "key-of" not in answer.text


def test_a_call_that_is_not_there(connected):
    for answer in (connected.get("calls/0367/1.1"), connected.post("calls/0367/1.1/replay")):
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_call")


def test_a_row_that_failed_is_sent_again_and_it_is_known_who_wanted_it(connected, gateway, crm, sql):
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=1)
    gateway.ring(["150"])
    gateway.missed()
    before = connected.get(f"calls/0367/{gateway.unique_id}").json["told"]

    asked = connected.post(f"calls/0367/{gateway.unique_id}/replay")
    gateway.wake()

    assert [(item["effect"], item["state"], item["is_replayable"]) for item in before][-1] == ("upload", "failed", True)
    assert asked.status_code == 202
    after = connected.get(f"calls/0367/{gateway.unique_id}").json["told"]
    assert (after[-1]["state"], after[-1]["generation"], after[-1]["requested_by"]) == ("delivered", 1, "admin")
    assert [item["is_replayable"] for item in after] == [False] * 4
    assert len(crm.rows("0367")) == 1
    [(request,)] = sql("SELECT request_data FROM integration_logs WHERE event_type = 'replay'")
    assert request == {"by": "admin", "unique_id": gateway.unique_id, "deliveries": asked.json["deliveries"]}


def test_of_a_row_that_was_sent_again_the_last_generation_counts_everywhere(connected, gateway, crm):
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=1)
    gateway.ring(["150"])
    gateway.missed()
    assert connected.get("stats/0367").json["today"]["history"] == {"delivered": 0, "waiting": 0, "failed": 1}
    assert len(connected.get("calls/0367", state="failed").json["calls"]) == 1

    connected.post(f"calls/0367/{gateway.unique_id}/replay")
    gateway.wake()

    stats = connected.get("stats/0367").json
    assert stats["today"]["history"] == {"delivered": 1, "waiting": 0, "failed": 0}
    assert connected.get("calls/0367", state="failed").json["calls"] == []
    assert connected.get("calls/0367", reason="permanent").json["calls"] == []
    [call] = connected.get("calls/0367", state="delivered").json["calls"]
    assert [row["state"] for row in call["deliveries"] if row["effect"] == "upload"] == ["delivered"]
    assert "permanent" not in call["reasons"]
    told = connected.get(f"calls/0367/{gateway.unique_id}").json["told"]
    assert [row["is_latest"] for row in told if row["effect"] == "upload"] == [False, True]


def test_who_clicked_is_named_in_the_log(connected, sql):
    for user in ("18", "999"):
        sql(
            "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, status) "
            "VALUES ('0367', 'retailcrm', 'make_call', %s, 'error') RETURNING 1",
            json.dumps({"phone": "+375291111111", "userId": user}),
        )

    assert connected.get("logs/0367").json["managers"] == {"18": "Anna"}


def test_a_replay_sets_the_timer_of_the_rows_so_that_no_lost_message_loses_it(connected, missed, sql):
    sql("UPDATE deliveries SET state = 'failed', reason = 'permanent' WHERE effect = 'upload' RETURNING 1")
    sql("UPDATE row_timers SET wake_at = NULL RETURNING 1")

    connected.post(f"calls/0367/{missed}/replay")

    assert sql("SELECT wake_at <= clock_timestamp() FROM row_timers") == [(True,)]


def test_delivered_rows_and_pop_ups_are_not_sent_again(connected, missed, sql):
    [(popup,)] = sql("UPDATE deliveries SET state = 'expired', reason = 'expired' WHERE effect = 'popup' RETURNING id")

    everything = connected.post(f"calls/0367/{missed}/replay")
    one = connected.post(f"calls/0367/{missed}/replay", {"delivery_id": popup})
    nothing = connected.post(f"calls/0367/{missed}/replay", {"delivery_id": popup + 1000})

    assert (everything.status_code, everything.json["error"]["code"]) == (409, "not_replayable")
    assert (one.status_code, one.json["error"]["code"]) == (409, "not_replayable")
    assert (nothing.status_code, nothing.json["error"]["code"]) == (404, "unknown_delivery")


def test_the_log_shows_exchanges_and_what_administrators_did(connected, missed):
    connected.post("save-extensions/0367", {"user_extensions": {"18": None}})

    logs = connected.get("logs/0367").json["logs"]

    assert [log["event_type"] for log in logs] == ["mapping", "upload", "hangup", "popup"]
    assert connected.get("logs/0367", event_type="popup").json["logs"][0]["request_data"]["event"]["codes"] == ["150"]
    assert connected.get("logs/0367", status="error").json == {"logs": [], "managers": {}, "next": None}


def test_the_log_has_pages_and_a_file(connected, missed):
    first = connected.get("logs/0367", limit="2")
    second = connected.get("logs/0367", limit="2", after=first.json["next"])
    file = connected.get("logs/0367", format="csv")

    assert [log["event_type"] for log in first.json["logs"] + second.json["logs"]] == ["upload", "hangup", "popup"]
    rows = list(csv.reader(io.StringIO(file.text), delimiter=";"))
    assert [row[1] for row in rows] == ["Что произошло", "Запись в истории", "Закрытие карточки", "Карточка клиента"]


def test_the_overview_counts_today(connected, missed):
    shown = connected.get("stats/0367").json

    assert shown["today"]["calls"] == {"in": 1}
    assert {(item["effect"], item["state"], item["count"]) for item in shown["today"]["deliveries"]} == {
        ("popup", "delivered", 1),
        ("hangup", "delivered", 1),
        ("upload", "delivered", 1),
    }
    assert shown["today"]["popups"] == shown["today"]["history"] == {"delivered": 1, "waiting": 0, "failed": 0}
    assert len(shown["delays"]) in {12, 13}
    [step] = [step for step in shown["delays"] if step["count"]]
    assert (step["count"], 0 < step["p50_ms"] == step["worst_ms"] < 30_000) == (1, True)
    assert {step["worst_ms"] for step in shown["delays"] if not step["count"]} <= {None}
    assert shown["last_event_at"]
    assert shown["connection"]["state"] == "connected"


def test_the_overview_names_what_needs_attention(connected, gateway, crm, sql):
    connected.post("register/0367")
    sql("UPDATE module_commands SET state = 'failed', message = 'No funds' RETURNING 1")
    sql("INSERT INTO host_clocks (enterprise_number, lag_seconds) VALUES ('0367', 400) RETURNING 1")
    crm.account("0367", api_key="another", behaviour={"other_per_second": 0}, additional_codes=[])
    gateway.ring(["150"])
    sql(
        "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data, status, created_at) "
        "VALUES ('0367', 'retailcrm', 'popup', '{}', %s, 'success', clock_timestamp() - interval '1 minute') RETURNING 1",
        json.dumps({"body": {"notExistCodes": ["151"]}}),
    )

    attention = {item["code"]: item for item in connected.get("stats/0367").json["attention"]}

    assert [*attention] == ["key_refused", "command_failed", "unknown_to_crm", "clock_wrong"]
    assert attention["command_failed"]["action"] == {"kind": "register"}
    assert attention["unknown_to_crm"]["action"] == {"kind": "sync"}
    assert attention["key_refused"]["message"] == 'RetailCRM refuses the API key: Wrong "apiKey" value.'
    assert attention["command_failed"]["message"] == "No funds"
    assert attention["unknown_to_crm"]["value"] == "151"
    sql("UPDATE enterprises SET integrations_config = '{}' RETURNING 1")
    assert [item["code"] for item in connected.get("stats/0367").json["attention"]] == ["not_configured"]


def test_the_operator_sees_who_is_connected(connected, provisioned):
    provisioned("0368", token="375290000002", enabled=False)

    answer = connected.ask("GET", "active-enterprises", headers=BEARER)

    assert [item["enterprise_number"] for item in answer.json["enterprises"]] == ["0367"]
    assert answer.json["enterprises"][0]["managers"] == 4
    assert "key-of" not in answer.text


def test_the_operator_makes_every_instance_read_anew(connected, database_url):
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN integration_config_changed")
        one = connected.client.post(f"{API}/config-cache/refresh/0367", headers=BEARER)
        everybody = connected.client.post(f"{API}/config-cache/refresh-all", headers=BEARER)
        notices = [json.loads(notice.payload) for notice in listener.notifies(timeout=2, stop_after=2)]

    assert (one.status_code, everybody.json) == (200, {"success": True, "enterprises": 1})
    assert notices == [{"enterprise_number": "0367", "integration_type": "retailcrm"}] * 2
    assert connected.client.post(f"{API}/config-cache/refresh/9999", headers=BEARER).status_code == 404
