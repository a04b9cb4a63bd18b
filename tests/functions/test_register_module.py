from __future__ import annotations

import jwt
import pytest

from infra.deployment import topology
from lib.retailcrm import registration
from lib.runtime import config
from tests.harness.page import API
from tests.harness.servers import push_envelope


@pytest.fixture
def crm(fresh_crm):
    return fresh_crm


@pytest.fixture
def connected(crm, commands, page, provisioned, sql):
    """The page of an enterprise that is connected to a CRM which does not know the module yet."""
    provisioned(domain=crm.url)
    sql("UPDATE lines SET site_code = 'main' WHERE line_id = '0001301' RETURNING 1")
    return page


@pytest.fixture
def worker(connected, function):
    """Delivers what was published to the function, or a tick."""
    client = function("register-module")

    def push(path="/", body=None):
        answer = client.post(path, json=push_envelope(body or {"enterprise_number": "0367"}))
        assert answer.status_code == 204
        return answer

    return push


def latest(page):
    return page.get("register/0367").json["commands"][0]


def link_of(module):
    return module["accountUrl"].partition("token=")[2]


def test_registering_makes_the_whole_module(connected, worker, crm, commands, sql):
    asked = connected.post("register/0367")
    published = commands()
    worker(body=published[0])

    assert (asked.status_code, asked.json["command"]["state"]) == (202, "ready")
    assert published == [{"enterprise_number": "0367"}]
    command = latest(connected)
    assert (command["state"], command["code"]) == ("done", "done")
    assert command["message"] == "The module is registered and active; managers with an extension: 4"
    assert [(step["name"], step["state"]) for step in command["steps"]] == [
        ("read", "done"),
        ("timezone", "done"),
        ("send", "done"),
    ]
    module = crm.module("0367")
    [(client_id,)] = sql("SELECT client_id FROM enterprises")
    assert module["code"] == "vochi-telephony"
    assert module["clientId"] == client_id
    assert module["active"] is True
    telephony = module["integrations"]["telephony"]
    assert telephony["makeCallUrl"] == "http://127.0.0.1:8080/retailcrm/make-call"
    assert telephony["additionalCodes"][0] == {"userId": 18, "code": "150"}
    assert telephony["externalPhones"] == [{"siteCode": "main", "externalPhone": "+375290000101"}]
    assert crm.entries("0367", "module_edit")[0]["warnings"] == []
    [(facts,)] = sql("SELECT integrations_config -> 'retailcrm' FROM enterprises")
    assert facts["crm_timezone"] == "Europe/Minsk"
    assert facts["last_sync"]


def test_the_logo_is_really_served(connected, worker, crm):
    connected.post("register/0367")
    worker()

    path = crm.module("0367")["logo"].removeprefix("http://127.0.0.1:8080")
    logo = connected.client.get(path)
    assert (path, logo.status_code, logo.mimetype) == (f"{API}/logo.svg", 200, "image/svg+xml")
    assert logo.data.startswith(b"<svg")


def test_the_link_in_the_module_signs_in_until_the_next_registration(connected, worker, crm, browser):
    connected.post("register/0367")
    worker()
    first = link_of(crm.module("0367"))
    assert browser().post("session", {"token": first}).status_code == 200

    connected.post("register/0367")
    worker()

    second = link_of(crm.module("0367"))
    assert jwt.decode(second, options={"verify_signature": False})["version"] == 2
    assert browser().post("session", {"token": first}).status_code == 401
    assert browser().post("session", {"token": second}).status_code == 200


def test_a_registration_that_fails_leaves_the_link_before_it(connected, worker, crm, browser, sql):
    connected.post("register/0367")
    worker()
    link = link_of(crm.module("0367"))
    crm.fault(
        "success_false",
        account="0367",
        endpoint="module_edit",
        status=400,
        error_msg="Failed to activate module",
        errors=["Your account has insufficient funds to activate integration module"],
    )

    connected.post("register/0367")
    worker()

    command = latest(connected)
    assert (command["state"], command["code"]) == ("failed", "module_refused")
    assert sql("SELECT status FROM integration_logs WHERE event_type = 'register_module' ORDER BY id") == [
        ("success",),
        ("error",),
    ]
    assert command["message"] == (
        "RetailCRM does not accept the module: Failed to activate module; "
        "Your account has insufficient funds to activate integration module"
    )
    assert browser().post("session", {"token": link}).status_code == 200


def test_registering_again_keeps_what_others_wrote_into_it(connected, worker, crm):
    crm.forget("0367")
    crm.account(
        "0367",
        behaviour={"other_per_second": 0},
        users=[{"id": user} for user in (18, 19, 20, 21, 30)],
        module={"code": "vochi-telephony", "availableCountries": ["BY"], "accountUrl": "https://example.com/x"},
        additional_codes=[{"user_id": 30, "code": "199"}, {"user_id": 18, "code": "7"}],
    )

    connected.post("register/0367")
    worker()

    module = crm.module("0367")
    assert module["availableCountries"] == ["BY"]
    assert {"userId": 30, "code": "199"} in module["integrations"]["telephony"]["additionalCodes"]
    assert {"userId": 18, "code": "150"} in module["integrations"]["telephony"]["additionalCodes"]


def test_managers_whom_the_crm_does_not_know_are_named(connected, worker, crm):
    crm.account("0367", users=[{"id": 18}, {"id": 19}], behaviour={"other_per_second": 0}, sites=["other"])

    connected.post("register/0367")
    worker()

    command = latest(connected)
    assert (command["state"], command["code"]) == ("done", "done_with_complaints")
    warnings = [step["message"] for step in command["steps"] if step["state"] == "warning"]
    assert warnings == ["RetailCRM does not know these managers: 20, 21", "RetailCRM does not know these shops: main"]


@pytest.fixture
def told(connected, worker, crm):
    """What an administrator reads when the CRM fails in a certain way."""

    def register(fault):
        crm.fault(**fault, account="0367", endpoint="module_edit")
        connected.post("register/0367")
        worker()
        return latest(connected)

    return register


@pytest.mark.parametrize(
    ("fault", "state", "code", "words"),
    [
        ({"mode": "error_503"}, "retry", "crm_busy", "is busy"),
        ({"mode": "error_429", "retry_after": 30}, "retry", "crm_busy", "is busy"),
        ({"mode": "error_500"}, "retry", "crm_away", "does not answer as it should"),
        ({"mode": "error_500_after_apply"}, "retry", "crm_away", "does not answer as it should"),
        ({"mode": "ok_then_rst"}, "retry", "crm_away", "connection broke"),
        ({"mode": "truncated_json"}, "retry", "crm_away", "not RetailCRM's"),
        ({"mode": "huge_body"}, "retry", "crm_away", "over 64 kB"),
        ({"mode": "html", "status": 405}, "failed", "module_refused", "is the address of the account right?"),
        ({"mode": "html", "status": 200}, "retry", "crm_away", "web page"),
        ({"mode": "redirect_30x"}, "failed", "module_refused", "HTTP 302"),
        (
            {
                "mode": "success_false",
                "error_msg": "Errors in the entity format",
                "errors": {"logo": "Logo image must be svg"},
            },
            "failed",
            "module_refused",
            "logo: Logo image must be svg",
        ),
    ],
    ids=lambda value: value["mode"] if isinstance(value, dict) else None,
)
def test_each_way_to_fail_is_told_in_a_sentence(told, fault, state, code, words):
    command = told(fault)

    assert (command["state"], command["code"]) == (state, code)
    assert words in command["message"]
    assert (command["steps"][-1]["name"], command["steps"][-1]["state"]) == ("send", "failed")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("apply_then_hang", "No answer within 1 s"),
        ("hang_before_apply", "No answer within 1 s"),
        ("slow_drip", "did not end in time"),
    ],
)
def test_a_crm_that_keeps_us_waiting_is_told_in_a_sentence(told, process, mode, words):
    process.setenv("RETAILCRM_UPLOAD_TIMEOUT_SECONDS", "1")
    config.current.cache_clear()

    command = told({"mode": mode})

    assert (command["state"], command["code"]) == ("retry", "crm_away")
    assert command["message"].startswith("RetailCRM does not answer as it should (")
    assert words in command["message"] or "The connection broke" in command["message"]
    assert command["message"].endswith("It is tried again by itself.")


def test_a_crm_that_is_only_slow_registers(told):
    command = told({"mode": "slow", "delay_ms": 500})

    assert (command["state"], command["code"]) == ("done", "done")


@pytest.mark.parametrize("endpoint", ["module", "settings"])
@pytest.mark.parametrize("mode", ["error_503", "error_500", "html", "truncated_json", "ok_then_rst"])
def test_a_failure_while_reading_the_module_ends_the_command(connected, worker, crm, endpoint, mode):
    """Without the module nothing may be sent, for an edit replaces the whole; without the time zone it may."""
    crm.fault(mode, account="0367", endpoint=endpoint)
    connected.post("register/0367")
    worker()

    command = latest(connected)

    steps = {item["name"]: item["state"] for item in command["steps"]}
    if endpoint == "module":
        assert (command["state"], steps) == ("retry", {"read": "failed"})
        assert crm.entries("0367", "module_edit") == []
    else:
        assert (command["state"], steps["timezone"]) == ("done", "warning")


def test_an_incomplete_not_found_is_requested_again(connected, worker, crm, sql):
    crm.fault("truncated_json", account="0367", endpoint="module", requests=1)
    connected.post("register/0367")
    worker()
    waiting = latest(connected)
    sql("UPDATE module_commands SET run_at = clock_timestamp() RETURNING 1")

    worker()

    assert (waiting["state"], waiting["code"]) == ("retry", "crm_away")
    assert "It is tried again by itself" in waiting["message"]
    assert (latest(connected)["state"], latest(connected)["code"]) == ("done", "done")


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (
            ["Your account has insufficient funds to activate integration module"],
            "Failed to activate module; Your account has insufficient funds to activate integration module",
        ),
        ({"code": "Code prefix must match integrationCode"}, "code: Code prefix must match integrationCode"),
        (None, "Failed to activate module"),
    ],
    ids=["list", "map", "none"],
)
def test_retailcrms_reasons_are_told_in_its_own_words(told, errors, words):
    fault = {"mode": "success_false", "status": 400, "error_msg": "Failed to activate module"}

    command = told(fault | ({"errors": errors} if errors else {}))

    assert (command["state"], command["code"]) == ("failed", "module_refused")
    assert command["message"].startswith("RetailCRM does not accept the module: ")
    assert words in command["message"]


def test_a_failed_command_is_retried_by_the_tick(connected, worker, crm, commands, sql):
    crm.fault("error_500", account="0367", endpoint="module_edit", requests=1)
    connected.post("register/0367")
    worker()
    commands()

    worker("/tick")
    too_early = commands()
    sql("UPDATE module_commands SET run_at = clock_timestamp() RETURNING 1")
    worker("/tick")
    worker(body=commands()[0])

    assert too_early == []
    command = latest(connected)
    assert (command["state"], command["attempts_made"]) == ("done", 2)


def test_a_command_whose_message_was_lost_is_found_by_the_tick(connected, worker, commands, process):
    connected.post("register/0367")
    commands()

    worker("/tick")

    assert commands() == [{"enterprise_number": "0367"}]


def test_a_command_whose_worker_was_lost_is_taken_over(connected, worker, commands, sql):
    connected.post("register/0367")
    sql(
        "UPDATE module_commands SET state = 'leased', lease_until = clock_timestamp() - interval '1 second', fence = 1 RETURNING 1"
    )
    commands()

    worker("/tick")
    worker(body=commands()[0])

    assert latest(connected)["state"] == "done"


def test_a_message_that_comes_twice_does_nothing_more(connected, worker, crm):
    connected.post("register/0367")
    worker()
    worker()

    assert len(crm.entries("0367", "module_edit")) == 1


def test_deactivating_switches_it_off_on_both_sides(connected, worker, crm, sql):
    connected.post("register/0367")
    worker()

    asked = connected.delete("register/0367")
    worker()

    assert asked.status_code == 202
    assert latest(connected)["message"] == "The module is switched off in RetailCRM"
    assert crm.module("0367")["active"] is False
    assert sql("SELECT integrations_config #> '{retailcrm,enabled}' FROM enterprises") == [(False,)]


def test_a_module_that_is_not_registered_needs_no_deactivation(connected, worker):
    connected.delete("register/0367")
    worker()

    assert (latest(connected)["state"], latest(connected)["code"]) == ("done", "not_registered")


def test_a_wrong_key_is_told_before_anything_is_sent(connected, worker, crm, provisioned):
    provisioned(domain=crm.url, api_key="wrong")

    connected.post("register/0367")
    worker()

    assert latest(connected)["code"] == "key_refused"
    assert 'Wrong "apiKey" value.' in latest(connected)["message"]
    assert crm.entries("0367", "module_edit") == []


def test_nothing_is_asked_of_an_enterprise_that_is_not_connected(connected, sql):
    sql("UPDATE enterprises SET integrations_config = '{}' RETURNING 1")

    answer = connected.post("register/0367")

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "not_configured")


def test_the_newest_command_supersedes_the_waiting_ones(connected, worker, crm):
    connected.post("register/0367")
    connected.delete("register/0367")
    connected.post("register/0367")
    worker()
    worker()

    commands = connected.get("register/0367").json["commands"]
    assert [command["state"] for command in commands] == ["done", "superseded", "superseded"]
    assert len(crm.entries("0367", "module_edit")) == 1


def test_neither_the_key_nor_the_link_is_in_a_log(connected, worker, crm, sql, capfd):
    connected.post("register/0367")
    worker()

    token = link_of(crm.module("0367"))
    [(client_id,)] = sql("SELECT client_id FROM enterprises")
    stored = str(sql("SELECT * FROM integration_logs")) + str(sql("SELECT * FROM module_commands"))
    written = "".join(capfd.readouterr())
    for secret in (token, client_id, "key-of-0367"):
        assert secret not in stored
        assert secret not in written


def test_a_message_of_nobody_is_kept(worker, sql):
    worker(body={"something": "else"})
    worker(body={"enterprise_number": "9999"})

    assert sql("SELECT reason FROM rejected_messages") == [("enterprise_number: is missing",)]


def test_deadlines_nest_from_the_crm_to_the_broker():
    from lib.runtime import config

    subscription = topology.read()["subscriptions"]["module-commands.register-module"]
    requests = 2 * registration.READ_SECONDS + config.RetailCRM().retailcrm_upload_timeout_seconds

    assert requests + 5 <= registration.LEASE_SECONDS
    assert subscription["ack_deadline_seconds"] >= registration.LEASE_SECONDS + 5
