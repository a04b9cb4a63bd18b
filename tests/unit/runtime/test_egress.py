"""Which addresses are of the internet."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lib.runtime import egress


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2a00:1450::1",
        "2620:fe::fe",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ],
)
def test_a_host_of_the_internet_is_public(address):
    assert egress.is_public(ip_address(address))
