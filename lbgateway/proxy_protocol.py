"""The PROXY protocol, versions 1 and 2: how a proxy that only passes bytes on says whose connection it is. Pure.

Specification: proxy-protocol.txt of HAProxy, 2.1 and 2.2. Read strictly: a preamble that two parties could read differently
would let a client name its own address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LEAST_BYTES = len(SIGNATURE)
"""Every preamble, of either version, is longer."""
LINE_BYTES = 107
"""A whole line of version 1, at most."""
HEAD_BYTES = 16
MOST_BYTES = 4096
"""What may follow the head of version 2: addresses, and extensions that nobody here reads."""

_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: [\x20-\x7e]*)?|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5}))\r\n")
_LENGTHS = {0x11: 4, 0x21: 16}
"""TCP over IPv4, over IPv6 -> bytes of an address."""
_NAMELESS = frozenset((0x00, 0x30, 0x31, 0x32))
"""Unspecified, and Unix sockets: there is no address to take over."""
LOCAL, PROXY = 0x20, 0x21


class BadPreamble(ValueError):
    """It is none; the text says why, for operators."""


class Named(NamedTuple):
    """Whose connection it is, and which port it came to; None where the proxy speaks for itself."""

    source: str
    port: int


def read_line(line: bytes) -> Named | None:
    """Version 1: the whole line with its CRLF; raises `BadPreamble`."""
    found = _LINE.fullmatch(line)
    if found is None or len(line) > LINE_BYTES:
        raise BadPreamble("no line of the PROXY protocol, version 1")
    if found[1] is None:
        return None
    source, _, _, port = _address(found[1], found[2]), _address(found[1], found[3]), _port(found[4]), _port(found[5])
    return Named(source, port)


def length_of(head: bytes) -> int:
    """Version 2: how many bytes follow the `HEAD_BYTES` of the head; raises `BadPreamble`."""
    length = int.from_bytes(head[14:16], "big")
    if head[:12] != SIGNATURE or head[12] not in (LOCAL, PROXY):
        raise BadPreamble("neither version 1 nor version 2 of the PROXY protocol")
    if length > MOST_BYTES:
        raise BadPreamble(f"{length} bytes of addresses and extensions")
    return length


def read_binary(head: bytes, rest: bytes) -> Named | None:
    """Version 2, whole; raises `BadPreamble`."""
    if head[12] == LOCAL or head[13] in _NAMELESS:
        return None
    size = _LENGTHS.get(head[13])
    if size is None or len(rest) < 2 * size + 4:
        raise BadPreamble(f"no addresses of a TCP connection (family {head[13]:#04x}, {len(rest)} bytes)")
    return Named(str(ipaddress.ip_address(rest[:size])), int.from_bytes(rest[2 * size + 2 : 2 * size + 4], "big"))


def _address(family: bytes, text: bytes) -> str:
    try:
        address = ipaddress.ip_address(text.decode())
    except ValueError:
        raise BadPreamble("an address that is none") from None
    if address.version != int(family[3:]):
        raise BadPreamble("an address of another family than is said")
    return str(address)


def _port(text: bytes) -> int:
    port = int(text)
    if port > 0xFFFF or (text[:1] == b"0" and text != b"0"):
        raise BadPreamble("a port that is none")
    return port
