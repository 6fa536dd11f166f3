"""Kinds of values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lbgateway.config import fields
from lbgateway.config.document import resolve
from lbgateway.config.fields import split_host_port
from lbgateway.dataplane.target import normalise


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (fields.Text, resolve("007"), "007"),
        (fields.Text, True, "true"),
        (fields.Whole, "8080", 8080),
        (fields.Port, 0, 0),
        (fields.Duration, "5s", 5.0),
        (fields.Duration, 5.0, 5.0),
        (fields.Size, "1KiB", 1024),
        (fields.Size, 1024, 1024),
        (fields.HeadSize, "64KiB", 65536),
        (fields.Workers, 4, 4),
        (fields.Workers, "auto", "auto"),
        (fields.HeaderName, "X-Beta", "X-Beta"),
        (fields.HeaderValue, "a b\tc é", "a b\tc é"),
        (fields.HeaderValue, "", ""),
        (fields.Method, "PROPFIND", "PROPFIND"),
        (fields.Host, "Shop.Example.", "shop.example"),
        (fields.Host, "*.shop.example", "*.shop.example"),
        (fields.Host, "[::1]", "[::1]"),
        (fields.HostPort, "127.0.0.1:9001", "127.0.0.1:9001"),
        (fields.UrlPath, "/a/", "/a/"),
        (fields.Prefix, "/a/", "/a"),
        (fields.Prefix, "/", "/"),
        (fields.Prefix, "/caf%c3%a9/%7Eme", "/caf%C3%A9/~me"),
        (fields.Prefix, "/café", "/caf%C3%A9"),
        (fields.Prefix, "/api/{service}", "/api/{service}"),
        (fields.ServiceName, "Orders-v1.2_x", "orders-v1.2_x"),
        (fields.Url, "http://consul:8500/", "http://consul:8500"),
        (fields.FreeHeader, "X-Tenant", "X-Tenant"),
    ],
)
def test_good_values_get_one_form(kind, value, result):
    """Numbers become units' numbers, names and paths their normal form."""
    assert read(kind, value) == result
    assert read(kind, result) == result


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (fields.Whole, True, "whole number"),
        (fields.Port, 65536, "less than or equal"),
        (fields.Duration, resolve("5"), "needs a unit"),
        (fields.Duration, resolve("5.0"), "needs a unit"),
        (fields.PositiveDuration, "0s", "more than zero"),
        (fields.Size, resolve("64"), "needs a unit"),
        (fields.HeadSize, "10B", "between 1KiB and 16MiB"),
        (fields.Workers, 0, "number of processes"),
        (fields.Workers, True, "number of processes"),
        (fields.HeaderName, "X Beta", "header name"),
        (fields.HeaderName, "", "header name"),
        (fields.HeaderValue, "a\r\nb", "one line"),
        (fields.HeaderValue, " a", "space"),
        (fields.HeaderValue, "€", "Latin-1"),
        (fields.Method, "get", "capitals: GET"),
        (fields.Method, "G T", "not a method"),
        (fields.Method, "CONNECT", "never served"),
        (fields.Network, "10.0.0.1/8", "did you mean 10.0.0.0/8"),
        (fields.Network, "ten", "address range"),
        (fields.Network, 5, "address range"),
        (fields.Host, "http://shop.example", "without scheme"),
        (fields.Host, "shop.example:80", "without its port"),
        (fields.Host, "shop..example", "not a host"),
        (fields.Host, "a*.example", "not a host"),
        (fields.HostPort, "127.0.0.1", "host:port"),
        (fields.HostPort, "127.0.0.1:0", "host:port"),
        (fields.HostPort, "127.0.0.1:99999", "host:port"),
        (fields.HostPort, "::1:80", "brackets"),
        (fields.HostPort, "[zz]:80", "IPv6"),
        (fields.HostPort, "*.a:80", "host:port"),
        (fields.Prefix, "api", "begin with a slash: /api"),
        (fields.Prefix, "/a//b", "empty segment"),
        (fields.Prefix, "/a/../b", "segment"),
        (fields.Prefix, "/a/%2e%2e/b", "segment"),
        (fields.Prefix, "/a/..;x/b", "segment"),
        (fields.Prefix, "/a?b", "no query"),
        (fields.Prefix, "/a b", "space"),
        (fields.Prefix, "/a%2Fb", "escaped slash"),
        (fields.Prefix, "/a%zz", "no escape"),
        (fields.ServiceName, "a/b", "not a service"),
        (fields.ServiceName, "*", "not a service"),
        (fields.Url, "consul:8500", "not an address"),
        (fields.Url, "http://consul:port", "not an address"),
        (fields.FreeHeader, "Content-Length", "framing"),
        (fields.FreeHeader, "Host", "gateway itself"),
        (fields.FreeHeader, "X-Forwarded-Proto", "gateway itself"),
        (fields.File, "gone.pem", "no file"),
    ],
)
def test_bad_values_are_refused_with_advice(kind, value, said):
    """The sentence tells what would be right."""
    with pytest.raises(ValidationError, match=said):
        read(kind, value)


@pytest.mark.parametrize(("text", "shown"), [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("2001:DB8::/32", "2001:db8::/32")])
def test_address_ranges_are_networks(text, shown):
    """One address is a range of one."""
    assert str(read(fields.Network, text)) == shown
    assert read(fields.Network, read(fields.Network, text)) == read(fields.Network, text)


@pytest.mark.parametrize(
    ("text", "result"), [("[::1]:80", ("::1", 80)), ("orders.internal:9001", ("orders.internal", 9001)), ("a_b:1", ("a_b", 1))]
)
def test_host_and_port_are_split(text, result):
    """The brackets of IPv6 are no part of the address."""
    assert split_host_port(text) == result


def test_files_are_found_beside_the_configuration(tmp_path):
    """Not where the gateway happens to be started."""
    (tmp_path / "ca.pem").write_text("x")

    found = TypeAdapter(fields.File).validate_python("ca.pem", context={"folder": str(tmp_path)})

    assert found == str(tmp_path / "ca.pem")


@given(st.text(st.sampled_from("/ab.;%2eEfFc3A9~Bé\\"), max_size=20))
def test_a_prefix_is_spelled_as_requests_are(text):
    """Else a route could never match: what is accepted is a fixed point of the normalisation of requests."""
    try:
        path = read(fields.UrlPath, "/" + text)
    except ValidationError:
        return
    target = normalise(path.encode())

    assert target is None or target.path == path.encode()
