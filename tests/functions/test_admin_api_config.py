from __future__ import annotations

import logging

import psycopg
import pytest

from lib.admin.screens.configuration import SETTINGS
from lib.calls.settings import Settings
from lib.click import settings as clicks
from lib.redirect import settings as redirect
from lib.runtime import logs
from tests.harness.enterprises import enterprise
from tests.harness.servers import push_envelope

UNHURRIED = {"behaviour": {"other_per_second": 0}}
KEY = "a-new-key-that-nobody-shall-see-a1b2"


@pytest.fixture
def crm(crm_server):
    crm_server.clear()
    crm_server.account("0367", **UNHURRIED)
    return crm_server


@pytest.fixture
def connected(crm, page, provisioned):
    """The page of an enterprise whose CRM is the simulator."""
    provisioned(domain=crm.url)
    return page


def checks(answer):
    return {check["name"]: check for check in answer.json["checks"]}


def fields(answer):
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_fields")
    return {name: problem["message"] for name, problem in answer.json["error"]["fields"].items()}


def wrong(answer):
    """What is wrong with which field, as the page hears it."""
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_fields")
    return {name: (problem["code"], problem["params"]) for name, problem in answer.json["error"]["fields"].items()}


def saved(sql):
    return sql("SELECT integrations_config -> 'retailcrm' FROM enterprises")[0][0]


def test_the_key_is_shown_by_its_end_only(page):
    shown = page.get("config/0367")

    assert shown.json["api_key"] == {"is_set": True, "is_readable": True, "last_four": "0367"}
    assert shown.json["domain"] == "http://127.0.0.1:9"
    assert shown.json["defaults"]["popup_max_age_seconds"] == 15
    assert "key-of-0367" not in shown.text


def test_the_fields_of_a_save_are_merged_and_the_rest_stays(page, sql):
    version = page.get("config/0367").json["version"]

    saved = page.put(
        "config/0367", {"version": version, "settings": {"settle_seconds": 9, "owner_policy": "first_talker"}}
    )

    assert saved.json["version"] == version + 1
    assert saved.json["settings"]["settle_seconds"] == 9
    [(section,)] = sql("SELECT integrations_config -> 'retailcrm' FROM enterprises")
    assert section["user_extensions"]["18"] == "150"
    assert section["owner_policy"] == "first_talker"
    [(request,)] = sql("SELECT request_data FROM integration_logs WHERE event_type = 'config'")
    assert request == {"by": "admin", "changed": ["owner_policy", "settle_seconds"], "version": version + 1}


def test_null_brings_the_default_back(page, sql):
    version = page.get("config/0367").json["version"]
    page.put("config/0367", {"version": version, "settings": {"settle_seconds": 9}})

    saved = page.put("config/0367", {"version": version + 1, "settings": {"settle_seconds": None}})

    assert saved.json["settings"]["settle_seconds"] is None
    assert sql("SELECT integrations_config -> 'retailcrm' ? 'settle_seconds' FROM enterprises") == [(False,)]


def test_saving_the_same_settings_makes_no_new_version(page):
    version = page.get("config/0367").json["version"]

    saved = page.put("config/0367", {"version": version, "enabled": True})

    assert saved.json["version"] == version


def test_a_save_over_somebody_elses_is_refused_with_theirs(page):
    version = page.get("config/0367").json["version"]
    page.put("config/0367", {"version": version, "settings": {"settle_seconds": 9}})

    late = page.put("config/0367", {"version": version, "settings": {"settle_seconds": 3}})

    assert (late.status_code, late.json["error"]["code"]) == (409, "conflict")
    assert late.json["error"]["current"]["settings"]["settle_seconds"] == 9
    assert "key-of-0367" not in late.text


def test_every_problem_is_named_at_its_field(page):
    answer = page.put(
        "config/0367",
        {
            "enabled": "yes",
            "api_key": "two words",
            "settings": {
                "settle_seconds": -1,
                "owner_policy": "anybody",
                "colour": "red",
                "smart_redirect_names": ["x"],
            },
        },
    )

    assert fields(answer) == {
        "version": "is missing",
        "enabled": "must be true or false",
        "api_key": "must be an API key: characters without spaces",
        "settings.settle_seconds": "must be a number or null from 0 to 600",
        "settings.owner_policy": "must be one of last_talker, first_talker",
        "settings.colour": "is not known here",
        "settings.smart_redirect_names[0]": "must be one of line, shop, customer",
    }


@pytest.mark.parametrize(
    "domain",
    [
        "example.com",
        "http://demo.retailcrm.ru",
        "https://demo.retailcrm.ru@example.com",
        "demo.retailcrm.ru.example.com",
        "10.0.0.1",
    ],
)
def test_a_key_goes_to_retailcrm_only(page, domain):
    version = page.get("config/0367").json["version"]

    answer = page.put("config/0367", {"version": version, "domain": domain, "api_key": KEY})

    assert fields(answer)["domain"].startswith("must be an https address of RetailCRM")


def test_a_saved_key_does_not_follow_to_another_domain(page):
    version = page.get("config/0367").json["version"]

    alone = page.put("config/0367", {"version": version, "domain": "demo.retailcrm.ru"})
    with_key = page.put("config/0367", {"version": version, "domain": "demo.retailcrm.ru", "api_key": KEY})

    assert fields(alone) == {"api_key": "must be entered again for another domain"}
    assert with_key.json["domain"] == "https://demo.retailcrm.ru"
    assert with_key.json["api_key"]["last_four"] == "a1b2"


def test_a_key_is_found_nowhere_in_clear(connected, crm, database_url, capfd):
    logs.configure()
    crm.account("other", api_key=KEY, **UNHURRIED)
    version = connected.get("config/0367").json["version"]

    stored = connected.put("config/0367", {"version": version, "api_key": KEY})
    tested = connected.post("config/0367/test")
    refused = connected.put("config/0367", {"version": version, "api_key": KEY + " "})
    stale = connected.put("config/0367", {"version": version, "api_key": KEY})

    logging.getLogger("test").info("the end", extra={"api_key": KEY})
    out, err = capfd.readouterr()
    assert tested.json["success"]
    assert "the end" in out
    assert not any(KEY in text for text in (stored.text, tested.text, refused.text, stale.text, out, err))
    with psycopg.connect(database_url) as conn:
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        dump = "".join(str(conn.execute(f'SELECT t::text FROM "{name}" t').fetchall()) for (name,) in tables)
    assert "0367" in dump
    assert KEY not in dump


def test_a_field_is_refused_by_a_code_with_parameters(page):
    answer = page.put(
        "config/0367",
        {
            "version": 0,
            "domain": "",
            "api_key": "two words",
            "settings": {"settle_seconds": 601, "owner_policy": "anybody", "colour": "red"},
        },
    )

    assert wrong(answer) == {
        "domain": ("crm_address", {}),
        "api_key": ("api_key", {}),
        "settings.settle_seconds": ("range", {"least": 0, "most": 600}),
        "settings.owner_policy": ("choice", {"choices": ["last_talker", "first_talker"]}),
        "settings.colour": ("unknown_field", {}),
    }


def test_the_address_is_taken_as_it_stands_in_the_browser(connected, crm):
    version = connected.get("config/0367").json["version"]

    found = connected.put(
        "config/0367", {"version": version, "domain": f"{crm.url}/admin/orders?page=2#top", "api_key": "key-of-0367"}
    )

    assert found.json["domain"] == crm.url


@pytest.mark.parametrize("way", ["put", "post"])
def test_a_key_that_retailcrm_refuses_replaces_none(connected, commands, sql, way):
    before = saved(sql)
    path = "config/0367" if way == "put" else "register/0367"

    answer = getattr(connected, way)(path, {"version": before.get("version", 0), "api_key": "nobody-s-key"})

    assert wrong(answer) == {
        "api_key": ("key_refused", {"status": 403, "words": 'Wrong "apiKey" value.', "host": mine(before)})
    }
    assert saved(sql) == before
    assert commands() == []


def mine(section):
    return section["domain"].removeprefix("http://")


def test_a_key_without_the_rights_that_are_needed_replaces_none(connected, crm, sql):
    before = saved(sql)
    crm.account("other", api_key=KEY, **UNHURRIED, scopes=["telephony_write", "user_read"])

    answer = connected.post("register/0367", {"version": before.get("version", 0), "api_key": KEY})

    assert wrong(answer) == {"api_key": ("scopes_missing", {"scopes": ["integration_read", "integration_write"]})}
    assert saved(sql) == before


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (None, "unreachable", None),
        ("error_503", "busy", "Service temporary unavailable"),
        ("error_500", "fault", "Internal server error"),
        ("html", "not_retailcrm", None),
        ("truncated_json", "not_retailcrm", None),
    ],
)
def test_an_address_that_does_not_answer_as_it_should_replaces_none(*, connected, crm, sql, fault, code, words):
    before = saved(sql)
    given = {"version": before.get("version", 0), "domain": crm.url if fault else "127.0.0.1:9", "api_key": KEY}
    if fault:
        crm.account("other", api_key=KEY, **UNHURRIED)
        crm.fault(fault, account="other", endpoint="other")

    answer = connected.post("register/0367", given)

    [(field, (found, params))] = wrong(answer).items()
    assert (field, found, params["words"]) == ("domain", code, words)
    assert saved(sql) == before


def test_saving_and_registering_are_one(connected, crm, commands, sql):
    crm.account("other", api_key=KEY, **UNHURRIED)
    version = connected.get("config/0367").json["version"]

    answer = connected.post("register/0367", {"version": version, "domain": crm.url, "api_key": KEY})

    assert answer.status_code == 202
    assert (answer.json["command"]["action"], answer.json["command"]["state"]) == ("register", "ready")
    assert (answer.json["config"]["version"], answer.json["config"]["api_key"]["last_four"]) == (version + 1, "a1b2")
    assert connected.get("config/0367").json == answer.json["config"]
    assert commands() == [{"enterprise_number": "0367"}]
    late = connected.post("register/0367", {"version": version, "api_key": KEY})
    assert (late.status_code, late.json["error"]["code"]) == (409, "conflict")
    assert wrong(connected.post("register/0367", {"api_key": KEY})) == {"version": ("missing", {})}
    assert sql("SELECT count(*) FROM module_commands") == [(1,)]


def test_switching_on_registers(connected, commands, provisioned, crm):
    provisioned(domain=crm.url, enabled=False)
    version = connected.get("config/0367").json["version"]

    on = connected.put("config/0367", {"version": version, "enabled": True})
    same = connected.put("config/0367", {"version": version + 1, "enabled": True})

    assert (on.json["enabled"], same.json["enabled"]) == (True, True)
    assert commands() == [{"enterprise_number": "0367"}]
    assert [one["action"] for one in connected.get("register/0367").json["commands"]] == ["register"]


def test_deleting_switches_the_module_off_first_and_leaves_a_link_to_the_sign_in(connected, crm, function, commands):
    connected.post("register/0367")
    assert function("register-module").post("/", json=push_envelope({"enterprise_number": "0367"})).status_code == 204
    assert crm.module("0367")["active"] is True

    deleted = connected.delete("config/0367")

    assert deleted.json["module"] == {"state": "off", "trouble": None}
    module = crm.module("0367")
    assert module["active"] is False
    assert module["accountUrl"] == "http://127.0.0.1:8080/retailcrm-admin/?enterprise_number=0367"
    assert connected.get("config/0367").json["api_key"]["is_set"] is False


@pytest.mark.parametrize(("mode", "code"), [("error_503", "busy"), ("error_500", "fault")])
def test_deleting_says_what_it_could_not_switch_off(connected, crm, sql, mode, code):
    crm.forget("0367")
    crm.account("0367", **UNHURRIED, module={"code": "vochi-telephony"})
    crm.fault(mode, account="0367", endpoint="module_edit")

    deleted = connected.delete("config/0367")

    assert (deleted.json["module"]["state"], deleted.json["module"]["trouble"]["code"]) == ("left", code)
    assert "api_key" not in saved(sql)
    [(request,)] = sql("SELECT request_data FROM integration_logs WHERE event_type = 'config'")
    assert request["module"] == "left"


def test_where_there_is_no_module_there_is_nothing_to_switch_off(connected, provisioned):
    assert connected.delete("config/0367").json["module"] == {"state": "absent", "trouble": None}
    assert connected.delete("config/0367").json["module"] == {"state": "absent", "trouble": None}


def test_nothing_is_deleted_while_the_module_is_being_changed(connected, commands, sql):
    connected.post("register/0367")
    before = saved(sql)
    sql("UPDATE module_commands SET state = 'leased', lease_until = now() + interval '40 s' RETURNING 1")

    answer = connected.delete("config/0367")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "module_busy")
    assert saved(sql) == before
    sql("UPDATE module_commands SET state = 'ready', lease_until = NULL RETURNING 1")
    assert connected.delete("config/0367").status_code == 200
    assert sql("SELECT state FROM module_commands") == [("superseded",)]


def test_deleting_forgets_the_connection_its_links_and_other_sessions(page, browser, sql):
    other = browser()
    other.sign_in()
    version = page.get("config/0367").json["version"]

    deleted = page.delete("config/0367")

    assert deleted.json["api_key"]["is_set"] is False
    assert deleted.json["enabled"] is False
    assert sql("SELECT integrations_config -> 'retailcrm', account_link_version FROM enterprises") == [
        ({"enabled": False, "version": version + 1}, 2)
    ]
    assert page.get("session").status_code == 200
    assert other.get("session").status_code == 401


def test_a_setting_that_cannot_be_followed_is_named(page, sql):
    sql(
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm}',"
        " integrations_config -> 'retailcrm' || %s::jsonb) RETURNING 1",
        '{"settle_seconds": "soon", "smart_redirect_mode": "always", "click_daily_limit": -1}',
    )

    named = [problem["setting"] for problem in page.get("config/0367").json["problems"]]

    assert named == ["settle_seconds", "smart_redirect_mode", "click_daily_limit"]


def test_every_setting_that_is_accepted_is_understood_by_the_rules():
    for name, shape in SETTINGS.items():
        values = [value for value in shape.get("enum", ()) if value] + [
            shape[bound] for bound in ("minimum", "maximum") if bound in shape
        ]
        for value in values:
            assert Settings.from_config({name: value}).problems == ()
            assert redirect.for_line({name: value}, "").problems == ()
            assert clicks.read({name: value}, "BY").problems == ()
        if "maximum" in shape:
            beyond = {name: shape["maximum"] + 1}
            assert Settings.from_config(beyond).problems or clicks.read(beyond, "BY").problems


def test_a_connection_that_works_is_ticked_check_by_check(connected):
    answer = connected.post("config/0367/test")

    found = checks(answer)
    assert answer.json["success"] is True
    assert [*found] == ["credentials", "scopes", "versions", "timezone", "module"]
    assert {name: check["state"] for name, check in found.items()} == {
        "credentials": "ok",
        "scopes": "ok",
        "versions": "ok",
        "timezone": "ok",
        "module": "warning",
    }
    assert found["module"]["message"] == "The module is not registered yet: save, then register"
    assert found["credentials"]["latency_ms"] > 0


def test_a_wrong_key_is_said_in_retailcrms_words(connected):
    answer = connected.post("config/0367/test", {"api_key": "wrong"})

    assert answer.json["success"] is False
    assert checks(answer)["credentials"]["message"] == 'RetailCRM: Wrong "apiKey" value.'


def test_a_missing_scope_says_what_breaks(connected, crm):
    crm.account("0367", **UNHURRIED, scopes=["telephony_write", "integration_read", "integration_write"])

    found = checks(connected.post("config/0367/test"))

    assert found["scopes"]["state"] == "failed"
    assert [scope["name"] for scope in found["scopes"]["facts"]["missing"]] == ["telephony_read", "user_read"]
    assert "user_read is missing: managers are not listed" in found["scopes"]["message"]


def test_an_old_key_is_judged_by_its_paths(connected, crm):
    crm.account("0367", **UNHURRIED, scopes=None)

    assert checks(connected.post("config/0367/test"))["scopes"]["state"] == "ok"


def test_another_time_zone_is_a_warning(connected, crm):
    crm.account("0367", **UNHURRIED, timezone="Europe/Moscow")

    found = checks(connected.post("config/0367/test"))["timezone"]

    assert (found["state"], found["facts"]) == ("warning", {"crm": "Europe/Moscow", "enterprise": "Europe/Minsk"})


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("html", "web page"),
        ("error_500", "Internal"),
        ("error_503", "Service temporary unavailable"),
        ("truncated_json", "not RetailCRM's"),
    ],
)
def test_a_crm_that_fails_is_no_error_of_ours(connected, crm, mode, words):
    crm.fault(mode, account="0367", endpoint="other")

    answer = connected.post("config/0367/test")

    assert answer.status_code == 200
    assert words in checks(answer)["credentials"]["message"]


def test_a_saved_key_is_not_sent_to_an_address_that_is_only_tried(page, provisioned):
    provisioned()

    found = checks(page.post("config/0367/test", {"domain": "demo.retailcrm.ru"}))

    assert found["settings"]["message"] == "Enter the API key too: the one that is saved belongs to another address"


def test_a_key_that_cannot_be_read_must_be_entered_again(page, sql):
    sql(
        "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm,api_key}', '\"v1.old.AAAA\"') RETURNING 1"
    )

    assert page.get("config/0367").json["api_key"] == {"is_set": True, "is_readable": False, "last_four": None}
    assert "VAULT_KEYS" in checks(page.post("config/0367/test"))["settings"]["message"]


def test_another_enterprise_does_not_exist_for_a_session(page, provisioned):
    provisioned(**{k: v for k, v in enterprise("0368", token="375290000002").items() if k in {"number", "token"}})

    for method, path in (
        ("GET", "config/0368"),
        ("PUT", "config/0368"),
        ("DELETE", "config/0368"),
        ("POST", "config/0368/test"),
        ("GET", "config/9999"),
    ):
        answer = page.ask(method, path, {"version": 0})
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_enterprise")


def test_clicks_have_the_countries_of_the_enterprises_region_until_it_chooses(page):
    shown = page.get("config/0367").json
    saved = page.put(
        "config/0367",
        {"version": shown["version"], "settings": {"click_countries": ["BY", "TR"], "click_number_kinds": ["premium"]}},
    ).json

    assert {"BY", "RU", "UA", "KZ"} <= {*shown["defaults"]["click_countries"]}
    assert shown["settings"]["click_countries"] is None
    assert (shown["defaults"]["click_number_kinds"], shown["defaults"]["click_daily_limit"]) == ([], 3000)
    assert {"BY", "TR", "CU"} <= {*shown["countries"]}
    assert saved["settings"]["click_countries"] == ["BY", "TR"]
    assert saved["settings"]["click_number_kinds"] == ["premium"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"click_countries": ["ZZ"]}, {"settings.click_countries[0]": "must be a country, as BY, or * for every one"}),
        (
            {"click_number_kinds": ["mobile"]},
            {"settings.click_number_kinds[0]": "must be one of premium, shared_cost, satellite"},
        ),
        ({"click_daily_limit": 0}, {"settings.click_daily_limit": "must be a whole number or null from 1 to 20000"}),
        ({"click_daily_limit": 1.5}, {"settings.click_daily_limit": "must be a whole number or null from 1 to 20000"}),
    ],
)
def test_whom_clicks_may_call_is_checked(page, settings, problem):
    version = page.get("config/0367").json["version"]

    assert fields(page.put("config/0367", {"version": version, "settings": settings})) == problem
