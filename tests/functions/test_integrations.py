"""What the operator is told of an enterprise's integrations."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.conftest import OPERATOR_TOKEN

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@pytest.fixture
def shown(function, provisioned, sql):
    provisioned()
    dispatch = function("dispatch-call-event")

    def ask(**sections):
        sql(
            "UPDATE enterprises SET integrations_config = integrations_config || %s RETURNING 1",
            json.dumps({name: section for name, section in sections.items() if section is not None}),
        )
        for name in (name for name, section in sections.items() if section is None):
            sql("UPDATE enterprises SET integrations_config = integrations_config - %s RETURNING 1", name)
        dispatch.post("/cache/invalidate/0367", headers=OPERATOR)
        answer = dispatch.get("/integrations/0367", headers=OPERATOR)
        assert answer.status_code == 200
        return answer.json

    return ask


def test_the_matrix_names_every_integration_and_which_of_them_works(shown):
    told = shown(
        amocrm={"enabled": True, "domain": "https://demo.amocrm.ru", "api_key": "x"}, bitrix={"enabled": False}
    )

    assert told["enterprise_number"] == "0367"
    assert told["integrations"] == {"retailcrm": True, "amocrm": False, "bitrix": False}
    assert told["unserved"] == ["amocrm", "bitrix"]
    assert told["problems"] == {}
    assert told["retailcrm"]["api_key_set"] is True


def test_it_says_how_old_it_is(shown):
    told = shown()

    assert 0 <= told["age_seconds"] < 60
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["cached_at"])).total_seconds()) < 60


@pytest.mark.parametrize(
    "section",
    [{"enabled": False, "domain": "https://demo.retailcrm.ru", "api_key": "x"}, {"enabled": True}, "on", None],
)
def test_what_is_off_or_not_connected_or_not_there_does_not_work(shown, section):
    assert shown(retailcrm=section)["integrations"] == {"retailcrm": False}


def test_what_cannot_be_meant_is_named_there(shown):
    told = shown(amocrm=5, bitrix={"user_extensions": "none"})

    assert told["problems"] == {
        "amocrm": ["amocrm: must be an object"],
        "bitrix": ["user_extensions must map users to extensions"],
    }


def test_the_caches_block_of_the_statistics_has_both_of_its_names(function, provisioned):
    provisioned()
    stats = function("dispatch-call-event").get("/stats", headers=OPERATOR).json

    assert stats["cache"] == stats["cache_stats"]
    keys = {"hits", "misses", "hit_ratio", "total_entries", "last_full_refresh", "last_invalidation"}
    assert keys <= stats["cache_stats"].keys()
