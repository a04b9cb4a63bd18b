from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.calls.directory import Directory, Line
from lib.calls.numbers import normalize, sought

LINES = {
    line.line_id: line
    for line in (
        Line(line_id="0001301", phone_number="+375290000101"),
        Line(line_id="3000001", phone_number="+375170000103"),
        Line(line_id="291234567", phone_number="+375291234567"),
        Line(line_id="belline1", incoming_transform="+375{9}"),
        Line(line_id="mts1", incoming_transform="+7{10}"),
        Line(line_id="odd", incoming_transform="no rule"),
    )
}


def directory(region: str) -> Directory:
    return Directory(region=region, internal_phones=frozenset({"150", "30152", "4117"}), lines=LINES)


NUMBERS = [
    # Belarus: national, with 8 and 80, international with and without what announces it
    ("BY", "+375291111111", "+375291111111"),
    ("BY", "375291111111", "+375291111111"),
    ("BY", "80291111111", "+375291111111"),
    ("BY", "0291111111", "+375291111111"),
    ("BY", "291111111", "+375291111111"),
    ("BY", "00375291111111", "+375291111111"),
    ("BY", "810375291111111", "+375291111111"),
    ("BY", "+375 (29) 111-11-11", "+375291111111"),
    ("BY", "8 029 111-11-11", "+375291111111"),
    ("BY", " 375291111111 ", "+375291111111"),
    ("BY", "80172111111", "+375172111111"),
    ("BY", "172111111", "+375172111111"),
    ("BY", "375172111111", "+375172111111"),
    ("BY", "80152111111", "+375152111111"),
    ("BY", "2111111", None),  # a city number without its city
    ("BY", "111111", None),
    ("BY", "79161234567", "+79161234567"),
    ("BY", "+79161234567", "+79161234567"),
    ("BY", "81079161234567", "+79161234567"),
    ("BY", "0079161234567", "+79161234567"),
    ("BY", "77011234567", "+77011234567"),
    ("BY", "89161234567", "+79161234567"),  # nothing here, and dialled like this next door
    ("BY", "84951234567", "+74951234567"),  # before Vietnam
    ("BY", "84912345678", "+74912345678"),
    ("BY", "87011234567", "+77011234567"),
    ("BY", "8 (495) 123-45-67", "+74951234567"),
    ("BY", "+84912345678", "+84912345678"),
    ("BY", "0084912345678", "+84912345678"),
    ("BY", "8613812345678", "+8613812345678"),
    ("DE", "84912345678", "+84912345678"),  # no such habit
    ("BY", "88005553535", "+3758005553535"),  # 8-800 is national first
    ("BY", "80800123456", "+375800123456"),
    ("BY", "78005553535", "+78005553535"),
    ("BY", "48221234567", "+48221234567"),
    ("BY", "380501234567", "+380501234567"),
    ("BY", "4915112345678", "+4915112345678"),
    ("BY", "+4915112345678", "+4915112345678"),
    ("BY", "8104915112345678", "+4915112345678"),
    ("BY", "+80291111111", None),  # a plus is believed, and no country has 802
    ("BY", "+37529111", None),
    ("BY", "3752911111111", None),
    # Russia
    ("RU", "+79161234567", "+79161234567"),
    ("RU", "79161234567", "+79161234567"),
    ("RU", "89161234567", "+79161234567"),
    ("RU", "9161234567", "+79161234567"),
    ("RU", "84951234567", "+74951234567"),
    ("RU", "4951234567", "+74951234567"),  # Moscow, and also +49 51234567
    ("RU", "74951234567", "+74951234567"),
    ("RU", "84912345678", "+74912345678"),  # Ryazan before Vietnam
    ("RU", "88005553535", "+78005553535"),
    ("RU", "8005553535", "+78005553535"),
    ("RU", "80291111111", "+375291111111"),  # 80 and nine digits is Belarus
    ("RU", "80172111111", "+375172111111"),
    ("RU", "375291111111", "+375291111111"),
    ("RU", "810375291111111", "+375291111111"),
    ("RU", "00375291111111", "+375291111111"),
    ("RU", "87011234567", "+77011234567"),
    ("RU", "7011234567", "+77011234567"),
    ("RU", "8 (916) 123-45-67", "+79161234567"),
    ("RU", "1234567", None),
    ("RU", "6543210", None),
    ("RU", "81037529111111", None),  # one digit short
    # Kazakhstan
    ("KZ", "+77011234567", "+77011234567"),
    ("KZ", "77011234567", "+77011234567"),
    ("KZ", "87011234567", "+77011234567"),
    ("KZ", "7011234567", "+77011234567"),
    ("KZ", "87172123456", "+77172123456"),
    ("KZ", "7172123456", "+77172123456"),
    ("KZ", "89161234567", "+79161234567"),
    ("KZ", "79161234567", "+79161234567"),
    ("KZ", "80291111111", "+375291111111"),
    ("KZ", "375291111111", "+375291111111"),
    ("KZ", "996555123456", "+996555123456"),
    ("KZ", "810996555123456", "+996555123456"),
    ("KZ", "272123", None),
    # Germany: another trunk prefix, numbers of many lengths
    ("DE", "+4915112345678", "+4915112345678"),
    ("DE", "4915112345678", "+4915112345678"),
    ("DE", "015112345678", "+4915112345678"),
    ("DE", "15112345678", "+4915112345678"),
    ("DE", "004915112345678", "+4915112345678"),
    ("DE", "030 123456", "+4930123456"),
    ("DE", "375291111111", "+375291111111"),
    ("DE", "79161234567", "+79161234567"),
    ("DE", "0079161234567", "+79161234567"),
    # and others
    ("US", "2125551234", "+12125551234"),
    ("US", "12125551234", "+12125551234"),
    ("US", "7185551234", "+17185551234"),  # begins like a neighbour of Belarus, and is Brooklyn
    ("US", "011375291111111", "+375291111111"),
    ("PL", "501234567", "+48501234567"),
    ("UZ", "901234567", "+998901234567"),
    ("UA", "0501234567", "+380501234567"),
]

NOBODY = [
    *("", " ", "<unknown>", "unknown", "Anonymous", "anonymous", "Restricted", "+", "+000", "000", "+0", "0", "-1"),
    *("101", "102", "103", "104", "112", "911", "0611", "185", "*65", "#", "375", "+375", "+37529", "8102"),
    *("150", "30152", "4117", "0001301", "3000001", "291234567", "belline1"),
    *("<150>", "sip:30152@example.org", "4117.0", "sip:0001301@10.0.0.5", "+3752911111ll", "٣٧٥٢٩١١١١١١١١"),
    *("1" * 40, "9" * 3000, "+375\x00291111111", "375291111111,375292222222"),
]


@pytest.mark.parametrize(("region", "raw", "number"), NUMBERS)
def test_a_number_as_hosts_send_it(region, raw, number):
    assert normalize(raw, directory(region)) == number


def test_the_table_is_long_enough_to_mean_something():
    assert len(NUMBERS) + len(NOBODY) >= 110
    assert len({region for region, _, _ in NUMBERS}) >= 4


@pytest.mark.parametrize("raw", NOBODY)
@pytest.mark.parametrize("region", ["BY", "RU", "KZ", "DE"])
def test_what_is_nobodys_number(region, raw):
    assert normalize(raw, directory(region)) is None


@pytest.mark.parametrize(
    ("line", "raw", "number"),
    [
        ("belline1", "80291111111", "+375291111111"),
        ("belline1", "291111111", "+375291111111"),
        ("belline1", "375291111111", "+375291111111"),
        ("belline1", "+375291111111", "+375291111111"),
        ("belline1", "+80291111111", "+375291111111"),
        ("belline1", "11111", None),  # shorter than the rule: stays as it is
        ("belline1", "79161234567", "+79161234567"),  # says itself that it is foreign: the rule would destroy it
        ("belline1", "+79161234567", "+79161234567"),
        ("belline1", "8104915112345678", "+4915112345678"),
        ("belline1", "Anonymous", None),
        ("mts1", "89161234567", "+79161234567"),
        ("mts1", "9161234567", "+79161234567"),
        ("odd", "80291111111", "+375291111111"),
        ("belline1", '"Иван" <sip:80291111111@10.0.0.5>', "+375291111111"),
        ("belline1", "291111111,101", "+375291111111"),
        ("belline1", "80291111111, 80292222222", None),
    ],
)
def test_the_rule_of_a_line_for_incoming_calls(line, raw, number):
    assert normalize(raw, directory("BY"), line=LINES[line]) == number


@given(st.text(max_size=30), st.sampled_from(["BY", "RU", "KZ", "DE", "US", "XX", ""]))
def test_whatever_is_sent_gives_e164_or_nothing(raw, region):
    number = normalize(raw, directory(region), line=LINES["belline1"])

    assert number is None or (number.startswith("+") and number[1:].isdecimal() and 8 <= len(number) <= 17)
    assert number is None or normalize(number, directory(region)) == number


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("+375 29 111-11-11", "375291111111"),
        ("80291111111", "375291111111"),
        ("\u2066+375291111111\u2069, доб. 101", "375291111111"),
        ("111-11-11", "1111111"),
        ("1111", "1111"),
        ("37529", "37529"),
        ("Иван 111", "111"),
        ("Иван", ""),
        ("", ""),
    ],
)
def test_a_number_is_searched_for_in_the_spelling_in_which_it_is_kept(text, digits):
    assert sought(text, "BY") == digits
