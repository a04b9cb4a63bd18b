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
