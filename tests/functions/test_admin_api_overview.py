"""Is it connected, and what needs somebody's attention: each item with what would mend it."""

from __future__ import annotations

import json

import psycopg
import pytest

from lib.admin import paging
from lib.runtime import db
from lib.store import journal
from tests.functions.test_admin_api_journal import connected, crm, gateway  # noqa: F401  (fixtures)
from tests.harness.servers import push_envelope


@pytest.fixture
def happen(sql):
    """An exchange with RetailCRM some minutes ago."""

    def write(minutes, *, http_status, error, event_type="popup", words=None):
        sql(
            "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data, status, error_message, created_at) "
            "VALUES ('0367', 'retailcrm', %s, '{}', %s, %s, %s, clock_timestamp() - %s * interval '1 minute') RETURNING 1",
            event_type,
            json.dumps({"http_status": http_status, "body": {"success": False, "errorMsg": words} if words else ""}),
            "error" if error else "success",
            error,
            minutes,
        )

    return write


def codes(answer):
    return [item["code"] for item in answer.json["attention"]]


def item(answer, code):
    [found] = [item for item in answer.json["attention"] if item["code"] == code]
    return found


@pytest.mark.parametrize(
    ("http_status", "error", "words", "state"),
    [
        (200, None, None, "connected"),
        (400, "Validation error", "Validation error", "connected"),
        (401, "denied", "denied", "key_refused"),
        (403, "Access denied.", "Access denied.", "key_refused"),
        (402, "Payment required", "Payment required", "account_refused"),
        (301, "HTTP 301, a redirect: has the account another address now?", None, "account_refused"),
        (404, "Account does not exist.", "Account does not exist.", "account_refused"),
        (400, "Telephony not enabled", "Telephony not enabled", "module_inactive"),
        (None, "No answer within 3 s", None, "crm_away"),
        (503, "Service temporary unavailable", "Service temporary unavailable", "crm_away"),
    ],
)
def test_the_connection_is_said_in_one_word_and_only_retailcrms_own_are_quoted(  # noqa: PLR0917
    page, happen, http_status, error, words, state
):
    happen(5, http_status=http_status, error=error, words=words)

    answer = page.get("stats/0367")

    assert answer.json["connection"]["state"] == state
    if state != "connected":
        assert (answer.json["connection"]["message"], answer.json["attention"][0]["code"]) == (words, state)
        expected = {"kind": "register"} if state == "module_inactive" else {"kind": "open", "screen": "connection"}
        assert item(answer, state)["action"] == expected


@pytest.mark.parametrize(
    ("retailcrm", "state"),
    [
        ({"user_extensions": {"18": None}}, "nobody_mapped"),
        ({"api_key": "v1.old.AAAA"}, "misconfigured"),
        ({"domain": "https://crm.example.com"}, "misconfigured"),
    ],
)
def test_nothing_works_that_cannot(page, sql, retailcrm, state):
    sql(
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm}',"
        " integrations_config -> 'retailcrm' || %s::jsonb) RETURNING 1",
        json.dumps(retailcrm),
    )

    answer = page.get("stats/0367")

    assert answer.json["connection"]["state"] == state
    assert state in codes(answer)


def test_what_was_shown_and_stored_is_said_and_what_was_not(connected, gateway, crm):  # noqa: F811
    before = connected.get("stats/0367").json["connection"]
    crm.fault("success_false", account="0367", endpoint="event", status=400, error_msg="Validation error")
    gateway.ring(["150"])
    without_cards = connected.get("stats/0367").json["connection"]
    gateway.missed()
    with_row = connected.get("stats/0367").json["connection"]
    crm.clear()
    gateway.unique_id += "1"
    gateway.ring(["150"])
    at_last = connected.get("stats/0367").json["connection"]

    assert (before["state"], before["shown_at"], before["stored_at"]) == ("connected", None, None)
    assert (without_cards["state"], without_cards["shown_at"]) == ("nothing_shown", None)
    assert with_row["stored_at"]
    assert (at_last["state"], bool(at_last["shown_at"])) == ("connected", True)


def test_a_key_that_a_command_was_refused_with_is_said_at_once(connected, crm, function, sql):  # noqa: F811
    connected.post("register/0367")
    crm.account("0367", api_key="another", behaviour={"other_per_second": 0})
    assert function("register-module").post("/", json=push_envelope({"enterprise_number": "0367"})).status_code == 204

    answer = connected.get("stats/0367")

    assert answer.json["connection"]["state"] == "key_refused"
    assert item(answer, "command_failed")["trouble"] == {
        "code": "key_refused",
        "words": 'Wrong "apiKey" value.',
        "params": {"status": 403},
    }


def test_the_last_exchange_counts_and_an_old_one_is_no_outage(page, happen):
    happen(5, http_status=403, error="Access denied.")
    happen(2, http_status=200, error=None)
    assert page.get("stats/0367").json["connection"]["state"] == "connected"

    happen(1, http_status=200, error=None, event_type="mapping")
    assert page.get("stats/0367").json["connection"]["state"] == "connected"


def test_an_outage_of_yesterday_is_over(page, happen):
    happen(90, http_status=None, error="No connection")

    assert page.get("stats/0367").json["connection"]["state"] == "connected"


@pytest.mark.parametrize(
    ("section", "state", "action"),
    [
        ({}, "not_configured", {"kind": "open", "screen": "connection"}),
        ({"domain": "https://demo.retailcrm.ru"}, "not_configured", {"kind": "open", "screen": "connection"}),
        (
            {"domain": "https://demo.retailcrm.ru", "api_key": "x", "enabled": False},
            "disabled",
            {"kind": "register"},
        ),
    ],
)
def test_a_missing_connection_or_one_switched_off_comes_first(page, sql, section, state, action):
    sql("UPDATE enterprises SET integrations_config = %s RETURNING 1", json.dumps({"retailcrm": section}))

    answer = page.get("stats/0367")

    assert answer.json["connection"]["state"] == state
    assert (answer.json["attention"][0]["code"], answer.json["attention"][0]["action"]) == (state, action)


def test_a_module_that_retailcrm_has_switched_off_can_be_registered_again(connected, crm, gateway):  # noqa: F811
    crm.forget("0367")
    crm.account("0367", module_active=False, additional_codes=[], behaviour={"other_per_second": 0})
    gateway.ring(["150"])

    found = item(connected.get("stats/0367"), "module_inactive")

    assert found["action"] == {"kind": "register"}
    assert "Telephony not enabled" in found["words"]


def test_a_telephony_that_has_become_silent(page, sql):
    assert "no_events" not in codes(page.get("stats/0367"))
    for days in (1, 2, 3):
        sql(
            "INSERT INTO calls (enterprise_number, main_unique_id, kind, started_at, first_event_at, last_event_at) "
            "SELECT '0367', %s, 'in', at, at, at FROM (VALUES (clock_timestamp() - make_interval(days => %s, mins => 30))) t (at) RETURNING 1",
            f"1.{days}",
            days,
        )
    assert item(page.get("stats/0367"), "no_events")["since"]

    sql("UPDATE calls SET started_at = started_at + interval '4 hours' WHERE main_unique_id = '1.3' RETURNING 1")
    assert "no_events" not in codes(page.get("stats/0367"))


def test_lines_that_the_enterprise_does_not_have_are_named(page, sql):
    for line in ("0001301", "0009999"):
        sql(
            "INSERT INTO calls (enterprise_number, main_unique_id, kind, line_id, started_at, first_event_at, last_event_at) "
            "VALUES ('0367', %s, 'in', %s, now(), now(), now()) RETURNING 1",
            f"1.{line}",
            line,
        )

    found = item(page.get("stats/0367"), "lines_missing")

    assert (found["lines"], found["action"]) == (["0009999"], {"kind": "open", "screen": "lines"})


def test_ten_thousand_calls_are_no_reason_to_wait(page, sql):
    """A page is a walk along one index, the last one too; the answer does not depend on how many calls there are."""
    sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, owner_extension, started_at, first_event_at, last_event_at) "
        "SELECT CASE WHEN n %% 2 = 0 THEN '0367' ELSE '0368' END, n || '.1', 'in', '+3752911' || n, 'answered', '150', at, at, at "
        "FROM (SELECT n, timestamptz '2026-01-01' + n * interval '1 minute' AS at FROM generate_series(10000, 29999) n) calls RETURNING 1"
    )
    sql(
        "INSERT INTO deliveries (enterprise_number, call_id, effect, external_id, content, state) "
        "SELECT enterprise_number, id, 'upload', main_unique_id, '{\"duration\": 61, \"waiting\": 7}', 'delivered' FROM calls RETURNING 1"
    )
    with db.connection() as conn:
        conn.execute("ANALYZE calls, deliveries")
    first = page.get("calls/0367", limit="200")
    last = page.get("calls/0367", limit="200", until="2026-01-10T00:00:00Z")
    answer = first
    for _ in range(3):
        answer = page.get("calls/0367", limit="200", after=answer.json["next"])

    assert [len(found.json["calls"]) for found in (first, last, answer)] == [200, 200, 200]
    assert (first.json["calls"][0]["talk_seconds"], first.json["calls"][0]["waiting_seconds"]) == (61, 7)
    plan = _plan_of_a_page(answer.json["next"])
    assert "Index Cond: ((enterprise_number = '0367'::text) AND (ROW(started_at, id) <" in plan
    assert "Sort" not in plan.partition("SubPlan")[0].split("Aggregate")[0]
    assert "Seq Scan" not in plan


def _plan_of_a_page(cursor):
    sent = []
    execute = psycopg.Cursor.execute

    def remembering(self, query, parameters=None, **options):
        sent.append((query, parameters))
        return execute(self, query, parameters, **options)

    with db.connection() as conn, pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", remembering)
        journal.list_calls(conn, "0367", journal.CallFilter(), after=paging.after({"after": cursor}), limit=200)
        query, parameters = sent[-1]
        text = "EXPLAIN " + query.as_string(conn)
        return "\n".join(row[0] for row in execute(conn.cursor(), text, parameters).fetchall())


def test_a_click_is_shown_with_the_call_that_came_of_it(connected, gateway, sql):  # noqa: F811
    sql(
        "INSERT INTO clicks (enterprise_number, user_id, extension, phone, http_status, answer, finished_at) "
        "VALUES ('0367', 19, '151', '+375291111111', 200, '{\"success\": true}', now()) RETURNING 1"
    )
    gateway.happen("dial", Phone="375291111111", CallType=1, Trunk="0001301", Extensions=["151"])

    story = connected.get(f"calls/0367/{gateway.unique_id}").json

    assert (story["kind"], story["click"]["user_id"], story["click"]["http_status"]) == ("out", 19, 200)
    assert [lane["bars"][0]["kind"] for lane in story["lanes"]] == ["wait", "dial"]


def test_a_row_has_all_that_a_sentence_needs(connected, gateway):  # noqa: F811
    gateway.ring(["150", "109"])
    gateway.missed()

    [row] = connected.get("calls/0367").json["calls"]

    assert (row["owner_name"], row["owner_user_id"], row["is_over"]) == ("Anna", 18, True)
    assert row["popup"] == {"state": "delivered", "reason": None, "extensions": ["150"]}
    assert row["upload"] == {"state": "delivered", "reason": None}
    assert (row["talk_seconds"], row["has_recording"]) == (0, False)
    assert 0 <= row["waiting_seconds"] < 60


def test_a_call_without_a_popup_says_why(connected, gateway):  # noqa: F811
    gateway.ring(["109"])

    [row] = connected.get("calls/0367").json["calls"]

    assert row["popup"] == {"state": "none", "reason": "no_mapping", "extensions": []}
    assert row["upload"] == {"state": "open", "reason": None}  # it goes on


def test_a_backlog_is_said_with_how_many_events_wait_and_since_when(page, sql):
    stored = "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, received_at) "
    row = "SELECT gen_random_uuid(), %s, n::text, 'bridge', '{}', sha256(n::text::bytea), clock_timestamp() - %s * interval '1 second' FROM generate_series(1, %s) n RETURNING 1"
    sql(stored + row, "0368", 60, 5)
    sql(stored + row, "0367", 1, 2)
    before = codes(page.get("stats/0367"))

    sql(stored + row.replace("n::text::bytea", "('old' || n::text)::bytea"), "0367", 60, 3)

    assert "behind" not in before
    assert item(page.get("stats/0367"), "behind")["events"] == 3


def test_clicks_that_the_daily_limit_stopped_are_said_with_the_way_to_it(page, sql):
    for minutes, code in ((90, "daily_limit"), (9, "daily_limit"), (5, "country_not_allowed"), (1, "daily_limit")):
        sql(
            "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data,"
            " status, error_message, created_at) VALUES ('0367', 'retailcrm', 'make_call', '{}', %s, 'error', 'No',"
            " clock_timestamp() - %s * interval '1 minute') RETURNING 1",
            json.dumps({"http_status": 429, "code": code}),
            minutes,
        )

    answer = page.get("stats/0367")

    found = item(answer, "clicks_stopped")
    assert (found["calls"], found["action"]) == (2, {"kind": "open", "screen": "settings"})
    assert answer.json["connection"]["state"] == "connected"


def test_an_enterprise_whose_number_rings_is_told_to_register(page, provisioned):
    assert "number_rings" not in codes(page.get("stats/0367"))
    provisioned(accept_number_as_client_id=True)

    assert item(page.get("stats/0367"), "number_rings")["action"] == {"kind": "register"}


def test_recovered_events_that_wait_are_no_backlog_and_are_said_for_themselves(page, sql):
    stored = "INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, fingerprint, wake_at, received_at) "
    row = "SELECT gen_random_uuid(), '0367', n::text, 'bridge', '{}', sha256(n::text::bytea), 'infinity', clock_timestamp() - interval '60 s' FROM generate_series(1, 4) n RETURNING 1"
    sql(stored + row)

    found = page.get("stats/0367")

    assert "behind" not in codes(found)
    assert item(found, "recovering")["events"] == 4
