from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from lib.redirect import router
from lib.runtime import config, db
from tests.harness.enterprises import TOKEN

CUSTOMER = "+375291111111"
ALWAYS = [
    {"day_type": day, "start_time": "00:00", "end_time": "24:00"}
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
]
CUSTOMERS = [{"phones": [CUSTOMER], "first_name": "Иван", "last_name": "Первый", "manager_id": 19}]

# The simulator keeps the status of a user that it knows already: this one is nobody else's.
BUSY = {
    "users": [{"id": 41, "status": "busy"}],
    "customers": [{"phones": [CUSTOMER], "manager_id": 41}],
}


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    return crm_server


@pytest.fixture
def account(crm):
    """The customer's responsible manager is 19, whose extension is 151; the CRM is always open."""

    def make(**changes):
        crm.account("0367", **{"customers": CUSTOMERS, "work_times": ALWAYS, **changes})

    make()
    return make


@pytest.fixture
def settings(provisioned, account, crm):
    """Chooses the smart_redirect_… settings of the enterprise."""

    def choose(**chosen):
        provisioned(domain=crm.url, **{f"smart_redirect_{name}": value for name, value in chosen.items()})

    choose(mode="routing+name", names=["customer"])
    return choose


@pytest.fixture
def redirect(function, settings, process):
    yield function("smart-redirect")
    router.close()


@pytest.fixture
def ask(redirect):
    """The answer to the dialplan, as it stands on the wire."""

    def post(phone="375291111111", line="0001301", token=TOKEN, **body):
        sent = {"UniqueId": "1758798777.27", "Phone": phone, "TrunkId": line, "LoadDialPlan": "true", **body}
        return redirect.post("/api/callevent/getcustomerdata", json=sent, headers={"Token": token})

    return post


@pytest.fixture
def plan(sql):
    def of(extension, line="0001301"):
        return f"mngr{phone_id(sql, extension)}_{line}_1"

    return of


@pytest.fixture
def decisions(sql):
    """What was written down, once it is."""

    def wait(count=1):
        deadline = time.monotonic() + 5
        while True:
            found = sql(
                "SELECT status, error_message, request_data, response_data FROM integration_logs "
                "WHERE event_type = 'smart_redirect' ORDER BY id"
            )
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count
                return found
            time.sleep(0.02)

    return wait


def phone_id(sql, extension):
    return sql("SELECT id FROM user_internal_phones WHERE phone_number = %s", extension)[0][0]


def asked(crm, kind="manager"):
    return len(crm.entries("0367", kind))


def test_the_responsible_managers_phone_rings_and_shows_the_name(ask, plan, decisions, crm):
    answer = ask()

    assert answer.status_code == 200
    assert answer.text == f'{{"Name":"Иван Первый","DialPlan":"{plan("151")}"}}'
    [(status, error, request, response)] = decisions()
    assert (status, error) == ("success", None)
    assert request == {"form": "dialplan", "unique_id": "1758798777.27", "phone": "375291111111", "line_id": "0001301"}
    assert (response["reason"], response["extension"]) == ("responsible_manager", "151")
    assert not any(entry["warnings"] for entry in crm.entries("0367"))


def test_others_are_told_the_extension(redirect, sql):
    body = {"enterprise_number": "0367", "phone": CUSTOMER}

    by_token = redirect.post("/retailcrm/api/smart-redirect", json=body, headers={"Token": TOKEN})
    without = redirect.post("/retailcrm/api/smart-redirect", json=body)

    assert by_token.status_code == 200
    assert by_token.json == {
        "success": True,
        "extension": "151",
        "name": "Иван Первый",
        "reason": "responsible_manager",
    }
    assert without.status_code == 401


def test_the_number_alone_is_enough_for_nobody(redirect, provisioned, crm):
    provisioned(domain=crm.url, accept_number_as_client_id=True)

    answer = redirect.post("/retailcrm/api/smart-redirect", json={"enterprise_number": "0367", "phone": CUSTOMER})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")


def test_one_enterprise_learns_nothing_of_another(redirect, provisioned, crm):
    provisioned("0368", token="375290000002", domain=crm.url)
    body = {"enterprise_number": "0367", "phone": CUSTOMER}

    answer = redirect.post("/retailcrm/api/smart-redirect", json=body, headers={"Token": "375290000002"})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("token", ["", "unknown", "x" * 5000])
def test_an_unknown_token_is_refused(ask, token):
    answer = ask(token=token)

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"Phone": null}', b'{"Phone": {"a": 1}}', b"\xff"])
def test_a_body_that_cannot_be_understood_does_not_stop_a_call(redirect, body):
    answer = redirect.post("/api/callevent/getcustomerdata", data=body, headers={"Token": TOKEN})

    assert (answer.status_code, answer.text) == (200, '{"Name":"unknown","DialPlan":null}')


@pytest.mark.parametrize(
    ("chosen", "routed", "name"),
    [
        ({}, False, "375291111111"),
        ({"mode": "off"}, False, "375291111111"),
        ({"mode": "name-only"}, False, "Иван Первый"),
        ({"mode": "routing+name"}, True, "Иван Первый"),
        ({"mode": "routing+name", "lines": {"0001301": {"mode": "off"}}}, False, "375291111111"),
        ({"mode": "off", "lines": {"0001301": {"mode": "routing+name"}}}, True, "Иван Первый"),
        ({"mode": "routing+name", "lines": {"0001302": {"mode": "off"}}}, True, "Иван Первый"),
        (
            {"mode": "routing+name", "names": ["shop", "customer"], "shop_names": {"main": "Мир"}},
            True,
            "Мир | Иван Первый",
        ),
        ({"mode": "nonsense"}, False, "375291111111"),
        ({"mode": "routing+name", "shadow": True}, False, "375291111111"),
    ],
)
def test_an_enterprise_chooses_for_each_line(
    *, provisioned, crm, account, function, sql, chosen, routed, name, process
):
    provisioned(domain=crm.url)
    chosen = {f"smart_redirect_{name}": value for name, value in {"names": ["customer"], **chosen}.items()}
    # Whatever stands there: provisioning would refuse some of it.
    sql(
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm}', "
        "integrations_config -> 'retailcrm' || %s::jsonb) RETURNING 1",
        json.dumps(chosen),
    )
    sql("UPDATE lines SET site_code = 'main' WHERE line_id = '0001301' RETURNING 1")
    client = function("smart-redirect")

    answer = client.post(
        "/api/callevent/getcustomerdata", json={"Phone": "375291111111", "TrunkId": "0001301"}, headers={"Token": TOKEN}
    )
    router.close()

    assert answer.json == {"Name": name, "DialPlan": f"mngr{phone_id(sql, '151')}_0001301_1" if routed else None}


def test_shadow_mode_only_writes_down_what_it_would_have_done(ask, settings, decisions):
    settings(shadow=True)

    answer = ask()

    assert answer.json == {"Name": "375291111111", "DialPlan": None}
    response = decisions()[0][3]
    assert (response["is_shadow"], response["extension"], response["name"]) == (True, "151", "Иван Первый")


def test_a_dialplan_that_wants_no_routing_gets_the_name_alone(ask):
    assert ask(LoadDialPlan="false").json == {"Name": "Иван Первый", "DialPlan": None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"customers": []}, "no_responsible_manager"),
        ({"customers": [{"phones": [CUSTOMER], "manager_id": None}]}, "no_responsible_manager"),
        ({"customers": [], "behaviour": {"absent_manager": "null"}}, "no_responsible_manager"),
        (BUSY, "no_responsible_manager"),
        ({"users": [{"id": 19, "online": False}]}, "no_responsible_manager"),
        ({"users": [{"id": 99}], "customers": [{"phones": [CUSTOMER], "manager_id": 99}], "additional_codes": []}, "manager_without_extension"),
        ({"users": [{"id": 99}], "customers": [{"phones": [CUSTOMER], "manager_id": 99}], "additional_codes": [{"user_id": 99, "code": "777"}]}, "manager_without_extension"),
        ({"work_times": [{"day_type": "Monday", "start_time": "00:00", "end_time": "00:00"}]}, "outside_working_hours"),
        ({"work_times": [{"day_type": "Monday", "start_time": "late", "end_time": "later"}]}, "working_hours_unknown"),
        ({"api_key": "another"}, "crm_refused"),
    ],
)  # fmt: skip
def test_without_a_reachable_manager_the_usual_scheme_applies(ask, account, decisions, changes, reason):
    account(**{key: value for key, value in changes.items() if value is not None})

    answer = ask()

    assert (answer.status_code, answer.json["DialPlan"]) == (200, None)
    assert len(answer.text) >= 30
    assert decisions()[0][3]["reason"] == reason


def test_a_manager_who_is_not_free_may_be_rung_where_the_enterprise_says_so(ask, account, provisioned, crm, plan):
    account(**BUSY)
    provisioned(domain=crm.url, user_extensions={"41": "151"}, smart_redirect_ignore_status=True)

    assert ask().json["DialPlan"] == plan("151")


def test_hours_may_be_ignored(ask, account, settings, plan):
    account(work_times=[{"day_type": "Monday", "start_time": "00:00", "end_time": "00:00"}])
    settings(ignore_hours=True)

    assert ask().json["DialPlan"] == plan("151")


@pytest.mark.parametrize(
    ("status", "hours", "is_rung"), [("busy", 0, False), ("dinner", 0, False), ("free", 0, True), ("break", 13, True)]
)
def test_the_last_status_of_a_manager_counts(*, ask, sql, plan, decisions, status, hours, is_rung):
    sql(
        "INSERT INTO user_statuses VALUES ('0367', 19, %s, clock_timestamp() - make_interval(hours => %s)) RETURNING 1",
        status,
        hours,
    )

    assert ask().json["DialPlan"] == (plan("151") if is_rung else None)
    assert decisions()[0][3]["reason"] == ("responsible_manager" if is_rung else f"manager_{status}")


@pytest.mark.parametrize(("algorithm", "extension"), [("first_call", "150"), ("last_call", "152")])
def test_the_first_or_last_talker_of_the_customer_is_rung(*, ask, settings, sql, plan, crm, algorithm, extension):
    settings(algorithm=algorithm, names=[])
    now = datetime.now(UTC)
    talks = [("150", 9, "answered"), ("151", 5, "answered"), ("152", 3, "answered"), ("153", 1, "no answer")]
    for index, (talker, days, result) in enumerate(talks):
        sql(
            "INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, owner_extension, started_at, "
            "first_event_at, last_event_at) VALUES ('0367', %s, 'in', %s, %s, %s, %s, now(), now()) RETURNING 1",
            f"1.{index}", CUSTOMER, result, talker, now - timedelta(days=days),
        )  # fmt: skip

    answer = ask()

    assert answer.json == {"Name": "375291111111", "DialPlan": plan(extension)}
    assert asked(crm) == 0


def test_without_an_earlier_call_the_usual_scheme_applies(ask, settings, decisions):
    settings(algorithm="last_call")

    assert ask().json["DialPlan"] is None
    assert decisions()[0][3]["reason"] == "no_call_before"


def test_the_answer_about_a_customer_is_cached(ask, crm, decisions):
    answers = {ask().text for _ in range(5)}

    assert len(answers) == 1
    assert (asked(crm), asked(crm, "settings")) == (1, 1)
    decisions(5)


def test_questions_at_the_same_moment_share_one_request(redirect, crm):
    crm.fault("slow", delay_ms=300, endpoint="manager")
    body = {"Phone": "375291111111", "TrunkId": "0001301"}

    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(
                lambda _: redirect.application.test_client().post(
                    "/api/callevent/getcustomerdata", json=body, headers={"Token": TOKEN}
                ),
                range(3),
            )
        )

    assert all(answer.json["DialPlan"] for answer in answers)
    assert asked(crm) == 1


@pytest.mark.parametrize("phone", ["", "anonymous", "150", "0001301", "<script>", "'; DROP", "1" * 500])
def test_a_caller_without_a_number_is_the_usual_scheme(ask, crm, phone):
    answer = ask(phone=phone)

    assert answer.status_code == 200
    assert answer.json["DialPlan"] is None
    assert asked(crm) == 0
    assert_harmless(answer.text)


@pytest.mark.parametrize("line", ["", "a_b", "x,y", '"', "0001301\n", "я"])
def test_a_line_that_would_be_misread_is_the_usual_scheme(ask, line):
    answer = ask(line=line)

    assert (answer.status_code, answer.json["DialPlan"]) == (200, None)
    assert_harmless(answer.text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ромашка, ООО", "Ромашка ООО"),
        ('"Ромашка"', "Ромашка"),
        ("<b>Иван</b>", "Иван"),
        ("O'Neil; rm -rf /", "O Neil rm -rf"),
        ("a\\u0022b{c}[d]$(e)`f`|g&h", "a u0022b c d e f g h"),
        ("Я", "Я | 375291111111"),
        ("\u202eevil\u200b", "evil"),
    ],
)
def test_no_name_can_harm_a_dialplan(ask, account, name, shown):
    account(customers=[{"phones": [CUSTOMER], "first_name": name, "manager_id": 19}])

    answer = ask()

    assert answer.json["Name"] == shown
    assert_harmless(answer.text)


def assert_harmless(text):
    assert len(text) >= 30
    assert text.startswith('{"Name":"')
    assert json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) == text
    assert text.count(",") == 1
    assert not set("<>'\\&;$`") & set(text)


# Trouble


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"mode": "hang_before_apply"}, {"crm_slow", "out_of_time"}),
        ({"mode": "slow", "delay_ms": 3000}, {"crm_slow", "out_of_time"}),
        ({"mode": "ok_then_rst"}, {"crm_slow"}),
        ({"mode": "error_500"}, {"crm_unavailable"}),
        ({"mode": "html"}, {"crm_unavailable", "crm_refused"}),
        ({"mode": "slow_drip"}, {"crm_slow", "crm_unavailable", "out_of_time"}),
    ],
)
def test_a_crm_in_trouble_is_the_usual_scheme_within_the_budget(*, ask, crm, process, decisions, fault, reason):
    process.setenv("SMART_REDIRECT_BUDGET_MS", "400")
    config.current.cache_clear()
    crm.fault(**fault, endpoint="manager")

    began = time.monotonic()
    answer = ask()
    seconds = time.monotonic() - began

    assert (answer.status_code, answer.json) == (200, {"Name": "375291111111", "DialPlan": None})
    assert seconds < 3.0
    [(status, error, _, response)] = decisions()
    assert status == "error"
    assert error
    assert response["reason"] in reason


def test_a_crm_that_keeps_failing_is_left_alone_for_a_while(ask, crm, process, decisions):
    process.setenv("SMART_REDIRECT_BUDGET_MS", "300")
    config.current.cache_clear()
    crm.fault("hang_before_apply", endpoint="manager")

    for digit in range(3):
        ask(phone=f"37529111111{digit}")
    ask(phone="375291111119")

    assert decisions(4)[3][3]["reason"] == "crm_paused"


def test_a_dead_crm_is_the_usual_scheme(function, provisioned, sql, decisions, process):
    provisioned(domain="http://127.0.0.1:9", smart_redirect_mode="routing+name")

    answer = function("smart-redirect").post(
        "/api/callevent/getcustomerdata", json={"Phone": "375291111111", "TrunkId": "0001301"}, headers={"Token": TOKEN}
    )

    assert (answer.status_code, answer.json["DialPlan"]) == (200, None)
    assert decisions()[0][3]["reason"] == "crm_unavailable"
    router.close()


def test_a_database_that_is_away_is_the_usual_scheme_within_the_budget(ask, process):
    process.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    config.current.cache_clear()
    db.close()

    began = time.monotonic()
    answer = ask()

    assert (answer.status_code, answer.json) == (200, {"Name": "375291111111", "DialPlan": None})
    assert time.monotonic() - began < 1.3


def test_an_integration_that_is_switched_off_routes_nobody(ask, provisioned, crm):
    provisioned(domain=crm.url, enabled=False)

    assert ask().json["DialPlan"] is None
    assert asked(crm) == 0


def test_others_are_told_what_is_wrong_with_their_question(redirect):
    answer = redirect.post(
        "/retailcrm/api/smart-redirect", json={"enterprise_number": "0367"}, headers={"Token": TOKEN}
    )

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_payload")
