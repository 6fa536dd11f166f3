"""Heads that the parser lets through and the gateway refuses: a table."""

from __future__ import annotations

import pytest

from lbgateway.dataplane.framing import framing_error, head_bytes, line_bytes, too_large
from lbgateway.dataplane.head import RequestHead
from lbgateway.dataplane.plane import Limits

LIMITS = Limits(max_head_bytes=1000, max_headers=5)


def head_of(*fields: tuple[bytes, bytes], hosts: bytes | None = b"shop.example", version: str = "1.1", target: bytes = b"/") -> RequestHead:
    head = RequestHead()
    head.hosts, head.version, head.target = hosts, version, target
    for name, value in fields:
        head.lines += (name, b": ", value, b"\r\n")
    return head


@pytest.mark.parametrize(
    ("head", "slug"),
    [
        (head_of(), None),
        (head_of(hosts=b""), None),
        (head_of(hosts=b"[2001:db8::1]:8080"), None),
        (head_of(hosts=None, version="1.0"), None),
        (head_of(*[(b"A", b"b")] * 4), None),
        (head_of(*[(b"A", b"b")] * 5), "headers_too_large"),
        (head_of((b"A", b"b" * 950)), None),
        (head_of((b"A", b"b" * 990)), "headers_too_large"),
        (head_of(target=b"/" + b"a" * 1000), "uri_too_long"),
        (head_of((b"A", b"b" * 900), target=b"/" + b"a" * 900), "headers_too_large"),
        (head_of(*[(b"A", b"b")] * 5, hosts=None, version="1.0"), None),
        (head_of(hosts=b"a" * 1000), "headers_too_large"),
        (head_of(hosts=None), "bad_request"),
        (head_of(hosts=b" "), "bad_request"),
        (head_of(hosts=b"a b"), "bad_request"),
        (head_of(hosts=b"a/b"), "bad_request"),
        (head_of(hosts=b"user@host"), "bad_request"),
        (head_of(hosts=b"a\x00"), "bad_request"),
        (head_of(hosts=b"a b", version="1.0"), "bad_request"),
        (head_of(version="2.0"), "bad_request"),
        (head_of(version="0.9"), "bad_request"),
    ],
)
def test_which_heads_are_refused(head, slug):
    """And each refusal ends the connection."""
    error = framing_error(head, LIMITS)
    assert (None if error is None else error.slug) == slug
    assert error is None or error.close


def test_fields_of_our_own_count_as_well():
    """Forwarded and framing fields are not in `lines`, but a client sent them."""
    head = head_of((b"A", b"b"))
    head.specials, head.special_bytes = 4, 10
    error = framing_error(head, LIMITS)
    assert error is not None
    assert error.detail == "Too many header fields"
    head.specials, head.special_bytes = 1, 1000
    assert framing_error(head, LIMITS) is not None


@pytest.mark.parametrize("hosts", [b"shop.example", None])
def test_a_head_of_exactly_the_limits_passes(hosts):
    """And not one byte, and not one field more: Host counts like all others, where there is one."""
    head = head_of(hosts=hosts, version="1.0")
    head.method, head.specials, head.special_bytes = b"GET", 1, len(b"TE" + b"trailers")
    wire = b"GET / HTTP/1.0\r\n" + (b"Host: shop.example\r\n" if hosts else b"") + b"TE: trailers\r\nA: \r\n\r\n"
    fill = [b"A", b": ", b"b" * (1000 - len(wire)), b"\r\n"]
    head.lines += fill
    assert head_bytes(head) == 1000
    assert framing_error(head, LIMITS) is None
    fill[2] += b"b"
    head.lines[-4:] = fill
    assert framing_error(head, LIMITS).slug == "headers_too_large"

    few = head_of(*[(b"A", b"b")] * (4 if hosts else 5), hosts=hosts, version="1.0")
    assert framing_error(few, LIMITS) is None
    few.lines += (b"A", b": ", b"b", b"\r\n")
    assert framing_error(few, LIMITS).detail == "Too many header fields"


@pytest.mark.parametrize(("size", "slug"), [(1000, "headers_too_large"), (1001, "uri_too_long")])
def test_a_request_line_is_too_long_only_by_itself(size, slug):
    """With fields that do not fit beside it, or without; 414 says that nothing else would have helped."""
    target = b"/".ljust(size - len(b"GET  HTTP/1.1\r\n"), b"a")
    for head in (head_of(hosts=None, target=target), head_of((b"A", b"b" * 5000), target=target)):
        head.method = b"GET"
        assert line_bytes(head) == size
        assert too_large(head, LIMITS).slug == slug
        assert framing_error(head, LIMITS).slug == slug
