"""Where Consul's HTTP API is and as whom it is asked, as registration needs it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8500"


@dataclass(frozen=True, slots=True)
class ConsulAccess:
    """For https: `ca` verifies Consul (None: the well-known authorities), `cert` and `key` show who we are. All three are files."""

    url: str = DEFAULT_URL
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True

    @property
    def on_this_machine(self) -> bool:
        """The agent is our own: what it says of its node holds for us, and it reaches what listens on the loopback only."""
        return is_loopback(urlsplit(self.url).hostname or "")

    def own_address(self) -> str | None:
        """Our own address on the way to an agent elsewhere; None if the agent is here. Blocks for a look at the DNS.

        Raises:
            OSError: the agent's name is not known, or there is no way to it.

        """
        if self.on_this_machine:
            return None
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        family, kind, _, _, place = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # sends nothing; the kernel only decides from where it would
            address = str(probe.getsockname()[0])
        return None if is_loopback(address) else address


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def access_from_environment(environment: Mapping[str, str]) -> ConsulAccess:
    """Consul's own variables: ``CONSUL_HTTP_ADDR``, ``_TOKEN``, ``_TOKEN_FILE``, ``_SSL``, ``CONSUL_CACERT`` and so on.

    Raises:
        ValueError: the address is a Unix socket, which python-consul2 cannot use, or the token's file cannot be read.

    """
    return ConsulAccess(
        url=_url(environment),
        token=environment.get("CONSUL_HTTP_TOKEN") or _token_of_file(environment.get("CONSUL_HTTP_TOKEN_FILE")),
        ca=environment.get("CONSUL_CACERT") or None,
        cert=environment.get("CONSUL_CLIENT_CERT") or None,
        key=environment.get("CONSUL_CLIENT_KEY") or None,
        verify=not _says_no(environment.get("CONSUL_HTTP_SSL_VERIFY", "")),
    )


def _url(environment: Mapping[str, str]) -> str:
    given = environment.get("CONSUL_HTTP_ADDR", "")
    if given.startswith("unix:"):
        raise ValueError(f"CONSUL_HTTP_ADDR={given}: a Unix socket cannot be used here; name an address, such as {DEFAULT_URL}")
    scheme = "https" if environment.get("CONSUL_HTTP_SSL", "").lower() in ("1", "t", "true") else "http"
    return url_of(given or DEFAULT_URL.partition("//")[2], scheme)


def url_of(text: str, scheme: str = "http") -> str:
    """``host:port`` with the scheme that it lacks."""
    return text.rstrip("/") if "://" in text else f"{scheme}://{text.rstrip('/')}"


def _token_of_file(path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"CONSUL_HTTP_TOKEN_FILE={path} cannot be read: {error}") from None


def _says_no(text: str) -> bool:
    return text.lower() in ("0", "f", "false")
