"""Preambles as proxies write them."""

from __future__ import annotations

import ipaddress

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def binary(source: str = "203.0.113.7", port: int = 443, *, command: int = 0x21, family: int | None = None, extra: bytes = b"") -> bytes:
    """Version 2; `extra` is what follows the addresses."""
    address = ipaddress.ip_address(source)
    to = ipaddress.ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1")
    body = address.packed + to.packed + (50000).to_bytes(2, "big") + port.to_bytes(2, "big") + extra
    kind = family if family is not None else 0x11 if address.version == 4 else 0x21
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


def line(source: str = "203.0.113.7", port: int = 443) -> bytes:
    """Version 1."""
    version = ipaddress.ip_address(source).version
    return f"PROXY TCP{version} {source} {'192.0.2.1' if version == 4 else '2001:db8::1'} 50000 {port}\r\n".encode()
