from __future__ import annotations

import pytest

from lib.runtime.json_schema import problems

SHAPE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "count": {"type": "integer", "minimum": 1, "maximum": 3},
        "mode": {"type": "string", "enum": ["on", "off"]},
        "seconds": {"type": ["number", "null"], "minimum": 0, "maximum": 60},
        "lines": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "object", "properties": {"id": {"type": "string"}}},
        },
        "map": {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]+$", "description": "a user id"},
            "additionalProperties": {
                "type": "string",
                "pattern": "^[0-9]{1,3}$",
                "description": "an extension",
                "x-problem": "extension",
            },
        },
    },
}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"name": "a"}, {}),
        ({"name": "a", "count": 3, "mode": "on", "seconds": 1.5, "lines": [{"id": "1"}], "map": {"1": "150"}}, {}),
        ({"name": "a", "seconds": None}, {}),
        ([], {"body": "must be an object"}),
        ({}, {"name": "is missing"}),
        ({"name": ""}, {"name": "must be text of 1 to 5 characters"}),
        ({"name": "a", "count": True}, {"count": "must be a whole number from 1 to 3"}),
        ({"name": "a", "count": 4}, {"count": "must be a whole number from 1 to 3"}),
        ({"name": "a", "mode": "maybe"}, {"mode": "must be one of on, off"}),
        ({"name": "a", "seconds": -1}, {"seconds": "must be a number or null from 0 to 60"}),
        (
            {"name": "a", "lines": [{"id": 1}, {"x": 1}]},
            {"lines[0].id": "must be text", "lines[1].x": "is not known here"},
        ),
        ({"name": "a", "lines": [{}, {}, {}]}, {"lines": "must be a list"}),
        ({"name": "a", "map": {"x": "150"}}, {"map.x": "the name must be a user id"}),
        ({"name": "a", "map": {"1": "15x"}}, {"map.1": "must be an extension"}),
        ({"name": "a", "mode": ["on"]}, {"mode": "must be one of on, off"}),
        ({"name": 1, "more": 1}, {"name": "must be text of 1 to 5 characters", "more": "is not known here"}),
    ],
)
def test_every_problem_stands_at_its_field(value, found):
    assert {name: problem.message for name, problem in problems(value, SHAPE).items()} == found


def test_a_problem_is_a_code_with_parameters():
    value = {"count": 4, "mode": "maybe", "seconds": "1", "lines": [{"x": 1}], "map": {"x": "150", "1": "15x"}}

    assert {name: (one.code, one.params) for name, one in problems(value, SHAPE).items()} == {
        "name": ("missing", {}),
        "count": ("range", {"least": 1, "most": 3}),
        "mode": ("choice", {"choices": ["on", "off"]}),
        "seconds": ("range", {"least": 0, "most": 60}),
        "lines[0].x": ("unknown_field", {}),
        "map.x": ("name", {}),
        "map.1": ("extension", {}),
    }
