"""Who is counted."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.policies.client_address import ClientAddresses
from lbgateway.policies.identity import Identity
from lbgateway.policies.limit_key import key_reader, needs_identity

PEER = "10.0.0.1"


def exchange(*fields: tuple[str, str], claims: dict[str, Any] | None = None, said: str | None = None, trusted: bool = False) -> Any:
    lines = [b"", *(part for name, value in fields for part in (name.encode(), b": ", value.encode(), b"\r\n"))]
    forwarded = None if said is None else [(b"x-forwarded-for", said.encode())]
    return SimpleNamespace(
        downstream=SimpleNamespace(peer=PEER, trusted=trusted, client_key=b""),
        head=SimpleNamespace(lines=lines, forwarded=forwarded),
        identity=None if claims is None else Identity(claims, b"", 1.0),
        route=SimpleNamespace(label="shop.example/v1"),
        plane=SimpleNamespace(clients=ClientAddresses([ipaddress.ip_network("10.0.0.0/8")])),
    )


CLIENT = PEER.encode()


@pytest.mark.parametrize(
    ("key", "asking", "counted"),
    [
        ("client", exchange(), CLIENT),
        ("client", exchange(said="203.0.113.9"), CLIENT),
        ("client", exchange(said="203.0.113.9", trusted=True), b"203.0.113.9"),
        ("client", exchange(trusted=True), CLIENT),
        ("route", exchange(), b"=shop.example/v1"),
        ("header:X-Api-Key", exchange(("x-api-key", "k1")), b"=k1"),
        ("header:x-api-key", exchange(("X-API-Key", " k1 "), ("Accept", "*/*")), b"=k1"),
        ("header:X-Api-Key", exchange(("X-Api-Key", "k1"), ("X-Api-Key", "k2")), b"=k1, k2"),
        ("header:X-Api-Key", exchange(("Accept", "*/*")), CLIENT),
        ("subject", exchange(claims={"sub": "ann"}), b"=ann"),
        ("subject", exchange(claims={"name": "ann"}), CLIENT),
        ("subject", exchange(), CLIENT),
        ("claim:tenant", exchange(claims={"sub": "ann", "tenant": 7}), b"=7"),
        ("claim:tenant", exchange(claims={"sub": "ann", "tenant": ["a"]}), CLIENT),
    ],
)
def test_each_key_reads_its_part_of_the_request(key, asking, counted):
    """And where that part is missing, the address: leaving it out is no way around."""
    assert key_reader(key)(asking) == counted


def test_no_value_passes_for_an_address():
    """Whoever sends another one's address as a key is counted apart."""
    assert key_reader("header:X")(exchange(("X", PEER))) != key_reader("client")(exchange())


def test_long_values_cost_no_more_memory_than_short_ones():
    """And stay different."""
    read = key_reader("header:X")
    one, other = read(exchange(("X", "a" * 5000))), read(exchange(("X", "a" * 5000 + "b")))
    assert one != other
    assert len(one) < 64


def test_an_address_is_worked_out_once_for_a_connection():
    """It is the same with every request."""
    asking = exchange()
    key_reader("client")(asking)
    assert asking.downstream.client_key == CLIENT


@pytest.mark.parametrize(
    ("key", "late"), [("client", False), ("route", False), ("header:X", False), ("subject", True), ("claim:tenant", True)]
)
def test_only_subjects_and_claims_have_to_wait_for_the_token(key, late):
    """All others are turned away before it is looked at."""
    assert needs_identity(key) is late
