from __future__ import annotations

import pytest

from lib.calls.directory import Directory, Line
from lib.click import order
from lib.runtime.errors import InvalidPayload

DIRECTORY = Directory(
    region="BY",
    internal_phones=frozenset({"150", "151", "109"}),
    extension_users={"150": 18, "151": 19},
    lines={"0001301": Line(line_id="0001301")},
)
CUSTOMER = "+375291111111"


@pytest.mark.parametrize(
    ("given", "extension", "user_id"),
    [
        ({"userId": "19"}, "151", 19),
        ({"userId": "19.0"}, "151", 19),
        ({"userId": "19", "code": "109"}, "109", 19),
        ({"userId": "19", "code": ""}, "151", 19),
        ({"userId": "19", "code": "777"}, "151", 19),
        ({"userId": "19", "code": "109;id"}, "151", 19),
        ({"code": "150"}, "150", None),
        ({"userId": "999", "code": "150"}, "150", 999),
    ],
)
def test_the_code_comes_before_the_mapping(given, extension, user_id):
    wanted = order.read({"phone": CUSTOMER, **given}, DIRECTORY)

    assert (wanted.extension, wanted.phone, wanted.user_id) == (extension, CUSTOMER, user_id)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"userId": "999"}, "no_extension"),
        ({"userId": "999", "code": "777"}, "no_extension"),
        ({}, "no_extension"),
        ({"userId": "nineteen"}, "invalid_payload"),
        ({"userId": "-1"}, "invalid_payload"),
        ({"userId": "19", "phone": "151"}, "invalid_phone"),
        ({"userId": "19", "phone": "  "}, "invalid_phone"),
    ],
)
def test_an_order_without_extension_or_number_is_refused_with_the_reason(given, code):
    with pytest.raises(InvalidPayload) as refused:
        order.read({"phone": CUSTOMER, **given}, DIRECTORY)

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("phone", "dialled"),
    [
        (" 48221234567", "+48221234567"),
        (" 375291111111", CUSTOMER),
        (" 80291111111", CUSTOMER),
        ("+48 22 123 45 67", "+48221234567"),
    ],
)
def test_a_plus_that_became_a_space_is_a_plus_again(phone, dialled):
    assert order.dialled(phone, DIRECTORY) == dialled


@pytest.mark.parametrize(
    ("phone", "not_dialled"),
    [("+375291111111,101", "101"), (" 375291111111 доб. 9", "9"), ("375291111111", ""), ("375291111111#", "")],
)
def test_an_extension_behind_the_number_is_left_to_the_manager(phone, not_dialled):
    wanted = order.read({"phone": phone, "userId": "19"}, DIRECTORY)

    assert (wanted.phone, wanted.not_dialled) == (CUSTOMER, not_dialled)


@pytest.mark.parametrize(
    ("phone", "why"),
    [
        ("151", "extension"),
        ("999", "extension"),
        ('"Иван" <151>', "extension"),
        ("+375291111111; +375292222222", "not one number"),
        ("Иван", "not one number"),
    ],
)
def test_what_is_not_dialled_is_refused_with_the_reason(phone, why):
    with pytest.raises(InvalidPayload, match=why):
        order.dialled(phone, DIRECTORY)


def test_the_log_of_a_click_is_printable_short_and_has_no_clientid():
    shown = order.as_log({"clientId": "secret", "phone": "\x00" + "1" * 500, "code": "", "userId": "19"})

    assert shown == {"userId": "19", "phone": "1" * 64}
