from __future__ import annotations

import pytest

from lib.admin.screens import mapping
from lib.admin.screens.mapping import Difference, Taken

NUMBERS = {"150", "151", "152"}


@pytest.mark.parametrize(
    ("before", "changes", "after", "taken"),
    [
        ({}, {"18": "150"}, {"18": "150"}, []),
        ({"18": "150"}, {"18": None}, {"18": None}, []),
        (
            {"18": "150"},
            {"19": "150"},
            {"18": None, "19": "150"},
            [Taken(extension="150", from_user_id=18, to_user_id=19)],
        ),
        ({"18": "150", "19": "151"}, {"18": "151", "19": "150"}, {"18": "151", "19": "150"}, []),
        ({"18": "150"}, {"18": "150"}, {"18": "150"}, []),
    ],
    ids=["free", "none", "taken", "swapped", "same"],
)
def test_an_extension_has_one_manager(before, changes, after, taken):
    assert mapping.assign(before, changes) == (after, taken)


def test_problems_stand_at_their_manager():
    changes = {"18": "150", "19": "150", "20": "999", "21": None}

    assert {name: (one.code, one.params) for name, one in mapping.problems(changes, NUMBERS).items()} == {
        "user_extensions.19": ("given_twice", {"extension": "150", "user_id": 18}),
        "user_extensions.20": ("no_such_extension", {"extension": "999"}),
    }


def test_differences_are_told_apart():
    ours = {"18": "150", "19": "151", "20": "999", "21": None, "22": "152"}
    crm = {18: "150", 19: "152", 20: "999", 21: "7"}

    assert mapping.differences(ours, crm, NUMBERS) == [
        Difference(kind="other", user_id=19, ours="151", crm="152"),
        Difference(kind="no_such_number", user_id=20, ours="999", crm="999"),
        Difference(kind="not_ours", user_id=21, ours=None, crm="7"),
        Difference(kind="not_in_crm", user_id=22, ours="152", crm=None),
    ]


def test_only_what_can_be_a_mapping_is_imported():
    assert mapping.imported({19: "150", 18: "150", 20: "SIP/7", 21: "151"}) == {"18": "150", "21": "151"}
