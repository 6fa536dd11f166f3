"""``discovery.provider: embedded``: the development registry in the gateway's own process, where `discovery.consul.url` points."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from discovery.embedded import EmbeddedRegistry, Unusable

if TYPE_CHECKING:
    from lbgateway.config import Settings

log = structlog.get_logger("lbgateway")

DEFAULT_PORT = 8500


class RegistryNotStarted(Exception):
    """The gateway cannot start; the message is for its operator."""


async def start_registry(settings: Settings) -> EmbeddedRegistry | None:
    """Start it, if these settings want one.

    Raises:
        RegistryNotStarted: its port is taken, or its file is not one of its own.

    """
    if settings.discovery.provider != "embedded":
        return None
    url, file = urlsplit(settings.discovery.consul.agents[0]), settings.discovery.embedded.file
    host = "127.0.0.1" if url.hostname in (None, "localhost") else str(url.hostname)
    port = url.port or DEFAULT_PORT
    try:
        registry = EmbeddedRegistry(file=file)
    except (Unusable, OSError) as error:
        raise RegistryNotStarted(f"{file} (discovery.embedded.file) cannot be used: {_why(error)}") from error
    try:
        await registry.start(host, port)
    except OSError as error:
        raise RegistryNotStarted(f"the embedded registry cannot listen on {host}:{port} (discovery.consul.url): {_why(error)}") from error
    log.info("the embedded registry takes registrations", url=registry.url, kept_in=file)
    return registry


def _why(error: Unusable | OSError) -> str:
    if isinstance(error, OSError):
        return "it is in use by another process" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return str(error)
