from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib.click.under_way import AT_A_TIME
from lib.runtime import config, db
from lib.store.clicks import find_click
from tests.harness.servers import Asterisk

CUSTOMER = "+375291111111"
OTHER = "0368"


@pytest.fixture(scope="module")
def asterisk_server():
    with Asterisk.started() as started:
        yield started


@pytest.fixture
def asterisk(asterisk_server):
    asterisk_server.clear()
    asterisk_server.enterprise("0367", "secret-of-0367")
    return asterisk_server


@pytest.fixture
def known(provisioned, asterisk, sql):
    """Two enterprises, both at the service."""
    provisioned()
    provisioned(OTHER, token="375290000002")
    sql("UPDATE enterprises SET asterisk_url = %s RETURNING 1", asterisk.url)
    sql("INSERT INTO user_internal_phones (enterprise_number, phone_number) VALUES (%s, '777') RETURNING 1", OTHER)


@pytest.fixture
def client_id(known, sql):
    return sql("SELECT client_id FROM enterprises WHERE number = '0367'")[0][0]


@pytest.fixture
def module(function, known):
    return function("make-call")


@pytest.fixture
def click(module, client_id):
    def make(**parameters):
        given = {"clientId": client_id, "phone": CUSTOMER, "userId": "19", **parameters}
        return module.get("/retailcrm/make-call", query_string={k: v for k, v in given.items() if v is not None})

    return make


@pytest.fixture
def settings(process):
    """Changes the environment of the function before its first request."""

    def change(**values):
        for name, value in values.items():
            process.setenv(name, str(value))
        config.current.cache_clear()

    return change


def calls(asterisk):
    return [(order["query"]["code"], order["query"]["phone"]) for order in asterisk.orders()]


def logged(sql, event_type="make_call"):
    return sql(
        "SELECT status, error_message, request_data, response_data FROM integration_logs "
        "WHERE event_type = %s ORDER BY id",
        event_type,
    )


def test_the_clientid_is_128_random_bits(client_id):
    assert len(client_id) == 32
    assert int(client_id, 16)


def test_a_click_rings_the_managers_own_phone(click, asterisk, sql):
    answer = click(userId="19", code=None)

    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "message": f"Call initiated: 151 -> {CUSTOMER}",
        "extension": "151",
        "phone": CUSTOMER,
    }
    [order] = asterisk.orders()
    assert (order["query"]["code"], order["query"]["phone"], order["accepted"]) == ("151", CUSTOMER, True)
    assert order["warnings"] == []
    assert sql("SELECT user_id, extension, phone, http_status FROM clicks") == [(19, "151", CUSTOMER, 200)]


def test_an_explicit_code_of_the_enterprise_wins(click, asterisk):
    click(userId="19", code="109")

    assert calls(asterisk) == [("109", CUSTOMER)]


def test_a_code_of_another_enterprise_does_not_ring_there(click, asterisk):
    mapped = click(userId="19", code="777")
    unmapped = click(userId=None, code="777")

    assert mapped.status_code == 200
    assert (unmapped.status_code, unmapped.json["error"]["code"]) == (400, "no_extension")
    assert calls(asterisk) == [("151", CUSTOMER)]


def test_an_unknown_manager_has_no_extension(click, asterisk, sql):
    answer = click(userId="999")

    assert answer.status_code == 400
    assert answer.json["error"] == {"code": "no_extension", "message": "No extension configured for user 999"}
    assert asterisk.orders() == []
    [(status, error, request, response)] = logged(sql)
    assert (status, error) == ("error", "No extension configured for user 999")
    assert request["userId"] == "999"
    assert response == {"http_status": 400, "code": "no_extension"}


@pytest.mark.parametrize("wrong", ["", "0" * 32, "0367", "0368", "x' OR '1'='1", "я", "a" * 5000, "\x00"])
def test_a_wrong_clientid_is_refused(module, asterisk, wrong):
    answer = module.get("/retailcrm/make-call", query_string={"clientId": wrong, "phone": CUSTOMER, "userId": "19"})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")
    assert asterisk.orders() == []


def test_the_number_stands_for_the_clientid_of_a_click_only_while_the_enterprise_lets_it(click, known, sql):
    refused = click(clientId="0367")
    set_to = (
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, "
        "'{retailcrm,accept_number_as_client_id}', %s) WHERE number = '0367' RETURNING 1"
    )
    sql(set_to, "true")
    taken = until(lambda: click(clientId="0367"), lambda answer: answer.status_code == 200)
    sql(set_to, "false")
    again = until(lambda: click(clientId="0367"), lambda answer: answer.status_code == 401)

    assert [answer.status_code for answer in (refused, taken, again)] == [401, 200, 401]


def until(ask, is_good):
    deadline = time.monotonic() + 5
    while not is_good(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize(
    "spelling", ["+375291111111", " 375291111111", "375291111111", "80291111111", "8 (029) 111-11-11"]
)
def test_a_number_is_dialled_in_one_form_however_it_is_spelt(click, asterisk, spelling):
    answer = click(phone=spelling)

    assert answer.status_code == 200
    assert calls(asterisk) == [("151", CUSTOMER)]


@pytest.mark.parametrize(
    "phone", ["", "150", "0001301", "anonymous", "+1", "375$(id)291111111", "$(id)", "`id`", "1" * 5000]
)
def test_only_a_customers_number_is_dialled(click, asterisk, sql, phone):
    answer = click(phone=phone)

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_phone")
    assert asterisk.orders() == []
    assert [row[0] for row in logged(sql)] == ["error"]


CLICKS = json.loads(Path(__file__).with_name("data").joinpath("clicks.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", CLICKS, ids=lambda row: ascii(row["phone"]))
def test_a_number_is_dialled_as_people_mean_it(click, asterisk, sql, row):
    answer = click(phone=row["phone"])

    [(status, _, request, _)] = logged(sql)
    if "refused" in row:
        assert (answer.status_code, answer.json["error"]["code"], status) == (400, "invalid_phone", "error")
        assert row["refused"] in answer.json["error"]["message"]
        assert calls(asterisk) == []
        return
    assert answer.status_code == 200
    assert calls(asterisk) == [("151", row["dialled"])]
    assert answer.json.get("not_dialled") == request.get("not_dialled") == row.get("not_dialled")
    assert row.get("not_dialled", "") in answer.json["message"]


def test_a_phone_that_a_form_sends_as_a_float_is_dialled(module, client_id, asterisk):
    body = f'{{"clientId": "{client_id}", "userId": 19, "phone": 375291111111.0}}'

    assert module.post("/retailcrm/make-call", data=body).status_code == 200
    assert calls(asterisk) == [("151", CUSTOMER)]


@pytest.mark.parametrize("code", ["151;reboot", "$(id)", "151\n", "'", "../..", "\x00", "１５１"])
def test_shell_characters_never_reach_the_asterisk_service(click, asterisk, code):
    answers = [click(code=code, userId="19"), click(code=code, userId=None), click(userId="19;id")]

    assert answers[2].status_code == 400
    assert all(not order["warnings"] for order in asterisk.orders())
    assert set(calls(asterisk)) <= {("151", CUSTOMER)}


@pytest.mark.parametrize("form", ["query", "form", "json"])
def test_a_post_may_bring_its_parameters_in_three_ways(module, client_id, asterisk, form):
    values = {"clientId": client_id, "phone": CUSTOMER, "userId": 19}

    sent = {"query": {"query_string": values}, "form": {"data": values}, "json": {"json": values}}[form]
    answer = module.post("/retailcrm/make-call", **sent)

    assert answer.status_code == 200
    assert calls(asterisk) == [("151", CUSTOMER)]


@pytest.mark.parametrize("body", ['{"phone": ["375291111111"]}', "{", '{"userId": true}', b"\xff\xfe"])
def test_a_body_that_cannot_be_understood_is_refused(module, client_id, asterisk, body):
    answer = module.post(f"/retailcrm/make-call?clientId={client_id}&userId=19&phone=375291111111", data=body)

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_payload")
    assert asterisk.orders() == []


def test_a_head_request_rings_nobody(module, client_id, asterisk):
    answer = module.head("/retailcrm/make-call", query_string={"clientId": client_id, "phone": CUSTOMER, "userId": 19})

    assert answer.status_code == 405
    assert asterisk.orders() == []


def test_a_double_click_rings_once_and_both_are_answered_alike(click, asterisk, sql):
    first, second = click(), click(phone="80291111111")

    assert (first.status_code, first.json) == (second.status_code, second.json)
    assert calls(asterisk) == [("151", CUSTOMER)]
    assert [row[3]["is_repeat"] for row in logged(sql)] == [False, True]


def test_clicks_at_the_same_moment_on_several_instances_ring_once(function, known, client_id, asterisk, settings):
    settings(THREADS=24)
    asterisk.fault("slow", delay_ms=700)
    instances = [function("make-call") for _ in range(4)]
    given = {"clientId": client_id, "phone": CUSTOMER, "userId": "19"}

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: one.get("/retailcrm/make-call", query_string=given), instances))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json == answers[0].json for answer in answers)
    assert len(asterisk.orders()) == 1


def test_a_double_click_hears_the_first_ones_refusal_too(click, asterisk):
    asterisk.fault("refuse")

    first, second = click(), click()

    assert (first.status_code, second.status_code) == (502, 502)
    assert first.json == second.json
    assert len(asterisk.orders()) == 1


def test_the_same_number_by_another_manager_and_another_number_are_other_clicks(click, asterisk):
    click(userId="19")
    click(userId="18")
    click(userId="19", phone="+375292222222")

    assert calls(asterisk) == [("151", CUSTOMER), ("150", CUSTOMER), ("151", "+375292222222")]


def test_after_a_while_the_same_click_rings_again(click, asterisk, sql):
    click()
    sql("UPDATE clicks SET clicked_at = clicked_at - interval '6 seconds' RETURNING 1")
    click()

    assert len(asterisk.orders()) == 2


def test_a_manager_and_an_enterprise_have_limits(click, asterisk, settings, sql):
    settings(CLICKS_PER_MANAGER_PER_MINUTE=2, CLICKS_PER_ENTERPRISE_PER_MINUTE=3)

    phones = [f"+37529111111{digit}" for digit in range(4)]
    manager = [click(userId="19", phone=phone).status_code for phone in phones[:3]]
    enterprise = [click(userId="18", phone=phone).status_code for phone in phones[:2]]

    assert manager == [200, 200, 429]
    assert enterprise == [200, 429]
    assert len(asterisk.orders()) == 3
    assert [row[3].get("code") for row in logged(sql)].count("rate_limited") == 2


def test_one_enterprise_does_not_use_up_every_thread(function, known, client_id, asterisk, settings):
    settings(THREADS=24)
    asterisk.fault("slow", delay_ms=1000)
    application = function("make-call").application

    def click(digit):
        given = {"clientId": client_id, "phone": f"+37529111111{digit}", "userId": "19"}
        return application.test_client().get("/retailcrm/make-call", query_string=given).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(click, range(8)))

    assert statuses == [200] * AT_A_TIME + [429] * (8 - AT_A_TIME)


def test_a_slow_asterisk_service_ends_in_a_timeout(click, asterisk, settings):
    settings(ASTERISK_TIMEOUT_SECONDS=0.5)
    asterisk.fault("slow", delay_ms=2000)

    began = time.monotonic()
    answer = click()

    assert time.monotonic() - began < 1.5
    assert (answer.status_code, answer.json["error"]["code"]) == (504, "asterisk_timeout")


def test_a_slow_answer_within_the_time_is_an_answer(click, asterisk):
    asterisk.fault("slow", delay_ms=1500)

    assert click().status_code == 200


def test_a_refusal_is_told_with_the_services_words(click, asterisk, sql):
    asterisk.enterprise("0367", "secret-of-0367", host=None)

    answer = click()

    assert answer.status_code == 502
    assert answer.json["error"] == {
        "code": "asterisk_refused",
        "message": "The Asterisk service refused (HTTP 500): Host IP not configured for this enterprise",
    }
    assert logged(sql)[0][:2] == ("error", answer.json["error"]["message"])


def test_a_dead_asterisk_service_is_told(click, sql):
    sql("UPDATE enterprises SET asterisk_url = 'http://127.0.0.1:9' RETURNING 1")

    answer = until(click, lambda answer: answer.status_code != 200)

    assert (answer.status_code, answer.json["error"]["code"]) == (502, "asterisk_unreachable")


@pytest.mark.parametrize(("mode", "code"), [("drop", "asterisk_broke_off"), ("hang", "asterisk_timeout")])
def test_a_connection_that_breaks_or_hangs_is_told(click, asterisk, settings, mode, code):
    settings(ASTERISK_TIMEOUT_SECONDS=0.5)
    asterisk.fault(mode)

    assert click().json["error"]["code"] == code


def test_the_secret_is_in_no_answer_log_or_table(click, asterisk, sql, capfd):
    asterisk.fault("refuse", error_msg="no host for secret-of-0367", requests=1)
    refused = click()
    sql("UPDATE enterprises SET asterisk_url = 'http://127.0.0.1:9' RETURNING 1")
    time.sleep(0.2)
    dead = click(phone="+375292222222")

    assert (refused.status_code, dead.status_code) == (502, 502)
    seen = [refused.text, dead.text, json.dumps(logged(sql)), json.dumps(sql("SELECT answer FROM clicks"))]
    assert not any("secret-of-0367" in text for text in [*seen, *capfd.readouterr()])


def test_the_clientid_is_in_no_log(click, client_id, sql, capfd):
    click()
    click(userId="999")

    assert client_id not in json.dumps(logged(sql))
    assert not any(client_id in text for text in capfd.readouterr())


def test_a_database_that_is_away_rings_nobody(click, asterisk, process):
    click()
    db.close()
    process.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    config.current.cache_clear()

    answer = click(phone="+375292222222")

    assert (answer.status_code, answer.json["error"]["code"]) == (503, "unavailable")
    assert len(asterisk.orders()) == 1


def test_the_click_of_a_call_is_found_when_its_events_come(click, sql):
    click()
    moment = datetime.now(UTC)

    def found(**changes):
        wanted = {"extension": "151", "phone": CUSTOMER, "at": moment, **changes}
        with db.connection() as conn:
            return find_click(conn, wanted.pop("number", "0367"), **wanted)

    assert found(at=moment + timedelta(seconds=50)).user_id == 19
    assert found(at=moment + timedelta(seconds=70)) is None
    assert found(extension="150") is None
    assert found(phone="+375292222222") is None
    assert found(number=OTHER) is None


def test_an_integration_that_is_switched_off_calls_nobody(module, click, client_id, asterisk):
    form = {"clientId": client_id, "activity": '{"active": true, "freeze": true}'}
    module.post("/retailcrm/activity", data=form)

    answer = until(click, lambda answer: answer.status_code != 200)

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "integration_off")


# The manager's status


@pytest.mark.parametrize("status", ["free", "busy", "dinner", "break"])
def test_a_managers_status_is_kept_with_its_time(module, client_id, sql, status):
    for value in ("free", status):
        answer = module.get(
            "/retailcrm/status", query_string={"clientId": client_id, "userId": 19, "code": "151", "status": value}
        )

    assert (answer.status_code, answer.json) == (200, {"success": True})
    [(number, user_id, stored, age)] = sql(
        "SELECT enterprise_number, user_id, status, clock_timestamp() - changed_at FROM user_statuses"
    )
    assert (number, user_id, stored) == ("0367", 19, status)
    assert age < timedelta(seconds=10)


def test_a_status_without_a_user_is_that_of_the_extensions_manager(module, client_id, sql):
    module.post("/retailcrm/status", data={"clientId": client_id, "code": "151", "status": "dinner"})

    assert sql("SELECT user_id, status FROM user_statuses") == [(19, "dinner")]


@pytest.mark.parametrize(
    "wrong", [{"status": "dnd"}, {"status": ""}, {"userId": "x"}, {"userId": "", "code": "109"}, {"userId": "9" * 30}]
)
def test_an_unknown_status_is_refused(module, client_id, sql, wrong):
    given = {"clientId": client_id, "userId": "19", "status": "free", **wrong}

    answer = module.get("/retailcrm/status", query_string=given)

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_payload")
    assert sql("SELECT * FROM user_statuses") == []


# The module's activity


def stored(sql, number="0367"):
    return sql("SELECT integrations_config -> 'retailcrm' FROM enterprises WHERE number = %s", number)[0][0]


@pytest.mark.parametrize(
    ("activity", "enabled"),
    [
        ({"active": True, "freeze": False}, True),
        ({"active": True, "freeze": True}, False),
        ({"active": False, "freeze": False}, False),
        ({"active": True}, True),
    ],
)
def test_activity_switches_the_integration_and_loses_nothing(module, client_id, sql, activity, enabled):
    before = stored(sql)

    answer = module.post("/retailcrm/activity", data={"clientId": client_id, "activity": json.dumps(activity)})

    assert (answer.status_code, answer.json) == (200, {"success": True})
    after = stored(sql)
    assert after["enabled"] is enabled
    assert after == {**before, "enabled": enabled, "version": before["version"] + (not enabled)}
    assert stored(sql, OTHER)["enabled"] is True


def test_the_account_moves_only_to_an_address_of_retailcrm(module, client_id, sql):
    form = {"clientId": client_id, "activity": '{"active": true, "freeze": false}'}
    domain = stored(sql)["domain"]

    evil = [
        module.post("/retailcrm/activity", data={**form, "systemUrl": url}).status_code
        for url in ("https://evil.example.com", "http://demo.retailcrm.ru", "https://demo.retailcrm.ru.example.com")
    ]
    kept = stored(sql)["domain"]
    moved = module.post("/retailcrm/activity", data={**form, "systemUrl": "https://demo.retailcrm.ru/"})

    assert evil == [400, 400, 400]
    assert kept == domain
    assert (moved.status_code, stored(sql)["domain"]) == (200, "https://demo.retailcrm.ru")
    assert [row[0] for row in logged(sql, "activity")] == ["error", "error", "error", "success"]


@pytest.mark.parametrize("activity", ["", "null", "{}", '{"active": "yes"}', '{"active": 1}', "{", "[]"])
def test_an_activity_that_cannot_be_understood_changes_nothing(module, client_id, sql, activity):
    before = stored(sql)

    answer = module.post("/retailcrm/activity", data={"clientId": client_id, "activity": activity})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_payload")
    assert stored(sql) == before


def test_captured_requests_of_the_crm_are_understood(module, client_id, asterisk):
    """As RetailCRM writes it: the plus of the phone not escaped."""
    answer = module.get(f"/retailcrm/make-call?clientId={client_id}&code=151&phone=+375291111111&userId=19")

    assert answer.status_code == 200
    assert calls(asterisk) == [("151", CUSTOMER)]
