"""Preambles, read: what proxies write, and what somebody might."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.proxy_protocol import HEAD_BYTES, MOST_BYTES, BadPreamble, Named, length_of, read_binary, read_line
from tests.support.proxies import SIGNATURE, binary, line


def read(preamble: bytes) -> Named | None:
    if preamble.startswith(b"PROXY"):
        return read_line(preamble)
    head, rest = preamble[:HEAD_BYTES], preamble[HEAD_BYTES:]
    assert length_of(head) == len(rest)
    return read_binary(head, rest)


@pytest.mark.parametrize(
    ("preamble", "named"),
    [
        (line(), Named("203.0.113.7", 443)),
        (line("2001:db9::7", 80), Named("2001:db9::7", 80)),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Named("255.255.255.255", 65535)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", None),
        (binary(), Named("203.0.113.7", 443)),
        (binary("2001:db9::7", 80), Named("2001:db9::7", 80)),
        (binary(extra=b"\x04\x00\x03abc"), Named("203.0.113.7", 443)),
        (binary(command=0x20), None),
        (SIGNATURE + b"\x20\x00\x00\x00", None),
        (SIGNATURE + b"\x21\x00\x00\x00", None),
        (SIGNATURE + b"\x21\x31\x00\xd8" + b"\0" * 216, None),
    ],
)
def test_what_proxies_write_is_read(preamble, named):
    """Addresses, or nobody's: then the proxy speaks for itself."""
    assert read(preamble) == named


@pytest.mark.parametrize(
    "preamble",
    [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\n",
        b"PROXY  TCP4 203.0.113.7 192.0.2.1 50000 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443 \r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 65536\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 050000 443\r\n",
        b"PROXY TCP4 203.0.113.007 192.0.2.1 50000 443\r\n",
        b"PROXY TCP4 203.0.113 192.0.2.1 50000 443\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.1 50000 443\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 50000 443\r\n",
        b"PROXY TCP6 ::ffff:1.2.3.4%eth0 ::1 50000 443\r\n",
        b"PROXY UDP4 203.0.113.7 192.0.2.1 50000 443\r\n",
        b"proxy TCP4 203.0.113.7 192.0.2.1 50000 443\r\n",
        b"PROXY UNKNOWN" + b" " * 100 + b"\r\n",
        b"PROXY UNKNOWN\r\n\r\n",
        binary(command=0x22),
        binary(command=0x11),
        binary(family=0x12),
        binary(family=0x99),
        binary("203.0.113.7", family=0x21),
        SIGNATURE + b"\x21\x11\x00\x00",
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\1" * 11,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(preamble):
    """A client that gets its own words into a preamble names itself."""
    with pytest.raises(BadPreamble):
        read(preamble) if preamble.startswith(SIGNATURE) else read_line(preamble)


def test_what_follows_the_head_is_bounded():
    """Sixty-four kilobytes of extensions are nobody's need."""
    with pytest.raises(BadPreamble):
        length_of(SIGNATURE + b"\x21\x11" + (MOST_BYTES + 1).to_bytes(2, "big"))


@given(st.binary(max_size=120))
def test_no_line_is_a_mistake_of_ours(data):
    """It is read or refused."""
    try:
        read_line(b"PROXY " + data + b"\r\n")
    except BadPreamble:
        return


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=64))
def test_no_head_is_a_mistake_of_ours(head, rest):
    """As above."""
    try:
        length_of(SIGNATURE + head)
        read_binary(SIGNATURE + head, rest)
    except BadPreamble:
        return
