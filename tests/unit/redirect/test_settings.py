from __future__ import annotations

import pytest

from lib.redirect.settings import RedirectSettings, for_line


def test_without_settings_the_redirect_is_off():
    assert for_line({"enabled": True}, "0001301") == RedirectSettings()


def test_a_line_may_differ_from_its_enterprise():
    config = {
        "smart_redirect_mode": "name-only",
        "smart_redirect_names": ["customer", "line", "customer"],
        "smart_redirect_shop_names": {"main": "Магазин"},
        "smart_redirect_lines": {"0001301": {"mode": "routing+name", "algorithm": "last_call", "ignore_hours": True}},
    }

    here, elsewhere = for_line(config, "0001301"), for_line(config, "0001302")

    assert (here.mode, here.algorithm, here.ignore_hours) == ("routing+name", "last_call", True)
    assert (elsewhere.mode, elsewhere.algorithm, elsewhere.ignore_hours) == ("name-only", "retailcrm", False)
    assert here.names == elsewhere.names == ("customer", "line")
    assert here.shop_names == {"main": "Магазин"}
    assert here.problems == ()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"smart_redirect_mode": "on"}, "smart_redirect_mode cannot be 'on'"),
        ({"smart_redirect_mode": ["off"]}, "smart_redirect_mode cannot be ['off']"),
        ({"smart_redirect_names": "customer"}, "smart_redirect_names cannot be 'customer'"),
        ({"smart_redirect_names": [{}]}, "smart_redirect_names cannot be [{}]"),
        ({"smart_redirect_shadow": 1}, "smart_redirect_shadow cannot be 1"),
        ({"smart_redirect_lines": []}, "smart_redirect_lines: must map lines to their settings"),
        ({"smart_redirect_lines": {"0001301": "off"}}, "smart_redirect_lines: must map lines to their settings"),
        ({"smart_redirect_lines": {"0001301": {"mode": 7}}}, "smart_redirect_lines.0001301.mode cannot be 7"),
        ({"smart_redirect_shop_names": "x"}, "smart_redirect_shop_names: must map codes of shops to names"),
        ({"smart_redirect_colour": "red"}, "smart_redirect_colour cannot be 'red'"),
    ],
)
def test_a_value_that_makes_no_sense_is_ignored_and_named(config, problem):
    found = for_line(config, "0001301")

    assert found == RedirectSettings()
    assert found.problems == (problem,)
