"""What an attacker may try to be somebody else, or nobody, where requests are counted: one row, one idea.

Each row is a request over a real socket to a gateway whose limit, by client address, lets one request an hour through. The
victim has had its one. `same`: the attacker is still counted as whom it should be, which is refused; otherwise it has
a count of its own. None may end in 500.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.proxies import SIGNATURE, binary, line
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

LIMIT = {"default": {"requests": 1, "per": "1h"}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as server:
        yield server


def send(gateway: LiveGateway, *lines: str, path: str = "/api/orders/x") -> int:
    """The status of one request on a connection of its own."""
    client = gateway.connect()
    client.send("\r\n".join((f"GET {path} HTTP/1.1", "Host: shop.example", "Connection: close", *lines, "", "")).encode("latin-1"))
    return client.message().status


@dataclass(frozen=True)
class Row:
    """`lines` after one request that was counted as `before` says."""

    idea: str
    lines: tuple[str, ...]
    before: tuple[str, ...] = ()
    status: int = 429
    trusted: bool = True


XFF = "X-Forwarded-For: "
ROWS = [
    Row("another address in X-Forwarded-For, from nobody that is believed", (XFF + "203.0.113.1",), trusted=False),
    Row("another address in Forwarded, from nobody that is believed", ("Forwarded: for=203.0.113.1",), trusted=False),
    Row("X-Real-IP", ("X-Real-IP: 203.0.113.1",), trusted=False),
    Row("X-Real-IP through a proxy", ("X-Real-IP: 203.0.113.1",)),
    Row("names of other products", ("True-Client-IP: 203.0.113.1", "CF-Connecting-IP: 203.0.113.1", "X-Client-IP: 203.0.113.1")),
    Row("an underscore", ("X_Forwarded_For: 203.0.113.1",)),
    Row("a proxy's client is not the proxy", (XFF + "203.0.113.1",), status=200),
    Row("an address in front of its own", (XFF + "1.1.1.1, 203.0.113.1",), (XFF + "203.0.113.1",)),
    Row("many in front", (XFF + "1.1.1.1, " * 200 + "203.0.113.1",), (XFF + "203.0.113.1",)),
    Row("in a field of its own", (XFF + "1.1.1.1", XFF + "203.0.113.1"), (XFF + "203.0.113.1",)),
    Row("a trusted address behind, as a proxy writes it", (XFF + "203.0.113.1, 127.0.0.9",), (XFF + "203.0.113.1",)),
    Row("another port", (XFF + "203.0.113.1:1",), (XFF + "203.0.113.1:2",)),
    Row("IPv4 in IPv6", (XFF + "::ffff:203.0.113.1",), (XFF + "203.0.113.1",)),
    Row("another address of its /64", (XFF + "2001:db9:1:2:ffff::1",), (XFF + "2001:db9:1:2::1",)),
    Row("another spelling of IPv6", (XFF + "[2001:0DB9:0001:0002:0:0:0:1]:443",), (XFF + "2001:db9:1:2::1",)),
    Row("the next /64 is another client", (XFF + "2001:db9:1:3::1",), (XFF + "2001:db9:1:2::1",), 200),
    Row("a zone", (XFF + "fe80::1%eth1",), (XFF + "fe80::1%eth0",)),
    Row("no address: counted as the proxy", (XFF + "unknown",)),
    Row("garbage: counted as the proxy", (XFF + "<script>",)),
    Row("nothing: counted as the proxy", (XFF,)),
    Row("a comma at the end", (XFF + "203.0.113.1,",)),
    Row("an octal address", (XFF + "0313.0.113.1",)),
    Row("a number for an address", (XFF + "3405803777",)),
    Row("Forwarded beside X-Forwarded-For", (XFF + "203.0.113.1", "Forwarded: for=1.1.1.1"), (XFF + "203.0.113.1",)),
    Row("for= inside of a quoted text", ('Forwarded: for=203.0.113.1;host="x, for=1.1.1.1"',), ("Forwarded: for=203.0.113.1",)),
    Row("a quote without an end", ('Forwarded: for="203.0.113.1',)),
    Row("an element in front", ("Forwarded: for=1.1.1.1, for=203.0.113.1",), ("Forwarded: for=203.0.113.1",)),
    Row("a hidden identifier: counted as the proxy", ("Forwarded: for=_gazonk",)),
    Row("capitals", ("FORWARDED: FOR=203.0.113.1",), ("Forwarded: for=203.0.113.1",)),
    Row("two fors in one element", ("Forwarded: for=203.0.113.1;for=1.1.1.1",), ("Forwarded: for=203.0.113.1",)),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.idea for row in ROWS])
def test_nobody_is_counted_as_somebody_else(upstream, row):
    """Row by row."""
    trusted = {"server": {"trusted_proxies": ["127.0.0.0/8"]}} if row.trusted else {}
    with LiveGateway({"rate_limit": LIMIT, **trusted}, orders=[upstream.port]) as gateway:
        assert send(gateway, *row.before) == 200
        assert send(gateway, *row.lines) == row.status
        assert gateway.bugs == []


KEYED: dict[str, Any] = {"rate_limit": {"default": {"requests": 1, "per": "1h", "key": "header:X-Api-Key"}}}


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (("X-Api-Key: a",), ("X-Api-Key: b",), 200),
        (("X-Api-Key: a",), ("x-api-KEY:   a  ",), 429),
        (("X-Api-Key: 127.0.0.1",), (), 200),
        ((), (), 429),
        ((), ("X_Api_Key: a",), 429),
        (("X-Api-Key: a", "X-Api-Key: b"), ("X-Api-Key: a, b",), 429),
        (("X-Api-Key: " + "a" * 8000,), ("X-Api-Key: " + "a" * 8000,), 429),
        (("X-Api-Key: " + "a" * 8000,), ("X-Api-Key: " + "a" * 7999 + "b",), 200),
    ],
)
def test_a_key_is_what_it_says_and_its_absence_is_the_address(upstream, first, second, status):
    """No value reaches into another one's count."""
    with LiveGateway(KEYED, orders=[upstream.port]) as gateway:
        assert send(gateway, *first) == 200
        assert send(gateway, *second) == status


# -- the PROXY protocol --------------------------------------------------------------------------

REQUEST = b"GET /api/orders/x HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


def behind_proxies(upstream: UpstreamServer, **more: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
        "rate_limit": LIMIT,
        "server": {"proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"], "header_timeout": "500ms", **more},
    }


def told(port: int, *parts: bytes) -> bytes:
    """All that comes back; empty where the door is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        try:
            for part in parts:
                client.sendall(part)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionError:
            return b""


@pytest.fixture(scope="module")
def proxied(upstream: UpstreamServer) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(behind_proxies(upstream))
    gateway.start(wait=False)
    wait_until(lambda: "listening" in gateway.log(), 30, gateway.log)
    yield gateway
    gateway.close()


@pytest.mark.parametrize("preamble", [line, binary])
def test_the_named_address_is_the_client(proxied, preamble):
    """For limits, for X-Forwarded-For, and in the access log; in whatever pieces the preamble comes."""
    source = "203.0.113.1" if preamble is line else "203.0.113.2"
    first = told(proxied.port, preamble(source) + REQUEST)
    assert first.startswith(b"HTTP/1.1 200")
    assert f'"X-Forwarded-For", "{source}"'.encode() in first
    assert b'"X-Forwarded-Port", "443"' in first
    assert told(proxied.port, preamble(source)[:9], preamble(source)[9:], REQUEST).startswith(b"HTTP/1.1 429")
    wait_until(lambda: f'"client":"{source}"' in proxied.log(), 5, proxied.log)


@pytest.mark.parametrize(
    "data",
    [
        REQUEST,
        b"PROXY TCP4 nonsense\r\n" + REQUEST,
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n" + REQUEST,
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n" + REQUEST,
        b"PROXY " + b"x" * 5000,
        b" " + line() + REQUEST,
        SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100,
        SIGNATURE + b"\x21\x11\x00\x04abcd" + REQUEST,
        binary(command=0x2F) + REQUEST,
        b"\x16\x03\x01" + b"x" * 50,
        line()[:20],
        SIGNATURE[:11],
        b"",
    ],
    ids=range(13),
)
def test_no_other_beginning_gets_an_answer(proxied, data):
    """The connection is closed, at the latest when a head would have to be there."""
    assert told(proxied.port, data) == b""


def test_a_second_preamble_is_no_request(proxied):
    """One proxy in front; what it passes on is HTTP, or is refused as such."""
    assert told(proxied.port, line("203.0.113.50") + line("203.0.113.51") + REQUEST).startswith(b"HTTP/1.1 400")


def test_the_headers_of_a_named_client_are_not_believed(proxied):
    """It is the proxy that is trusted, not whom it names."""
    lie = REQUEST.replace(b"Connection", b"X-Forwarded-For: 1.2.3.4\r\nConnection")
    assert told(proxied.port, line("203.0.113.60") + lie).startswith(b"HTTP/1.1 200")
    assert told(proxied.port, line("203.0.113.60") + lie.replace(b"1.2.3.4", b"4.3.2.1")).startswith(b"HTTP/1.1 429")


def test_a_named_client_is_no_operator(proxied):
    """The loopback rule of /admin looks at the named address, and the proxy's own checks come as itself."""
    admin = REQUEST.replace(b"/api/orders/x", b"/admin/config")
    assert told(proxied.port, line("203.0.113.70") + admin).startswith(b"HTTP/1.1 403")
    assert told(proxied.port, binary(command=0x20) + admin).startswith(b"HTTP/1.1 200")


def test_who_is_no_proxy_finds_the_door_closed(upstream):
    """Whatever preamble it brings."""
    gateway = GatewayProcess(behind_proxies(upstream, trusted_proxies=["10.0.0.0/8"]))
    gateway.start(wait=False)
    try:
        wait_until(lambda: "listening" in gateway.log(), 30, gateway.log)
        assert told(gateway.port, line() + REQUEST) == b""
        wait_until(lambda: "expects a preamble of a trusted proxy" in gateway.log(), 5, gateway.log)
        gateway.reload(behind_proxies(upstream, trusted_proxies=["127.0.0.0/8"]))
        wait_until(lambda: told(gateway.port, line() + REQUEST).startswith(b"HTTP/1.1 200"), 10, gateway.story)
        gateway.reload(behind_proxies(upstream, proxy_protocol=False))
        wait_until(lambda: told(gateway.port, REQUEST).startswith(b"HTTP/1.1 "), 10, gateway.story)
        assert gateway.stop() == 0
    finally:
        gateway.close()


def test_the_preamble_comes_before_tls(upstream, tmp_path):
    """As HAProxy writes it with send-proxy in front of a TLS connection that it only passes on."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    gateway = GatewayProcess(behind_proxies(upstream, tls={"cert": cert, "key": key}))
    gateway.start(wait=False)
    try:
        wait_until(lambda: "listening" in gateway.log(), 30, gateway.log)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain:
            plain.sendall(binary("203.0.113.80"))
            with authority.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                secure.sendall(REQUEST)
                answer = http.client.HTTPResponse(secure)
                answer.begin()
                assert answer.status == 200
                body = answer.read()
        assert b'"X-Forwarded-For", "203.0.113.80"' in body
        assert b'"X-Forwarded-Proto", "https"' in body
    finally:
        gateway.close()
