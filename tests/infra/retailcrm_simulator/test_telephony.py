"""call/event and calls/upload: what is accepted, and the exact words of what is not."""

from __future__ import annotations

import pytest
import requests

from tests.infra.retailcrm_simulator.client import EVENT, UPLOAD, a_call, an_event

FORMAT = "Errors in the entity format"
BLANK = "This value should not be blank"
INVALID = "This value is not valid"
NO_CHOICE = "The value you selected is not a valid choice."


@pytest.mark.parametrize(
    "event",
    [
        an_event(),
        an_event(phone="375291111111", codes=None, userIds=[18]),
        an_event(type="out", externalPhone="+375290000101", site="main"),
        an_event(type="hangup", hangupStatus="no answered", callExternalId=None),
        an_event(webAnalyticsData=[]),
        an_event(webAnalyticsData={"campaign": {"name": "spring", "code": "s1"}, "queryString": "utm=1"}),
        an_event(callExternalId=None),
    ],
)
def test_a_valid_event_is_accepted_without_a_word(account, event):
    answer = account.post(EVENT, event=event)

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert account.warnings() == []


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"phone": None}, {"phone": BLANK}),
        ({"phone": "  "}, {"phone": BLANK}),
        ({"phone": 375291111111}, {"phone": INVALID}),
        ({"type": None}, {"type": BLANK}),
        ({"type": "incoming"}, {"type": NO_CHOICE}),
        ({"type": ["in"]}, {"type": NO_CHOICE}),
        ({"codes": None}, {"codes": BLANK}),
        ({"codes": []}, {"codes": BLANK}),
        ({"codes": "150"}, {"codes": INVALID}),
        ({"codes": [150]}, {"codes": INVALID}),
        ({"codes": None, "userIds": ["18"]}, {"userIds": INVALID}),
        ({"codes": None, "userIds": [True]}, {"userIds": INVALID}),
        ({"type": "hangup"}, {"hangupStatus": BLANK}),
        ({"type": "hangup", "hangupStatus": "no answer"}, {"hangupStatus": NO_CHOICE}),
        ({"type": "hangup", "hangupStatus": "missed"}, {"hangupStatus": NO_CHOICE}),
        ({"callExternalId": 7}, {"callExternalId": INVALID}),
        ({"externalPhone": 7}, {"externalPhone": INVALID}),
        ({"site": "another"}, {"site": NO_CHOICE}),
        ({"webAnalyticsData": "x"}, {"webAnalyticsData": INVALID}),
        ({"webAnalyticsData": {"queryString": 1}}, {"webAnalyticsData.queryString": INVALID}),
        ({"phone": None, "type": "in", "codes": [1]}, {"phone": BLANK, "codes": INVALID}),
    ],
)
def test_an_invalid_event_is_refused_field_by_field(account, changes, errors):
    answer = account.event(**changes)

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "errorMsg": FORMAT, "errors": errors}
    assert account.told("popups")["popups"] == []


@pytest.mark.parametrize("path", [EVENT, UPLOAD])
@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "Parameter '{0}' is missing"),
        ({"other": "{{}}"}, "Parameter '{0}' is missing"),
        ({"{0}[phone]": "1"}, 'Input value "{0}" contains a non-scalar value'),
        ({"{0}[]": "1"}, 'Input value "{0}" contains a non-scalar value'),
        ({"{0}": "phone=1"}, FORMAT),
        ({"{0}": ""}, FORMAT),
        ({"{0}": "NaN"}, FORMAT),
        ({"{0}": "1e999"}, FORMAT),
        ({"{0}": "[" * 100_000}, FORMAT),
        ({"{0}": "7"}, FORMAT),
    ],
)
def test_only_a_form_field_with_json_in_it_is_read(account, path, form, message):
    name = "event" if path == EVENT else "calls"

    answer = account.post(path, **{key.replace("{0}", name): value for key, value in form.items()})

    assert answer.status_code == 400
    assert answer.json()["errorMsg"] == message.format(name)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"event": an_event()}, 'Input value "event" contains a non-scalar value'),
        ({"event": "{}"}, "Parameter 'event' is missing"),
        (an_event(), "Parameter 'event' is missing"),
    ],
)
def test_a_json_body_is_no_form(account, body, message):
    answer = requests.post(account.url + EVENT, json=body, headers={"X-API-KEY": account.key}, timeout=10)

    assert (answer.status_code, answer.json()["errorMsg"]) == (400, message)


def test_a_multipart_form_does_as_well(account):
    files = {"event": (None, '{"phone":"+375291111111","type":"in","codes":["150"]}')}

    answer = requests.post(account.url + EVENT, files=files, headers={"X-API-KEY": account.key}, timeout=10)

    assert answer.json() == {"success": True}


def test_codes_and_users_that_nobody_has_are_named_and_the_others_are_shown_the_card(account):
    answer = account.event(codes=["150", "999"], userIds=[19, 77])

    assert answer.json() == {"success": True, "notExistCodes": ["999"], "notExistUsers": [77]}
    assert [popup["code"] for popup in account.told("popups")["popups"]] == ["150", "151"]


def test_unknown_fields_are_accepted_and_noted(account):
    answer = account.post(EVENT, event=an_event(clientId="0367"), clientId="0367")

    assert answer.json() == {"success": True}
    assert account.warnings() == ["unknown field: clientId", "unknown field: event.clientId"]


def test_unknown_fields_are_refused_where_the_account_is_set_so(new_account):
    account = new_account(behaviour={"unknown_fields": "refuse"})

    answer = account.event(clientId="0367")

    assert answer.json()["errors"] == {"event.clientId": "This form should not contain extra fields"}


@pytest.mark.parametrize(
    ("event", "warning"),
    [
        (an_event(phone="<unknown>"), "event.phone does not look like a number"),
        (an_event(hangupStatus="failed"), "hangupStatus on an event that is no hangup"),
    ],
)
def test_odd_events_are_noted(account, event, warning):
    account.post(EVENT, event=event)

    assert account.warnings() == [warning]


@pytest.mark.parametrize(
    "call",
    [
        a_call(),
        a_call(phone="+375291111111", recordUrl="https://example.com/1.mp3", externalPhone="+375290000101"),
        a_call(code=None, userId=None, result="unknown", duration=0),
        a_call(result="not allowed", type="out", durationWaiting=None, site="main"),
        a_call(source={"source": "a", "medium": "b"}, clientId="GA1.2.3"),
    ],
)
def test_a_valid_call_is_processed(account, call):
    answer = account.upload(call)

    assert (answer.status_code, answer.json()) == (200, {"success": True, "processedCallsCount": 1})
    assert account.warnings() == []
    assert account.told("ledger/calls")["calls"][0]["call"] == call


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"date": None}, "date", BLANK),
        ({"date": "2025-09-14T12:05:23"}, "date", INVALID),
        ({"date": "2025-09-14 12:05:23+03:00"}, "date", INVALID),
        ({"date": "2025-9-14 12:05:23"}, "date", INVALID),
        ({"date": "2025-02-30 12:05:23"}, "date", INVALID),
        ({"date": 1757840723}, "date", INVALID),
        ({"type": "hangup"}, "type", NO_CHOICE),
        ({"phone": None}, "phone", BLANK),
        ({"result": None}, "result", BLANK),
        ({"result": "missed"}, "result", NO_CHOICE),
        ({"result": "no answered"}, "result", NO_CHOICE),
        ({"result": "cancel"}, "result", NO_CHOICE),
        ({"duration": "47"}, "duration", INVALID),
        ({"duration": 47.0}, "duration", INVALID),
        ({"duration": True}, "duration", INVALID),
        ({"duration": -1}, "duration", "This value should be 0 or more"),
        ({"durationWaiting": "8"}, "durationWaiting", INVALID),
        ({"externalId": None}, "externalId", BLANK),
        ({"externalId": ""}, "externalId", BLANK),
        ({"externalId": 17}, "externalId", INVALID),
        ({"userId": "18"}, "userId", INVALID),
        ({"code": 150}, "code", INVALID),
        ({"recordUrl": "/var/spool/1.wav"}, "recordUrl", "This value is not a valid URL"),
        ({"site": "another"}, "site", NO_CHOICE),
        ({"source": "x"}, "source", INVALID),
    ],
)
def test_an_invalid_call_is_refused_and_the_batch_with_it(account, changes, field, problem):
    answer = account.upload(a_call(externalId="fine"), a_call(**changes))

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "errorMsg": FORMAT, "errors": {f"calls[1].{field}": problem}}
    assert account.told("ledger/calls")["calls"] == []


@pytest.mark.parametrize(
    ("calls", "errors"),
    [
        ([], {"calls": BLANK}),
        (
            [a_call(externalId=str(n)) for n in range(51)],
            {"calls": "This collection should contain 50 elements or less"},
        ),
        ({"phone": "375291111111", "type": "out"}, {"calls": INVALID}),
        (["x"], {"calls[0]": INVALID}),
    ],
)
def test_calls_are_a_list_of_1_to_50_objects(account, calls, errors):
    answer = account.post(UPLOAD, calls=calls)

    assert (answer.status_code, answer.json()["errors"]) == (400, errors)


def test_fifty_calls_are_not_too_many(account):
    answer = account.upload(*(a_call(externalId=str(number)) for number in range(50)))

    assert answer.json() == {"success": True, "processedCallsCount": 50}


def test_a_call_that_is_held_already_is_a_duplicate_and_changes_nothing(account):
    account.upload(a_call(externalId="a"))

    answer = account.upload(a_call(externalId="a", duration=99), a_call(externalId="b"), a_call(externalId="b"))

    assert answer.json() == {"success": True, "processedCallsCount": 1, "duplicateCalls": ["a", "b"]}
    assert account.warnings() == ["duplicate a differs in duration: ignored"]
    rows = {row["external_id"]: row for row in account.told("ledger/calls")["calls"]}
    assert rows["a"]["call"]["duration"] == 47
    counts = {key: (row["sent"], row["applied"], row["duplicates"]) for key, row in rows.items()}
    assert counts == {"a": (2, 1, 1), "b": (2, 1, 1)}


def test_the_same_external_id_in_another_account_is_another_call(new_account):
    one, other = new_account(), new_account()
    one.upload(a_call())

    answer = other.upload(a_call())

    assert answer.json()["processedCallsCount"] == 1


def test_an_owner_that_does_not_exist_is_noted(account):
    account.upload(a_call(code="999", userId=77), a_call(externalId="b", code="150", userId=19))

    assert account.warnings() == [
        "calls[0].code 999 belongs to nobody",
        "calls[0].userId 77 does not exist",
        "calls[1]: code 150 is not userId 19's",
    ]


@pytest.mark.parametrize(
    ("behaviour", "status"), [({}, 400), ({"telephony_off_status": 400}, 400), ({"telephony_off_status": 200}, 200)]
)
@pytest.mark.parametrize("installed", [{"additional_codes": []}, {"module_active": False}])
def test_without_an_active_telephony_module_nothing_is_taken(new_account, installed, behaviour, status):
    account = new_account(**installed, behaviour=behaviour)

    event, upload = account.event(), account.upload(a_call())

    assert (event.status_code, event.json()) == (status, {"success": False, "errorMsg": "Telephony not enabled"})
    assert upload.status_code == status
    assert upload.json()["errorMsg"] == "Telephony not enabled or not supports calls upload"


def test_an_account_with_several_shops_must_be_told_which(new_account):
    account = new_account(sites=["north", "south"])

    without, given = account.event(), account.event(site="south")
    upload = account.upload(a_call())

    assert without.json()["errors"] == {"site": BLANK}
    assert given.json() == {"success": True}
    assert upload.json()["errors"] == {"calls[0].site": BLANK}


def test_an_event_that_the_module_does_not_declare_shows_nothing(new_account):
    telephony = {"inputEventSupported": False}
    account = new_account(module={"integrations": {"telephony": telephony}})

    answer = account.event()

    assert answer.json() == {"success": True}
    assert account.warnings() == ["the module does not declare inputEventSupported: nobody is shown anything"]
    assert account.told("popups")["popups"] == []
