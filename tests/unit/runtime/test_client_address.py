"""From where a request came: what a client writes into a header itself is never believed."""

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from lib.runtime import client_address, config
from lib.runtime.config import Proxies
from lib.runtime.errors import ConfigError


@pytest.fixture
def trusting(monkeypatch):
    def trust(networks: str) -> None:
        monkeypatch.setattr(config, "current", lambda section: section(trusted_proxies=networks))

    return trust


def asked(*forwarded: str, peer: str = "127.0.0.1") -> str:
    headers = [("X-Forwarded-For", value) for value in forwarded]
    environ = EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": peer}).get_environ()
    return client_address.client_address(Request(environ))


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ("", (), "127.0.0.1"),
        ("", ("192.0.2.7",), "192.0.2.7"),
        ("", ("203.0.113.1, 192.0.2.7",), "192.0.2.7"),
        ("", ("203.0.113.1", "192.0.2.7"), "192.0.2.7"),
        ("", ("10.0.0.1",), "10.0.0.1"),
        ("10.0.0.0/8", ("203.0.113.1, 192.0.2.7, 10.0.0.1",), "192.0.2.7"),
        ("10.0.0.0/8,2001:db8::/32", ("192.0.2.7, 2001:db8::1, 10.9.9.9",), "192.0.2.7"),
        ("10.0.0.0/8", ("10.0.0.2, 10.0.0.1",), "10.0.0.2"),
        ("10.0.0.0/8", ("192.0.2.7, unknown, 10.0.0.1",), "unknown"),
        ("10.0.0.0/8", ("192.0.2.7, ::ffff:10.0.0.1",), "192.0.2.7"),
        ("10.0.0.0/8", (", ,10.0.0.1",), "10.0.0.1"),
        ("10.0.0.0/8", ("192.0.2.7:51234, 10.0.0.1:443",), "192.0.2.7"),
        ("10.0.0.0/8", ("[2001:db8::7]:51234, 10.0.0.1",), "2001:db8::7"),
        ("10.0.0.0/8", ("2001:db8::7, 10.0.0.1",), "2001:db8::7"),
    ],
)
def test_the_last_entry_counts_that_is_no_trusted_proxys(trusting, trusted, forwarded, expected):
    trusting(trusted)
    assert asked(*forwarded) == expected


def test_a_long_entry_is_cut(trusting):
    trusting("")
    assert asked("x" * 1000) == "x" * 64


def test_a_wrong_network_is_told_at_the_start():
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES: 'ten' does not appear to be an IPv4 or IPv6 network"):
        Proxies(trusted_proxies="10.0.0.0/8, ten")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_a_sender_has_an_address_or_a_network(address, expected):
    assert client_address.source_of(address) == expected


def test_a_site_has_more_networks_than_a_sender():
    sites = [client_address.site_of(address) for address in ("192.0.2.7", "2001:db8:1:2::3", "2001:db8:1:ffff::4")]

    assert sites == ["192.0.2.7", "2001:db8:1::/48", "2001:db8:1::/48"]
