"""What an upstream learns of the client: a table of who said what, and who is believed."""

from __future__ import annotations

import pytest

from lbgateway.dataplane.forwarding import forwarded_lines
from tests.support.playbook import World, get


def lines(peer: str = "192.0.2.7", version: str = "1.1", scheme: bytes = b"http", **given: str) -> list[str]:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return forwarded_lines(peer=peer, scheme=scheme, port=8080, version=version, host=b"shop.example", given=fields).decode().splitlines()


USUAL = {
    "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example", "X-Forwarded-Port": "8080",
    "Via": "1.1 lbgateway",
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"scheme": b"https"}, {"X-Forwarded-Proto": "https"}),
        ({"version": "1.0"}, {"Via": "1.0 lbgateway"}),
        ({"peer": "2001:db8::1"}, {"X-Forwarded-For": "2001:db8::1"}),
        ({"x_forwarded_for": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}),
        ({"x_forwarded_for": ""}, {}),
        ({"x_forwarded_proto": "https", "x_forwarded_port": "443"}, {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}),
        ({"x_forwarded_host": "www.example"}, {"X-Forwarded-Host": "www.example"}),
        ({"forwarded": "for=198.51.100.1"}, {"Forwarded": "for=198.51.100.1, for=192.0.2.7"}),
        (
            {"peer": "2001:db8::1", "forwarded": "for=a"},
            {"X-Forwarded-For": "2001:db8::1", "Forwarded": 'for=a, for="[2001:db8::1]"'},
        ),
        ({"x_request_id": "abc"}, {}),
        ({"x_real_ip": "198.51.100.1"}, {"x-real-ip": "198.51.100.1"}),
        ({"x_forwarded_prefix": "/shop"}, {"x-forwarded-prefix": "/shop"}),
    ],
)
def test_what_a_trusted_proxy_says_is_appended_to(given, changed):
    """And what it does not say is said by us; each field once."""
    told = lines(**given)
    assert len(told) == len({line.split(": ")[0].lower() for line in told})
    assert dict(line.split(": ", 1) for line in told) == {**USUAL, **changed}


def test_fields_that_a_proxy_has_sent_twice_are_one_list():
    """In their order."""
    twice = forwarded_lines(
        peer="p", scheme=b"http", port=1, version="1.1", host=b"h", given=[(b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b")]
    )
    assert twice.startswith(b"X-Forwarded-For: a, b, p\r\n")


@pytest.mark.parametrize("trusted", [False, True])
def test_only_a_trusted_peer_is_believed(trusted):
    """By its TCP address; whatever anybody else says of itself is replaced."""
    world = World(orders=1)
    client = world.client()
    client.protocol.trusted = trusted
    said = ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=evil", "X-Real-IP: 203.0.113.9", "X-Forwarded-Prefix: /evil")
    client.sends(get("/api/orders/", *said, "X-Original-URL: /evil", "X-Request-Id: theirs"))
    sent = world.connects().got()
    assert (b"X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\n" in sent) == trusted
    assert (b"X-Forwarded-For: 192.0.2.7\r\n" in sent) == (not trusted)
    assert (b"X-Request-Id: theirs\r\n" in sent) == trusted
    assert (sent.count(b"evil"), b"x-real-ip" in sent.lower()) == (3 if trusted else 0, trusted)
    assert sent.lower().count(b"x-request-id") == 1
