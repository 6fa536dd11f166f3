"""Which proxy stands before which instance."""

import pytest

from lbgateway.dataplane.reach import HttpxReach, reached_directly


@pytest.mark.parametrize(
    ("host", "exceptions", "directly"),
    [
        ("10.0.0.7", "", False),
        ("10.0.0.7", "*", True),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.7:9001", True),
        ("10.0.0.7", "10.0.0.7:9002", False),
        ("10.0.0.7", "192.168.0.0/16, 10.0.0.0/8", True),
        ("10.0.0.7", "192.168.0.0/16", False),
        ("::1", "[::1]:9001", True),
        ("::1", "::/8", True),
        ("Orders.example", "orders.example", True),
        ("a.orders.example", "orders.example", True),
        ("a.orders.example", ".orders.example", True),
        ("a.orders.example", "*.orders.example:9001", True),
        ("reorders.example", "orders.example", False),
        ("orders.example", " , ,", False),
        ("10.0.0.7", "0.0.7", False),
    ],
)
def test_who_is_reached_directly(host: str, exceptions: str, directly: bool) -> None:
    """NO_PROXY as other programs read it."""
    assert reached_directly(host, 9001, exceptions) is directly


@pytest.mark.parametrize(
    ("scheme", "proxies", "proxy"),
    [
        ("http", {}, None),
        ("http", {"http": "http://a"}, "http://a"),
        ("https", {"http": "http://a"}, None),
        ("https", {"http": "http://a", "https": "http://b", "all": "http://c"}, "http://b"),
        ("http", {"all": "socks5://c"}, "socks5://c"),
        ("http", {"all": "socks5://c", "no": "10.0.0.0/8"}, None),
    ],
)
def test_the_proxy_of_a_scheme(scheme: str, proxies: dict[str, str], proxy: str | None) -> None:
    """The one for all serves where there is none of its own."""
    reach = HttpxReach(scheme=scheme, proxies=tuple(proxies.items()))

    assert reach.proxy_for("10.0.0.7", 9001) == proxy


def test_equal_settings_are_equal_reaches() -> None:
    """So that a reload that changes nothing closes nothing."""
    assert HttpxReach(credentials=("ca", 1)) == HttpxReach(credentials=("ca", 1))
    assert HttpxReach(credentials=("ca", 1)) != HttpxReach(credentials=("ca", 2))
