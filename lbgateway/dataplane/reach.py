"""How the instances of one service are reached, where not by plain TCP; and which proxy stands before which of them. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class TlsReach:
    """Our own connections, over TLS. Equal ones may share their connections."""

    server_name: str | None = None
    """The name that the instances' certificates bear; their address otherwise."""
    credentials: tuple[object, ...] = ()
    """What `context` was made of."""
    context: ssl.SSLContext | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class HttpxReach:
    """Connections of httpx. Equal ones may share their connections."""

    scheme: str = "http"
    http2: str = "auto"
    """``auto``: as TLS negotiates it; ``always``: without asking, in cleartext too; ``never``."""
    proxies: tuple[tuple[str, str], ...] = ()
    """Scheme (or ``all``) -> proxy, and ``no`` -> who is reached directly: HTTPS_PROXY, ALL_PROXY, NO_PROXY."""
    server_name: str | None = None
    """The name that the instances' certificates bear; their address otherwise."""
    credentials: tuple[object, ...] = ()
    """What `context` was made of."""
    context: ssl.SSLContext | None = field(default=None, compare=False)
    """How TLS is spoken, for https."""

    def proxy_for(self, host: str, port: int) -> str | None:
        """The proxy on the way to one instance, if there is one."""
        proxies = dict(self.proxies)
        proxy = proxies.get(self.scheme) or proxies.get("all")
        return None if not proxy or reached_directly(host, port, proxies.get("no", "")) else proxy


Reach = TlsReach | HttpxReach


def reached_directly(host: str, port: int, exceptions: str) -> bool:
    """Whether NO_PROXY names a host: ``*``, names with all below them, addresses, ranges such as ``10.0.0.0/8``, any with a port."""
    host = host.lower()
    return any(_matches(host, port, each.strip().lower()) for each in exceptions.split(",") if each.strip())


def _matches(host: str, port: int, exception: str) -> bool:
    if exception in ("*", host, f"{host}:{port}", f"[{host}]:{port}"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = exception.removesuffix(f":{port}").lstrip("*").lstrip(".")
        return bool(name) and (host == name or host.endswith("." + name))
    try:
        return address in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        return False
