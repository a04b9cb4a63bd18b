from __future__ import annotations

import pytest

from lib.calls.channels import channel_named
from lib.calls.directory import Directory, Line, zone_named

DIRECTORY = Directory(
    internal_phones=frozenset({"150", "1234567"}),
    extension_users={"151": 19, "152": None},
    personal_phones={"+375292222222": "150"},
    lines={
        "0001301": Line(line_id="0001301", phone_number="+375291234500"),
        "777": Line(line_id="777"),
    },
)


@pytest.mark.parametrize(
    ("value", "internal"),
    [
        ("150", True),
        ("1234567", True),
        ("151", True),
        ("99999", True),
        ("7", True),
        ("999999", False),
        ("777", False),
        ("0001301", False),
        ("", False),
        ("abc", False),
        ("*65", False),
        ("+150", False),
        ("١٥٠", False),
    ],
)
def test_what_is_an_extension(value, internal):
    assert DIRECTORY.is_extension(value) == internal


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("+375291111111", "+375291111111"),
        ("375291111111", "+375291111111"),
        ("80291111111", "+375291111111"),
        ("8 (029) 111-11-11", "+375291111111"),
        ("sip:+375291111111@10.0.0.5", "+375291111111"),
        ("+79291111111", "+79291111111"),
        ('"Иван Иванович, оптовый склад на Притыцкого" <375291111111>', "+375291111111"),
        ("123456", "123456"),
        ("+123456", "123456"),
        ("1" * 20, "1" * 20),
        ("1" * 21, None),
        ("sip:150@10.0.0.5", None),
        ("<777>", None),
        ("12345", None),
        ("150", None),
        ("1234567", None),
        ("0001301", None),
        ("777", None),
        ("", None),
        ("Anonymous", None),
        ("+37529111111a", None),
    ],
)
def test_external_numbers_are_equal_in_every_spelling(value, number):
    assert DIRECTORY.outside(value) == number


def test_numbers_that_end_alike_are_not_equal():
    assert DIRECTORY.mobile_person("+375292222222") == "150"
    assert DIRECTORY.mobile_person("+79292222222") is None
    assert DIRECTORY.is_own_line("80291234500")
    assert not DIRECTORY.is_own_line("+79291234500")


def test_a_line_may_lose_its_leading_zeros_where_one_line_can_be_meant():
    known = Directory(lines={name: Line(line_id=name) for name in ("0001301", "01302", "001302", "belline1", "000")})

    assert [known.line_named(name) for name in ("1301", "0001301", "01301", "1302", "001302", "belline1", "", "x")] == [
        *("0001301", "0001301", "01301", "1302", "001302", "belline1", "", "x"),
    ]


def test_an_extension_behind_a_prefix_is_known_by_itself():
    assert [DIRECTORY.extension_named(name) for name in ("150", "X-150", "ACME-2-151", "X-153", "X-", "")] == [
        *("150", "150", "151", "X-153", "X-", ""),
    ]


def test_people_answer_at_extensions_and_at_their_personal_phones():
    assert [DIRECTORY.person(number) for number in ("150", "80292222222", "375293333333", "777")] == [
        "150",
        "150",
        None,
        None,
    ]
    assert [DIRECTORY.is_mapped(extension) for extension in ("150", "151", "152")] == [False, True, True]


def test_a_line_is_known_by_its_name_and_its_number():
    assert [DIRECTORY.is_own_line(value) for value in ("0001301", "80291234500", "777", "375291111111", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("name", ["Nowhere/At all", "", "../etc/passwd", "\0"])
def test_a_zone_that_does_not_exist_is_utc(name):
    assert zone_named(name).key == "UTC"


@pytest.mark.parametrize(
    ("name", "technology", "peer", "half", "pair"),
    [
        ("SIP/151-0000001e", "sip", "151", "", "SIP/151-0000001e"),
        ("PJSIP/151-0000001e", "pjsip", "151", "", "PJSIP/151-0000001e"),
        ("SIP/my-trunk-0000001c", "sip", "my-trunk", "", "SIP/my-trunk-0000001c"),
        ("SIP/cafe-babe-0000001c", "sip", "cafe-babe", "", "SIP/cafe-babe-0000001c"),
        ("SIP/151", "sip", "151", "", "SIP/151"),
        ("Local/152@dialexecute-00000000;2", "local", "152", "2", "Local/152@dialexecute-00000000"),
        (
            "Local/375292222222@179e93af-0000000c;1",
            "local",
            "375292222222",
            "1",
            "Local/375292222222@179e93af-0000000c",
        ),
        ("nonsense", "", "nonsense", "", "nonsense"),
        ("", "", "", "", ""),
    ],
)
def test_what_the_name_of_a_channel_says(name, technology, peer, half, pair):
    channel = channel_named(name)

    assert (channel.technology, channel.peer, channel.half, channel.pair) == (technology, peer, half, pair)
    assert channel.is_local == (technology == "local")
