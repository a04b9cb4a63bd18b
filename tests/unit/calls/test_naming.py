from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lib.calls.directory import Directory, Line
from lib.calls.event import CallEvent
from lib.calls.keys import link_keys
from lib.calls.linking import group
from lib.calls.naming import named

DIRECTORY = Directory(internal_phones=frozenset({"150", "152", "1301"}), lines={"0003000": Line(line_id="0003000")})


def event(**fields) -> CallEvent:
    known = {
        "event_id": "e",
        "event_type": "dial",
        "unique_id": "1760000000.1",
        "call_type": 0,
        "phone": "375291111111",
    }
    return CallEvent(**{**known, "received_at": datetime(2025, 10, 9, 12, tzinfo=UTC), **fields})


@pytest.mark.parametrize(
    ("sent", "trunk", "extensions"),
    [
        ({"trunk": "3000", "extensions": ("X-152", "150")}, "0003000", ("152", "150")),
        ({"trunk": "3000", "extensions": ("3000",)}, "0003000", ("0003000",)),
        ({"trunk": "", "extensions": ("ACME-152", "152")}, "", ("152",)),
        ({"trunk": "1301", "extensions": ("X-153",)}, "1301", ("X-153",)),
    ],
)
def test_an_event_gets_the_names_that_the_enterprise_uses(sent, trunk, extensions):
    found = named(event(**sent), DIRECTORY)

    assert (found.trunk, found.extensions) == (trunk, extensions)
    assert named(found, DIRECTORY) is found


def test_a_line_in_place_of_a_number_is_still_that_line():
    assert named(event(trunk="3000", phone="3000"), DIRECTORY).phone == "0003000"


def test_groups_and_link_keys_go_by_the_enterprises_names():
    sent = event(call_type=1, trunk="3000", extensions=("X-152",))

    assert group([sent], DIRECTORY) == ((named(sent, DIRECTORY),),)
    assert link_keys(sent, DIRECTORY) == link_keys(named(sent, DIRECTORY), DIRECTORY)
    assert "x<152" in link_keys(sent, DIRECTORY).weak
