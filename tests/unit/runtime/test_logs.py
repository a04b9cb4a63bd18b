from __future__ import annotations

import json
import logging
import re

import pytest

from lib.runtime.logs import JsonFormatter, mask, own_secrets


def written(message="said", **extra):
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "test", **extra})
    return json.loads(JsonFormatter().format(record))


def test_a_line_is_json_with_its_extras():
    line = written(status=204, call="1760000000.1")

    assert (line["severity"], line["message"], line["status"], line["call"]) == ("INFO", "said", 204, "1760000000.1")


@pytest.mark.parametrize(
    "name", ["token", "Token", "api_key", "apiKey", "X-API-KEY", "password", "client_secret", "Authorization"]
)
def test_a_secret_is_not_written_under_any_usual_name(name):
    assert "canary" not in json.dumps(written(request={"headers": {name: "canary"}}))


def test_phone_numbers_are_masked_anywhere_in_a_line():
    line = json.dumps(written("from +375291111111", phone="375291111111", deep=[{"x": "to 80291111111."}]))

    assert "291111111" not in line


@pytest.mark.parametrize(
    "written_as",
    [
        "+375 (29) 111-11-11",
        "+375-29-111-11-11",
        "+375.29.111.11.11",
        "+375\u00a029\u00a0111\u201311\u201311",
        "\u2066+375 29 111-11-11\u2069",
        "375 29 111-11-11",
        "8 (029) 111-11-11",
        "8 029 111 11 11",
        "8 029 1111111",
        "(029) 111-11-11",
        "%2B375291111111",
        "%2B375%20(29)%20111-11-11",
        "tel:+375291111111;ext=101",
    ],
)
def test_a_phone_is_masked_however_people_write_it(written_as):
    shown = mask(f"click on {written_as}, of 0367")

    assert not re.search(r"111\W*11\W*11", shown)
    assert "••••1111" in shown
    assert shown.startswith("click on ")
    assert shown.endswith(", of 0367")


def test_times_addresses_and_lists_are_not_taken_for_phones():
    for text in (
        "2026-01-01 09:00:00.123+00:00",
        "2026-01-01T09:00:00+0300",
        "10.20.30.40:5060",
        "[150, 151, 152, 153, 109, 117]",
        "4 16 64 256 1024 4096",
        "198.51.100.0/24 2001:db8::/48",
    ):
        assert mask(text) == text


def test_identifiers_are_not_taken_for_phones():
    assert mask("call 1760000000.370 event 6f9619ff-8b86-4d01-b42d-00cf4fc964ff") == (
        "call 1760000000.370 event 6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    )


def test_an_exception_stands_in_the_same_line():
    try:
        raise ValueError("for +375291111111")
    except ValueError:
        import sys

        line = written(exc_info=sys.exc_info())

    assert "ValueError" in line["exception"]
    assert "375291111111" not in line["exception"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gateway:canary-pw%zz@127.0.0.1:5432/gateway",
        "postgresql//gateway:canary-pw%zz@127.0.0.1/gateway",
        "host=127.0.0.1 password=canary-pw%zz user=gateway",
        "host=127.0.0.1 password='canary-pw%zz' user=gateway",
        "postgresql:gateway:canary-pw%zz@127.0.0.1/gateway",
        "postgresql://127.0.0.1/gateway?user=gateway&password=canary-pw%zz",
    ],
)
def test_secrets_of_the_process_are_redacted_whichever_library_quotes_them(url):
    environ = {"DATABASE_URL": url, "OPERATOR_TOKEN": 'canary"token', "VAULT_KEYS": "a:canary-key,b:canary-key-2"}
    said = f'invalid token: "canary-pw%zz" in {url}; {environ}; canary"token a:canary-key b:canary-key-2'
    record = logging.makeLogRecord({"msg": "%s", "args": (said,), "levelname": "INFO", "x": [said]})

    line = JsonFormatter(own_secrets(environ)).format(record)

    assert "canary" not in line
    assert json.loads(line)["message"].startswith('invalid token: "•••" in ')


def test_a_password_is_redacted_up_to_the_last_at_sign_whole_in_parts_and_decoded():
    wrong = own_secrets({"DATABASE_URL": "postgresql://gateway:canary@one:canary/two%40x@127.0.0.1:5432/gateway"})
    right = own_secrets({"DATABASE_URL": "postgresql://gateway:pass%40word%2F1@127.0.0.1:5432/gateway"})
    none = own_secrets({"DATABASE_URL": "postgresql://gateway@127.0.0.1:5432/gateway"})

    assert wrong[1:] == ["canary@one:canary/two%40x", "canary@one:canary/two@x", "canary"]
    assert {"pass%40word%2F1", "pass@word/1"} <= set(right)
    assert none == ["postgresql://gateway@127.0.0.1:5432/gateway"]
