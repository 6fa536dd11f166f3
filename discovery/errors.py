"""Every way in which a registry fails to answer. ``kind`` labels the metric, the log and the status alike.

None of these ever reaches a request: a watcher turns them into a snapshot's ``state`` and ``last_error``.
"""

from __future__ import annotations

from typing import ClassVar


class DiscoveryError(Exception):
    """A read that brought no usable answer. What is known stays known."""

    kind: ClassVar[str] = "internal"


class Unreachable(DiscoveryError):
    """No connection: refused, no route, unknown host, TLS handshake failed."""

    kind = "unreachable"


class ConnectionLost(DiscoveryError):
    """The connection ended before the answer did: the agent went, or it has too many connections from here."""

    kind = "connection_lost"


class ReadTimedOut(DiscoveryError):
    """The registry holds the connection, but says nothing."""

    kind = "timeout"


class ServerFailed(DiscoveryError):
    """5xx: no cluster leader, no path to the datacenter, a server that is gone."""

    kind = "server_error"


class Busy(DiscoveryError):
    """429 or 503: asked too often. ``retry_after_s`` is what the registry wishes, None if it does not say."""

    kind = "busy"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Denied(DiscoveryError):
    """403: the token is unknown, or may not read this."""

    kind = "denied"


class Misconfigured(DiscoveryError):
    """The registry understood us and will never agree: a wrong parameter, or not a Consul at all."""

    kind = "misconfigured"


class MalformedAnswer(DiscoveryError):
    """200, but not the JSON that was asked for."""

    kind = "malformed"
