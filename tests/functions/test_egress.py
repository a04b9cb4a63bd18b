"""
An address that an enterprise sets leads to no private network, measured where connections are made.

Every connect of this process is recorded by the address that it wants. Those to port 443 go to a real server here
instead, so that what would have left is seen to arrive.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lib.retailcrm import address, client
from lib.retailcrm.client import Account, Form
from lib.runtime import config, egress, outbound
from lib.runtime.errors import ConfigError

HOST = "demo.retailcrm.ru"
PUBLIC_4, PUBLIC_6 = "8.8.8.8", "2001:4860:4860::8888"

# What names can lead to.
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.0.0.53",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.253",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.17.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::a9fe:a9fe",
    "::ffff:0:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.168.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::e000:1",
    "64:ff9b:1::1",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]

# What can be written instead of an account's host. A name that is none of these numbers leads to 127.0.0.1.
WRITTEN = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7F.0x0.0x0.0x1",
    "0177.0x0.0.1",
    "00000177.0.0.1",
    "127.0.0.1.",
    "10.0.0.1",
    "167772161",
    "192.168.0.1",
    "0xc0a80001",
    "172.16.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "100.100.100.200",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fd00:ec2::254]",
    "[2001:4860:4860::8888]",
    "8.8.8.8",
    "①②⑦.⓪.⓪.①",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "localhost.localdomain",
    "ip6-localhost",
    "metadata",
    "metadata.google.internal",
    "metadata.google.internal.",
    "instance-data.ec2.internal",
    "kubernetes.default.svc",
    "db.internal",
    "127.0.0.1.example.com",
    "7f000001.example.com",
    "demo.retailcrm.ru.example.com",
    "demo.retailcrm.ru.",
    "retailcrm.ru",
    "evilretailcrm.ru",
    "demo.retailcrm.ru@127.0.0.1",
    "demo.retailcrm.ru:443@127.0.0.1",
    "user:password@127.0.0.1",
    "demo.retailcrm.ru%40127.0.0.1",
    "127.0.0.1#.retailcrm.ru",
    "127.0.0.1?.retailcrm.ru",
    "127.0.0.1/.retailcrm.ru",
    "127.0.0.1\\.retailcrm.ru",
    "127.0.0.1\\@demo.retailcrm.ru",
    "127.0.0.1:443",
    "127.0.0.1:80",
    "127.0.0.1:5432",
    "127.0.0.1:443#@demo.retailcrm.ru",
    "demo.retailcrm.ru:80",
    "demo.retailcrm.ru:22",
    "demo.retailcrm.ru:8443",
    "demo.retailcrm.ru:0",
    "demo.retailcrm.ru:65979",
    "demo.retailcrm.ru:443:80",
    "demo.retailcrm.ru\t",
    "demo.retailcrm.ru\r\nHost: localhost",
    "dеmo.retailcrm.ru",
    "demo.retaılcrm.ru",
    "xn--demo.retailcrm.ru.example",
    "*.retailcrm.ru",
    ".retailcrm.ru",
    "",
]


def _certificate(name, issuer, key, issuer_key, *, is_ca):
    now = datetime.now(UTC)
    named = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(named))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate of HOST with its key, and the authority that signed it."""
    folder = tmp_path_factory.mktemp("authority")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(_certificate("ca", "ca", ca_key, ca_key, is_ca=True))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "host.pem").write_bytes(_certificate(HOST, "ca", key, ca_key, is_ca=False) + private)
    return folder


@dataclass
class World:
    """`names`: what a name leads to, one answer after another, the last one for ever; else to 127.0.0.1."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wanted: list[tuple[str, int]] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    answer: bytes = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"success":true}'
    is_kept: bool = True
    connections: int = 0

    def leads(self, host, *answers):
        self.names[host] = [list(answer) for answer in answers]


@pytest.fixture
def world(monkeypatch, authority):
    made = World()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "host.pem")
    tls.sni_callback = lambda _, name, __: made.server_names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve():
        with contextlib.suppress(OSError):  # shut down: the test is over
            while True:
                accepted, _ = listener.accept()
                made.connections += 1
                accepted.settimeout(2)
                with accepted, contextlib.suppress(OSError), tls.wrap_socket(accepted, server_side=True) as connection:
                    while heard := _request(connection):
                        made.arrived.append(heard)
                        connection.sendall(made.answer)
                        if not made.is_kept:
                            break

    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def answer(host, *arguments, **options):
        with contextlib.suppress(OSError):  # a number, in whatever form the system takes it
            return resolve(host, *arguments, **{**options, "flags": socket.AI_NUMERICHOST})
        made.asked.append(host)
        left = made.names.get(host.rstrip("."), [["127.0.0.1"]])
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in found
        ]

    def record(self, wanted):
        made.wanted.append(wanted[:2])
        if wanted[1] != 443:
            return connect(self, wanted)
        if self.family == socket.AF_INET6:
            raise OSError("no way there")
        return connect(self, ("127.0.0.1", port))

    thread = threading.Thread(target=serve)
    thread.start()
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(socket.socket, "connect", record)
    monkeypatch.setenv("RETAILCRM_EXTRA_HOSTS", "")
    monkeypatch.setattr(outbound, "_local", threading.local())
    outbound._session("public").verify = str(authority / "ca.pem")
    config.current.cache_clear()
    yield made
    outbound.close()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    config.current.cache_clear()


def _request(connection):
    heard = b""
    while b"\r\n\r\n" not in heard or not heard.endswith(b"%7D"):  # the end of JSON in a form
        part = connection.recv(65536)
        if not part:
            return b""
        heard += part
    return heard


FORM = Form(path="/api/v5/telephony/call/event", name="event", value={"phone": "375291111111"})


def send(url=f"https://{HOST}"):
    return client.send(Account(base_url=url, api_key="key-of-0367"), FORM, timeout_seconds=2)


def test_the_tables_are_long_enough():
    assert len(set(PRIVATE)) >= 60
    assert len(set(WRITTEN)) >= 60


@pytest.mark.parametrize("private", PRIVATE)
def test_a_name_that_leads_to_a_private_address_gets_no_connection(world, private):
    world.leads(HOST, [private])

    reply = send()

    assert (reply.outcome, world.wanted, world.connections) == ("unavailable", [], 0)
    assert "not on the internet" in str(reply.error)
    assert "RETAILCRM_EXTRA_HOSTS" in str(reply.error)
    assert world.asked == [HOST]


@pytest.mark.parametrize("private", PRIVATE)
def test_one_private_address_among_public_ones_refuses_the_name(world, private):
    world.leads(HOST, [PUBLIC_4, private, PUBLIC_6])

    reply = send()

    assert (reply.outcome, world.wanted, world.connections) == ("unavailable", [], 0)


@pytest.mark.parametrize("host", WRITTEN)
def test_an_address_that_is_no_accounts_is_refused_and_gets_no_connection(world, host):
    typed = [host, f"https://{host}"]

    if host != "demo.retailcrm.ru\t":  # what stands around an address is cut off
        for domain in typed:
            with pytest.raises(ConfigError):
                address.base_url(domain, "")
    reply = send(f"https://{host}")

    assert (reply.outcome, world.wanted, world.connections) == ("unavailable", [], 0)


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "gopher", "ws", ""])
def test_nothing_but_https_is_spoken_with_the_internet(world, scheme):
    world.leads(HOST, [PUBLIC_4])

    with pytest.raises(outbound.NotSent):
        outbound.get(f"{scheme}://{HOST}/", {}, headers={}, timeout_seconds=1)

    assert (world.wanted, world.connections) == ([], 0)


def test_a_public_name_is_connected_at_the_checked_address_under_its_own_name(world):
    world.leads(HOST, [PUBLIC_4])

    reply = send()

    assert reply.outcome == "done"
    assert world.wanted == [(PUBLIC_4, 443)]
    assert world.server_names == [HOST]
    assert f"Host: {HOST}\r\n".encode() in b"".join(world.arrived)


def test_the_next_address_is_tried_when_one_is_away(world):
    world.leads(HOST, [PUBLIC_6, PUBLIC_4])

    reply = send()

    assert reply.outcome == "done"
    assert world.wanted == [(PUBLIC_6, 443), (PUBLIC_4, 443)]


def test_a_connection_is_used_again_without_asking_for_the_name(world):
    world.leads(HOST, [PUBLIC_4], ["127.0.0.1"])

    assert [send().outcome for _ in range(3)] == ["done"] * 3

    assert world.asked == [HOST]
    assert world.connections == 1


def test_a_rebound_name_gets_the_checked_address_first_and_no_connection_after(world):
    world.leads(HOST, [PUBLIC_4], ["127.0.0.1"])
    world.is_kept = False
    world.answer = world.answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    first, second = send(), send()

    assert (first.outcome, second.outcome) == ("done", "unavailable")
    assert world.asked == [HOST, HOST]
    assert world.wanted == [(PUBLIC_4, 443)]
    assert world.connections == 1


def test_a_server_with_another_names_certificate_gets_nothing(world):
    world.leads("other.retailcrm.ru", [PUBLIC_4])

    reply = send("https://other.retailcrm.ru")

    assert reply.outcome == "unavailable"
    assert "certificate" in str(reply.error)
    assert world.arrived == []


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/",
        "http://169.254.169.254/computeMetadata/v1/",
        "https://metadata.google.internal/",
        "//127.0.0.1/",
        "https://demo.retailcrm.ru:80/",
        "https://other.retailcrm.ru/",
        "/again",
        "file:///etc/passwd",
        "https://[::1]/",
        "http://[bad",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(world, status, location):
    world.leads(HOST, [PUBLIC_4])
    world.answer = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    reply = send()

    assert (reply.outcome, reply.http_status) == ("permanent", status)
    assert world.wanted == [(PUBLIC_4, 443)]
    assert len(world.arrived) == 1


def test_proxies_of_the_environment_are_not_used(world, monkeypatch):
    world.leads(HOST, [PUBLIC_4])
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert send().outcome == "done"

    assert world.wanted == [(PUBLIC_4, 443)]


def test_a_simulator_that_the_operator_names_is_the_only_exception(world, monkeypatch):
    monkeypatch.setenv("RETAILCRM_EXTRA_HOSTS", "crm.example.com")
    config.current.cache_clear()
    outbound._session("any").verify = outbound._session("public").verify

    reply = send("https://crm.example.com"), send("https://crm2.example.com")

    assert "certificate" in str(reply[0].error)
    assert "not on the internet" in str(reply[1].error)
    assert world.wanted == [("127.0.0.1", 443)]
    assert world.arrived == []


def test_an_administrator_reads_why_and_what_to_do(world, page):
    body = {"domain": HOST, "api_key": "a-key-of-the-tests"}

    checks = page.post("config/0367/test", body).get_json()

    assert "not on the internet" in str(checks)
    assert [wanted for wanted in world.wanted if wanted[1] == 443] == []


def test_what_the_table_calls_private_is_so_by_number(world):
    assert [text for text in PRIVATE if egress.is_public(ip_address(text))] == []
