"""TLS towards clients: what the gateway shows, and whom it lets in.

Python's and OpenSSL's own defaults for servers, but for two things: nothing below TLS 1.2 (RFC 8996), and HTTP/1.1 by
name (RFC 7301), so that a client which insists on something else fails at once and not later.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbgateway.config.server import ServerTls


def server_context(settings: ServerTls | None) -> ssl.SSLContext | None:
    """What clients are greeted with, read from the files as they are now; None for plain HTTP.

    Raises:
        OSError: a file cannot be read, or is not what it should be. `config.certificates` says so earlier, with the line.

    """
    if settings is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.cert, settings.key, password="")
    if settings.client_ca is not None:
        context.load_verify_locations(settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
