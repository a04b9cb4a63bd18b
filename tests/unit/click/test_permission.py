"""Which numbers clicks may call: for any choice of an enterprise, and whatever somebody wrote into its settings."""

from __future__ import annotations

import pytest

from lib.click import permission, settings
from lib.click.permission import Whose
from lib.click.settings import DAILY_LIMIT, ClickSettings
from lib.runtime.errors import Forbidden


@pytest.mark.parametrize(
    ("number", "whose"),
    [
        ("+375291111111", Whose("BY", None)),
        ("+3758011234567", Whose("BY", None)),
        ("+79161234567", Whose("RU", None)),
        ("+77011234567", Whose("KZ", None)),
        ("+78001234567", Whose("RU", None)),
        ("+78091234567", Whose("RU", "premium")),
        ("+79541234567", Whose("RU", "satellite")),
        ("+447012345678", Whose("GB", "premium")),
        ("+491801123456", Whose("DE", "shared_cost")),
        ("+18765551234", Whose("JM", None)),
        ("+80012345678", Whose(None, None)),
        ("+80812345678", Whose(None, "shared_cost")),
        ("+97912345678", Whose(None, "premium")),
        ("+8816123456789", Whose(None, "satellite")),
        ("+883510012345678", Whose(None, "satellite")),
    ],
)
def test_a_number_has_a_country_and_perhaps_a_price(number, whose):
    assert permission.whose(number) == whose


@pytest.mark.parametrize("region", ["BY", "RU", "UA", "KZ"])
def test_the_usual_countries_are_those_of_one_market_and_its_neighbours(region):
    usual = settings.usual_countries(region)

    assert {"BY", "RU", "UA", "KZ", "KG", "UZ", "LV", "PL", "DE"} <= usual
    assert not {"CU", "JM", "SO", "US"} & usual


def test_elsewhere_the_own_country_is_the_usual_one():
    assert settings.usual_countries("DE") == {"DE"}


def test_every_country_is_not_every_number():
    everywhere = ClickSettings(countries=frozenset({"*"}))

    permission.require("+18765551234", everywhere)
    with pytest.raises(Forbidden) as refused:
        permission.require("+8816123456789", everywhere)
    assert (refused.value.code, refused.value.details) == ("number_kind_not_allowed", {"kind": "satellite"})


def test_a_kind_that_is_allowed_needs_its_country_too():
    chosen = ClickSettings(countries=frozenset({"BY"}), kinds=frozenset({"premium"}))

    permission.require("+3759021234567", chosen)
    with pytest.raises(Forbidden) as refused:
        permission.require("+78091234567", chosen)
    assert (refused.value.code, refused.value.details) == ("country_not_allowed", {"country": "RU"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"click_countries": "BY"},
        {"click_countries": ["by"]},
        {"click_countries": ["ZZ"]},
        {"click_countries": [["BY"]]},
        {"click_number_kinds": ["mobile"]},
        {"click_number_kinds": {"premium": True}},
        {"click_daily_limit": 0},
        {"click_daily_limit": True},
        {"click_daily_limit": "9"},
        {"click_daily_limit": 10**9},
    ],
)
def test_what_cannot_be_meant_leaves_the_default_and_is_named(wrong):
    found = settings.read(wrong, "BY")

    assert found == ClickSettings(countries=settings.usual_countries("BY"), daily_limit=DAILY_LIMIT)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(next(iter(wrong)))


def test_null_is_the_default_and_an_empty_list_is_nobody():
    assert settings.read({"click_countries": None}, "BY") == settings.read({}, "BY")
    assert settings.read({"click_countries": []}, "BY").countries == frozenset()
