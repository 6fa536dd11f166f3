"""The gateway's own paths: one request to the ASGI application behind the data plane, and its answer.

A small server half of ASGI 3 (HTTP only), so that the control plane's answers queue, keep alive and
drain like every other answer on the connection.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lbgateway import problem
from lbgateway.dataplane.access_records import log_own_answer
from lbgateway.dataplane.head import BODYLESS, LAST_CHUNK, STATUS_LINES
from lbgateway.errors import GatewayError, PayloadTooLarge, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, MutableMapping

    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.protocol import GatewayProtocol
    from lbgateway.dataplane.target import Target

    Application = Callable[..., Coroutine[Any, Any, None]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

MAX_BODY_BYTES = 64 * 1024
"""No endpoint of the gateway takes more."""


class AsgiExchange:
    """One request of the gateway's own paths. A handler, like `Exchange`."""

    plane: DataPlane
    protocol: GatewayProtocol
    head: RequestHead
    target: Target

    def __init__(self, application: Application, label: str = "(gateway)") -> None:
        self.application = application
        self.label = label
        """What the log says instead of a route."""
        self.started_s = 0.0
        self.request_id = b""
        self.keep_alive = True
        self.body = bytearray()
        self.body_done = False
        self.body_told = False
        self.body_moved = False
        self.body_timer: asyncio.TimerHandle | None = None
        self.gone = False
        self.status = 0
        self.refusal: str | None = None
        """The slug of the problem that the answer is."""
        self.bytes_out = 0
        self.chunked = False
        self.left_bytes: int | None = None
        """What is still to come of a body whose length has been told."""
        self.complete = False
        self.news = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<AsgiExchange {self.request_id.decode()} status={self.status}>"

    # -- a handler's events --------------------------------------------------------------------

    def begin(self, protocol: GatewayProtocol, head: RequestHead) -> None:
        self.plane, self.protocol, self.head, self.target = protocol.plane, protocol, head, head.resolved
        self.started_s = monotonic()
        self.request_id = protocol.request_id(head)
        self.keep_alive = head.keep_alive
        self.body_done = not head.has_body
        if self.protocol.write_paused:
            self.writable.clear()
        if not self.body_done:
            self._watch_body()
            # Where it has waited behind other requests, reading has stopped behind it.
            protocol.resume_request()
        self.task = self.plane.spawn(self._run())

    def on_request_body(self, data: bytes) -> None:
        self.body_moved = True
        self.body += data
        if len(self.body) > MAX_BODY_BYTES:
            self.on_bad_request(PayloadTooLarge(close=True))

    def on_request_end(self, trailers: list[bytes] | None) -> None:  # noqa: ARG002 a handler's signature
        self.body_done = True
        self.news.set()

    def on_bad_request(self, error: GatewayError) -> None:
        if not self.complete and self.task is not None:
            self.task.cancel()
            self._answer(error)

    def on_client_gone(self) -> None:
        self.gone = True
        if self.body_timer is not None:
            self.body_timer.cancel()
        self.news.set()
        self.writable.set()
        if self.task is not None:
            self.task.cancel()

    def on_downstream_paused(self) -> None:
        self.writable.clear()

    def on_downstream_resumed(self) -> None:
        self.writable.set()

    def _watch_body(self) -> None:
        """A body that stands still must not hold the request for ever."""
        self.body_moved = False
        self.body_timer = self.plane.loop.call_later(self.plane.body_timeout_s, self._on_body_timer)

    def _on_body_timer(self) -> None:
        if self.complete or self.body_done or self.gone:
            return
        if self.body_moved:
            self._watch_body()
        else:
            self.on_bad_request(RequestTimeout(close=True))

    # -- ASGI ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self.application(self._scope(), self._receive, self._send)
        except Exception as bug:  # noqa: BLE001 whatever it is, it is a bug, and a bug is 500
            self.plane.on_bug("the control plane failed", bug)
            if not self.complete:
                self._answer(GatewayError(close=True))
        else:
            if not self.complete and not self.gone:
                self._answer(GatewayError(close=True))

    def _scope(self) -> dict[str, Any]:
        head, protocol = self.head, self.protocol
        headers = [(head.lines[i].lower(), head.lines[i + 2]) for i in range(1, len(head.lines), 4)]
        if head.hosts is not None:
            headers.append((b"host", head.hosts))
        if head.content_length >= 0:
            headers.append((b"content-length", b"%d" % head.content_length))
        path = self.target.path
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method.decode(),
            "scheme": protocol.scheme.decode(),
            "path": unquote(path),
            "raw_path": path,
            "query_string": self.target.query[1:],
            "root_path": "",
            "headers": headers,
            "client": (protocol.peer, 0),
            "server": (None, protocol.server_port),
            "state": {"request_id": self.request_id.decode()},
        }

    async def _receive(self) -> dict[str, Any]:
        if self.head.expect_continue and not self.body and not self.body_done and not self.status and self.head.version == "1.1":
            self.head.expect_continue = False
            self._write(CONTINUE)
        while not self.body_done and not self.gone:
            self.news.clear()
            await self.news.wait()
        if self.body_told:
            while not self.gone and not self.complete:
                self.news.clear()
                await self.news.wait()
            return {"type": "http.disconnect"}
        self.body_told = True
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self._until_writable()
        if self.gone or self.complete:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            self._continue(message.get("body", b""), more=message.get("more_body", False))

    async def _until_writable(self) -> None:
        """Wait for a client that reads slowly as long as it reads at all; one that does not is cut."""
        while not self.writable.is_set():
            unsent = self.protocol.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self.plane.body_timeout_s):
                    await self.writable.wait()
            except TimeoutError:
                if self.protocol.transport.get_write_buffer_size() >= unsent:
                    self.on_client_gone()
                    self.protocol.abort()
                    await asyncio.sleep(0)  # an application that never waits for anything else ends here, too

    # -- the answer ----------------------------------------------------------------------------

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        told = {name.lower(): value for name, value in headers}
        names = told.keys()
        if b"content-length" in told and self.head.method != b"HEAD" and status not in BODYLESS:
            self.left_bytes = int(told[b"content-length"])
        self.chunked = b"content-length" not in names and status >= 200 and status not in BODYLESS
        if (self.chunked and self.head.version != "1.1") or self.protocol.goodbye or self._unread():
            self.keep_alive = False
        if self.head.version != "1.1":
            self.chunked = False
        lines = [b"%b: %b\r\n" % (name, value) for name, value in headers]
        if b"x-request-id" not in names:
            lines.append(b"X-Request-Id: %b\r\n" % self.request_id)
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"Connection: close\r\n")
        elif self.head.version != "1.1":
            lines.append(b"Connection: keep-alive\r\n")
        security = self.plane.security
        if security is not None:
            lines.append(security.missing(names, secure=self.protocol.is_secure(self.head)))
        self._write(b"".join((STATUS_LINES[status], *lines, self.plane.date_line, b"\r\n")))

    def _unread(self) -> bool:
        """Whether more of the body may come than is worth reading for nothing."""
        head = self.head
        return not self.body_done and (head.chunked or head.expect_continue or head.content_length > MAX_BODY_BYTES)

    def _continue(self, data: bytes, *, more: bool) -> None:
        if self.status >= HTTPStatus.BAD_REQUEST and self.refusal is None:
            self.refusal = problem.slug_of(data)
        if self.head.method != b"HEAD":
            if self.left_bytes is not None:
                # A file may shrink or grow while it is sent: what is too much would be read as the next answer.
                data = data[: self.left_bytes]
                self.left_bytes -= len(data)
            if self.chunked and data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if self.chunked and not more:
                data += LAST_CHUNK
            if data:
                self._write(data)
        if self.left_bytes and not more:
            self._cut()
        elif not more:
            self._finish()

    def _answer(self, error: GatewayError) -> None:
        self.keep_alive = False
        self.refusal = error.slug
        if self.status:
            self._cut()
        else:
            self.status = error.status
            security = self.plane.security
            careful = b"" if security is None else security.all(secure=self.protocol.is_secure(self.head))
            head_only = self.head.method == b"HEAD"
            self._write(problem.render(error, self.request_id, date=self.plane.date_line, extra=careful, head_only=head_only, close=True))
            self._finish()

    def _write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self.protocol.write(data)

    def _finish(self) -> None:
        self._settle()
        self.protocol.finish(keep_alive=self.keep_alive)

    def _cut(self) -> None:
        """An answer that has begun and cannot be finished: only a broken connection tells the client."""
        self._settle()
        self.protocol.abort()

    def _settle(self) -> None:
        self.complete = True
        if self.body_timer is not None:
            self.body_timer.cancel()
        self.news.set()
        log_own_answer(self, monotonic())
