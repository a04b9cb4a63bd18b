from __future__ import annotations

import json

import pytest

from lib.ledger import codec
from lib.runtime.errors import InvalidPayload
from lib.store.rows import Lane


def test_a_lane_arrives_as_it_was_sent():
    lane = Lane(enterprise_number="0367", crm="retailcrm")

    assert codec.lane_of(json.loads(json.dumps(codec.rows_message(lane)))) == lane


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"enterprise_number": "0367"},
        {"crm": "retailcrm"},
        {"enterprise_number": 367, "crm": "retailcrm"},
        {"enterprise_number": "0367", "crm": None},
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(InvalidPayload):
        codec.lane_of(body)
