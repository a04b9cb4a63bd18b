from __future__ import annotations

import pytest

from lib.calls.directory import Directory, Line
from lib.redirect import choice
from lib.redirect.settings import RedirectSettings
from lib.retailcrm.manager import Responsible, read_responsible

DIRECTORY = Directory(internal_phones=frozenset({"150", "151"}), extension_users={"150": 18, "151": 19})


@pytest.mark.parametrize(
    ("responsible", "extension"),
    [
        (Responsible(user_id=19, code="151"), "151"),
        (Responsible(user_id=19, code="150"), "151"),
        (Responsible(user_id=19), "151"),
        (Responsible(user_id=99, code="150"), "150"),
        (Responsible(user_id=99, code="777"), None),
        (Responsible(user_id=99), None),
        (Responsible(), None),
    ],
)
def test_our_mapping_comes_before_the_crms_code(responsible, extension):
    assert choice.extension_of(responsible, DIRECTORY) == extension


@pytest.mark.parametrize(
    ("status", "hours", "is_free"), [(None, 0, True), ("free", 0, True), ("busy", 1, False), ("break", 13, True)]
)
def test_an_old_status_of_a_manager_does_not_count(status, hours, is_free):
    assert choice.is_free(status, hours * 3600) is is_free


def test_names_stand_in_the_chosen_order():
    line = Line(line_id="0001301", name="Городская", site_code="main")
    settings = RedirectSettings(names=("customer", "shop", "line"), shop_names={"main": "Магазин"})

    assert choice.name_parts(settings, line, "Иван") == ["Иван", "Магазин", "Городская"]
    assert choice.name_parts(RedirectSettings(), line, "") == ["Городская", "main", ""]
    assert choice.name_parts(RedirectSettings(), None, "Иван") == ["", "", "Иван"]


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"success": True}, Responsible()),
        ({"manager": None, "customer": None}, Responsible()),
        ({"manager": [], "customer": "x"}, Responsible()),
        ({"manager": {"id": 19, "code": "151"}}, Responsible(user_id=19, code="151")),
        ({"manager": {"id": "19", "code": 151}}, Responsible(user_id=19, code="151")),
        ({"manager": {"id": "x"}}, Responsible()),
        ({"customer": {"firstName": "Иван", "lastName": None}}, Responsible(customer_name="Иван")),
        ({"customer": {"firstName": "Иван", "lastName": "Первый"}}, Responsible(customer_name="Иван Первый")),
    ],
)
def test_any_part_of_the_crms_answer_may_be_missing(details, expected):
    assert read_responsible(details) == expected
