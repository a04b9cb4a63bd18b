"""What an answer says of the people and the rows of its request."""

from __future__ import annotations

import json

import pytest

from lib.ledger.crm import Unknown
from lib.retailcrm import client
from lib.retailcrm.client import Form
from lib.retailcrm.understood import understood

EVENT = Form(path="/api/v5/telephony/call/event", name="event", value={"codes": ["150"]})


def rows(count):
    return Form(path="/api/v5/telephony/calls/upload", name="calls", value=[{}] * count)


def reply(form, body, status=200):
    return understood(form, client.read(status, json.dumps(body)))


@pytest.mark.parametrize(
    ("said", "extensions", "users"),
    [
        ({}, set(), set()),
        ({"notExistCodes": ["150", 151]}, {"150", "151"}, set()),
        ({"notExistCodes": {"1": "151"}, "notExistUsers": [19, "20"]}, {"151"}, {19, 20}),
        ({"notExistCodes": "150", "notExistUsers": ["x", None]}, set(), set()),
    ],
)
def test_whom_the_crm_does_not_know(said, extensions, users):
    found = reply(EVENT, {"success": True, **said})

    assert found.unknown == Unknown(extensions=frozenset(extensions), user_ids=frozenset(users))
    assert bool(found.unknown) == bool(extensions or users)


@pytest.mark.parametrize(
    ("count", "errors", "places", "only"),
    [
        (1, {"calls[0].userId": "x"}, {0}, True),
        (1, {"userId": "x"}, {0}, True),
        (1, {"code": "x"}, {0}, True),
        (1, ["calls[0].code: is nobody's"], {0}, True),
        (50, {"calls[7].userId": "x", "calls[7].code": "x", "calls[49][userId]": "x"}, {7, 49}, True),
        (50, {"[3].userId": "x", "calls.4.code": "x"}, {3, 4}, True),
        (50, {"calls[7].userId": "x", "calls[8].result": "x"}, {7}, False),
        (50, {"userId": "x"}, set(), False),
        (50, {"calls[50].userId": "x"}, set(), False),
        (2, {"calls[0].result": "x"}, set(), False),
        (1, {"calls[0].codes": "x", "calls[0].userIdentity": "x"}, set(), False),
        (1, None, set(), False),
        (50, {"calls": {"7": {"userId": "x"}}}, {7}, True),
        (50, {"calls": {"7": {"userId": ["x", "y"]}, "8": {"code": "x"}}}, {7, 8}, True),
        (50, {"7": {"userId": "x"}}, {7}, True),
        (50, {"calls[7]": "userId: x"}, {7}, True),
        (50, {"calls[7]": ["code: x"]}, {7}, True),
        (50, ["calls[7]: x", "calls[8].userId: x"], {8}, False),
        (50, {"children[7].children[userId]": "x"}, {7}, True),
        (50, ["children[7].children[userId].data: x"], {7}, True),
        (50, {"children": {"7": {"children": {"userId": {"errors": ["x"]}, "result": []}}}}, {7}, True),
        (50, {"calls": [{"userId": "x"}, [], {"code": "x"}]}, {0, 2}, True),
        (50, {"calls": {"7": {"userId": "x"}, "8": {"result": "x"}}}, {7}, False),
        (50, {"calls": {"7": {"userId": "x", "result": "x"}}}, {7}, False),
        (50, {"calls": {"7": {"result": "userId: x"}}}, set(), False),
        (50, {"calls[7]": "result: not for this userId"}, set(), False),
        (50, {"calls[7].source.code": "x"}, set(), False),
        (50, {"calls[7].code.source": "x"}, set(), False),
        (50, {"calls": {"7": {"userIds": "x", "externalCode": "x"}}}, set(), False),
        (50, {"calls": {"50": {"userId": "x"}}}, set(), False),
        (50, [{"userId": "x"}], set(), False),
        (1, [{"userId": "x"}], {0}, True),
        (1, ["The code is not valid"], set(), False),
        (1, {"userId": []}, set(), False),
    ],
)
def test_which_rows_are_refused_for_their_owner(count, errors, places, only):
    found = reply(rows(count), {"success": False, "errorMsg": "Errors in the entity format", "errors": errors}, 400)

    assert (found.owners_refused, found.only_owners) == (places, only)


def test_errors_that_are_nested_without_end_are_about_something_else():
    errors: object = "x"
    for _ in range(400):
        errors = [errors]

    assert not reply(rows(1), {"success": False, "errors": {"calls": errors}}, 400).owners_refused


def test_nothing_else_is_read_into_an_answer():
    said = {"success": False, "errorMsg": "Payment required", "errors": {"calls[0].userId": "x"}}

    assert not reply(rows(1), said, 402).owners_refused
    assert not reply(EVENT, {"success": False, "notExistCodes": ["150"]}).unknown
    assert not reply(rows(1), {"success": True, "notExistCodes": ["150"]}).unknown
