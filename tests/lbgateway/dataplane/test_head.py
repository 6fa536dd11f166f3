"""Header fields and their fates, and heads as bytes: tables."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.dataplane.head import (
    RESPONSE_RULES,
    STATUS_LINES,
    Field,
    RequestHead,
    chunk,
    last_chunk,
    named_by_connection,
    request_rules,
    tokens,
    trailer_allowed,
    upgrade_wanted,
    without,
)

RULES = request_rules([b"x-user-id", b"X_Tenant.Name"])


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (b"Accept", Field.PASS),
        (b"Cookie", Field.PASS),
        (b"Trailer", Field.TRAILER),
        (b"Host", Field.HOST),
        (b"HOST", Field.HOST),
        (b"content-length", Field.CONTENT_LENGTH),
        (b"Transfer-Encoding", Field.TRANSFER_ENCODING),
        (b"Connection", Field.CONNECTION),
        (b"Keep-Alive", Field.DROP),
        (b"Proxy-Connection", Field.DROP),
        (b"Proxy-Authorization", Field.DROP),
        (b"HTTP2-Settings", Field.DROP),
        (b"Upgrade", Field.UPGRADE),
        (b"Expect", Field.EXPECT),
        (b"TE", Field.TE),
        (b"Authorization", Field.AUTHORIZATION),
        (b"Forwarded", Field.FORWARDED),
        (b"X-Real-IP", Field.FORWARDED),
        (b"X-Original-URL", Field.FORWARDED),
        (b"X-Rewrite-Url", Field.FORWARDED),
        (b"X_Original_URL", Field.DROP),
        (b"X-Original-Name", Field.PASS),
        (b"X-Request-ID", Field.FORWARDED),
        (b"X-Forwarded-For", Field.FORWARDED),
        (b"x-forwarded-anything", Field.FORWARDED),
        (b"X_Forwarded_For", Field.DROP),
        (b"X-Forwarded_For", Field.DROP),
        (b"X_Real_IP", Field.DROP),
        (b"Content_Length", Field.DROP),
        (b"Transfer_Encoding", Field.DROP),
        (b"X-User-Id", Field.DROP),
        (b"x_user_id", Field.DROP),
        (b"X-USER_ID", Field.DROP),
        (b"x.user-id", Field.DROP),
        (b"X'User~Id", Field.DROP),
        (b"X-Tenant-Name", Field.DROP),
        (b"X_TENANT_NAME", Field.DROP),
        (b"x_tenant.name", Field.DROP),
        (b"X.Forwarded.For", Field.DROP),
        (b"Transfer.Encoding", Field.DROP),
        (b"X-User-Ids", Field.PASS),
        (b"XUserId", Field.PASS),
        (b"X-User-Id-", Field.PASS),
        (b"X_Other", Field.PASS),
    ],
)
def test_what_becomes_of_a_request_field(name, fate):
    """By its name in any spelling; one that a CGI-like upstream could take for another is dropped."""
    assert RULES[name] is fate
    assert RULES[name.swapcase()] is fate


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (b"Server", Field.PASS),
        (b"Set-Cookie", Field.PASS),
        (b"Via", Field.PASS),
        (b"X_Real_IP", Field.PASS),
        (b"Date", Field.DATE),
        (b"Content-Length", Field.CONTENT_LENGTH),
        (b"Transfer-Encoding", Field.TRANSFER_ENCODING),
        (b"Connection", Field.CONNECTION),
        (b"Keep-Alive", Field.DROP),
        (b"Proxy-Authenticate", Field.DROP),
        (b"X-Request-Id", Field.DROP),
        (b"Upgrade", Field.UPGRADE),
    ],
)
def test_what_becomes_of_a_response_field(name, fate):
    """Hop-by-hop fields go; the request id is ours."""
    assert RESPONSE_RULES[name] is fate


def test_names_are_remembered_within_bounds():
    """Clients choose them."""
    rules = request_rules()
    for number in range(5000):
        assert rules[b"X-%d" % number] is Field.PASS
    assert len(rules) == 4096
    assert rules[b"X-Forwarded-Late"] is Field.FORWARDED


def test_long_names_are_judged_but_not_remembered():
    """Otherwise 4096 names of 60 KiB each would cost a quarter of a gigabyte for as long as the gateway runs."""
    rules = request_rules([b"x-" + b"a" * 100])
    assert [rules[b"X-" + b"A" * 100], rules[b"X-Forwarded-" + b"a" * 60_000]] == [Field.DROP, Field.FORWARDED]
    assert len(rules) == 0


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        (b"X-Checksum", True),
        (b"Server-Timing", True),
        (b"Content-Length", False),
        (b"Content_Length", False),
        (b"TRANSFER-ENCODING", False),
        (b"Host", False),
        (b"Authorization", False),
        (b"Cookie", False),
        (b"Set-Cookie", False),
        (b"X-Forwarded-For", False),
        (b"X-Request-Id", False),
        (b"Content-Type", False),
        (b"Trailer", False),
        (b"Connection", False),
        (b"X-Gateway-Explain", False),
        (b"X-Real-Ip", False),
        (b"X-Hop", False),
        (b"x-hop", False),
    ],
)
def test_which_trailers_pass(name, allowed):
    """Nothing that frames, routes, authenticates (RFC 9110, 6.5.1), or that ``Connection`` keeps to the hop."""
    assert trailer_allowed(name, b"keep-alive, X-Hop") is allowed
    assert trailer_allowed(name, None) is (allowed or name.lower() == b"x-hop")


@pytest.mark.parametrize(
    ("upgrade", "connection", "version", "wanted"),
    [
        (b"websocket", b"Upgrade", "1.1", b"websocket"),
        (b" WebSocket ", b"keep-alive, upgrade", "1.1", b"websocket"),
        (b"websocket", b"keep-alive", "1.1", None),
        (b"websocket", None, "1.1", None),
        (None, b"Upgrade", "1.1", None),
        (b"websocket", b"Upgrade", "1.0", None),
        (b"h2c", b"Upgrade, HTTP2-Settings", "1.1", None),
        (b"H2C", b"Upgrade", "1.1", None),
        (b"foo, h2c", b"Upgrade", "1.1", None),
        (b"h2c, websocket", b"Upgrade", "1.1", None),
        (b"", b"Upgrade", "1.1", None),
    ],
)
def test_which_upgrades_may_be_tunnelled(upgrade, connection, version, wanted):
    """Never h2c, wherever it stands: behind it a client would speak to the upstream unseen."""
    head = RequestHead()
    head.upgrade, head.connection, head.version = upgrade, connection, version
    assert upgrade_wanted(head) == wanted


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        (b"close", []),
        (b"keep-alive, Upgrade, TE", []),
        (b"X-Hop, close , ,x-other", [b"x-hop", b"x-other"]),
        (b"Authorization, TE, Cookie", [b"authorization", b"cookie"]),
    ],
)
def test_connection_names_fields_of_this_hop(value, names):
    """Its own options are none."""
    assert named_by_connection(value) == names


def test_fields_are_dropped_by_name():
    """Whatever their spelling; what stands in front stays."""
    lines = [b"", b"A", b": ", b"1", b"\r\n", b"b", b": ", b"2", b"\r\n", b"a", b": ", b"3", b"\r\n"]
    assert without(lines, [b"a"], start=1) == [b"", b"b", b": ", b"2", b"\r\n"]
    assert without(lines, [], start=1) == lines
    assert without(lines[1:], [b"b", b"a"]) == []


def test_lists_are_read_as_tokens():
    """Lower case, without blanks and empty members."""
    assert tokens(b" A,b ,, C d ,") == [b"a", b"b", b"c d"]


def test_every_status_has_its_line():
    """Also those that nobody has named."""
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINES[299] == b"HTTP/1.1 299 \r\n"
    assert (min(STATUS_LINES), max(STATUS_LINES)) == (100, 999)


@hypothesis.given(reads=st.lists(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), max_size=5))
def test_chunks_hold_what_was_put_into_them(reads):
    """One for each read, and the last one ends them."""
    framed = b"".join(chunk(pieces) for pieces in reads) + last_chunk([b"X-Sum", b": ", b"1", b"\r\n"])
    body = b""
    while True:
        size, _, framed = framed.partition(b"\r\n")
        if not int(size, 16):
            break
        body, framed = body + framed[: int(size, 16)], framed[int(size, 16) + 2 :]
    assert (body, framed) == (b"".join(map(b"".join, reads)), b"X-Sum: 1\r\n\r\n")
