from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.calls import spelling
from lib.calls.e164 import e164
from lib.calls.spelling import MOST_CHARACTERS, Spelled, plain, read

NUMBER = "+375291111111"

# By what stands around or inside the number.
KINDS = {
    "nothing": ["+375291111111", "375291111111", "80291111111", "00375291111111", "810375291111111"],
    "marks that one does not see": [
        "\u202a+375291111111\u202c",
        "\u2066+375 29 111-11-11\u2069",
        "\u200f375\u200b29\u2060111\ufeff11\u00ad11",
        "+375291111111\ufe0f",
    ],
    "kinds of space": [f"+375{space}29{space}111 11{space}11" for space in "\u00a0\u2003\u2009\u202f\u3000\t\n\u2800"],
    "kinds of dash": [
        f"+375 29 111{dash}11{dash}11" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d\u30fc~"
    ],
    "dots, brackets and slashes": [
        "+375.29.111.11.11",
        "+375\u00b729\u00b71111111",
        "+375(29)1111111",
        "(+375) 29 1111111",
        "8 [029] 111-11-11",
        "8\uff08029\uff09111\uff0d11\uff0d11",
        "+375 29 111/11/11",
        "+375\\29\\1111111",
        "8~10~375 29 111 11 11",
    ],
    "kinds of plus": [f"{plus}375291111111" for plus in "+\uff0b\ufe62\u207a\u2795"]
    + ["+ 375 29 1111111", "++375291111111"],
    "digits as wide as letters": ["\uff13\uff17\uff15\uff12\uff19\uff11\uff11\uff11\uff11\uff11\uff11\uff11"],
    "an address": [
        "tel:+375291111111",
        "TEL:+375-29-111-11-11",
        "tel://375291111111",
        "sip:+375291111111@10.0.0.5",
        "sips:375291111111@pbx.example:5061",
        "sip:%2B375291111111@192.168.100.200",
        "375291111111@192.168.100.200",
        "callto:+375291111111",
        "sip:+375291111111@pbx.example?subject=call%20back%201234567",
    ],
    "parameters": [
        "+375291111111;npdi",
        "+375291111111;npdi;rn=+375290000000",
        "375291111111;rn=+375290000000;npdi",
        "tel:291111111;phone-context=+375",
        "sip:+375291111111;npdi;rn=+375290000000@10.0.0.5:5060;user=phone;transport=udp",
        '+375291111111;isub="12345678"',
        "+375291111111 ; npdi",
    ],
    "a name": [
        '"Ivan" <375291111111>',
        "Ivan <sip:375291111111@10.0.0.5;user=phone>;tag=as1234567",
        '"Магазин 24" <375291111111>',
        '"375293333333" <375291111111>',
        '"Магазин 24" 375291111111',
        "«Ромашка» +375291111111",
        "+375291111111 Иван",
        "Иван Петров +375 (29) 111-11-11",
        "+375291111111 (Viber)",
        "+375291111111, Иван",
        "375291111111 - Иван - 2",
        "Касса 5: 375291111111",
        "Иван+375291111111",
        "тел. 375291111111",
        "тел:375291111111",
        "№375291111111",
        "'375291111111'",
        '="375291111111"',
        "O'Brien 375291111111",
        "375291111111 <мобильный>",
        "375291111111 \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}",
    ],
    "a name with digits": [
        f"{name}{number}"
        for name in ("Касса 3 ", "№ 3 ", "3) ", "Магазин 35 ", "Касса 39 ", "Рога-2 ", "ООО 7: ", "Иван 8  ")
        for number in (
            "80291111111",
            "375291111111",
            "+375291111111",
            "8 (029) 111-11-11",
            "375 29 111-11-11",
            "8029 111-11-11",
        )
        if (name, number[0]) != ("3) ", "+")
    ]
    + ["Иван 2 +375 (29) 111-11-11", "ООО 24 +375291111111"],
    "a name without digits": [
        "Иван 8 029 111-11-11",
        "Иван 375 29 111 11 11",
        "Иван 375 291111111",
        "Иван 8 10 375 29 1111111",
        "Иван 00 375 29 111 11 11",
        "Иван 810 375291111111",
        "Иван 29 111-11-11",
        "(8) 029 111-11-11",
    ],
    "a service prefix": [
        "#31#375291111111",
        "*31#375291111111",
        "#31# +375291111111",
        "*31#80291111111#",
        "375291111111#",
    ],
    "a float": ["375291111111.0", "375291111111.00", "+375291111111.0", "3.75291111111E+11", "3,75291111111e11"],
}
EXTENSIONS = {
    "101": [
        ",101",
        ", 101",
        ";101",
        "w101",
        "W 101",
        "p101",
        "x101",
        "х 101",
        "*101",
        "#101",
        ",101#",
        ",,101",
        ",101.0",
        ";ext=101",
        ";npdi;ext=101",
        " ext. 101",
        " ext101",
        " доб. 101",
        " доб 101",
        " (доб. 101)",
        ", доб. 101",
        " вн. 101",
        " внутр.101",
        " ДОБАВОЧНЫЙ 101",
        ",101 Иван",
        " Иван, доб. 101",
    ],
    "9": [" x 9", ",9", "w9"],
    "123456": [",123456", "*123456"],
    "1,101": [",1,101", "w1w101#"],
}
NONE = [
    *("", "   ", "+", "-", "#", "()", "Иван", "Anonymous", "<unknown>", "\u202a\u202c", ";npdi", "@10.0.0.5", "<>"),
    # two numbers, or perhaps two
    *("+375291111111; +375292222222", "375291111111,375292222222", "375291111111 375292222222"),
    *("375291111111/375292222222", "375291111111 или 375292222222", "+375291111111+375292222222", "151, 375291111111"),
    *(
        "<375291111111> <375292222222>",
        "375291111111&101",
        "375291111111 & Иван 101",
        "375 Иван 291111111",
        "2111111 2222222",
    ),
    *("375291111111,1234567", "375291111111 доб. 1234567", "375291111111, 12-34-56", "375291111111,+101"),
    # digits that may be a name's, a list's, an extension's or the number's
    *("3 80447112233", "35 80291111111", "150 375292222222", "39 375291111111", "3-80447112233", "Касса 3-80447112233"),
    *("12*375291111111", "12 * 375291111111"),
    *("447112233 (151)", "29 111-11-11 1", "44 711-22-33 151", "375291111111 150", "2 +375291111111", "80291111111 1"),
    *("3 8044 711-22-33", "35 8029 1111111", "(3) 80447112233", "8+375291111111", "+375 29 111+1111"),
    # letters where digits should be
    *("+3752911111ll", "375291111111a", "a375291111111", "Иван375291111111", "+З75291111111", "37529111111x1а"),
    # no numbers at all
    *("2025-10-09 15:00:00", "ivan2024@mail.example", "X-152", "belline1", "10.0.0.5", "-1", "*65", "٣٧٥٢٩١١١١١١١١"),
    *('"375291111111" <unknown>', "1" * 21, "9" * 3000, "+375\x00291111111", "x" * 300 + "375291111111"),
    *("3.75291E+11", "3.752911111115E+11", "3.7529111111E+11"),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KINDS.items() for text in texts])
def test_a_number_is_read_whatever_stands_around_it(kind, text):
    spelled = read(text)

    assert spelled is not None
    assert spelled.extension == ""
    assert e164(text, "BY") == NUMBER


@pytest.mark.parametrize(("extension", "tail"), [(key, tail) for key, tails in EXTENSIONS.items() for tail in tails])
@pytest.mark.parametrize("number", ["375291111111", "+375 (29) 111-11-11", "80291111111"])
def test_an_extension_behind_the_number_is_kept_apart(number, extension, tail):
    spelled = read(number + tail)

    assert spelled is not None
    assert spelled.extension == extension
    assert e164(number + tail, "BY") == NUMBER


@pytest.mark.parametrize("text", NONE)
def test_what_is_not_one_number_is_not_guessed(text):
    assert read(text) is None
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("151", "151"),
        ("<151>", "151"),
        ('"Иван" <151>', "151"),
        ("sip:151@10.0.0.5", "151"),
        ("151.0", "151"),
        ("0", "0"),
    ],
)
def test_an_extension_alone_is_a_number_too(text, number):
    assert read(text) == Spelled(number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("49 89 123 456 789", "4989123456789"),
        ("810 375 29 111-11-11", "810375291111111"),
    ],
    ids=["Munich, written without a plus", "by the prefix of international calls"],
)
def test_what_announces_a_number_is_no_count_before_it(text, number):
    assert read(text) == Spelled(number)


def test_space_around_a_number_is_no_part_of_its_length():
    assert read(" " * 60_000 + "375291111111" + "\n" * 60_000) == Spelled("375291111111")
    assert read("Иван" + " " * MOST_CHARACTERS + "375291111111") is None


@pytest.mark.parametrize(("beyond", "is_read"), [(0, True), (1, False)])
def test_an_address_as_long_as_any_is_read_and_nothing_longer(beyond, is_read):
    address = f"sip:+375291111111@{'a' * MOST_CHARACTERS}"[: MOST_CHARACTERS + beyond]

    assert (read(address) is not None) == is_read


def test_the_cache_of_numbers_holds_nothing_long():
    from lib.calls import e164 as module

    before = module._e164.cache_info().currsize
    for length in range(100, 200):
        assert e164(" " * length + "Иван " * 10 + "375291111111" + " " * 60_000, "BY") == NUMBER
        assert e164("7" * length, "BY") is None
        assert e164(" " * 60_000 + "x" * length, "BY") is None

    assert module._e164.cache_info().currsize <= before + 1


VALID = st.sampled_from(
    ["+375291111111", "+375172111111", "+79161234567", "+77011234567", "+4915112345678", "+48221234567"]
)
SPACES = st.sampled_from([c for c in map(chr, range(0x3001)) if unicodedata.category(c) == "Zs"])
DASHES = st.sampled_from([c for c in map(chr, range(0xFF0E)) if unicodedata.category(c) == "Pd"])
MARKS = st.sampled_from([*"\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad\u061c"])
BETWEEN = st.one_of(SPACES, DASHES, MARKS, st.sampled_from([".", "/", "(", ")", " - ", ") ("]))
NAMES = st.text(st.characters(categories=["Lu", "Ll"]), min_size=3, max_size=12).filter(
    lambda name: not spelling._TO_EXTENSION.fullmatch(name) and unicodedata.normalize("NFKC", name).isalpha()
)


@st.composite
def spelt(draw):
    number = draw(VALID)
    digits = list(number[1:])
    for place in sorted(draw(st.sets(st.integers(1, len(digits) - 1), max_size=4)), reverse=True):
        digits.insert(place, draw(BETWEEN))
    plus = draw(st.sampled_from(["+", "+ ", "\uff0b", "\u207a", "\u2795"]))
    return number, draw(st.sampled_from(["", draw(MARKS)])) + plus + "".join(digits)


@st.composite
def decorated(draw):
    number, text = draw(spelt())
    extension = draw(st.integers(0, 999_999).map(str))
    text += draw(st.sampled_from(["", *(mark + extension for mark in (",", "w", " x ", "*", " доб. ", ";ext="))]))
    name = draw(NAMES)
    around = [
        "{}",
        "{} {}",
        "{} ({})",
        '"{name}" <{}>',
        "{name} <sip:{}@10.0.0.5;user=phone>",
        "tel:{}",
        "{name} {}",
        "{}#",
    ]
    return number, draw(st.sampled_from(around)).replace("{name}", name).format(text, name)


@given(decorated())
def test_a_decorated_number_is_the_same_in_e164(example):
    number, text = example

    assert e164(text, "BY") == number


@given(spelt(), spelt(), st.sampled_from([",", ";", "; ", " ", "/", "&", " или ", " / ", "\n", "|", ""]))
def test_two_numbers_in_one_field_are_no_number(one, other, between):
    assert e164(one[1] + between + other[1], "BY") is None


@given(st.text(st.characters(codec=None), max_size=MOST_CHARACTERS + 20))
def test_whatever_is_written_gives_digits_or_nothing(text):
    spelled = read(text)

    if spelled is not None:
        assert spelled.number.removeprefix("+").isdecimal()
        assert spelled.number.isascii()
        assert read(spelled.number) == Spelled(spelled.number)
        assert all(part.isdecimal() and len(part) <= 6 for part in spelled.extension.split(",") if spelled.extension)
