"""One client connection: uvicorn's seat, taken by us.

`RequestParser` makes requests of its bytes, `ClientConnection` bounds it in time. Here they are answered, one
after the other, in their order: most by an `Exchange`, those for the gateway's own paths by the ASGI application.
Both are *handlers*: they get its events, and answer by the same commands. Private API of uvicorn is used: ``ServerState.connections``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lbgateway.dataplane.client_certificate import subject_of
from lbgateway.dataplane.client_connection import ClientConnection
from lbgateway.dataplane.deadline import remaining_s
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.exchange_state import NEVER_S
from lbgateway.dataplane.forwarding import forwarded_lines
from lbgateway.dataplane.framing import framing_error
from lbgateway.dataplane.handlers import Queued, Refusal, choose_handler
from lbgateway.dataplane.head import upgrade_wanted
from lbgateway.dataplane.request_ids import draw, may_be_id
from lbgateway.dataplane.request_parser import HTTP, Mode
from lbgateway.dataplane.tunnel import Tunnel
from lbgateway.errors import HeadersTooLarge, Overloaded
from lbgateway.telemetry.metrics import METHOD_LABELS

if TYPE_CHECKING:
    import asyncio

    from uvicorn.server import ServerState

    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.handlers import Handler
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.errors import GatewayError

MAX_EARLY_BYTES = 64 * 1024  # behind a request for an upgrade, before the upstream has agreed to it


class GatewayProtocol(ClientConnection):
    """The answering half of a client connection."""

    __slots__ = (
        "_named",
        "_server_state",
        "_starting",
        "_tunnel",
        "certificate",
        "client_key",
        "forwarded_before",
        "peer",
        "scheme",
        "secure",
        "server_port",
        "trusted",
    )

    choose = staticmethod(choose_handler)
    spare = 0
    """How many connections it may be beyond `server.max_connections`."""

    def __init__(self, plane: DataPlane, server_state: ServerState | None = None, named: tuple[str, int] | None = None) -> None:
        """`named`: the client's address and the port that it came to, where a proxy has said so before (`lbgateway.proxy_protocol`)."""
        super().__init__(plane)
        # for life
        self._server_state = server_state
        self._named = named
        self.peer = ""
        self.server_port = 0
        self.scheme = b"http"
        self.secure = False
        self.trusted = False
        self.client_key = b""
        self.certificate: str | None = None
        self.forwarded_before: dict[bytes, bytes] = {}
        """What `forwarded` gave for the last Host: mostly it is the same with every request."""
        # as it goes
        self._tunnel: Tunnel | None = None
        self._starting = False

    def __repr__(self) -> str:
        return f"<GatewayProtocol {self.peer} {self.mode.name} handler={self.handler!r} queued={len(self._queue or ())}>"

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP transports are asyncio.Transport
        self.write = self.transport.write
        peer, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if self._named is not None:
            self.peer, self.server_port = self._named
        elif peer:
            # Where one socket takes both kinds, IPv4 comes in as IPv6: services, limits and logs know the client by its own address.
            self.peer, self.server_port = peer[0].removeprefix("::ffff:"), server[1]
        if transport.get_extra_info("sslcontext"):
            self.scheme, self.secure = b"https", True
            self.certificate = subject_of(transport.get_extra_info("peercert"))
        self.trusted = self.plane.trusts(self.peer)
        if self._server_state is not None:
            self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes only
        if not self.plane.accept(self):
            self._refuse(Overloaded("Too many connections"))

    def _on_bytes(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.on_client_data(data)
        elif self._early is not None:
            # Read on, or a client that leaves would not be noticed; but not without end.
            self._early += data
            if len(self._early) > MAX_EARLY_BYTES:
                self.pause_request()

    def eof_received(self) -> bool:
        return self._tunnel is not None and self._tunnel.on_client_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's signature
        self.plane.connections.discard(self)
        if self._server_state is not None:
            self._server_state.connections.discard(self)
        handler, self.handler = self.handler, None
        self._queue = None
        if self._tunnel is not None:
            self._tunnel.on_client_lost()
        elif handler is not None:
            handler.on_client_gone()
        # Breaks the cycle with the parser's callbacks.
        self.parser = self.feeding = None  # type: ignore[assignment]  # nothing is read any more

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._tunnel is not None:
            self._tunnel.pause_upstream()
        elif self.handler is not None:
            self.handler.on_downstream_paused()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._tunnel is not None:
            self._tunnel.resume_upstream()
        elif self.handler is not None:
            self.handler.on_downstream_resumed()

    # -- requests in their order ---------------------------------------------------------------

    def on_headers_complete(self) -> None:
        if self._ignoring:
            return
        head, parser = self.head, self.parser
        self._reading_head = False
        head.method = parser.get_method()
        if head.connection is not None or not parser.should_keep_alive():
            # From HTTP/1.1 on a connection is kept alive without being asked to: otherwise no need to look.
            head.keep_alive = parser.should_keep_alive()
            head.version = parser.get_http_version()
        if head.upgrade is not None:
            head.upgrade = None if head.has_body else upgrade_wanted(head)
        error = None
        if self._fed_bytes or self._big_read or head.hosts != self._host or head.version != "1.1":
            self._fed_bytes = 0
            error = framing_error(head, self.plane.limits)
            if error is None and head.version == "1.1":
                self._host = head.hosts or b""
        elif len(head.lines) // 4 + head.specials >= self.plane.limits.max_headers:
            error = HeadersTooLarge("Too many header fields", close=True)
        if self.handler is None and not self._queue:
            self.handler = self.feeding = handler = self.choose(self.plane, head, error)
            handler.begin(self, head)
        else:
            self.feeding = self._enqueue(head, error)
            self.pause_request()

    def _begin_again(self, data: bytes, length: int) -> bool:
        plane = self.plane
        if self.handler is not None or self._queue or self.mode is not HTTP or self._seen_rules is not plane.request_rules:
            return False
        head, line = self.head, data[:-length]
        known = plane.known_lines.get(line)
        if known is not None:
            head.method, head.target, head.resolved = known
            handler: Handler = Exchange()
        else:
            method, _, target = line.partition(b" ")
            # A space in the target: a whole request stands in front of this one, and the parser shall take them apart.
            if b" " in target or target[:1] != b"/" or method not in METHOD_LABELS or len(data) > plane.limits.max_head_bytes:
                return False
            head.method, head.target = method, target
            handler = choose_handler(plane, head, None)
            if (resolved := plane.known_targets.get(target)) is not None:
                plane.known_lines.remember(line, (method, target, resolved))
        self.deadline_s, self.handler = NEVER_S, handler
        handler.begin(self, head)
        return True

    def _enqueue(self, head: RequestHead, error: GatewayError | None) -> Queued:
        queued = Queued(head, error)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(queued)
        return queued

    def _refuse(self, error: GatewayError) -> None:
        error.close = True
        self.mode = Mode.DEAF
        self._ignoring = True
        self._reading_head = False
        self.feeding = None
        if self.handler is None and not self._queue:
            self.handler = handler = Refusal(error)
            handler.begin(self, self.head)
        else:
            self._enqueue(self.head, error)

    def _on_malformed_body(self, error: GatewayError) -> None:
        feeding, self.feeding = self.feeding, None
        if feeding is not None:
            feeding.on_bad_request(error)
        elif self.handler is None:
            self._close()

    def _advance(self) -> None:
        """Answer what waits, one after the other. A loop, not a recursion: thousands may wait."""
        if self._starting:
            return
        self._starting = True
        while self._queue and self.handler is None and not self.transport.is_closing():
            queued = self._queue.popleft()
            self.handler = handler = self.choose(self.plane, queued.head, queued.error)
            if self.feeding is queued:
                self.feeding = handler
            handler.begin(self, queued.head)
            if self.handler is handler:
                queued.replay(handler)
        self._starting = False
        if self.handler is None and not self._queue:
            self._go_on()

    def _busy(self) -> bool:
        return self.handler is not None or bool(self._queue)

    def _go_on(self) -> None:
        """Nothing is left to be answered: read on, or close if nothing can come any more."""
        if self.mode is Mode.DEAF:
            self._close()
        elif self.mode in (Mode.HTTP, Mode.HOLD):
            self.mode = Mode.HTTP
            early, self._early = self._early, None
            self.resume_request()
            if early:
                self.data_received(early)

    # -- commands of the handlers --------------------------------------------------------------

    def finish(self, *, keep_alive: bool) -> None:
        """The answer is complete: the next request, or the end."""
        self.handler = None
        if self.feeding is not None and not isinstance(self.feeding, Queued):
            self.feeding = None
        if not keep_alive:
            self._close()
        elif self._queue:
            self._advance()
        elif self._pausing or self.mode is not Mode.HTTP:
            self._go_on()

    def start_tunnel(self, exchange: Exchange, connection: Connection, rest: bytes) -> None:
        """Both sides agreed to speak another protocol: from now on bytes are bytes."""
        early, self._early = self._early or b"", None
        self.mode = Mode.TUNNEL
        self._tunnel = Tunnel(exchange, self, connection)  # type: ignore[arg-type]  # only an UpstreamConnection switches protocols
        self.resume_request()
        self._tunnel.start(early, rest)

    def end_tunnel(self) -> None:
        """The upstream's side is over: close when the client has got the rest."""
        self._close()

    def request_id(self, head: RequestHead) -> bytes:
        """The request's id: a trusted proxy's, or a new one of 128 random bits."""
        given = dict(head.forwarded or ()).get(b"x-request-id") if self.trusted else None
        return given if given is not None and may_be_id(given) else draw()

    def is_secure(self, head: RequestHead) -> bool:
        """Whether the client speaks TLS: to us, or to a trusted proxy that says so."""
        given = dict(head.forwarded or ()).get(b"x-forwarded-proto") if self.trusted else None
        return self.secure if given is None else given.lower() == b"https"

    def remaining_s(self, head: RequestHead) -> float | None:
        """How much time a trusted proxy leaves the request, in seconds; None if it does not say."""
        field = self.plane.deadline_field
        return remaining_s(head.forwarded, field) if self.trusted and field is not None else None

    def forwarded(self, head: RequestHead, host: bytes) -> bytes:
        """What the upstream learns of the client, as complete lines."""
        given = [field for field in head.forwarded or () if field[0] != self.plane.deadline_field] if self.trusted else ()
        lines = forwarded_lines(peer=self.peer, scheme=self.scheme, port=self.server_port, version=head.version, host=host, given=given)
        if not given and head.version == "1.1":
            self.forwarded_before = {host: lines}
        return lines
