from __future__ import annotations

import pytest

from lib.click import asterisk
from lib.click.asterisk import Host

HOST = Host(base_url="http://127.0.0.1:9", secret="a-secret")


@pytest.mark.parametrize(
    ("extension", "phone"),
    [
        ("151;id", "+375291111111"),
        ("151", "$(id)"),
        ("", "+375291111111"),
        ("151", ""),
        ("١٥١", "375291111111"),
        ("151", "+1" * 9),
        ("1" * 11, "103"),
    ],
)
def test_nothing_but_numbers_is_sent(extension, phone):
    with pytest.raises(ValueError, match="Only digits"):
        asterisk.call(HOST, extension=extension, phone=phone, timeout_seconds=1)


@pytest.mark.parametrize(
    ("status", "text", "outcome", "cause"),
    [
        (200, '{"success":true,"message":"Call initiated successfully: 151 -> +375291111111"}', "accepted", ""),
        (200, '{"success":false,"message":"Busy"}', "refused", "The Asterisk service refused (HTTP 200): Busy"),
        (200, "<html>", "refused", "The Asterisk service refused: HTTP 200"),
        (200, "[]", "refused", "The Asterisk service refused: HTTP 200"),
        (400, '{"detail":"Invalid parameter: code"}', "refused", "The Asterisk service refused (HTTP 400): Invalid parameter: code"),
        (401, '{"detail":"Invalid clientId"}', "refused", "The Asterisk service does not know the enterprise's secret"),
        (500, '{"detail":"no a-secret"}', "refused", "The Asterisk service refused (HTTP 500): no •••"),
        (502, "", "refused", "The Asterisk service refused: HTTP 502"),
    ],
)  # fmt: skip
def test_an_answer_is_an_outcome_with_its_cause(status, text, outcome, cause):
    result = asterisk.read(status, text, secret="a-secret")

    assert (result.outcome, result.cause) == (outcome, cause)


def test_the_secret_is_not_shown():
    assert "a-secret" not in repr(HOST)
