"""Whose request it is: tables of what proxies and attackers write."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.client_address import REMEMBERED, ClientAddresses, key_of_address, parse_address

TRUSTED = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "2001:db8::/32")]
PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:1234", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]x", None),
        ("[2001:db8::1", None),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.7.", None),
        ("192.0.2.007", None),
        ("0x7f.1", None),
        ("2130706433", None),
        ("192.0.2.7, 1.1.1.1", None),
    ],
)
def test_an_address_is_read_in_the_spellings_of_proxies(text, address):
    """Whatever two parties could read differently is none."""
    assert parse_address(text) == (None if address is None else ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0:0:0:1", True),
    ],
)
def test_one_client_is_one_address_or_one_network_of_ipv6(one, other, same):
    """A client has a whole /64 to itself."""
    assert (key_of_address(one) == key_of_address(other)) is same


@pytest.mark.parametrize(
    ("name", "value", "client"),
    [
        ("x-forwarded-for", "203.0.113.9", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("x-forwarded-for", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("x-forwarded-for", "10.9.9.9, 203.0.113.9, 10.0.0.2, 10.0.0.3", "203.0.113.9"),
        ("x-forwarded-for", "10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("x-forwarded-for", "203.0.113.9, garbage, 10.0.0.2", "10.0.0.2"),
        ("x-forwarded-for", "203.0.113.9, unknown", PROXY),
        ("x-forwarded-for", "203.0.113.9,", PROXY),
        ("x-forwarded-for", "", PROXY),
        ("x-forwarded-for", "203.0.113.9:5555", "203.0.113.9"),
        ("x-forwarded-for", "2001:db9::5, 2001:db8::1", "2001:db9::5"),
        ("x-forwarded-for", "1.1.1.1," * 1000 + "10.0.0.2", "1.1.1.1"),
        ("x-forwarded-for", "1.1.1.1, " + "10.0.0.2, " * 40 + "10.0.0.2", "10.0.0.2"),
        ("forwarded", "for=203.0.113.9", "203.0.113.9"),
        ("forwarded", 'for="203.0.113.9:80";proto=https, for=10.0.0.2', "203.0.113.9"),
        ("forwarded", 'proto=https;For="[2001:db9::5]:443"', "2001:db9::5"),
        ("forwarded", 'for=1.1.1.1;by="a,b;for=2.2.2.2", for=203.0.113.9', "203.0.113.9"),
        ("forwarded", 'for=203.0.113.9, host="for=1.1.1.1"', PROXY),
        ("forwarded", "for=_secret", PROXY),
        ("forwarded", "by=203.0.113.9", PROXY),
        ("x-real-ip", "203.0.113.9", PROXY),
    ],
)
def test_the_client_is_the_rightmost_address_that_no_proxy_is(name, value, client):
    """What stands left of it, the client wrote itself."""
    addresses, given = ClientAddresses(TRUSTED), [(name.encode(), value.encode())]
    assert addresses.key_of(PROXY, given) == key_of_address(client)
    assert addresses.address_of(PROXY, given) == client


def test_several_fields_are_one_list_and_the_usual_name_goes_first():
    """As HTTP joins them; a proxy that writes one of the two lets the other pass as it came."""
    addresses = ClientAddresses(TRUSTED)
    lines = [(b"x-forwarded-for", b"1.1.1.1"), (b"forwarded", b"for=2.2.2.2"), (b"x-forwarded-for", b"203.0.113.9")]
    assert addresses.key_of(PROXY, lines) == b"203.0.113.9"


@given(st.text(max_size=60), st.sampled_from([b"x-forwarded-for", b"forwarded"]))
def test_no_text_is_a_mistake(text, name):
    """Anything at all may come; somebody is always counted."""
    assert ClientAddresses(TRUSTED).key_of(PROXY, [(name, text.encode("latin-1", "replace"))])


def test_what_is_remembered_is_bounded():
    """Clients decide how many different lists there are."""
    addresses = ClientAddresses(TRUSTED)
    for number in range(REMEMBERED + 10):
        addresses.key_of(PROXY, [(b"x-forwarded-for", b"1.%d.%d.1" % (number // 250, number % 250))])
    assert len(addresses._known) <= REMEMBERED
