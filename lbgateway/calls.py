"""The gateway's engine as a client: a request runs through the data plane with no socket in front of it.

The bytes that a client would send go to a `GatewayProtocol`, what it writes becomes the response. So a program's calls
(`client.BalancedTransport`) and the gateway's own (`ServiceTransport`) are balanced, retried and guarded like any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
import httpx

from lbgateway import errors
from lbgateway.config.route import RouteSettings
from lbgateway.dataplane.compiling import compile_routes
from lbgateway.dataplane.head import EXPLAIN
from lbgateway.dataplane.plane import DataPlane, Limits
from lbgateway.dataplane.protocol import GatewayProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lbgateway.config import Settings
    from lbgateway.dataplane.head import RequestHead

WITHIN_S = 2.0
"""One of the gateway's own questions to a service, with all attempts."""
PREFIX = "/-"
"""Before the service's name in targets: none of the gateway's own paths begins so."""
OWN_ANSWER = b"lbgateway; error="
"""How `Proxy-Status` begins where the engine itself has answered."""
HIGH_WATER_BYTES = 256 * 1024
"""So much of an answer may wait for its reader."""

HOPS_OWN = (b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"te")


class ServiceTransport(httpx.AsyncBaseTransport):
    """For the gateway's own calls to services: the host of a URL is the name of a service that `lead_to` has named.

    They share the upstreams of `plane`, and its sweep; no route of a client leads here, and no policy stands in between.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = inner = DataPlane(plane.loop)
        inner.metrics, inner.upstreams = plane.metrics, plane.upstreams
        inner.active, inner.connections = plane.active, plane.connections
        # Those of the clients are counted by the clients' plane.
        inner.limits = Limits(max_connections=2 * 10**9)
        inner.own_prefixes = ()

    def lead_to(self, settings: Settings, service: str | None, within_s: float) -> None:
        """From now on calls go to `service`, as `settings` say it is reached, and are answered or given up in time."""
        route = RouteSettings.model_validate({
            "prefix": f"{PREFIX}/{service}", "service": service, "strip_prefix": True, "auth": "none", "rate_limit": None,
            "timeout": {"connect": within_s / 4, "response": within_s / 2, "total": within_s},
        })  # fmt: skip
        routes = () if service is None else (route,)
        # Set, not used: the counters of the clients' routes are not to be swept away.
        self._plane.routes = compile_routes(settings.model_copy(update={"routes": routes, "cors": None}))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(self._plane, request)
        call.begin()
        return await call.response()


class _Protocol(GatewayProtocol):
    """Nobody stands in front of us: there is nothing to tell an upstream of, but what the program says itself."""

    __slots__ = ()

    def forwarded(self, head: RequestHead, host: bytes) -> bytes:  # noqa: ARG002 the signature of `Downstream`
        return b"".join(b"%b: %b\r\n" % field for field in head.forwarded or () if field[0] not in (b"x-request-id", EXPLAIN))


class Call(asyncio.Transport, httpx.AsyncByteStream):
    """One request and its response: the transport of a `_Protocol`, and the body of an `httpx.Response`."""

    def __init__(self, plane: DataPlane, request: httpx.Request) -> None:
        super().__init__()
        # for life
        self._request = request
        self._protocol = _Protocol(plane)
        self._read_timeout_s: float | None = request.extensions.get("timeout", {}).get("read")
        # the request
        self._chunked = "transfer-encoding" in request.headers
        self._taking = asyncio.Event()
        self._taking.set()
        self._upload: asyncio.Task[None] | None = None
        # the response
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._head = False
        self._pieces: list[bytes] = []
        self._held = False
        self._news = asyncio.Event()
        self._complete = False
        self._error: Exception | None = None
        self._closing = False

    # -- the request ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Send the head; the body follows as it is taken."""
        self._protocol.connection_made(self)
        self._protocol.trusted = True
        request, url = self._request, self._request.url
        target = b"%b/%b%b" % (PREFIX.encode(), url.raw_host, url.raw_path)
        fields = [(name, value) for name, value in request.headers.raw if name.lower() not in HOPS_OWN]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self._protocol.data_received(b"%b %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (request.method.encode(), target, lines))
        if self._chunked or int(request.headers.get("content-length", 0)):
            self._upload = asyncio.get_running_loop().create_task(self._send_body())

    async def _send_body(self) -> None:
        try:
            async for piece in self._request.stream:  # type: ignore[union-attr]  # a client for asyncio makes these
                await self._taking.wait()
                if piece and not self._closing:
                    self._protocol.data_received(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
            if self._chunked and not self._closing:
                self._protocol.data_received(b"0\r\n\r\n")
        except Exception as error:  # noqa: BLE001 the program's own iterator: its error is the program's to see
            self._fail(error)

    # -- the response --------------------------------------------------------------------------

    async def response(self) -> httpx.Response:
        """Wait for the head."""
        try:
            while not self._head and self._error is None:
                await self._wait()
        finally:
            if not self._head or self._error is not None:
                await self.aclose()
        if self._error is not None:
            raise self._error
        return httpx.Response(self._status, headers=self._fields, stream=self, extensions={"http_version": b"HTTP/1.1"})

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            pieces, self._pieces = self._pieces, []
            if self._held:
                self._held = False
                self._protocol.resume_writing()
            for piece in pieces:
                yield piece
            if self._error is not None:
                raise self._error
            if self._complete and not self._pieces:
                return
            if not self._pieces:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                await self._news.wait()
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=self._request) from None
        self._news.clear()

    async def aclose(self) -> None:
        """The program wants no more of it."""
        if self._upload is not None:
            self._upload.cancel()
        self.abort()

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self._news.set()

    # -- httptools -----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not (name == b"Via" and value == b"1.1 lbgateway") and name not in (b"Connection", b"Transfer-Encoding"):
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200:
            self._fields = []
            return
        error = getattr(self._protocol.handler, "error", None)
        if error is not None and any(value.startswith(OWN_ANSWER) for name, value in self._fields if name == b"Proxy-Status"):
            self._fail(translated(error, self._request))
        self._head = True
        self._news.set()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        if not self._held and sum(map(len, self._pieces)) > HIGH_WATER_BYTES:
            self._held = True
            self._protocol.pause_writing()
        self._news.set()

    def on_message_complete(self) -> None:
        if self._head:
            self._complete = True
            self._news.set()

    # -- asyncio.Transport, as far as a `GatewayProtocol` asks for it -----------------------------

    def write(self, data: Any) -> None:
        self._parser.feed_data(data)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._taking.clear()

    def resume_reading(self) -> None:
        self._taking.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """The answer is complete, HEAD and the like included, which have no body to say so."""
        self._complete = self._head and self._error is None
        self._end()

    def abort(self) -> None:
        if not self._closing:
            self._fail(httpx.RemoteProtocolError("the answer has been cut", request=self._request))
        self._end()

    def _end(self) -> None:
        self._news.set()
        self._taking.set()
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


KINDS: tuple[tuple[type[errors.GatewayError], type[httpx.TransportError]], ...] = (
    (errors.ConnectTimeout, httpx.ConnectTimeout),
    (errors.ResponseTimeout, httpx.ReadTimeout),
    (errors.RequestTimeout, httpx.WriteTimeout),
    (errors.UpstreamClosed, httpx.ReadError),
    (errors.UpstreamMalformed, httpx.RemoteProtocolError),
)
"""Ours -> httpx's; all others are errors of connecting, or of the request."""


def translated(error: errors.GatewayError, request: httpx.Request) -> httpx.TransportError:
    """What the engine says, as programs that use httpx know it."""
    host = request.url.host
    if isinstance(error, errors.NoRoute):
        return httpx.ConnectError(f"no service has the name {host!r}, or it is not exposed", request=request)
    said = f"service {host!r}: {error.detail}" + (f" ({error.cause})" if error.cause else "")
    for ours, theirs in KINDS:
        if isinstance(error, ours):
            return theirs(said, request=request)
    return (httpx.LocalProtocolError if error.origin is errors.Origin.CLIENT else httpx.ConnectError)(said, request=request)
