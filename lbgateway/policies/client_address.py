"""Whose request it is, when proxies stand in between: the last address that a believed proxy vouches for. Pure.

Proxies append. Read from the right, the first address that is no trusted proxy's is the client's; what stands left of it
came from the client, who may write what it likes. ``X-Forwarded-For`` goes before ``Forwarded`` (RFC 7239). An entry that
is no address (``unknown``, a name, garbage) ends the reading: then it is the proxy that named it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REMEMBERED = 4096
MOST_HOPS = 32
"""Nobody stands behind more proxies; a longer list is an attack on our time."""
_ELEMENTS = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^",])+""")
_FOR = re.compile(r"""(?:^|;)\s*for\s*=\s*(?:"([^"\\]*)"|([^\s;",]+))\s*(?=;|$)""", re.IGNORECASE)
_PORT = re.compile(r":[0-9_a-z.-]{1,32}$", re.IGNORECASE)


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: with or without a port, IPv6 in brackets or bare; None if it is none. IPv4 in IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        text = inside if closed and (not port or _PORT.fullmatch(port)) else ""
    elif text.count(":") == 1:
        text = _PORT.sub("", text)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def key_of_address(text: str) -> bytes:
    """What stands for a client: its IPv4 address, or the /64 of its IPv6 address, of which one client has 2^64."""
    address = parse_address(text)
    if address is None:
        return text.encode()
    if address.version == 4:
        return str(address).encode()
    return address.packed[:8].hex().encode() + b"/64"


class ClientAddresses:
    """Who is believed, and what was made of their words: mostly the same again."""

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self._known: dict[tuple[str, bytes], tuple[str, bytes]] = {}
        """What was said -> the client's address, and its key."""

    def key_of(self, peer: str, given: Iterable[tuple[bytes, bytes]]) -> bytes:
        """What stands for the client behind `peer`, a trusted proxy. `given`: its (lower-case name, value) fields."""
        return self._find(peer, given)[1]

    def address_of(self, peer: str, given: Iterable[tuple[bytes, bytes]]) -> str:
        """The address of the same client."""
        return self._find(peer, given)[0]

    def _find(self, peer: str, given: Iterable[tuple[bytes, bytes]]) -> tuple[str, bytes]:
        fields: dict[bytes, bytes] = {}
        for name, value in given:
            fields[name] = fields[name] + b", " + value if name in fields else value
        words = fields.get(b"x-forwarded-for")
        said = (peer, b"x:" + words if words is not None else b"f:" + fields.get(b"forwarded", b""))
        found = self._known.get(said)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            address = self.client_of(peer, _hops(said[1]))
            found = self._known[said] = address, key_of_address(address)
        return found

    def client_of(self, peer: str, hops: Iterable[str]) -> str:
        """The client's address, `hops` as written from left to right."""
        client = peer
        for hop in list(hops)[: -MOST_HOPS - 1 : -1]:
            address = parse_address(hop)
            if address is None:
                break
            client = str(address)
            if not any(address in network for network in self._trusted):
                break
        return client


def _hops(said: bytes) -> list[str]:
    kind, _, value = said.decode("latin-1").partition(":")
    if kind == "x":
        return value.split(",")
    hops = []
    for element in _ELEMENTS.findall(value):
        found = _FOR.search(element.strip())
        hops.append("" if found is None else found[1] or found[2] or "")
    return hops
