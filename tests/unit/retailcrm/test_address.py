from __future__ import annotations

import pytest

from lib.retailcrm import address
from lib.runtime.errors import ConfigError

EXTRA = "127.0.0.1:*,crm.example.com"


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("demo.retailcrm.ru", "https://demo.retailcrm.ru"),
        ("https://demo.retailcrm.pro/", "https://demo.retailcrm.pro"),
        ("Demo.SimLa.com", "https://demo.simla.com"),
        ("a-b.simla.io", "https://a-b.simla.io"),
        ("demo.retailcrm.es", "https://demo.retailcrm.es"),
        ("https://demo.retailcrm.ru/admin/orders", "https://demo.retailcrm.ru"),
        ("demo.retailcrm.ru/admin/orders?page=2#top", "https://demo.retailcrm.ru"),
        ("https://demo.retailcrm.ru?x=.example.com", "https://demo.retailcrm.ru"),
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
        "https://example.com#.retailcrm.ru",
        "https://example.com/.retailcrm.ru",
        "https://example.com\\.retailcrm.ru",
        "127.0.0.1",
        "127.0.0.2:80",
        "127.0.0.1:80@example.com",
        "localhost:80",
        "169.254.169.254",
        "dеmo.retailcrm.ru",
        "ｄemo.retailcrm.ru",
        "①27.retailcrm.ru",
        "demo\u3002retailcrm.ru",
        "\u212ademo.retailcrm.ru",
        "demo.retailcrm.ru.",
        "demo..retailcrm.ru",
        "-demo.retailcrm.ru",
        "demo-.retailcrm.ru",
        "de_mo.retailcrm.ru",
        "de mo.retailcrm.ru",
        "demo.retailcrm.ru:443",
        "demo%2eexample.com%2f.retailcrm.ru",
        f"{'a' * 64}.retailcrm.ru",
        f"{'a.' * 130}retailcrm.ru",
        "ftp://127.0.0.1:80",
        "file://127.0.0.1:80",
        "127.0.0.1:²",
        "127.0.0.1:",
        "127.0.0.1:*",
    ],
)
def test_any_other_address_is_refused(domain):
    with pytest.raises(ConfigError, match="domain"):
        address.base_url(domain, EXTRA)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://demo.retailcrm.ru", "public"),
        ("http://127.0.0.1:8082", "any"),
        ("https://crm.example.com", "any"),
        ("https://crm.example.com.retailcrm.ru", "public"),
        ("http://10.0.0.1:80", "public"),
    ],
)
def test_only_a_simulator_may_stand_in_another_network(url, expected):
    assert address.network(url, EXTRA) == expected


def test_without_extra_hosts_there_is_no_exception():
    assert address.network("http://127.0.0.1:8082", "") == "public"
    with pytest.raises(ConfigError):
        address.base_url("127.0.0.1:8082", "")
