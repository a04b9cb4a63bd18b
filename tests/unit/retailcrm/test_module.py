from __future__ import annotations

import pytest

from infra.stand_ins.retailcrm_simulator import module as simulator
from lib.retailcrm import client, module
from lib.retailcrm.module import Complaints, Wanted
from lib.retailcrm.registration import ATTEMPTS, judge


def wanted(**changes):
    return Wanted(
        **{
            "code": "vochi-telephony",
            "integration_code": "vochi-telephony",
            "name": "Vochi-CRM",
            "client_id": "a" * 32,
            "public_url": "https://telephony.example.com/",
            "active": True,
            "extensions": {18: "150", 19: None},
            "external_phones": [("main", "+375290000101")],
            "account_url": "https://telephony.example.com/retailcrm-admin/?token=x",
            **changes,
        }
    )


def test_a_new_module_is_whole():
    made = module.merged({}, wanted())

    findings = simulator.check(made, path_code="vochi-telephony")
    assert (findings.errors, findings.unknown, findings.warnings) == ({}, [], [])
    assert made["actions"] == {"activity": "/retailcrm/activity"}
    assert made["integrations"]["telephony"]["additionalCodes"] == [{"userId": 18, "code": "150"}]


def test_foreign_parts_of_the_module_stay():
    existing = {
        "code": "vochi-telephony",
        "integrationCode": "vochi-telephony",
        "freeze": False,
        "availableCountries": ["BY"],
        "actions": {"settings": "/settings"},
        "accountUrl": "https://telephony.example.com/before",
        "integrations": {"delivery": {"a": 1}, "telephony": {"allowEdit": True, "additionalCodes": []}},
    }

    made = module.merged(existing, wanted(account_url=None))

    assert made["availableCountries"] == ["BY"]
    assert made["actions"] == {"settings": "/settings", "activity": "/retailcrm/activity"}
    assert made["accountUrl"] == "https://telephony.example.com/before"
    assert made["integrations"]["delivery"] == {"a": 1}
    assert made["integrations"]["telephony"]["allowEdit"] is True
    assert "freeze" not in made


@pytest.mark.parametrize(
    ("existing", "extensions", "codes"),
    [
        ([{"userId": "20", "code": 152}], {18: "150"}, {18: "150", 20: "152"}),
        ([{"userId": 18, "code": "999"}], {18: "150"}, {18: "150"}),
        ([{"userId": 18, "code": "150"}], {18: None}, {}),
        ([{"userId": 20, "code": "150"}], {18: "150"}, {18: "150"}),
        ([{"userId": 20, "code": "152"}], {}, {20: "152"}),
        ({}, {18: "150"}, {18: "150"}),
        ([None, {"userId": "x"}, {"userId": 1}], {}, {}),
    ],
    ids=["a stranger stays", "ours wins", "none is none", "our number is ours", "empty wipes nothing", "php", "junk"],
)
def test_codes_are_merged(existing, extensions, codes):
    assert module.read_codes(module.merged_codes(existing, extensions)) == codes


@pytest.mark.parametrize(
    ("details", "found"),
    [
        ({"info": []}, Complaints()),
        ({}, Complaints()),
        (
            {"info": {"notExistUsersIds": [7, "8"], "notExistSiteCodes": ["shop"]}},
            Complaints(user_ids=(7, 8), sites=("shop",)),
        ),
    ],
)
def test_complaints_are_read(details, found):
    assert module.complaints(details) == found


@pytest.mark.parametrize(
    ("status", "body", "state", "code", "words"),
    [
        (
            403,
            '{"success": false, "errorMsg": "Wrong \\"apiKey\\" value."}',
            "failed",
            "key_refused",
            'Wrong "apiKey" value.',
        ),
        (
            400,
            '{"success": false, "errorMsg": "Failed to activate module", "errors": ["insufficient funds", "x"]}',
            "failed",
            "module_refused",
            "Failed to activate module; insufficient funds; x",
        ),
        (
            400,
            '{"success": false, "errorMsg": "Errors in the entity format", "errors": {"logo": "Logo image must be svg"}}',
            "failed",
            "module_refused",
            "logo: Logo image must be svg",
        ),
        (200, '{"success": false, "errorMsg": "Not now"}', "failed", "module_refused", "Not now"),
        (405, "<html>nginx</html>", "failed", "module_refused", "is the address of the account right?"),
        (503, '{"success": false, "errorMsg": "Rate limit exceeded"}', "retry", "crm_busy", "Rate limit exceeded"),
        (429, "{}", "retry", "crm_busy", "HTTP 429"),
        (500, "oops", "retry", "crm_away", "HTTP 500"),
        (200, "<html>", "retry", "crm_away", "web page"),
    ],
)
def test_an_administrator_reads_retailcrms_own_words(status, body, state, code, words):
    verdict = judge(client.read(status, body), attempts_made=1)

    assert (verdict.state, verdict.code) == (state, code)
    assert words in verdict.message


def test_it_is_given_up_after_a_while():
    pauses = [judge(client.read(500, ""), attempts_made=n).retry_in_seconds for n in range(1, ATTEMPTS)]
    last = judge(client.read(500, ""), attempts_made=ATTEMPTS)

    assert all(pause >= 1 for pause in pauses)
    assert max(pauses) <= 300
    assert (last.state, "8 times now" in last.message) == ("failed", True)


def test_a_server_that_says_when_is_believed():
    assert judge(client.read(503, "{}", retry_after=42), attempts_made=1).retry_in_seconds == 42
