"""The registration of a module: what it must be, what is kept, what is reported back."""

from __future__ import annotations

import pytest

from tests.infra.retailcrm_simulator.client import a_module, a_telephony

CODE = "acme-telephony"
PATH = f"/api/v5/integration-modules/{CODE}"


@pytest.fixture
def bare(new_account):
    """An account that has no module yet."""
    return new_account(additional_codes=[])


def test_a_module_is_created_with_201_and_edited_with_200(bare):
    first = bare.post(f"{PATH}/edit", integrationModule=a_module())
    second = bare.post(f"{PATH}/edit", integrationModule=a_module(name="Another name"))

    assert (first.status_code, first.json()) == (201, {"success": True, "info": []})
    assert (second.status_code, second.json()) == (200, {"success": True, "info": []})
    assert bare.get(PATH).json()["integrationModule"]["name"] == "Another name"


def test_a_module_is_given_back_without_its_client_id(bare):
    bare.post(f"{PATH}/edit", integrationModule=a_module())

    module = bare.get(PATH).json()["integrationModule"]

    assert module == {
        "code": CODE,
        "integrationCode": CODE,
        "active": True,
        "freeze": False,
        "name": "Acme Telephony",
        "logo": "https://pbx.example.com/logo.svg",
        "native": False,
        "baseUrl": "https://pbx.example.com",
        "actions": {"activity": "/retailcrm/activity"},
        "availableCountries": [],
        "accountUrl": "https://pbx.example.com/account",
        "integrations": {"telephony": a_telephony()},
    }


def test_a_module_that_is_not_there_is_not_found(bare):
    answer = bare.get("/api/v5/integration-modules/nothing")

    assert (answer.status_code, answer.json()) == (404, {"success": False, "errorMsg": "Not found"})


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"logo": "https://pbx.example.com/logo.png"}, {"logo": "Logo image must be svg"}),
        ({"logo": None}, {"logo": "Logo image must be svg"}),
        ({"baseUrl": ""}, {"baseUrl": "This value should not be blank"}),
        ({"baseUrl": None}, {"baseUrl": "This value should not be blank"}),
        ({"baseUrl": "pbx.example.com"}, {"baseUrl": "This value is not a valid URL"}),
        ({"integrationCode": "other"}, {"code": "Code prefix must match integrationCode"}),
        ({"code": "acme-telephony-2"}, {"code": "This value differs from the code in the address"}),
        ({"clientId": None}, {"clientId": "This value should not be blank"}),
        ({"active": "yes"}, {"active": "This value is not valid"}),
        ({"integrations": None}, {"integrations": "This value should not be blank"}),
        ({"actions": ["/x"]}, {"actions": "This value is not valid"}),
        (
            {"integrations": {"telephony": a_telephony(additionalCodes=[{"userId": 18}])}},
            {"integrations.telephony.additionalCodes[0].code": "This value should not be blank"},
        ),
        (
            {"integrations": {"telephony": a_telephony(makeCallUrl="x")}},
            {"integrations.telephony.makeCallUrl": "This value is not a valid URL"},
        ),
    ],
)
def test_a_module_that_breaks_a_rule_is_refused(bare, changes, errors):
    answer = bare.post(f"{PATH}/edit", integrationModule=a_module(**changes))

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "errorMsg": "Errors in the entity format", "errors": errors}
    assert bare.get(PATH).status_code == 404


@pytest.mark.parametrize("form", [{}, {"integrationModule[code]": CODE}, {"integrationModule": "{"}])
def test_a_module_comes_as_json_in_a_form_field(bare, form):
    answer = bare.post(f"{PATH}/edit", **form)

    message = {
        (): "Parameter 'integrationModule' is missing",
        ("integrationModule[code]",): 'Input value "integrationModule" contains a non-scalar value',
        ("integrationModule",): "Errors in the entity format",
    }
    assert (answer.status_code, answer.json()["errorMsg"]) == (400, message[tuple(form)])


def test_users_and_shops_that_do_not_exist_are_reported_and_left_out(bare):
    codes = [{"userId": "18", "code": 150}, {"userId": 99, "code": "999"}, {"userId": 98, "code": "998"}]
    phones = [{"siteCode": "main", "externalPhone": "+375290000101"}, {"siteCode": "no", "externalPhone": "1"}]
    telephony = a_telephony(additionalCodes=codes, externalPhones=phones)

    answer = bare.post(f"{PATH}/edit", integrationModule=a_module(integrations={"telephony": telephony}))

    assert answer.json()["info"] == {"notExistUsersIds": [98, 99], "notExistSiteCodes": ["no"]}
    kept = bare.get(PATH).json()["integrationModule"]["integrations"]["telephony"]
    assert kept["additionalCodes"] == [{"userId": 18, "code": "150"}]
    assert kept["externalPhones"] == [{"siteCode": "main", "externalPhone": "+375290000101"}]


def test_events_know_the_codes_of_the_registered_module(bare):
    bare.post(f"{PATH}/edit", integrationModule=a_module())

    answer = bare.event(codes=["150", "151"])

    assert answer.json() == {"success": True, "notExistCodes": ["151"]}


@pytest.mark.parametrize("state", [{"active": False}, {"freeze": True}])
def test_a_module_that_is_switched_off_takes_no_events(bare, state):
    bare.post(f"{PATH}/edit", integrationModule=a_module(**state))

    assert bare.event().json()["errorMsg"] == "Telephony not enabled"


def test_fields_that_an_edit_leaves_out_are_reset_and_noted(bare):
    bare.post(f"{PATH}/edit", integrationModule=a_module())

    partial = {"telephony": {"makeCallUrl": "https://pbx.example.com/make-call"}}
    bare.post(f"{PATH}/edit", integrationModule=a_module(integrations=partial))

    assert "integrations.telephony.additionalCodes is left out: it is reset" in bare.warnings()
    assert bare.get(PATH).json()["integrationModule"]["integrations"]["telephony"]["additionalCodes"] == []


def test_addresses_in_the_root_and_doubtful_codes_are_noted(bare):
    codes = [{"userId": 18, "code": "150"}, {"userId": 19, "code": "150"}, {"userId": 19, "code": "151"}]
    module = a_module(
        makeCallUrl="https://pbx.example.com",
        actions={"activity": "/a", "other": "/b"},
        integrations={"telephony": a_telephony(additionalCodes=codes)},
    )

    bare.post(f"{PATH}/edit", integrationModule=module)

    assert bare.warnings() == [
        "unknown field: makeCallUrl",
        "unknown action: other",
        "additionalCodes: 150 belongs to several users",
        "additionalCodes: user 19 has several",
    ]


def test_scopes_change_only_with_a_simple_connection(new_account):
    manual = new_account()
    simple = new_account(behaviour={"simple_connection": True})
    path = "/api/v5/integration-modules/demo-telephony/update-scopes"
    requires = {"scopes": ["integration_read", "telephony_write"]}

    refused, renewed = manual.post(path, requires=requires), simple.post(path, requires=requires)

    assert (refused.status_code, refused.json()["errorMsg"]) == (400, "Not enabled simple connection")
    assert renewed.json()["apiKey"] != simple.key
    assert simple.get("/api/credentials").json()["errorMsg"] == 'Wrong "apiKey" value.'


def test_an_activation_can_be_made_to_fail_in_the_services_words(bare):
    errors = ["Your account has insufficient funds to activate integration module"]
    bare.fault(
        "success_false", status=400, error_msg="Failed to activate module", errors=errors, endpoint="module_edit"
    )

    answer = bare.post(f"{PATH}/edit", integrationModule=a_module())

    assert (answer.status_code, answer.json()["errors"]) == (400, errors)
    assert answer.json()["errorMsg"] == "Failed to activate module"
    assert bare.get(PATH).status_code == 404
