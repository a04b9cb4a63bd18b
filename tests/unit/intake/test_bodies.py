from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.intake import bodies
from lib.runtime.errors import InvalidPayload


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"name": "Иван"}'.encode(), "Иван"),
        ('{"name": "Ива'.encode() + b'\xd0"}', "Ива\N{REPLACEMENT CHARACTER}"),
        (b'{"name": "\\u0418\\udcd0"}', "И\N{REPLACEMENT CHARACTER}"),
        (b'{"name": "\\ud83d\\ude00"}', "\N{GRINNING FACE}"),
        ('{"name": "Иван"}'.encode("cp1251"), "Иван"),
        ('{"name": "Иван"}'.encode("utf-16"), "Иван"),
        ('{"name": "Иван"}'.encode("utf-16-be"), "Иван"),
        (b"\xef\xbb\xbf" + '{"name": "Иван"}'.encode(), "Иван"),
        (b'{"name": "a\x00b"}\x00\x00', "ab"),
        (b'{"name": "a\\u0000b\\ufeff"}', "ab"),
        (b'{"name": "a\tb\n"}', "a\tb\n"),
        (b'{"name": "Ivan\\Petrov"}', "Ivan\\Petrov"),
        (b'{"name": "\\u0418\\u04"}', "И\\u04"),
        (b'{"name": "a\\\\u0418 \\"b\\" \\x"}', 'a\\u0418 "b" \\x'),
        (b'{"name\\u0000": "a"}', "a"),
        (b'{"name\\u0000": "mended", "name": "whole"}', "whole"),
        (b'{"name": "whole", "name\\u0000": "mended"}', "whole"),
    ],
)
def test_what_is_broken_costs_a_letter(body, name):
    assert bodies.parse(body) == {"name": name}


NAMED = '{"name": "Иван", "Phone": "375291111111"}'


@pytest.mark.parametrize("nulls", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("place", [0, 1, 2, 3, 20, None])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_a_null_that_a_host_left_in_a_body_tells_nothing_of_its_letters(encoding, place, nulls):
    body = NAMED.encode(encoding)
    place = len(body) if place is None else place

    assert bodies.parse(body[:place] + b"\x00" * nulls + body[place:]) == {"name": "Иван", "Phone": "375291111111"}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("sent", [NAMED, "{}", json.dumps({"name": "Тест" * 10}, ensure_ascii=False), '{"a": "\x00"}'])
def test_letters_of_several_bytes_are_told_by_a_mark_or_by_the_whole_body(sent, encoding, mark):
    assert bodies.parse((mark + sent).encode(encoding)) == bodies.parse(sent.encode())


@pytest.mark.parametrize("body", [NAMED.encode("utf-16-le")[:-1], NAMED.encode("utf-16")[:-1]])
def test_a_last_letter_cut_in_its_middle_is_mended(body):
    assert bodies.parse(body) == bodies.parse(NAMED.encode())


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("1761010900.30", "1761010900.30"),
        ("1761010900.0", "1761010900.0"),
        ("375291111111.0", "375291111111.0"),
        ("375291111111", 375291111111),
        ("0", 0),
        ("-1", -1),
        ("1e999", "1e999"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1" * 5000, "1" * 5000),
        ("1234567890123456789", "1234567890123456789"),
    ],
)
def test_a_number_keeps_the_digits_that_were_sent(number, kept):
    assert bodies.parse(f'{{"n": [{number}]}}'.encode()) == {"n": [kept]}


@pytest.mark.parametrize("depth", [60, 500, 5_000])
@pytest.mark.parametrize(("opens", "closes"), [('{"a": ', "}"), ("[", "]")])
def test_what_is_nested_too_deep_is_cut_off_and_what_stands_beside_it_is_kept(depth, opens, closes):
    body = f'{{"deep": {opens * depth}"]}}{{"{closes * depth}, "Phone": "375291111111"}}'

    found = bodies.parse(body.encode())

    assert found["Phone"] == "375291111111"
    assert json.dumps(found).count("null") == 1


@pytest.mark.parametrize(
    "body", [b"", b"no json", b'"text"', b"[1]", b"\xff\xfe", b'{"a": ', b"{'a': 1}", b'{"a":' * 5_000]
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(InvalidPayload):
        bodies.parse(body)


# So long that a reader who goes back at each quotation mark would need minutes.
MANY = 300_000


@pytest.mark.parametrize("opens", ['{"a":"', '{"a":' * 5_000 + '"', "[" * 5_000 + '{"a":"'])
@pytest.mark.parametrize("repeated", ['\\"', '"\\', '\\\\"', '"', "\\", '"[', '["', '":"', "\\u", "{"])
@pytest.mark.parametrize("ends", ["", "\\", '"'])
def test_what_is_broken_is_refused_in_one_pass(opens, repeated, ends, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_VALUES", 10 * MANY)
    with pytest.raises(InvalidPayload):
        bodies.parse((opens + repeated * (MANY // len(repeated)) + ends).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(codec=None), max_size=8), JSON, max_size=4), st.booleans())
def test_whatever_an_object_holds_can_be_stored(value, is_ascii):
    body = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    stored = json.dumps(bodies.parse(body), ensure_ascii=False, allow_nan=False)

    assert "\x00" not in stored
    assert "\\u0000" not in stored
    assert stored.encode()


def test_what_was_read_is_read_again_as_it_is():
    found = bodies.parse(b'{"a": [1761010900.30, "\xd0", {"b": NaN}], "c": null, "d": true}')

    assert bodies.parse(json.dumps(found).encode()) == found
