"""Who answers a request: an exchange, the gateway's own application, or nobody because it was no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lbgateway import problem
from lbgateway.dataplane.access_records import log_refusal
from lbgateway.dataplane.asgi import AsgiExchange
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.routing import KNOWN_BYTES
from lbgateway.dataplane.target import normalise, without_parameters
from lbgateway.errors import BadRequest, GatewayError, MethodNotAllowed

if TYPE_CHECKING:
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.protocol import GatewayProtocol
    from lbgateway.dataplane.target import Target

REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))
"""A gateway is no tunnel for anybody, and echoes nobody's credentials (the contract, section 7)."""


class Handler(Protocol):
    """Gets the events of one request; answers through the commands of its protocol."""

    def begin(self, protocol: GatewayProtocol, head: RequestHead) -> None:
        """Take the request; from now on its events come."""

    def on_request_body(self, data: bytes) -> None: ...

    def on_request_end(self, trailers: list[bytes] | None) -> None: ...

    def on_bad_request(self, error: GatewayError) -> None:
        """The body turned out malformed."""

    def on_client_gone(self) -> None: ...

    def on_downstream_paused(self) -> None: ...

    def on_downstream_resumed(self) -> None: ...


def choose_handler(plane: DataPlane, head: RequestHead, error: GatewayError | None) -> Handler:
    """Decide who answers `head`; `error` is what its framing was refused for. Resolves its target."""
    if error is not None:
        return Refusal(error)
    target = plane.known_targets.get(head.target)
    if target is not None and head.method not in REFUSED_METHODS:
        head.resolved = target
        return Exchange()
    target = normalise(head.target)
    if target is None or head.method in REFUSED_METHODS or target.path == b"*":
        return _unusual(head, target)
    head.resolved = target
    if target.path.startswith(plane.own_prefixes) and plane.owns(target.path):
        return AsgiExchange(plane.application)
    if target.parameters and _hides(plane, target.path):
        return Refusal(BadRequest("The path can be read in more than one way: its parameters decide who answers", close=True))
    if plane.spa is not None and not plane.is_below_routes(target.path):
        return AsgiExchange(plane.spa, "(spa)") if plane.left_to_spa(head, target) else Exchange()
    if len(head.target) <= KNOWN_BYTES and head.target[:1] == b"/":
        plane.known_targets.remember(head.target, target)  # clients choose targets, so the memory is bounded
    return Exchange()


def _hides(plane: DataPlane, path: bytes) -> bool:
    """Whether a service that drops parameters would read one of our own paths, or, beside an application, one of the routes'."""
    bare = without_parameters(path)
    if bare.startswith(plane.own_prefixes) and plane.owns(bare):
        return True
    return plane.spa is not None and plane.is_below_routes(bare) and not plane.is_below_routes(path)


def _unusual(head: RequestHead, target: Target | None) -> Handler:
    if head.method in REFUSED_METHODS:
        return Refusal(MethodNotAllowed(headers=b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", close=True))
    if target is None or head.method != b"OPTIONS":
        return Refusal(BadRequest("The request target can be read in more than one way", close=True))
    head.resolved = target
    return Exchange()


class Refusal:
    """Answers a request that is none: one problem, and the connection is closed."""

    __slots__ = ("error",)

    def __init__(self, error: GatewayError) -> None:
        self.error = error

    def begin(self, protocol: GatewayProtocol, head: RequestHead) -> None:
        plane, request_id = protocol.plane, protocol.request_id(head)
        careful = b"" if plane.security is None else plane.security.all(secure=protocol.is_secure(head))
        if plane.cors is not None:
            careful += plane.cors.lines(head.origin)
        answer = problem.render(
            self.error, request_id, date=plane.date_line, extra=careful, close=True, head_only=head.method == b"HEAD"
        )  # fmt: skip
        protocol.write(answer)
        log_refusal(self.error, request_id, protocol, head, len(answer))
        protocol.finish(keep_alive=False)

    def on_request_body(self, data: bytes) -> None:
        """Nobody wants it."""

    def on_request_end(self, trailers: list[bytes] | None) -> None:
        """The answer is out already."""

    def on_bad_request(self, error: GatewayError) -> None:
        """One refusal is enough."""

    def on_client_gone(self) -> None:
        """Nothing is held that could be freed."""

    def on_downstream_paused(self) -> None:
        """The answer is one small write."""

    def on_downstream_resumed(self) -> None:
        """As above."""


class Queued:
    """A pipelined request that waits for its turn, with what has come of its body."""

    __slots__ = ("chunks", "ended", "error", "head", "trailers")

    def __init__(self, head: RequestHead, error: GatewayError | None) -> None:
        self.head = head
        self.error = error
        self.chunks: list[bytes] = []
        self.ended = False
        self.trailers: list[bytes] | None = None

    def on_request_body(self, data: bytes) -> None:
        self.chunks.append(data)

    def on_request_end(self, trailers: list[bytes] | None) -> None:
        self.ended = True
        self.trailers = trailers

    def on_bad_request(self, error: GatewayError) -> None:
        self.error = error

    def replay(self, handler: Handler) -> None:
        """Tell `handler` what has come so far."""
        for data in self.chunks:
            handler.on_request_body(data)
        if self.ended:
            handler.on_request_end(self.trailers)
