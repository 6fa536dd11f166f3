"""What an exchange knows: its phase and what may follow it, its attributes, and the two sides that it commands."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from lbgateway.dataplane.attempts import Accused
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.pool import Pool
    from lbgateway.dataplane.race import Race
    from lbgateway.dataplane.route import Admit, Route
    from lbgateway.dataplane.target import Target
    from lbgateway.dataplane.trace import Trace
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.errors import GatewayError
    from lbgateway.policies.identity import Identity
    from lbgateway.policies.wait import Wait
    from lbgateway.telemetry.span_records import AttemptRecord


class Phase(IntEnum):
    """Where an exchange stands. `TRANSITIONS` says what may follow."""

    BEGIN = 0
    PARKED = 1
    """A policy waits for something; no attempt has begun."""
    PAUSED = 2
    """Before an attempt, for its back-off or for room: none is counted."""
    CONNECTING = 3
    WAITING = 4
    """The request is on its way; no final response head yet."""
    RESPONDING = 5
    TUNNEL = 6
    """Both sides speak another protocol now; the exchange only counts."""
    SETTLED = 7


TRANSITIONS = {
    Phase.BEGIN: {Phase.PARKED, Phase.PAUSED, Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.PARKED: {Phase.PARKED, Phase.PAUSED, Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.PAUSED: {Phase.PAUSED, Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.CONNECTING: {Phase.PAUSED, Phase.CONNECTING, Phase.WAITING, Phase.SETTLED},
    Phase.WAITING: {Phase.PAUSED, Phase.CONNECTING, Phase.WAITING, Phase.RESPONDING, Phase.TUNNEL, Phase.SETTLED},
    Phase.RESPONDING: {Phase.SETTLED},
    Phase.TUNNEL: {Phase.SETTLED},
    Phase.SETTLED: set(),
}

NEVER_S = float("inf")

NOTHING: list[bytes] = []
"""The body of a request that has none; a request that has one brings its own list."""

# An enum's member costs a lookup in its metaclass on every use: on the warm path names are bound once.
BEGIN, PARKED, PAUSED, CONNECTING, WAITING, RESPONDING, TUNNEL, SETTLED = Phase


class Downstream(Protocol):
    """The client's side, as an exchange commands it."""

    plane: DataPlane
    peer: str
    """The client's address, without a port."""
    goodbye: bool  # whether the next answer is to be the last on its connection
    trusted: bool  # whether that is a proxy which is believed
    client_key: bytes
    """What stands for the address where requests are counted; empty until somebody asks (`policies.limit_key`)."""
    certificate: str | None
    """The subject of the certificate that the client has shown and we have verified, if any."""
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

    def remaining_s(self, head: RequestHead) -> float | None:
        """How much time whoever is in front of us leaves the request, in seconds; asked only if the plane has a `deadline_field`."""

    secure: bool
    """Whether the client speaks TLS to us."""

    def is_secure(self, head: RequestHead) -> bool:
        """Whether the client speaks TLS, to us or, as `head` says, to a trusted proxy."""

    def start_tunnel(self, exchange: Exchange, connection: Connection, rest: bytes) -> None:
        """Join the two transports; `rest` has come from the upstream already."""


class Connection(Protocol):
    """The upstream's side, as an exchange and a pool command it; what it tells, it tells a `ResponseSink`."""

    pool: Pool
    """Where the lease ends."""
    exchange: ResponseSink | None
    """Whom it is leased to."""
    uses: int
    """How many exchanges it has carried before this one."""
    received: bool
    """Whether any byte of an answer has come."""
    keep_alive: bool
    """Whether it may carry another exchange; known when an answer is complete."""
    idle_at_s: float

    @property
    def write(self) -> Callable[[bytes], None]:
        """Takes a request as HTTP/1.1 would send it: the head, alone and whole, then the body as it comes, framed."""

    @property
    def is_closing(self) -> Callable[[], bool]: ...

    def expect(self, *, bodyless: bool, upgrade: bool) -> None:
        """The next response is special: without a body whatever it declares (HEAD), or maybe a switch of protocols."""

    def pause_reading(self) -> None:
        """Bring no more of the answer; harmless on a connection that is closing."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """Drop it at once; the exchange hears nothing more from it."""


class ResponseSink(Protocol):
    """What a connection tells of a response; an exchange implements it."""

    def on_informational(self, head: ResponseHead) -> None: ...

    def on_response(self, head: ResponseHead, body: bytes) -> None: ...  # both at once: an ordinary answer that came with one read
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
        "accused",
        "answer_lines",
        "attempt",
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
        "failure",
        "head",
        "hedged",
        "identity",
        "keep_alive",
        "moved",
        "out",
        "pause",
        "phase",
        "plane",
        "preflight",
        "race",
        "replayable",
        "request_bytes",
        "request_done",
        "request_id",
        "route",
        "secure",
        "sent_at_s",
        "stale_spent",
        "started_s",
        "status",
        "target",
        "trace",
        "unasked",
        "until_s",
        "upstream",
        "upstream_paused",
        "upstream_s",
        "wait",
    )

    # given to `begin`
    plane: DataPlane
    downstream: Downstream
    head: RequestHead
    target: Target
    request_id: bytes
    started_s: float
    secure: bool
    """Whether the client speaks TLS, to us or to a trusted proxy."""
    # there before anybody asks
    route: Route
    upstream: Upstream
    endpoint: GatewayEndpoint
    request_bytes: bytes
    # while parked
    wait: Wait
    unasked: tuple[Admit, ...]
    """The policies behind the one that waits."""
    # from the first attempt on
    until_s: float
    """The end of the time for all attempts together."""

    def __init__(self) -> None:
        # for life
        self.phase = BEGIN
        self.route = self.upstream = self.endpoint = None  # type: ignore[assignment]  # found on the way
        self.error: GatewayError | None = None
        self.deadline_s = NEVER_S
        self.keep_alive = True
        self.trace: Trace | None = None
        # the request
        self.identity: Identity | None = None
        """Who is asking, if a policy found out."""
        self.preflight = b""
        """The method that a CORS preflight asks for (Fetch Standard, 3.2.2); empty for every other request."""
        self.extra_lines = b""
        """Complete header lines that policies add for the upstream."""
        self.request_done = True
        self.body = NOTHING
        """What has come of the body and may be needed (again), framed for the upstream."""
        self.replayable = True
        self.bytes_in = 0
        # the attempt
        self.attempts = 0
        self.attempt: AttemptRecord | None = None  # where its trace is recorded
        self.race: Race | None = None
        """While a second attempt runs beside this one."""
        self.hedged = False
        """Whether there has been one."""
        self.excluded: tuple[GatewayEndpoint, ...] = ()
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.stale_spent = False
        self.failure: GatewayError | None = None
        """What the attempt before this one ended with."""
        self.accused: Accused | None = None
        """Who has given the last 5xx: not blamed before another instance has been asked the same."""
        self.pause: asyncio.TimerHandle | None = None
        self.upstream_paused = False
        self.moved = False
        """Whether any byte has come since the sweep looked last."""
        # the response
        self.status = 0
        self.answer_lines = b""
        """Complete header lines that policies add to whatever answer there will be."""
        self.out: list[bytes] = []
        self.chunked_out = False
        self.bytes_out = 0
        self.downstream_paused = False

    def __repr__(self) -> str:
        endpoint: GatewayEndpoint | None = self.endpoint
        where = "-" if endpoint is None else endpoint.id
        return f"<Exchange {self.head.method.decode()} {self.phase.name} attempt={self.attempts} endpoint={where} status={self.status}>"
