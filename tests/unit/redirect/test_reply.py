from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.redirect import reply


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (["Магазин", "main", "Иван Первый"], "Магазин | main | Иван Первый"),
        (["", "", "Иван"], "Иван"),
        (["Магазин", "", ""], "Магазин"),
        ([], "375291111111"),
        ([",", '"', "<b></b>"], "375291111111"),
        (["Я"], "Я | 375291111111"),
        (["Ромашка, ООО"], "Ромашка ООО"),
        (["a|b"], "a b"),
        (["и" * 200], "и" * 80),
    ],
)
def test_a_name_is_its_parts_or_the_number(parts, name):
    assert reply.name_of(parts, caller="375291111111") == name


@given(parts=st.lists(st.text(), max_size=4), caller=st.text(), phone_id=st.integers(1, 10**9), line=st.text())
def test_the_dialplan_can_read_every_answer(parts, caller, phone_id, line):
    text = reply.compact(reply.name_of(parts, caller=caller), reply.dial_plan(phone_id, line))

    assert len(text) >= 30
    assert text.startswith('{"Name":"')
    assert text.count(",") == 1
    assert text.count('"') in {6, 8}
    assert "\\" not in text
    assert not set("<>'&;$`\n\r\t") & set(text)
    assert list(json.loads(text)) == ["Name", "DialPlan"]
    text.encode()


@pytest.mark.parametrize("line", ["", "a_b", "a b", "a,b", "я", "x" * 41, "0001301\n"])
def test_a_line_that_would_shift_the_fields_has_no_plan(line):
    assert reply.dial_plan(17, line) is None


def test_the_shortest_reply_is_long_enough():
    assert reply.compact(reply.name_of([], caller=""), None) == '{"Name":"unknown","DialPlan":null}'
    assert len(reply.compact(reply.name_of(["abc"], caller=""), None)) == 30
