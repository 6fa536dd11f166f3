"""What an upstream learns of the client in front of us: ``X-Forwarded-*``, ``Forwarded``, ``Via``. Pure.

Only a trusted proxy's words are believed, and only appended to; everybody else's were dropped by
the field rules and are replaced (the contract, section 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.dataplane.head import EXPLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

OURS = frozenset((
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-request-id", b"forwarded", EXPLAIN,
))  # fmt: skip


def forwarded_lines(*, peer: str, scheme: bytes, port: int, version: str, host: bytes, given: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The complete lines, each with its CRLF. `given`: what a trusted proxy sent, as (lower-case name, value)."""
    fields: dict[bytes, bytes] = {}
    for name, value in given:
        fields[name] = fields[name] + b", " + value if name in fields else value
    address = peer.encode()
    before = fields.get(b"x-forwarded-for")
    lines = [
        b"X-Forwarded-For: %b\r\n" % (before + b", " + address if before else address),
        b"X-Forwarded-Proto: %b\r\n" % fields.get(b"x-forwarded-proto", scheme),
        b"X-Forwarded-Host: %b\r\n" % fields.get(b"x-forwarded-host", host),
        b"X-Forwarded-Port: %d\r\n" % port
        if b"x-forwarded-port" not in fields
        else b"X-Forwarded-Port: %b\r\n" % fields[b"x-forwarded-port"],
    ]
    if b"forwarded" in fields:
        node = b'"[%b]"' % address if b":" in address else address
        lines.append(b"Forwarded: %b, for=%b\r\n" % (fields[b"forwarded"], node))
    lines += [b"%b: %b\r\n" % (name, value) for name, value in fields.items() if name not in OURS]
    lines.append(b"Via: %b lbgateway\r\n" % version.encode())
    return b"".join(lines)
