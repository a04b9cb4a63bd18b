from __future__ import annotations

import dataclasses

import pytest

from lib.enterprises import rules
from lib.store.enterprises import Enterprise
from lib.store.integration import Integration

CONNECTED = {"domain": "https://demo.retailcrm.ru", "api_key": "v1.test.sealed"}


def enterprise(**sections):
    return Enterprise(
        number="0367",
        name="Demo",
        token_sha256=b"",
        secret_sha256=b"",
        next_token_sha256=None,
        client_id="",
        region="BY",
        timezone="Europe/Minsk",
        asterisk_url=None,
        host_networks=[],
        integrations={name: Integration.from_config(name, section) for name, section in sections.items()},
        internal_phones=["150", "151", "152"],
        users=[{"personal_phone": "+375292222222", "phones": ["150", "151"]}],
        lines=[],
    )


def test_each_crm_has_its_own_mapping_and_linking_knows_those_of_all():
    both = enterprise(
        retailcrm={"user_extensions": {"18": "150", "19": "152"}, "crm_timezone": "Europe/Moscow"},
        amocrm={"user_extensions": {"7": "151", "8": "152"}},
    )

    assert rules.directory(both).extension_users == {"150": 18, "152": 19}
    assert rules.directory(both, "amocrm").extension_users == {"151": 7, "152": 8}
    assert rules.directory(both, None).extension_users == {"150": 18, "151": 7, "152": None}
    assert rules.directory(both).crm_timezone == "Europe/Moscow"
    assert rules.directory(both, "amocrm").crm_timezone == "Europe/Minsk"


def test_a_mobile_counts_as_the_extension_that_this_crm_knows():
    both = enterprise(retailcrm={"user_extensions": {"18": "150"}}, amocrm={"user_extensions": {"7": "151"}})

    assert rules.directory(both).personal_phones == {"+375292222222": "150"}
    assert rules.directory(both, "amocrm").personal_phones == {"+375292222222": "151"}


@pytest.mark.parametrize(
    "written", ["8 (029) 222-22-22", "\u202a+375292222222\u202c", "tel:+375292222222", "292222222, доб. 1"]
)
def test_a_mobile_is_known_however_it_was_entered(written):
    one = dataclasses.replace(enterprise(retailcrm={}), users=[{"personal_phone": written, "phones": ["150"]}])

    assert rules.directory(one).personal_phones == {"+375292222222": "150"}


def test_with_one_crm_linking_knows_what_the_crm_knows():
    one = enterprise(retailcrm={"user_extensions": {"18": "150"}})

    assert rules.directory(one, None) == rules.directory(one)


def test_settings_are_each_crms_own_and_off_without_address_and_key():
    both = enterprise(retailcrm={**CONNECTED, "settle_seconds": 9}, amocrm={"settle_seconds": 3})

    assert (rules.settings(both).enabled, rules.settings(both).settle_seconds) == (True, 9.0)
    assert (rules.settings(both, "amocrm").enabled, rules.settings(both, "amocrm").settle_seconds) == (False, 3.0)
    assert not rules.settings(both, "bitrix").enabled


def test_they_are_worked_out_once_for_a_row():
    one, other = enterprise(retailcrm=CONNECTED), enterprise(retailcrm=CONNECTED)

    assert rules.directory(one) is rules.directory(one)
    assert rules.settings(one) is rules.settings(one)
    assert rules.directory(one, None) is rules.directory(one, None)
    assert rules.directory(one) is not rules.directory(other)
