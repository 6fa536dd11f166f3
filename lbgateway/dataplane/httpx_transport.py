"""The second way to an upstream: httpx, for what our own connections do not speak. HTTP/2, outgoing proxies, TLS.

An `HttpxConnection` obeys an exchange like any other `Connection`: it takes HTTP/1.1 and makes a request of httpx's
of it, and what httpx brings it tells as events. One httpx transport is one connection, which carries one exchange at
a time, also over HTTP/2 (docs/decisions.md, 15).

What httpcore, below httpx, cannot do, and what happens instead (docs/transports.md):

* It shows no interim responses: those of the upstream are dropped, and ``100 Continue`` is said by us.
* It has no trailers: dropped in both directions.
* It has no tunnels that we could join: an upgrade is not asked for, and the upstream answers as if there had been none.
* It reads no answer before the request is sent: an early one waits for the end of the upload.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from lbgateway.dataplane.head import ResponseHead
from lbgateway.dataplane.httpx_message import RequestBody, may_stay, request_parts, response_head
from lbgateway.dataplane.pool import connect_error
from lbgateway.errors import ConnectFailed, ConnectTimeout, GatewayError, UpstreamClosed, UpstreamMalformed

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange_state import ResponseSink
    from lbgateway.dataplane.httpx_pool import HttpxPool
    from lbgateway.dataplane.pool import ConnectWaiter, Pool

ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)

log = structlog.get_logger("lbgateway")

ENDED = ("Server disconnected", "<ConnectionTerminated", "<StreamReset", "peer closed connection")
"""How httpcore's words for an upstream that left begin; any other `RemoteProtocolError` is about what it said."""


class _Body(RequestBody, httpx.AsyncByteStream):
    """What httpx asks a body to be."""


class _ExactUrl(httpx.URL):
    """An address whose target goes out byte by byte as it came; httpx would escape some characters."""

    def __init__(self, origin: httpx.URL, target: bytes) -> None:
        super().__init__(origin)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target


class HttpxConnection:
    """Implements `exchange_state.Connection` over httpx."""

    def __init__(self, pool: HttpxPool, connect_timeout_s: float) -> None:
        # for life
        self.pool: Pool = pool
        self._pool = pool
        self._origin = httpx.URL(scheme=pool.reach.scheme, host=pool.host, port=pool.port)
        self._transport = httpx.AsyncHTTPTransport(
            verify=pool.context,
            trust_env=False,
            http1=pool.reach.http2 != "always",
            http2=pool.reach.http2 != "never",
            limits=ONE_CONNECTION,
            proxy=pool.proxy,
        )
        self._connect_timeout_s = connect_timeout_s
        self._waiter: ConnectWaiter | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._stream: Any = None
        """httpcore's socket, where it may be watched while idle; in HTTP/2 a server may always say something."""
        self._closed = False
        self.uses = 0
        self.idle_at_s = 0.0
        # per exchange
        self.exchange: ResponseSink | None = None
        self.received = False
        self.keep_alive = False
        self._bodyless = False
        self._headed = False
        self._request: RequestBody | None = None
        self._sent = False
        self._task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._flushing: asyncio.Handle | None = None

    def __repr__(self) -> str:
        return f"<HttpxConnection {self.pool.host}:{self.pool.port} {'busy' if self.exchange else 'idle'} uses={self.uses}>"

    # -- commands: see `exchange_state.Connection` ---------------------------------------------

    def open(self, waiter: ConnectWaiter) -> asyncio.Task[None]:
        """Connect, and tell `waiter`; then it writes the head that it has already."""
        self._waiter = waiter
        return self._begin(waiter.first_bytes())

    def write(self, data: bytes) -> None:
        if self._headed:
            if self._request is not None:
                self._request.feed(data)
            return
        self._headed = True
        if self._task is None:
            self._begin(data)

    def expect(self, *, bodyless: bool, upgrade: bool) -> None:  # noqa: ARG002 there are no upgrades this way
        self._bodyless = bodyless

    def is_closing(self) -> bool:
        """Whether it can carry nothing more. An idle connection of HTTP/1 with something to read has ended, or is spoilt."""
        return self._closed or (self.exchange is None and self._stream is not None and self._stream.get_extra_info("is_readable"))

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def close(self) -> None:
        self.exchange = None
        self._stop_flushing()
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._pool.spawn(self._transport.aclose())

    # -- one exchange --------------------------------------------------------------------------

    def _begin(self, head: bytes) -> asyncio.Task[None]:
        parts = request_parts(head)
        self._request = body = _Body(parts, self)
        extensions = {"trace": self._on_progress, "sni_hostname": self._pool.reach.server_name}
        request = httpx.Request(parts.method.decode(), self._origin, headers=parts.headers, stream=body, extensions=extensions)
        # Neither is what httpx makes of it: a method is spelt as it came, and so is a target.
        request.method, request.url = parts.method.decode(), _ExactUrl(self._origin, parts.target)
        self._task = self._pool.spawn(self._converse(request))
        return self._task

    async def _converse(self, request: httpx.Request) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s) as self._limit:
                response = await self._transport.handle_async_request(request)
            await self._relay(response)
        except asyncio.CancelledError:
            self._task = None
            self.close()
            raise
        except (TimeoutError, httpx.TransportError) as error:
            self._fail(translated(error, sent=self._sent))
        except GatewayError as error:
            self._fail(error)
        except Exception as bug:
            log.exception("the httpx transport failed")
            self._fail(GatewayError(cause=repr(bug)))

    async def _on_progress(self, event: str, info: dict[str, Any]) -> None:
        """Hear from httpcore what it is about to do."""
        if event == "connection.connect_tcp.started":
            # Also where an idle connection was found to be dead.
            self.uses = 0
        elif event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self._sent = True
            if self._limit is not None:
                self._limit.reschedule(None)
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                self._pool.connected(self._task)
                waiter.on_connected(self)

    async def _relay(self, response: httpx.Response) -> None:
        """Tell the exchange of an answer, as fast as it takes it."""
        fields, version = response.headers.raw, response.extensions["http_version"]
        head = response_head(response.status_code, fields, version, bodyless=self._bodyless)
        self.received = True
        if self.exchange is not None:
            self.exchange.on_response_head(head)
        exchange = self.exchange
        if exchange is None:
            return
        # A head that waits for its body goes out with it if that is here already, and alone in a moment if not.
        self._flushing = self.pool.loop.call_soon(exchange.on_response_body, [])
        last, left = [], head.content_length
        async for piece in response.stream:  # type: ignore[union-attr]  # httpx gives an asynchronous one here
            self._stop_flushing()
            left -= len(piece)
            if left == 0:
                # The end is at hand: a client that has all of it finds the connection free.
                last.append(piece)
                continue
            exchange.on_response_body([piece])
            await self._reading.wait()
            if self.exchange is not exchange:
                return  # nobody is left to take the rest
        self._stop_flushing()
        until_eof = head.chunked and "transfer-encoding" not in response.headers
        self._stream = response.extensions["network_stream"] if version != b"HTTP/2" else None
        spoilt = self._stream is not None and left_over(response)
        await response.aclose()
        self.keep_alive = may_stay(version, fields, until_eof=until_eof) and not spoilt
        self._rest()
        exchange.on_response_end(last, None)

    def _rest(self) -> None:
        """The exchange is over; the connection may carry another one."""
        self.received = self._bodyless = self._headed = self._sent = False
        self._task = self._request = self._limit = None

    def _fail(self, error: GatewayError) -> None:
        waiter, self._waiter = self._waiter, None
        exchange, self.exchange = self.exchange, None
        self._task = None
        self.keep_alive = False
        self._stop_flushing()
        if waiter is not None:
            self.close()
            waiter.on_connect_failed(error if error.retry_safe else ConnectFailed(cause=error.cause))
        elif exchange is not None:
            exchange.on_upstream_error(error)

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None

    # -- what its request's body says -----------------------------------------------------------

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_upstream_paused()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_upstream_resumed()

    def say_continue(self) -> None:
        if self.exchange is not None:
            head = ResponseHead()
            head.status, head.lines = 100, []
            self.exchange.on_informational(head)


def translated(error: Exception, *, sent: bool) -> GatewayError:
    """An error of httpx in our own words. `sent`: the request may have reached the upstream."""
    cause = str(error) or type(error).__name__
    if isinstance(error, TimeoutError | httpx.ConnectTimeout):
        return ConnectTimeout(cause=cause)
    if not sent or isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return connect_error(error)
    if isinstance(error, httpx.RemoteProtocolError) and not cause.startswith(ENDED):
        return UpstreamMalformed(cause=cause)
    return UpstreamClosed(cause=cause)


def left_over(response: httpx.Response) -> bool:
    """Whether more has come than the answer, in HTTP/1: the next one would begin with it, and belong to somebody else.

    httpcore does not look, and does not tell. Where its insides are not what they were, the answer is yes, which costs
    the connection and nothing else; a contract test fails then.
    """
    try:
        trailing, _ = response.stream._httpcore_stream._stream._connection._h11_state.trailing_data  # type: ignore[union-attr] # noqa: SLF001 see above
    except AttributeError:
        return True
    return bool(trailing)
