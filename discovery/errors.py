"""Every way in which a registry fails to answer. ``kind`` labels the metric, the log and the status alike.

None of these ever reaches a request: a watcher turns them into a snapshot's ``state`` and ``last_error``.
"""

from __future__ import annotations

from typing import ClassVar, Final


class DiscoveryError(Exception):
    """A read that brought no usable answer. What is known stays known."""

    kind: ClassVar[str] = "internal"


class Unreachable(DiscoveryError):
    """No connection: refused, no route, unknown host, TLS handshake failed.

    ``refused``: nothing listens there, so whatever the agent held is gone with it.
    """

    kind = "unreachable"

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ConnectionLost(DiscoveryError):
    """The connection ended before the answer did: the agent went, or it has too many connections from here."""

    kind = "connection_lost"


class ReadTimedOut(DiscoveryError):
    """The registry holds the connection, but says nothing; or 504, a proxy before it had no more patience."""

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


INDEX_RESET: Final = "index_reset"
"""The registry's index went backwards: it was restarted or restored."""
MALFORMED_ENTRY: Final = "malformed_entry"
"""One instance among others makes no sense, and is left out."""
RESYNC_DRIFT: Final = "resync_drift"
"""A read that nothing had asked for found a change that nothing had told of."""
SNAPSHOT_WRITE: Final = "snapshot_write"
"""The snapshot on disk could not be replaced."""

_MORE: Final = (INDEX_RESET, MALFORMED_ENTRY, RESYNC_DRIFT, SNAPSHOT_WRITE)
KINDS: Final = tuple(sorted((DiscoveryError.kind, *(each.kind for each in DiscoveryError.__subclasses__()), *_MORE)))
"""Every kind that is counted, so that all of them can be shown before they happen."""
