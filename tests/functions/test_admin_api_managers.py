from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.servers import push_envelope

UNHURRIED = {"other_per_second": 0}


@pytest.fixture
def crm(fresh_crm):
    """Four managers; the CRM has an extension for two of them, one of which differs from ours."""
    fresh_crm.forget("0367")
    account(fresh_crm, additional_codes=[{"user_id": 18, "code": "150"}, {"user_id": 19, "code": "109"}])
    return fresh_crm


@pytest.fixture
def connected(crm, commands, page, provisioned):
    provisioned(domain=crm.url)
    return page


def account(crm, **changes):
    users = [{"id": user, "first_name": f"Manager {user}", "last_name": "Example"} for user in (18, 19, 20, 21)]
    crm.account("0367", **{"users": users, "behaviour": UNHURRIED, "module": {"code": "vochi-telephony"}, **changes})


def by_user(answer):
    return {manager["user_id"]: manager for manager in answer.json["managers"]}


def wrong(answer):
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_fields")
    return {name: (problem["code"], problem["params"]) for name, problem in answer.json["error"]["fields"].items()}


def mapping_of(sql):
    return sql("SELECT integrations_config #> '{retailcrm,user_extensions}' FROM enterprises")[0][0]


def test_managers_are_listed_with_both_extensions(connected):
    answer = connected.get("managers/0367")

    managers = by_user(answer)
    assert answer.json["crm"] == {"is_available": True, "trouble": None, "is_registered": True}
    assert managers[18]["first_name"] == "Manager 18"
    assert (managers[18]["extension"], managers[18]["crm_extension"]) == ("150", "150")
    assert (managers[19]["extension"], managers[19]["crm_extension"]) == ("151", "109")
    assert [(item["kind"], item["user_id"]) for item in answer.json["differences"]] == [
        ("other", 19),
        ("not_in_crm", 20),
        ("not_in_crm", 21),
    ]


def test_every_page_of_users_is_read(connected, crm):
    account(crm, users=[{"id": user} for user in range(1, 131)])

    answer = connected.get("managers/0367")

    assert len(answer.json["managers"]) == 130
    assert [entry["query"]["page"] for entry in crm.entries("0367", "users")] in (
        ["1", "2", "3"],
        [["1"], ["2"], ["3"]],
    )


def test_the_crms_extensions_are_imported_the_first_time_only(connected, sql):
    sql("UPDATE enterprises SET integrations_config = integrations_config #- '{retailcrm,user_extensions}' RETURNING 1")

    first = connected.get("managers/0367")
    connected.post("save-extensions/0367", {"user_extensions": {"18": None}})
    again = connected.get("managers/0367")

    assert by_user(first)[19]["extension"] == "109"
    assert by_user(again)[18]["extension"] is None
    assert mapping_of(sql) == {"18": None, "19": "109"}


@pytest.mark.parametrize("endpoint", ["users", "module"])
def test_a_crm_that_fails_changes_nothing(connected, crm, sql, endpoint):
    sql("UPDATE enterprises SET integrations_config = integrations_config #- '{retailcrm,user_extensions}' RETURNING 1")
    crm.fault("error_500", account="0367", endpoint=endpoint)

    answer = connected.get("managers/0367")

    assert answer.status_code == 200
    assert answer.json["crm"]["is_available"] is False
    assert answer.json["differences"] == []
    assert mapping_of(sql) is None


def test_an_empty_crm_wipes_nothing(connected, crm, sql):
    account(crm, users=[], additional_codes=[])
    before = mapping_of(sql)

    answer = connected.get("managers/0367")

    assert mapping_of(sql) == before
    assert by_user(answer)[18]["is_in_crm"] is False


def test_managers_unknown_to_the_crm_are_listed_with_their_calls(connected, sql):
    for call, codes in (("1.1", ["151"]), ("1.1", ["151"]), ("1.2", ["151", "152"])):
        sql(
            "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, response_data, status) "
            "VALUES ('0367', 'retailcrm', 'popup', %s, %s, 'success') RETURNING 1",
            json.dumps({"event": {"callExternalId": call}}),
            json.dumps({"body": {"success": True, "notExistCodes": codes}}),
        )

    answer = connected.get("managers/0367")

    assert {(item["kind"], item["value"], item["calls"]) for item in answer.json["unknown_to_crm"]} == {
        ("extension", "151", 2),
        ("extension", "152", 1),
    }


def test_extensions_are_listed_with_their_owners(connected):
    phones = {phone["extension"]: phone for phone in connected.get("internal-phones/0367").json["internal_phones"]}

    assert phones["150"] == {
        "extension": "150",
        "login": "150",
        "first_name": "Anna",
        "last_name": "",
        "manager_user_id": 18,
    }
    assert (phones["109"]["login"], phones["109"]["manager_user_id"]) == (None, None)


def test_a_number_that_is_somebody_elses_moves(connected, commands, sql):
    answer = connected.post("save-extensions/0367", {"user_extensions": {"19": "150"}})

    assert answer.json["taken"] == [{"extension": "150", "from_user_id": 18, "to_user_id": 19}]
    assert mapping_of(sql) == {"18": None, "19": "150", "20": "152", "21": "153"}
    assert commands() == [{"enterprise_number": "0367"}]
    shown = connected.get("user-extensions/0367").json
    assert shown["user_extensions"]["19"] == "150"
    assert (shown["command"]["action"], shown["command"]["state"]) == ("push_mapping", "ready")


def test_saving_reaches_the_crm_and_a_failed_push_is_seen_and_repeated(connected, function, crm, sql):
    worker = function("register-module")
    crm.fault("error_503", account="0367", endpoint="module_edit", requests=1)
    connected.post("save-extensions/0367", {"user_extensions": {"19": "109", "20": "151"}})

    push(worker)
    failed = connected.get("user-extensions/0367").json["command"]
    sql("UPDATE module_commands SET run_at = clock_timestamp() RETURNING 1")
    push(worker)

    assert (failed["state"], failed["code"]) == ("retry", "crm_busy")
    assert failed["retry_at"]
    assert connected.get("user-extensions/0367").json["command"]["state"] == "done"
    assert connected.get("managers/0367").json["differences"] == []


def push(worker):
    assert worker.post("/", json=push_envelope({"enterprise_number": "0367"})).status_code == 204


def test_concurrent_saves_leave_an_extension_with_one_manager(connected, browser, sql):
    pages = [browser() for _ in range(4)]
    assert [page.sign_in().status_code for page in pages] == [200] * 4

    with ThreadPoolExecutor(4) as pool:
        wanted = [{"user_extensions": {str(user): "109"}} for user in (18, 19, 20, 21)]
        answers = list(
            pool.map(lambda pair: pair[0].post("save-extensions/0367", pair[1]), zip(pages, wanted, strict=True))
        )

    assert [answer.status_code for answer in answers] == [200] * 4
    assert list(mapping_of(sql).values()).count("109") == 1
    assert sum(len(answer.json["taken"]) for answer in answers) == 3


def test_every_problem_stands_at_its_manager_and_nothing_is_saved(connected, commands, sql):
    before = mapping_of(sql)

    answer = connected.post("save-extensions/0367", {"user_extensions": {"18": "777", "19": "109", "20": "109"}})
    malformed = connected.post("save-extensions/0367", {"user_extensions": {"x": "150", "18": "SIP/150"}})

    assert wrong(answer) == {
        "user_extensions.18": ("no_such_extension", {"extension": "777"}),
        "user_extensions.20": ("given_twice", {"extension": "109", "user_id": 19}),
    }
    assert wrong(malformed) == {"user_extensions.x": ("name", {}), "user_extensions.18": ("extension", {})}
    assert mapping_of(sql) == before
    assert commands() == []


def test_saving_the_same_mapping_sends_nothing_to_the_crm(connected, commands):
    answer = connected.post("save-extensions/0367", {"user_extensions": {"18": "150"}})

    assert answer.status_code == 200
    assert answer.json["command"] is None
    assert commands() == []


def test_a_sync_makes_the_crm_the_same(connected, function):
    asked = connected.post("sync-extensions/0367")
    push(function("register-module"))

    assert asked.status_code == 202
    assert connected.get("managers/0367").json["differences"] == []


def test_lines_are_changed_field_by_field(connected, commands, sql):
    changed = {"line_id": "0001301", "name": "Shop", "site_code": "main"}

    answer = connected.put("lines/0367", {"lines": [changed]})

    assert answer.json["lines"][0] == {
        "line_id": "0001301",
        "name": "Shop",
        "phone_number": "+375290000101",
        "site_code": "main",
        "incoming_transform": None,
    }
    assert commands() == [{"enterprise_number": "0367"}]
    cleared = connected.put("lines/0367", {"lines": [{"line_id": "belline1", "incoming_transform": None}]})
    assert cleared.json["lines"][3]["incoming_transform"] is None


def test_a_line_that_is_wrong_changes_none(connected, sql):
    unknown = connected.put("lines/0367", {"lines": [{"line_id": "0001301", "name": "x"}, {"line_id": "nobody"}]})
    malformed = connected.put("lines/0367", {"lines": [{"line_id": "0001301", "incoming_transform": "375"}]})

    assert wrong(unknown) == {"lines[1].line_id": ("no_such_line", {})}
    assert wrong(malformed) == {"lines[0].incoming_transform": ("number_rule", {})}
    assert sql("SELECT name FROM lines WHERE line_id = '0001301'") == [("",)]


@pytest.mark.parametrize(
    ("query", "with_rule", "without_rule"),
    [
        ({"raw": "291111111", "line_id": "belline1"}, "+375291111111", "+375291111111"),
        ({"raw": "900291111111", "line_id": "belline1"}, "+375291111111", None),
        ({"raw": "900291111111", "incoming_transform": "+375{9}"}, "+375291111111", None),
        ({"raw": "900291111111", "line_id": "belline1", "incoming_transform": ""}, None, None),
        ({"raw": "Anonymous", "line_id": "belline1"}, None, None),
    ],
)
def test_the_tester_says_what_a_number_becomes(connected, query, with_rule, without_rule):
    answer = connected.get("lines/0367", **query)

    assert answer.json["test"] == {"raw": query["raw"], "with_rule": with_rule, "without_rule": without_rule}


def test_a_shop_that_the_account_does_not_have_is_refused_at_its_line(connected, crm, sql):
    account(crm, sites=["main", "second"])

    offered = connected.get("shops/0367").json
    refused = connected.put(
        "lines/0367",
        {"lines": [{"line_id": "0001302", "site_code": "second"}, {"line_id": "0001301", "site_code": "nowhere"}]},
    )
    accepted = connected.put("lines/0367", {"lines": [{"line_id": "0001302", "site_code": "second"}]})

    assert offered == {
        "shops": [{"code": "main", "name": "main"}, {"code": "second", "name": "second"}],
        "trouble": None,
    }
    assert wrong(refused) == {"lines[1].site_code": ("no_such_shop", {"shop": "nowhere"})}
    assert accepted.json["unchecked"] is None
    assert sql("SELECT line_id, site_code FROM lines WHERE site_code IS NOT NULL") == [("0001302", "second")]


def test_where_the_shops_are_not_known_they_are_saved_unchecked_and_it_is_said(connected, crm):
    account(crm, scopes=["telephony_write", "telephony_read", "integration_read", "integration_write", "user_read"])

    offered = connected.get("shops/0367").json
    saved = connected.put("lines/0367", {"lines": [{"line_id": "0001301", "site_code": "nowhere"}]})

    assert (offered["shops"], offered["trouble"]["code"]) == ([], "key_refused")
    assert offered["trouble"]["words"] == "Access denied."
    assert saved.json["unchecked"]["code"] == "key_refused"
    assert saved.json["lines"][0]["site_code"] == "nowhere"


def test_a_shop_that_is_saved_already_does_not_keep_a_line_from_being_changed(connected, sql):
    sql("UPDATE lines SET site_code = 'gone' WHERE line_id = '0001301' RETURNING 1")

    changed = connected.put("lines/0367", {"lines": [{"line_id": "0001301", "name": "Shop", "site_code": "gone"}]})

    assert changed.json["lines"][0]["name"] == "Shop"


def test_differences_with_the_crm_are_logged_and_set_right_by_what_is_here(connected, commands, function, crm, sql):
    first = connected.get("managers/0367").json
    again = connected.get("managers/0367").json
    push(function("register-module"))

    assert (first["repair"], again["repair"]) == ("begun", "tried")
    assert commands() == [{"enterprise_number": "0367"}]
    [(request,)] = sql("SELECT request_data FROM integration_logs WHERE event_type = 'repair_mapping'")
    assert request["differences"][0] == {"kind": "other", "user_id": 19, "ours": "151", "crm": "109"}
    after = connected.get("managers/0367").json
    assert (after["differences"], after["repair"]) == ([], "none")
    assert {
        item["userId"]: item["code"] for item in crm.module("0367")["integrations"]["telephony"]["additionalCodes"]
    } == {
        18: "150",
        19: "151",
        20: "152",
        21: "153",
    }


def test_what_only_the_crm_has_stays_there_and_nobody_is_pushed_while_it_is_off(connected, crm, provisioned, sql):
    crm.forget("0367")
    account(crm, additional_codes=[{"user_id": user, "code": str(user + 132)} for user in (18, 19, 20)])
    provisioned(domain=crm.url, user_extensions={"18": "150", "19": "151"})
    of_theirs = connected.get("managers/0367").json
    provisioned(domain=crm.url, user_extensions={"18": "151", "19": "150"}, enabled=False)
    while_off = connected.get("managers/0367").json

    assert ([item["kind"] for item in of_theirs["differences"]], of_theirs["repair"]) == (["not_ours"], "none")
    assert (len(while_off["differences"]), while_off["repair"]) == (3, "none")
    assert sql("SELECT count(*) FROM module_commands") == [(0,)]


def test_why_the_crm_was_not_read_is_a_code(connected, crm, provisioned, sql):
    crm.fault("error_503", account="0367", endpoint="users")
    busy = connected.get("managers/0367").json["crm"]
    provisioned()
    away = connected.get("managers/0367").json["crm"]
    sql("UPDATE enterprises SET integrations_config = integrations_config #- '{retailcrm,api_key}' RETURNING 1")
    nothing = connected.get("managers/0367").json["crm"]

    assert (busy["trouble"]["code"], busy["trouble"]["words"]) == ("busy", "Service temporary unavailable")
    assert away["trouble"] == {"code": "unreachable", "words": None, "params": {}}
    assert nothing["trouble"]["code"] == "not_configured"
