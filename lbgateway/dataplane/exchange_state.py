"""What an exchange knows: its phase and what may follow it, its attributes, and the two sides that it commands."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from lbgateway.dataplane.connection import UpstreamConnection
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.target import Target
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.errors import GatewayError


class Phase(IntEnum):
    """Where an exchange stands. `TRANSITIONS` says what may follow."""

    BEGIN = 0
    CONNECTING = 1
    WAITING = 2
    """The request is on its way; no final response head yet."""
    RESPONDING = 3
    TUNNEL = 4
    """Both sides speak another protocol now; the exchange only counts."""
    SETTLED = 5


TRANSITIONS = {
    Phase.BEGIN: {Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.CONNECTING: {Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.WAITING: {Phase.CONNECTING, Phase.WAITING, Phase.RESPONDING, Phase.TUNNEL, Phase.SETTLED},
    Phase.RESPONDING: {Phase.SETTLED},
    Phase.TUNNEL: {Phase.SETTLED},
    Phase.SETTLED: set(),
}

NEVER_S = float("inf")

NOTHING: list[bytes] = []
"""The body of a request that has none; a request that has one brings its own list."""

# An enum's member costs a lookup in its metaclass on every use: on the warm path names are bound once.
BEGIN, CONNECTING, WAITING, RESPONDING, TUNNEL, SETTLED = Phase


class Downstream(Protocol):
    """The client's side, as an exchange commands it."""

    plane: DataPlane
    peer: str
    """The client's address, without a port."""
    forwarded_before: dict[bytes, bytes]
    """Host -> what `forwarded` gives for it when the client has sent nothing of the kind itself."""

    @property
    def write_paused(self) -> bool:
        """Whether the client reads more slowly than was written."""

    @property
    def write(self) -> Callable[[bytes], None]: ...

    def finish(self, *, keep_alive: bool) -> None:
        """The response is complete: go on with the next request, or close."""

    def abort(self) -> None:
        """Cut the connection: the response cannot be completed, and the client must notice."""

    def pause_request(self) -> None:
        """Stop reading the request's body."""

    def resume_request(self) -> None: ...

    def forwarded(self, head: RequestHead, host: bytes) -> bytes:
        """The complete ``X-Forwarded-*`` and ``Via`` lines for this client."""

    def request_id(self, head: RequestHead) -> bytes: ...

    def start_tunnel(self, exchange: Exchange, connection: UpstreamConnection, rest: bytes) -> None:
        """Join the two transports; `rest` has come from the upstream already."""


class ResponseSink(Protocol):
    """What a connection tells of a response; an exchange implements it."""

    def on_informational(self, head: ResponseHead) -> None: ...

    def on_response_head(self, head: ResponseHead) -> None: ...

    def on_response_body(self, pieces: list[bytes]) -> None:
        """What one read has brought; empty if that was the head only."""

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:
        """The same, if it was the last one."""

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:
        """The upstream accepted the upgrade; `rest` are its first bytes in the new protocol."""

    def on_upstream_error(self, error: GatewayError) -> None:
        """The response cannot be completed."""

    def on_upstream_paused(self) -> None: ...

    def on_upstream_resumed(self) -> None: ...


class ExchangeState:
    """The attributes of an exchange, grouped by lifetime. What it does with them is in `exchange`."""

    __slots__ = (
        "attempts",
        "body",
        "bytes_in",
        "bytes_out",
        "chunked_out",
        "connecting",
        "connection",
        "deadline_s",
        "downstream",
        "downstream_paused",
        "endpoint",
        "error",
        "excluded",
        "extra_lines",
        "head",
        "keep_alive",
        "moved",
        "out",
        "phase",
        "plane",
        "replayable",
        "request_bytes",
        "request_done",
        "request_id",
        "route",
        "sent_at_s",
        "stale_spent",
        "started_s",
        "status",
        "target",
        "upstream",
        "upstream_paused",
        "upstream_s",
    )

    # given to `begin`
    plane: DataPlane
    downstream: Downstream
    head: RequestHead
    target: Target
    request_id: bytes
    started_s: float
    # there before anybody asks
    route: Route
    upstream: Upstream
    endpoint: GatewayEndpoint
    request_bytes: bytes

    def __init__(self) -> None:
        # for life
        self.phase = BEGIN
        self.route = self.upstream = self.endpoint = None  # type: ignore[assignment]  # found on the way
        self.error: GatewayError | None = None
        self.deadline_s = NEVER_S
        self.keep_alive = True
        # the request
        self.extra_lines = b""
        """Complete header lines that policies add for the upstream."""
        self.request_done = True
        self.body = NOTHING
        """What has come of the body and may be needed (again), framed for the upstream."""
        self.replayable = True
        self.bytes_in = 0
        # the attempt
        self.attempts = 0
        self.excluded: tuple[GatewayEndpoint, ...] = ()
        self.connection: UpstreamConnection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.stale_spent = False
        self.upstream_paused = False
        self.moved = False
        """Whether any byte has come since the sweep looked last."""
        # the response
        self.status = 0
        self.out: list[bytes] = []
        self.chunked_out = False
        self.bytes_out = 0
        self.downstream_paused = False

    def __repr__(self) -> str:
        endpoint: GatewayEndpoint | None = self.endpoint
        where = "-" if endpoint is None else endpoint.id
        return f"<Exchange {self.head.method.decode()} {self.phase.name} attempt={self.attempts} endpoint={where} status={self.status}>"
