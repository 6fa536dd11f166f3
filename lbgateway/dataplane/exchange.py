"""The way of a request, read downwards.

 1. `begin`                  find the route, ask its policies (the first rejection wins), find the upstream
 2. `_pick`                  the balancer chooses an endpoint, its pool gives an idle connection
 3. `_connect`               or makes a new one: the only task that a request may cost
 4. `_send`                  the head, and as much of the body as is there
 5. `on_request_body`/`end`  the rest of the body, as it comes
 6. `on_response_head`       from here on there is no retry
 7. `on_response_body`/`end` the answer, as it comes
 8. `on_upstream_error`      the fork: pick again, or answer, or cut
 9. `on_client_gone`         nobody is left to answer
10. `_end_attempt`           once per attempt: the endpoint's numbers, the connection's fate
11. `_settle`                exactly once: the client's side, the gateway's numbers

Methods named ``on_…`` are events; calls on `downstream` and `connection` are commands. Nothing here
waits, reads a clock (but for the two moments of an attempt) or knows a socket, so a test can be the
network. What an exchange knows, and what it needs of the client's side, is in `exchange_state`.
"""

from __future__ import annotations

from bisect import bisect_left
from random import getrandbits
from time import monotonic
from typing import TYPE_CHECKING

from balancers.endpoint import EndpointState, Outcome
from lbgateway import problem
from lbgateway.dataplane.exchange_state import (
    BEGIN,
    CONNECTING,
    NEVER_S,
    NOTHING,
    RESPONDING,
    SETTLED,
    TUNNEL,
    WAITING,
    ExchangeState,
)
from lbgateway.dataplane.head import LAST_CHUNK, chunk, last_chunk
from lbgateway.dataplane.message import forwarded_request, informational_response, response_head, switching_response
from lbgateway.errors import (
    ClientGone,
    GatewayError,
    NoEndpoint,
    PayloadTooLarge,
    RequestTimeout,
    ResponseTimeout,
    UpstreamClosed,
    UpstreamMalformed,
)
from lbgateway.policies.retry import IDEMPOTENT, REASONS, Verdict, may_retry
from lbgateway.telemetry.metrics import BOUNDS_S, METHOD_LABELS

if TYPE_CHECKING:
    from lbgateway.dataplane.connection import UpstreamConnection
    from lbgateway.dataplane.exchange_state import Downstream
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.upstream import Upstream

OK, FAILED_REMOTE, FAILED_LOCAL = Outcome.OK, Outcome.FAILED_REMOTE, Outcome.FAILED_LOCAL

DISCARD_BYTES = 64 * 1024
"""Up to this size an unwanted request body is read and thrown away to keep the connection; above, it is closed."""


class Exchange(ExchangeState):
    """One request with its response, all attempts included."""

    __slots__ = ()

    # -- 1. begin ------------------------------------------------------------------------------

    def begin(self, protocol: Downstream, head: RequestHead) -> None:
        """Find out where the request goes and whether it may; then try the first endpoint."""
        self.downstream, self.head, self.target = protocol, head, head.resolved
        self.plane = plane = protocol.plane
        self.started_s = now_s = monotonic()
        self.request_id = b"%032x" % getrandbits(128) if head.forwarded is None else protocol.request_id(head)
        plane.active.add(self)
        if not head.keep_alive:
            self.keep_alive = False
        if head.has_body:
            self.request_done = False
            self.body = []
        if protocol.write_paused:
            self.downstream_paused = True
        path = self.target.path
        route = plane.routes.match(self.target.authority or head.hosts, path, head.method, head.lines)
        if route is None:
            self._reject(plane.routes.refusal(self.target.authority or head.hosts, path, head.method, head.lines))
            return
        self.route = route
        for admit in route.admit:
            rejection = admit(self)
            if rejection is not None:
                self._reject(rejection)
                return
        if route.max_body is not None and head.content_length > route.max_body:
            self._reject(PayloadTooLarge(close=True))
            return
        name = route.service
        if name is None:
            name, path = route.split(path)
        else:
            path = route.forward_path(path)
        upstream = plane.upstreams.get(name)
        if upstream is None:
            self._reject(plane.missing_upstream(name))
            return
        self.upstream = upstream
        self.request_bytes = forwarded_request(self, route, path)
        self._pick(now_s)

    # -- 2. pick -------------------------------------------------------------------------------

    def _pick(self, now_s: float) -> None:
        endpoints = self.upstream.endpoints
        endpoint = endpoints.pick(now_s, None, self.excluded)
        if endpoint is None and self.excluded:
            # Nobody else is left: the same one again is better than nobody.
            endpoint = endpoints.pick(now_s)
        if endpoint is None:
            self._reject(self.error or NoEndpoint())
            return
        self.endpoint = endpoint
        self.attempts += 1
        endpoint.active += 1
        if not endpoint.oldest_at_s:
            endpoint.oldest_at_s = now_s
        self.sent_at_s = now_s
        head = self.head
        # What may not be replayed needs a connection that was in use a moment ago.
        harmless = head.method in IDEMPOTENT and (not head.has_body or self._body_fits())
        connection = endpoint.pool.lease(now_s, fresh=not harmless)
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    # -- 3. connect ----------------------------------------------------------------------------

    def _connect(self) -> None:
        self.phase = CONNECTING
        self.deadline_s = self.started_s + self.route.timeout.total
        self.connecting = self.endpoint.pool.connect(self, self.route.timeout.connect)

    def on_connected(self, connection: UpstreamConnection) -> None:
        """The new connection is there."""
        self.connecting = None
        self._send(connection)

    def on_connect_failed(self, error: GatewayError) -> None:
        """There is no connection to be had; nothing was sent."""
        self.connecting = None
        if self.endpoint.state is EndpointState.SUSPECT:
            self.upstream.endpoints.fail_suspect(self.endpoint, monotonic())
        self._fail(error)

    # -- 4. send -------------------------------------------------------------------------------

    def _send(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.phase = WAITING
        if self.downstream_paused:
            connection.transport.pause_reading()
        connection.exchange = self
        if self.head.method == b"HEAD" or self.head.upgrade is not None:
            connection.expect(bodyless=self.head.method == b"HEAD", upgrade=self.head.upgrade is not None)
        if self.request_done:
            timeout = self.route.timeout
            self.deadline_s = min(self.sent_at_s + timeout.response, self.started_s + timeout.total)
        else:
            self.deadline_s = NEVER_S
        connection.write(self.request_bytes)
        if self.head.has_body:
            if self.body:
                connection.write(b"".join(self.body))
            if not self.replayable:
                self.body = []
            self.downstream.resume_request()

    # -- 5. the request's body -----------------------------------------------------------------

    def on_request_body(self, data: bytes) -> None:
        """A piece of the body has come."""
        if self.phase is SETTLED:
            return
        self.moved = True
        self.bytes_in += len(data)
        max_body = self.route.max_body
        if max_body is not None and self.bytes_in > max_body:
            self.on_bad_request(PayloadTooLarge(close=True))
            return
        if self.head.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        sending = self.phase >= WAITING
        if self.replayable and self.bytes_in > self.route.retry.replay_body_up_to:
            self.replayable = False
            if sending:
                self.body = []
        if self.replayable or not sending:
            self.body.append(data)
        if sending:
            self.connection.write(data)  # type: ignore[union-attr]  # there is one while sending
        else:
            self.downstream.pause_request()

    def on_request_end(self, trailers: list[bytes] | None) -> None:
        """The request is complete."""
        self.request_done = True
        if self.phase is SETTLED:
            return
        if self.head.chunked:
            self._end_chunks(last_chunk(trailers) if trailers else LAST_CHUNK)
        if self.phase is WAITING:
            now_s = monotonic()
            self.sent_at_s = now_s
            self.deadline_s = now_s + self.route.timeout.response

    def _end_chunks(self, end: bytes) -> None:
        sending = self.phase >= WAITING
        if self.replayable or not sending:
            self.body.append(end)
        if sending:
            self.connection.write(end)  # type: ignore[union-attr]  # as above

    def _body_fits(self) -> bool:
        """Whether the whole body will be at hand for a replay, as far as its declaration tells."""
        return self.replayable and not self.head.chunked and self.head.content_length <= self.route.retry.replay_body_up_to

    def on_bad_request(self, error: GatewayError) -> None:
        """The body is malformed, or more than is allowed; what the upstream has of it stays incomplete."""
        if self.phase is SETTLED:
            return
        if self.phase is RESPONDING:
            self._cut(error, Outcome.ABANDONED)
            return
        self._end_attempt(Outcome.ABANDONED, monotonic(), reusable=False)
        self._reject(error)

    # -- 6. the response's head ----------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """1xx: passed on as it is, to clients that can know it (RFC 9110, 15.2)."""
        if self.head.version == "1.1":
            self.downstream.write(informational_response(head))

    def on_response_head(self, head: ResponseHead) -> None:
        """The final answer begins: which of the attempts it was, and how its body will be framed, is settled."""
        self.phase = RESPONDING
        self.status = head.status
        self.moved = True
        self.deadline_s = NEVER_S
        now_s = monotonic()
        self.upstream_s = upstream_s = now_s - self.sent_at_s
        outcome = OK if head.status < 500 else FAILED_REMOTE
        self.upstream.endpoints.balancer.observe(self.endpoint, upstream_s, outcome, now_s)
        if not self.request_done:
            # The client may still be sending what nobody wants: the connection cannot be told apart from the next request.
            self.keep_alive = False
        self.chunked_out = head.chunked or head.until_eof
        if self.chunked_out and self.head.version != "1.1":
            self.chunked_out = self.keep_alive = False
        if self.plane.draining:
            self.keep_alive = False
        self.out = [response_head(self, head)]

    # -- 7. the response's body ----------------------------------------------------------------

    def on_response_body(self, pieces: list[bytes]) -> None:
        """What one read has brought of the answer, the head included, goes out in one piece."""
        self.moved = True
        out, self.out = self.out, []
        out += [chunk(pieces)] if self.chunked_out and pieces else pieces
        data = b"".join(out)
        if data:
            self.bytes_out += len(data)
            self.downstream.write(data)

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:
        """The answer is complete."""
        out = self.out
        if self.chunked_out:
            if pieces:
                out.append(chunk(pieces))
            out.append(last_chunk(trailers) if trailers else LAST_CHUNK)
        else:
            out += pieces
        data = b"".join(out)
        if data:
            self.bytes_out += len(data)
            self.downstream.write(data)
        now_s = monotonic()
        self._end_attempt(OK if self.status < 500 else FAILED_REMOTE, now_s, reusable=self.request_done)
        self._settle(now_s)
        self.downstream.finish(keep_alive=self.keep_alive)

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:
        """The upstream agreed to speak another protocol (101): join the two sides."""
        self.phase = TUNNEL
        self.status = head.status
        self.moved = True
        now_s = monotonic()
        self.upstream_s = now_s - self.sent_at_s
        self.upstream.endpoints.balancer.observe(self.endpoint, self.upstream_s, OK, now_s)
        self.downstream.write(switching_response(self, head))
        self.downstream.start_tunnel(self, self.connection, rest)  # type: ignore[arg-type]  # it said so itself

    def on_tunnel_closed(self, bytes_in: int, bytes_out: int) -> None:
        """Both sides of the tunnel are done."""
        if self.phase is TUNNEL:
            self.bytes_in, self.bytes_out = bytes_in, bytes_out
            now_s = monotonic()
            self._end_attempt(OK, now_s, reusable=False)
            self._settle(now_s)

    # -- 8. the fork ---------------------------------------------------------------------------

    def on_upstream_error(self, error: GatewayError) -> None:
        """The connection broke, or what came over it was no HTTP."""
        if self.phase is RESPONDING:
            self._cut(error, FAILED_REMOTE)
        elif self.phase is WAITING:
            self._fail(error)

    def _fail(self, error: GatewayError) -> None:
        connection, retry = self.connection, self.route.retry
        stale = isinstance(error, UpstreamClosed) and connection is not None and connection.uses > 0 and not connection.received
        verdict = may_retry(
            error,
            response_started=self.phase is RESPONDING,
            idempotent=self.head.method in IDEMPOTENT,
            body_replayable=self.replayable or self.phase is CONNECTING,
            stale_connection=stale and not self.stale_spent,
            attempts_left=retry.attempts + 1 - self.attempts,
            retry_on=retry.on,
        )
        now_s = monotonic()
        if verdict is Verdict.REPLAY:
            self._replay(now_s)
            return
        outcome = FAILED_REMOTE if isinstance(error, UpstreamMalformed) else FAILED_LOCAL
        self._end_attempt(outcome, now_s, reusable=False, error=error)
        if verdict is Verdict.GIVE_UP:
            self._reject(error)
            return
        self.plane.metrics.retries[self.upstream.name, REASONS[error.slug]] += 1
        self.excluded = (*self.excluded, self.endpoint)
        self.error = error
        self._pick(now_s)

    def _replay(self, now_s: float) -> None:
        """Same endpoint, same attempt, new connection: the old one had been closed while it was idle."""
        if self.connection is not None:
            self.endpoint.pool.release(self.connection, now_s, reusable=False)
            self.connection = None
        self.stale_spent = True
        self.sent_at_s = now_s
        self._connect()

    def _reject(self, error: GatewayError) -> None:
        """Answer in the gateway's own name."""
        self.error = error
        self.status = error.status
        head = self.head
        unread = not self.request_done
        if error.close or self.plane.draining or (unread and (head.chunked or head.expect_continue or head.content_length > DISCARD_BYTES)):
            self.keep_alive = False
        answer = problem.render(
            error,
            self.request_id,
            date=self.plane.date_line,
            head_only=head.method == b"HEAD",
            close=not self.keep_alive,
            http10=head.version != "1.1",
        )
        self.bytes_out = len(answer)
        self.downstream.write(answer)
        self._settle(monotonic())
        self.downstream.finish(keep_alive=self.keep_alive)

    def _cut(self, error: GatewayError, outcome: Outcome) -> None:
        """A response that has begun and cannot be finished: only a broken connection tells the client."""
        self.error = error
        now_s = monotonic()
        self._end_attempt(outcome, now_s, reusable=False, error=error)
        self._settle(now_s)
        self.downstream.abort()

    # -- 9. the client is gone -----------------------------------------------------------------

    def on_client_gone(self) -> None:
        """Nobody is left to answer: the upstream's side is closed, and blamed for nothing."""
        if self.phase is SETTLED:
            return
        self.error = ClientGone()
        now_s = monotonic()
        if self.phase is not BEGIN:
            self._end_attempt(Outcome.ABANDONED, now_s, reusable=False)
        if not self.status:
            self.status = ClientGone.status
        self._settle(now_s)

    # -- back-pressure and time ----------------------------------------------------------------

    def on_downstream_paused(self) -> None:
        """The client reads more slowly than the upstream writes."""
        self.downstream_paused = True
        if self.connection is not None and not self.connection.transport.is_closing():
            self.connection.transport.pause_reading()

    def on_downstream_resumed(self) -> None:
        """The client has caught up."""
        self.downstream_paused = False
        self.moved = True
        if self.connection is not None and not self.connection.transport.is_closing():
            self.connection.transport.resume_reading()

    def on_upstream_paused(self) -> None:
        """The upstream reads more slowly than the client writes."""
        self.upstream_paused = True
        self.downstream.pause_request()

    def on_upstream_resumed(self) -> None:
        """The upstream has caught up."""
        self.upstream_paused = False
        self.moved = True
        self.downstream.resume_request()

    def on_tick(self, now_s: float) -> None:
        """Called by the sweep every 100 ms: has this taken too long?"""
        if now_s >= self.deadline_s:
            self._on_deadline()
            return
        if self.phase is RESPONDING or (self.phase is WAITING and not self.request_done):
            if self.moved:
                self.moved = False
                self.deadline_s = NEVER_S
            elif self.deadline_s is NEVER_S:
                idle_s = self.route.timeout.idle
                if self.phase is WAITING and not self.upstream_paused:
                    idle_s = self.plane.body_timeout_s
                self.deadline_s = now_s + idle_s
        elif self.phase is TUNNEL and self.moved:
            self.moved = False
            self.deadline_s = now_s + self.route.timeout.tunnel_idle

    def _on_deadline(self) -> None:
        if self.phase is RESPONDING:
            # Whose fault: a client that does not read, or an upstream that does not write.
            outcome = Outcome.ABANDONED if self.downstream_paused else FAILED_LOCAL
            self._cut(ResponseTimeout(cause="idle in the response body"), outcome)
        elif self.phase is WAITING and not self.request_done and not self.upstream_paused:
            self._end_attempt(Outcome.ABANDONED, monotonic(), reusable=False)
            self._reject(RequestTimeout(close=True))
        elif self.phase is TUNNEL:
            self.downstream.abort()
            self.connection.transport.abort()  # type: ignore[union-attr]  # there is one until the tunnel is closed
        elif self.phase in (WAITING, CONNECTING):
            self._fail(ResponseTimeout())

    # -- 10. the end of an attempt -------------------------------------------------------------

    def _end_attempt(self, outcome: Outcome, now_s: float, *, reusable: bool, error: GatewayError | None = None) -> None:
        endpoint, connection = self.endpoint, self.connection
        endpoint.active -= 1
        if self.phase < RESPONDING:
            self.upstream_s = now_s - self.sent_at_s
            self.upstream.endpoints.balancer.observe(endpoint, self.upstream_s, outcome, now_s)
        series, bucket = endpoint.series, bisect_left(BOUNDS_S, self.upstream_s)
        series.total += 1
        series.outcomes[outcome] = series.outcomes.get(outcome, 0) + 1
        series.seconds_sum += self.upstream_s
        series.recent[bucket] += 1
        duration = self.upstream.duration
        duration.counts[bucket] += 1
        duration.sum_s += self.upstream_s
        if outcome is FAILED_REMOTE or outcome is FAILED_LOCAL:
            series.failures += 1
            series.last_error = f"{error.slug}: {error.cause}" if error is not None else "5xx answer"
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if connection is not None:
            self.connection = None
            if self.downstream_paused and not connection.transport.is_closing():
                connection.transport.resume_reading()
            endpoint.pool.release(connection, now_s, reusable=reusable)

    # -- 11. settle ----------------------------------------------------------------------------

    def _settle(self, now_s: float) -> None:
        self.phase = SETTLED
        self.body = NOTHING
        plane = self.plane
        route: Route | None = self.route
        upstream: Upstream | None = self.upstream
        plane.active.discard(self)
        if upstream is not None:
            upstream.requests_total += 1
        if route is not None:
            service = upstream.name if upstream is not None else ""
            series = route.series.get(service) or plane.series_of(route, service)
            key = (METHOD_LABELS.get(self.head.method, "other"), self.status)
            series.requests[key] = series.requests.get(key, 0) + 1
            seconds = now_s - self.started_s
            series.duration.counts[bisect_left(BOUNDS_S, seconds)] += 1
            series.duration.sum_s += seconds
        if self.error is not None:
            plane.metrics.errors[self.error.slug] += 1
        if plane.access_log is not None:
            plane.log_access(self, now_s)
