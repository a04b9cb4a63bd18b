from __future__ import annotations

import json

import pytest

from lib.retailcrm import client


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"success": True}, "done"),
        (201, {"success": True}, "done"),
        (200, {"success": True, "notExistCodes": ["150"]}, "done"),
        (200, {"success": False, "errorMsg": "Telephony not enabled"}, "permanent"),
        (200, {"success": "false", "errorMsg": "Telephony not enabled"}, "permanent"),
        (200, "<html>", "in_doubt"),
        (200, '{"success": tr', "in_doubt"),
        (200, "[]", "in_doubt"),
        (200, {}, "in_doubt"),
        (400, {"success": False, "errorMsg": "Errors in the entity format", "errors": ["x"]}, "permanent"),
        (401, {}, "authentication"),
        (403, {"success": False, "errorMsg": 'Wrong "apiKey" value.'}, "authentication"),
        (404, "<html>", "permanent"),
        (302, "", "permanent"),
        (405, "<html>", "permanent"),
        (408, "", "unavailable"),
        (429, {"errorMsg": "Rate limit exceeded"}, "busy"),
        (503, {"errorMsg": "Rate limit exceeded"}, "busy"),
        (500, "", "in_doubt"),
        (502, "<html>", "in_doubt"),
        (504, "", "in_doubt"),
    ],
)
def test_what_an_answer_means(status, body, outcome):
    reply = client.read(status, body if isinstance(body, str) else json.dumps(body))

    assert reply.outcome == outcome
    assert (reply.error is None) == (outcome == "done")


OFF = {"success": False, "errorMsg": "Telephony not enabled or not supports calls upload"}


@pytest.mark.parametrize(
    ("status", "body", "of_the_account"),
    [
        (402, {"success": False, "errorMsg": "Payment required"}, True),
        (402, "", True),
        (301, "<html>", True),
        (302, "", True),
        (308, "", True),
        (404, {"success": False, "errorMsg": "Account does not exist."}, True),
        (404, {"success": False, "errorMsg": "API method not found"}, True),
        (404, "<html>", True),
        (404, "404 page not found", True),
        (404, {"success": False, "errorMsg": "Not found"}, False),
        (405, "<html>", True),
        (410, "", True),
        (400, " <!DOCTYPE html>", True),
        (200, "<html>", True),
        (200, OFF, True),
        (400, OFF, True),
        (200, '{"success": tr', False),
        (200, {"success": True}, False),
        (400, {"success": False, "errorMsg": "Errors in the entity format"}, False),
        (400, "", False),
        (413, "<html>", False),
        (401, "<html>", False),
        (403, {"success": False, "errorMsg": "Access denied."}, False),
        (429, "<html>", False),
        (500, "<html>", False),
        (502, "<html>", False),
        (503, OFF, False),
    ],
)
def test_which_answers_are_about_the_account_as_a_whole(status, body, of_the_account):
    reply = client.read(status, body if isinstance(body, str) else json.dumps(body))

    assert reply.concerns_account == of_the_account


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 422])
@pytest.mark.parametrize(
    ("words", "outcome", "of_the_account"),
    [
        ('"apiKey" is missing.', "authentication", False),
        ('Wrong "apiKey" value.', "authentication", False),
        ('wrong "apikey" value', "authentication", False),
        ("Access denied.", "authentication", False),
        ("Account does not exist.", "permanent", True),
        ("account does not exist", "permanent", True),
        ("API method not found", "permanent", True),
        ("Method not found.", "permanent", True),
        ("Telephony not enabled", "permanent", True),
        ("Telephony not enabled or not supports calls upload.", "permanent", True),
    ],
)
def test_known_words_say_what_is_wrong_whatever_the_status(status, words, outcome, of_the_account):
    reply = client.read(status, json.dumps({"success": False, "errorMsg": words}))

    assert (reply.outcome, reply.concerns_account, reply.error) == (outcome, of_the_account, words)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("words", ["Access denied.", "Account does not exist."])
def test_a_status_of_the_moment_says_nothing_lasting_of_key_or_account(status, words):
    reply = client.read(status, json.dumps({"success": False, "errorMsg": words}))

    assert reply.outcome in {"busy", "in_doubt"}
    assert not reply.concerns_account


def test_words_that_only_contain_known_ones_are_not_taken_for_them():
    reply = client.read(400, json.dumps({"success": False, "errorMsg": "Not found: account does not exist here"}))

    assert (reply.outcome, reply.concerns_account) == ("permanent", False)


@pytest.mark.parametrize(
    ("status", "body", "may_be"),
    [
        (400, "<html>", True),
        (406, "<html>", True),
        (422, "<html>", True),
        (200, "<html>", False),
        (301, "<html>", False),
        (401, "<html>", False),
        (402, "<html>", False),
        (403, "<html>", False),
        (404, "<html>", False),
        (405, "<html>", False),
        (410, "<html>", False),
        (413, "<html>", False),
        (503, "<html>", False),
        (400, json.dumps(OFF), False),
        (400, json.dumps({"success": False, "errorMsg": "Account does not exist."}), False),
    ],
)
def test_which_refusals_of_an_account_may_be_of_one_row(status, body, may_be):
    assert client.read(status, body).may_be_of_one == may_be


def test_a_redirect_asks_for_the_new_address():
    assert "another address" in str(client.read(301, "<html>").error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"errorMsg": "Errors in the entity format", "errors": {"code": "is bad"}},
            "Errors in the entity format; code: is bad",
        ),
        ({"errorMsg": "Failed", "errors": ["no money", "no luck"]}, "Failed; no money; no luck"),
        ({"errorMsg": "Not found"}, "Not found"),
        ({"errorMsg": "Odd", "errors": "just text"}, "Odd; just text"),
    ],
)
def test_an_error_is_told_in_retailcrms_own_words(body, words):
    assert client.read(400, json.dumps(body)).error == words


def test_a_web_page_instead_of_an_answer_points_at_the_address():
    assert "address" in str(client.read(405, "<html></html>").error)
