from __future__ import annotations

import pytest

from lib.store.integration import Integration, version_of

STORED = {
    "enabled": True,
    "domain": "https://demo.retailcrm.ru",
    "api_key": "v1.test.sealed",
    "user_extensions": {"18": "150", "19": None, "20": 152},
    "crm_timezone": "Europe/Moscow",
    "version": 3,
    "last_sync": "2025-01-01T00:00:00Z",
    "settle_seconds": 7,
    "accept_number_as_client_id": True,
    "something_newer": {"a": 1},
}


def test_what_is_stored_is_read_into_types_and_the_rest_is_options():
    found = Integration.from_config("retailcrm", STORED)

    assert (found.name, found.enabled, found.domain, found.version) == (
        "retailcrm",
        True,
        "https://demo.retailcrm.ru",
        3,
    )
    assert found.user_extensions == {"18": "150", "19": None, "20": "152"}
    assert found.extension_users == {"150": 18, "152": 20}
    assert (found.crm_timezone, found.settings.settle_seconds) == ("Europe/Moscow", 7.0)
    assert found.options == {"accept_number_as_client_id": True, "something_newer": {"a": 1}}
    assert found.stored == STORED
    assert (found.is_connected, found.problems) == (True, ())
    assert "sealed" not in repr(found)


def test_an_integration_that_was_never_heard_of_is_empty_and_off():
    found = Integration.from_config("amocrm", None)

    assert (found.enabled, found.settings.enabled, found.is_connected, found.problems) == (False, False, False, ())


def test_without_a_word_on_it_an_integration_is_on():
    assert Integration.from_config("amocrm", {}).enabled


@pytest.mark.parametrize(
    ("field", "value", "default", "problem"),
    [
        ("enabled", "perhaps", True, "enabled cannot be 'perhaps'"),
        ("domain", ["demo"], None, "domain cannot be ['demo']"),
        ("api_key", {"a-secret": 1}, None, "api_key must be text"),
        ("crm_timezone", "Europe/Nowhere", None, "crm_timezone cannot be 'Europe/Nowhere'"),
        ("crm_timezone", "../etc/passwd", None, "crm_timezone cannot be '../etc/passwd'"),
        ("user_extensions", ["150"], {}, "user_extensions must map users to extensions"),
        ("user_extensions", {"x": "150"}, {}, "user_extensions: 'x' is not a user id"),
        ("user_extensions", {"²": "150"}, {}, "user_extensions: '²' is not a user id"),
        ("user_extensions", {"18": ["150"]}, {}, "user_extensions.18 cannot be ['150']"),
        ("last_sync", 5, None, "last_sync cannot be 5"),
    ],
)
def test_what_cannot_be_meant_leaves_the_default_and_is_named(field, value, default, problem):
    found = Integration.from_config("retailcrm", {**STORED, field: value})

    assert getattr(found, field) == default
    assert found.problems == (problem,)
    assert found.settings.settle_seconds == 7.0


@pytest.mark.parametrize("section", ["on", 5, [], True])
def test_a_section_that_is_no_object_is_off_and_named(section):
    found = Integration.from_config("retailcrm", section)

    assert (found.enabled, found.problems) == (False, ("retailcrm: must be an object",))


def test_an_extension_of_two_users_is_named():
    found = Integration.from_config("retailcrm", {"user_extensions": {"18": "150", "19": "150"}})

    assert found.problems == ("user_extensions: 150 belongs to 18 and to 19",)


@pytest.mark.parametrize(
    ("version", "number"), [(7, 7), ("7", 7), (None, 0), (True, 0), (-1, 0), ("x", 0), (1.5, 0), ("9" * 500, 0)]
)
def test_a_version_is_a_number_whatever_stands_there(version, number):
    assert version_of({"version": version}) == number
