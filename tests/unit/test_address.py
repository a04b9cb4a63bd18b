from __future__ import annotations

import pytest

from lib.errors import ConfigError
from lib.retailcrm import address

EXTRA = "127.0.0.1:*,crm.example.com"


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("demo.retailcrm.ru", "https://demo.retailcrm.ru"),
        ("https://demo.retailcrm.pro/", "https://demo.retailcrm.pro"),
        ("Demo.SimLa.com", "https://demo.simla.com"),
        ("a-b.simla.io", "https://a-b.simla.io"),
        ("demo.retailcrm.es", "https://demo.retailcrm.es"),
        ("127.0.0.1:8082", "http://127.0.0.1:8082"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("https://crm.example.com", "https://crm.example.com"),
    ],
)
def test_an_address_of_retailcrm_or_of_a_simulator_is_taken(domain, expected):
    assert address.base_url(domain, EXTRA) == expected


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "retailcrm.ru",
        ".retailcrm.ru",
        "demo.retailcrm.ru.example.com",
        "demo.example.com",
        "http://demo.retailcrm.ru",
        "ftp://demo.retailcrm.ru",
        "https://user:pass@demo.retailcrm.ru",
        "https://demo.retailcrm.ru:8443",
        "https://demo.retailcrm.ru/path",
        "https://demo.retailcrm.ru?x=.retailcrm.ru",
        "https://example.com#.retailcrm.ru",
        "https://example.com/.retailcrm.ru",
        "https://example.com\\.retailcrm.ru",
        "127.0.0.1",
        "127.0.0.2:80",
        "127.0.0.1:80@example.com",
        "localhost:80",
        "169.254.169.254",
        "dеmo.retailcrm.ru",
    ],
)
def test_any_other_address_is_refused(domain):
    with pytest.raises(ConfigError, match="domain"):
        address.base_url(domain, EXTRA)
