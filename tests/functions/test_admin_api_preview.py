"""Trying it out: situations in the sandbox, one real pop-up, progress, sending again in bulk."""

from __future__ import annotations

import json

import pytest

from tests.functions.test_admin_api_journal import connected, crm, gateway, missed  # noqa: F401  (fixtures)

NDJSON = {"Accept": "application/x-ndjson"}


def lines(answer):
    assert answer.mimetype == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_situations_are_offered_in_both_languages(page):
    situations = page.get("situations/0367").json["situations"]

    assert len(situations) == 12
    assert situations[0]["title"] == {
        "ru": "Входящий на группу, ответил один",
        "en": "Incoming to a group, one answers",
    }


def test_every_situation_is_played_without_a_trace(page, sql):
    for situation in page.get("situations/0367").json["situations"]:
        played = page.post("preview/0367", {"situation": situation["id"]})

        assert played.status_code == 200
        assert played.json["stories"][0]["kind"] == situation["kind"]
    for table in ("calls", "call_events", "deliveries", "attempts", "integration_logs"):
        assert sql(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_preview_shows_what_would_be_sent_and_to_whom(page):
    played = page.post("preview/0367", {"situation": "incoming-answered"}).json

    [story] = played["stories"]
    popup, hangup, upload = story["told"]
    assert [manager["name"] for manager in popup["managers"]] == ["Anna", "Boris", "Vera"]
    assert popup["attempts"][0]["request"]["event"]["codes"] == ["150", "151", "152"]
    assert hangup["attempts"][0]["request"]["event"]["hangupStatus"] == "answered"
    assert upload["attempts"][0]["request"]["calls"][0]["code"] == "151"
    assert [lane["number"] for lane in story["lanes"]] == ["+375291111111", "150", "151", "152"]
    assert story["lanes"][2]["bars"] == [
        {"kind": "ring", "since": 2.0, "until": 5.0},
        {"kind": "talk", "since": 5.0, "until": 11.0},
    ]
    assert played["is_enabled"] is True


def test_settings_can_be_tried_before_they_are_saved(page):
    body = {"situation": "incoming-transfer", "settings": {"owner_policy": "first_talker"}}

    tried, saved = page.post("preview/0367", body), page.post("preview/0367", {"situation": "incoming-transfer"})

    assert (tried.json["stories"][0]["owner"], saved.json["stories"][0]["owner"]) == ("151", "150")
    wrong = page.post("preview/0367", {"situation": "incoming-transfer", "settings": {"settle_seconds": -1}})
    assert wrong.json["error"]["fields"].keys() == {"settings.settle_seconds"}
    assert page.post("preview/0367", {"situation": "nothing"}).json["error"]["code"] == "unknown_situation"


def test_a_test_popup_reaches_the_managers_screen_and_is_taken_back(connected, crm):  # noqa: F811
    answer = connected.post("test-popup/0367", {"user_id": 19, "phone": "8 (029) 111-11-11, доб. 101", "seconds": 0})

    assert (answer.status_code, answer.json["code"], answer.json["accepted"]) == (200, "accepted", True)
    assert (answer.json["extension"], answer.json["phone"]) == ("151", "+375291111111")
    assert [(event["type"], event["codes"]) for event in crm.events("0367")] == [("in", ["151"]), ("hangup", ["151"])]
    log = connected.get("logs/0367").json["logs"]
    assert [item["event_type"] for item in log] == ["test_popup"] * 3
    assert log[-1]["request_data"] == {"by": "admin", "user_id": 19, "extension": "151"}


def test_retailcrms_words_on_a_test_popup_are_handed_on(connected, crm):  # noqa: F811
    crm.forget("0367")
    crm.account("0367", behaviour={"other_per_second": 0}, additional_codes=[{"user_id": 18, "code": "150"}])
    unknown = connected.post("test-popup/0367", {"user_id": 19, "seconds": 0}).json
    crm.account("0367", api_key="another", behaviour={"other_per_second": 0})
    refused = connected.post("test-popup/0367", {"user_id": 19, "seconds": 0}).json

    assert (unknown["accepted"], unknown["code"]) == (False, "not_exist_codes")
    assert json.loads(unknown["steps"][0]["response"])["notExistCodes"] == ["151"]
    assert (refused["accepted"], refused["code"], len(refused["steps"])) == (False, "refused", 1)
    assert refused["message"] == 'RetailCRM: Wrong "apiKey" value.'


def test_test_popups_are_few(connected):  # noqa: F811
    answers = [connected.post("test-popup/0367", {"user_id": 19, "seconds": 0}).status_code for _ in range(7)]

    assert answers == [200] * 6 + [429]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user_id": 999}, "no_extension"),
        ({"user_id": 19, "phone": "somebody"}, "invalid_phone"),
        ({"user_id": 19, "seconds": 11}, "invalid_fields"),
        ({}, "invalid_fields"),
    ],
)
def test_an_invalid_test_popup_is_refused(connected, body, code):  # noqa: F811
    answer = connected.post("test-popup/0367", body)

    assert (answer.status_code, answer.json["error"]["code"]) == (400, code)


def test_a_test_popup_without_a_connection_is_refused(page, sql):
    sql("UPDATE enterprises SET integrations_config = integrations_config #- '{retailcrm,api_key}' RETURNING 1")

    answer = page.post("test-popup/0367", {"user_id": 19})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "not_configured")


def test_each_check_is_told_as_it_comes(connected):  # noqa: F811
    found = lines(connected.ask("POST", "config/0367/test", {}, headers=NDJSON))

    assert [line["check"]["name"] for line in found[:-1]] == ["credentials", "scopes", "versions", "timezone", "module"]
    assert found[-1]["result"] == {"success": True, "checks": [line["check"] for line in found[:-1]]}


def test_a_long_list_of_managers_tells_how_far_it_is(connected, crm):  # noqa: F811
    crm.account("0367", users=[{"id": user} for user in range(1, 131)], behaviour={"other_per_second": 0})

    found = lines(connected.ask("GET", "managers/0367", headers=NDJSON))

    assert [line["progress"] for line in found[:-1]] == [
        {"page": 1, "pages": 3, "people": 50},
        {"page": 2, "pages": 3, "people": 100},
        {"page": 3, "pages": 3, "people": 130},
    ]
    assert found[-1]["result"] == connected.get("managers/0367").json


def test_an_error_during_the_stream_is_the_last_line(connected, crm, process):  # noqa: F811
    from lib.runtime import db
    from lib.store import people as staff

    def broken(*_, **__):
        raise RuntimeError

    process.setattr(staff, "list_internal_phones", broken)
    found = lines(connected.ask("GET", "managers/0367", headers=NDJSON))

    assert found[-1] == {"error": {"code": "internal", "message": "An error of ours; it is in the log"}}
    with db.connection() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_everything_that_failed_since_a_time_is_sent_again(connected, gateway, crm, sql):  # noqa: F811
    crm.fault("success_false", account="0367", endpoint="upload", status=400, error_msg="Validation error", requests=2)
    for channel in (1, 2):
        gateway.unique_id = f"{gateway.unique_id.partition('.')[0]}.{channel}"
        gateway.ring(["150"])
        gateway.missed()
    [item] = [item for item in connected.get("stats/0367").json["attention"] if item["code"] == "history_failed"]

    asked = connected.post("replay/0367", {"since": item["action"]["since"]})

    assert (item["calls"], asked.status_code) == (2, 202)
    assert (asked.json["calls"], len(asked.json["deliveries"]), asked.json["is_all"]) == (2, 2, True)
    assert sql("SELECT enterprise_number FROM row_timers WHERE wake_at <= clock_timestamp()") == [("0367",)]
    assert sql("SELECT requested_by FROM replays") == [("admin",)] * 2
    again = connected.post("replay/0367", {"since": "2020-01-01T00:00:00Z"})
    assert (again.status_code, again.json["error"]["code"]) == (409, "not_replayable")


def test_managers_unknown_to_the_crm_are_found_in_the_answers_to_deliveries(connected, gateway, crm):  # noqa: F811
    crm.forget("0367")
    crm.account("0367", behaviour={"other_per_second": 0}, additional_codes=[{"user_id": 18, "code": "150"}])
    gateway.ring(["150", "151"])
    gateway.missed()

    [unknown] = connected.get("managers/0367").json["unknown_to_crm"]

    assert (unknown["kind"], unknown["value"], unknown["calls"]) == ("extension", "151", 1)
