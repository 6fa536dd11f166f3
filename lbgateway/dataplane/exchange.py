"""The way of a request, read downwards.

 1. `begin`                  find the route, ask its policies (the first rejection wins, a `Wait` parks), find the upstream
 2. `_pick`                  the balancer chooses an endpoint, its pool gives an idle connection
 3. `_connect`               or makes a new one: the only task that a request may cost
 4. `_send`                  the head, and as much of the body as is there
 5. `on_request_body`/`end`  the rest of the body, as it comes
 6. `on_response_head`       from here on there is no retry; `on_response` if all of the answer has come at once
 7. `on_response_body`/`end` the answer, as it comes
 8. `on_upstream_error`      the fork: pick again, at once or after a pause, or answer, or cut
 9. `on_client_gone`         nobody is left to answer
10. `end_attempt`            once per attempt: the endpoint's numbers, the connection's fate
11. `_settle`                exactly once: the client's side, the gateway's numbers

Where slow attempts are hedged, `race` is not None while two of them run: told in `race`.

Methods named ``on_…`` are events; calls on `downstream` and `connection` are commands. Nothing here
waits, reads a clock (but for the two moments of an attempt) or knows a socket, so a test can be the
network. What an exchange knows, and what it needs of the client's side, is in `exchange_state`.
"""

from __future__ import annotations

from math import ceil
from time import monotonic
from typing import TYPE_CHECKING

from balancers.endpoint import EndpointState, Outcome
from lbgateway import problem
from lbgateway.dataplane.access_records import log_exchange
from lbgateway.dataplane.attempts import EXCUSED, PATIENCE_S, Accused, LetGo, facts_of, may_be_lost, outcome_of, retry_after_s
from lbgateway.dataplane.deadline import with_deadline
from lbgateway.dataplane.exchange_state import (
    CONNECTING,
    NEVER_S,
    NOTHING,
    PARKED,
    PAUSED,
    RESPONDING,
    SETTLED,
    TUNNEL,
    WAITING,
    ExchangeState,
)
from lbgateway.dataplane.explanation import explained, explanation_lines
from lbgateway.dataplane.head import EXPLAIN, LAST_CHUNK, chunk, last_chunk
from lbgateway.dataplane.message import (
    forwarded_request,
    informational_response,
    request_trailers,
    response_head,
    response_trailers,
    switching_response,
)
from lbgateway.dataplane.request_ids import IDS, draw
from lbgateway.dataplane.target import without_parameters
from lbgateway.errors import (
    BadRequest,
    ClientGone,
    GatewayError,
    NoEndpoint,
    Origin,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    ResponseTimeout,
    UpstreamClosed,
)
from lbgateway.policies.answer import Answer
from lbgateway.policies.cors import asked_method
from lbgateway.policies.retry import IDEMPOTENT, REASONS, STATUSES, Verdict, backoff_s, may_retry
from lbgateway.telemetry.metrics import METHOD_LABELS

if TYPE_CHECKING:
    from collections.abc import Collection

    from lbgateway.dataplane.exchange_state import Connection, Downstream
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.route import Admit, Route
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.policies.wait import Wait
    from lbgateway.problem import Manner

OK, FAILED_REMOTE, FAILED_LOCAL = Outcome.OK, Outcome.FAILED_REMOTE, Outcome.FAILED_LOCAL

NO_ROOM = "no instance had room in time"

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
        if plane.tracing is not None:
            self.trace = plane.tracing.begin(head)
        if head.forwarded is None:
            self.request_id = IDS.pop() if IDS else draw()
            self.secure = protocol.secure
        else:
            self._hear_proxies(head)
        plane.active.add(self)
        if not head.keep_alive:
            self.keep_alive = False
        if head.has_body:
            self.request_done = False
            self.body = []
        if protocol.write_paused:
            self.downstream_paused = True
        method = head.method
        if method == b"OPTIONS" and head.origin is not None:
            self.preflight = asked_method(head.lines)
            method = self.preflight or method
        path, _, authority, parameters = self.target
        route = plane.routes.match(authority or head.hosts, path, method, head.lines)
        if route is None:
            self._reject_unrouted(method)
            return
        self.route = route
        if parameters and self._is_ambiguous(route, method):
            return
        if route.admit:
            self._ask(route.admit, now_s)
        else:
            self._forward(now_s)

    def _hear_proxies(self, head: RequestHead) -> None:
        """What only those in front of us may say of a request, and, with the right token, that it shall be explained."""
        self.request_id = self.downstream.request_id(head)
        self.secure = self.downstream.is_secure(head)
        may_explain = self.plane.may_explain
        # Whether that is somebody who may, the request is answered alike.
        if may_explain is not None and EXPLAIN in dict(head.forwarded or ()) and may_explain(head, self.downstream.peer):
            self.trace = explained(self.trace)

    def _is_ambiguous(self, route: Route, method: bytes) -> bool:
        """Refuse a path whose parameters decide where it goes, or who may: the service may not see them as part of the name."""
        path, bare = self.target.path, without_parameters(self.target.path)
        same = self.plane.routes.match(self.target.authority or self.head.hosts, bare, method, self.head.lines) is route
        if same and route.is_public(bare) == route.is_public(path):
            return False
        self._tell_browsers()
        self._reject(BadRequest("The path can be read in more than one way: its parameters decide on the route"))
        return True

    def _reject_unrouted(self, method: bytes) -> None:
        head, plane = self.head, self.plane
        self._tell_browsers()
        self._reject(plane.routes.refusal(self.target.authority or head.hosts, self.target.path, method, head.lines))

    def _tell_browsers(self) -> None:
        """No route has its say: what answers tell browsers is then the gateway's own word."""
        if self.plane.cors is not None:
            self.answer_lines = self.plane.cors.lines(self.head.origin)

    def _ask(self, policies: tuple[Admit, ...], now_s: float) -> None:
        """Ask one policy after the other; the first that does not say yes decides."""
        for asked, admit in enumerate(policies, 1):
            verdict = admit(self)
            if verdict is not None:
                if isinstance(verdict, GatewayError):
                    self._reject(verdict)
                elif isinstance(verdict, Answer):
                    self._answer(verdict)
                else:
                    self._park(verdict, policies[asked:])
                return
        self._forward(now_s)

    def _park(self, wait: Wait, unasked: tuple[Admit, ...]) -> None:
        """What a policy has to know is on its way; a body is held back until then (`policies.wait`)."""
        self.phase = PARKED
        self.wait, self.unasked = wait, unasked
        self.deadline_s = monotonic() + wait.within_s
        wait.flight.join(self)

    def on_landed(self) -> None:
        """It is there: the policy decides, then those behind it."""
        if self.phase is PARKED:
            self._ask((self.wait.decide, *self.unasked), monotonic())

    def _forward(self, now_s: float) -> None:
        """Nobody objects: where does it go?"""
        route, plane, path = self.route, self.plane, self.target.path
        head = self.head
        # What somebody else has taken to say who is asking is none of the attempts' time.
        self.until_s = now_s + route.timeout.total
        if plane.deadline_field is not None and not self._take_deadline(now_s):
            return
        if route.max_body is not None and head.content_length > route.max_body:
            self._reject(PayloadTooLarge(close=True))
            return
        name = route.service
        if name is None:
            name, path = route.split(path)
        elif route.rewrites:
            path = route.forward_path(path)
        upstream = plane.upstreams.get(name)
        if upstream is None or (upstream.hides is not None and route.service is None and upstream.hides(name)):
            self._reject(plane.missing_upstream(name))
            return
        self.upstream = upstream
        if upstream.tripped is not None and not self._pass_breaker(now_s):
            return
        self.request_bytes = forwarded_request(self, route, path)
        self._pick(now_s)

    def _take_deadline(self, now_s: float) -> bool:
        """Whether whoever is in front of us still waits; it may leave less time than the configuration does."""
        left_s = self.downstream.remaining_s(self.head)
        if left_s is not None:
            self.until_s = min(self.until_s, self.started_s + left_s)
        if self.until_s > now_s:
            return True
        self._reject(ResponseTimeout(cause="its deadline had passed before it was sent on"))
        return False

    def _pass_breaker(self, now_s: float) -> bool:
        """The service's breaker is not closed: whether this exchange may try all the same, or goes to the fallback."""
        again_s = self.upstream.breaker.admit(now_s)
        if not again_s:
            return True
        rules = self.upstream.rules
        other = self.plane.upstreams.get(rules.fallback_service or "")
        if other is None or (other.tripped is not None and other.breaker.admit(now_s)):
            self._reject(rules.when_open(headers=b"Retry-After: %d\r\n" % ceil(again_s)))
            return False
        self.upstream = other
        return True

    # -- 2. pick -------------------------------------------------------------------------------

    def _pick(self, now_s: float) -> None:
        if self.trace is not None:
            self.trace.picking(self)
        endpoints = self.upstream.endpoints
        endpoint = self._pick_trial(now_s) if endpoints.due else endpoints.pick(now_s, None, self.excluded)
        if endpoint is None and self.excluded:
            # Nobody else is left: the same one again is better than nobody.
            endpoint = endpoints.pick(now_s)
        if endpoint is None:
            self._reject(self.failure or NoEndpoint())
            return
        if endpoint.active >= endpoint.most_active:
            endpoint = self._pick_with_room(now_s)
            if endpoint is None:
                self._wait_for_room(now_s)
                return
        self.endpoint = endpoint
        self.attempts += 1
        endpoint.active += 1
        if not endpoint.oldest_at_s:
            endpoint.oldest_at_s = now_s
        self.sent_at_s = now_s
        if self.trace is not None:
            self.trace.picked(self)
        if self.upstream.hedging is not None and self.request_done:
            self.upstream.hedging.watch(self, now_s)
        head = self.head
        # What may not be replayed needs a connection that was in use a moment ago.
        harmless = head.method in IDEMPOTENT and (not head.has_body or self._body_fits())
        connection = endpoint.pool.lease(now_s, fresh=not harmless)
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def _pick_trial(self, now_s: float) -> GatewayEndpoint | None:
        """An ejected endpoint waits for the request that decides: this one, if it does no harm and there is somebody else to save it."""
        upstream, endpoint = self.upstream, None
        if may_be_lost(self) and upstream.endpoints.ready:
            endpoint = upstream.outliers.trial(now_s)
        if endpoint is not None:
            upstream.recorder.trial(endpoint, now_s)
        return endpoint or upstream.endpoints.pick(now_s, None, self.excluded)

    def _pick_with_room(self, now_s: float) -> GatewayEndpoint | None:
        """The balancer's choice has as many requests as it may: another one, best one that this exchange has not asked yet.

        None if it shall wait. One that has failed it is asked again only if it may not wait for the others.
        """
        full, endpoints = self.upstream.full(), self.upstream.endpoints
        endpoint = endpoints.pick(now_s, None, full.union(self.excluded))
        if endpoint is None and (full.issubset(self.excluded) or not self.upstream.may_wait()):
            endpoint = endpoints.pick(now_s, None, full)
        return endpoint

    def served_by(self, room: Collection[GatewayEndpoint]) -> bool:
        """Whether one of these is what it waits for."""
        excluded = self.excluded
        return not excluded or any(each not in excluded for each in room) or all(each in excluded for each in self.upstream.endpoints.ready)

    def _wait_for_room(self, now_s: float) -> None:
        error = self.upstream.wait_for_room(self, now_s)
        if error is not None:
            self._reject(error)
            return
        self.phase = PAUSED
        self.deadline_s = self.until_s

    def on_room(self, now_s: float) -> None:
        """Its turn has come; if that is too late, nobody is asked any more."""
        if now_s < self.until_s:
            self._pick(now_s)
        else:
            self._reject(Overloaded(cause=NO_ROOM))

    # -- 3. connect ----------------------------------------------------------------------------

    def _connect(self) -> None:
        self.phase = CONNECTING
        self.deadline_s = self.until_s
        self.connecting = self.endpoint.pool.connect(self, self.route.timeout.connect)

    def on_connected(self, connection: Connection) -> None:
        """The new connection is there."""
        self.connecting = None
        self._send(connection)
        if self.race is not None:
            self.race.hear(connection)

    def on_connect_failed(self, error: GatewayError) -> None:
        """There is no connection to be had; nothing was sent."""
        self.connecting = None
        if self.endpoint.state is EndpointState.SUSPECT and error.origin is not Origin.GATEWAY:
            self.upstream.endpoints.fail_suspect(self.endpoint, monotonic())
        self._fail(error, monotonic())

    # -- 4. send -------------------------------------------------------------------------------

    def _send(self, connection: Connection) -> None:
        self.connection = connection
        self.phase = WAITING
        self.upstream_paused = False
        if self.downstream_paused:
            connection.pause_reading()
        connection.exchange = self
        if self.head.method == b"HEAD" or self.head.upgrade is not None:
            connection.expect(bodyless=self.head.method == b"HEAD", upgrade=self.head.upgrade is not None)
        if self.request_done:
            self.deadline_s = min(self.sent_at_s + self.route.timeout.response, self.until_s)
        else:
            self.deadline_s = NEVER_S
        connection.write(self.request_bytes if self.plane.deadline_field is None else self.timed(self.request_bytes))
        if self.head.has_body:
            if self.body:
                connection.write(b"".join(self.body))
            if not self.replayable:
                self.body = []
            if not self.upstream_paused:
                self.downstream.resume_request()

    def timed(self, head: bytes) -> bytes:
        """`head` with the time that is left to an attempt that begins now, where services are told."""
        field = self.plane.deadline_field
        return head if field is None else with_deadline(head, field, min(self.until_s - monotonic(), self.route.timeout.response))

    def first_bytes(self) -> bytes:
        return self.timed(self.request_bytes)

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
            self._end_chunks(last_chunk(request_trailers(self, trailers)) if trailers else LAST_CHUNK)
        if self.phase in (CONNECTING, WAITING) and self.upstream.hedging is not None and self.head.method in IDEMPOTENT:
            self.upstream.hedging.watch(self, monotonic())
        if self.phase is WAITING:
            now_s = monotonic()
            self.sent_at_s = now_s
            timeout = self.route.timeout
            if self.until_s >= self.started_s + timeout.total:
                # The body's time was the client's own; only a deadline from outside is none the later for it.
                self.until_s = max(self.until_s, now_s + timeout.response)
            self.deadline_s = min(now_s + timeout.response, self.until_s)

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
        if self.phase is PARKED:
            self.wait.flight.leave(self)
        elif self.phase is CONNECTING or self.phase is WAITING:
            self.end_attempt(Outcome.ABANDONED, monotonic(), reusable=False)
        self._reject(error)

    # -- 6. the response's head ----------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """1xx: passed on as it is, to clients that can know it (RFC 9110, 15.2)."""
        if self.head.version == "1.1":
            self.downstream.write(informational_response(self, head))

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The final answer, all of it, as most are; what is special about one is left to the events of its parts."""
        if head.status >= 429 or self.trace is not None or not self.request_done:
            self.on_response_head(head)
            self.on_response_end([body], None)
            return
        now_s = monotonic()
        self.upstream_s = upstream_s = now_s - self.sent_at_s
        self.upstream.endpoints.balancer.observe(self.endpoint, upstream_s, OK, now_s)
        self.phase = RESPONDING
        self.status = head.status
        if self.downstream.goodbye:
            self.keep_alive = False
        data = b"".join((*response_head(self, head), body))
        self.bytes_out = len(data)
        self.end_attempt(OK, now_s, reusable=True)
        self.downstream.write(data)
        self._settle(now_s)
        self.downstream.finish(keep_alive=self.keep_alive)

    def on_response_head(self, head: ResponseHead) -> None:
        """The final answer begins: which of the attempts it was, and how its body will be framed, is settled."""
        now_s = monotonic()
        self.upstream_s = upstream_s = now_s - self.sent_at_s
        if self.attempt is not None:
            self.attempt.status = head.status
        if head.status < 429:
            self.upstream.endpoints.balancer.observe(self.endpoint, upstream_s, OK, now_s)
        elif self._on_refusal(head, now_s):
            return
        self.phase = RESPONDING
        self.status = head.status
        self.moved = True
        self.deadline_s = NEVER_S
        if not self.request_done:
            # The client may still be sending what nobody wants: the connection cannot be told apart from the next request.
            self.keep_alive = False
        self.chunked_out = head.chunked or head.until_eof
        if self.chunked_out and self.head.version != "1.1":
            self.chunked_out = self.keep_alive = False
        if self.downstream.goodbye:
            self.keep_alive = False
        if self.trace is not None and self.trace.explained:
            self.answer_lines += explanation_lines(self, head.status)
        self.out = response_head(self, head)

    def _on_refusal(self, head: ResponseHead, now_s: float) -> bool:
        """An answer of 429 or more: what is learnt from it, and whether it is let go because another try may bring a better one."""
        status, endpoint = head.status, self.endpoint
        busy_s = retry_after_s(head) if status in (429, 503) else 0.0
        if status >= 500:
            self._accuse(status)
            if status in STATUSES and self._may_go_on(STATUSES[status], busy_s, now_s):
                self._let_go(status, busy_s, now_s)
                return True
        if self.race is not None:
            self.race.decide(now_s)
        failed = status >= 500 or status == 429
        latency_s = max(self.upstream_s, busy_s)
        self.upstream.endpoints.balancer.observe(endpoint, latency_s, FAILED_REMOTE if failed else OK, now_s)
        return False

    def _accuse(self, status: int) -> None:
        """Note a 5xx. If another instance has given the same one, it is the fault of the request: none of those who give it is blamed."""
        accused = self.accused
        if accused is not None and accused.endpoint is not self.endpoint and accused.status == status:
            self.accused = accused._replace(endpoint=None)
            return
        self._blame_accused()
        self.accused = Accused(self.endpoint, status, self.sent_at_s)

    def _blame_accused(self) -> None:
        accused, self.accused = self.accused, None
        if accused is not None and accused.endpoint is not None and accused.status not in EXCUSED:
            self.upstream.outliers.failed(accused.endpoint, FAILED_REMOTE, accused.sent_at_s, monotonic())

    def _may_go_on(self, reason: str, busy_s: float, now_s: float) -> bool:
        if self.race is not None:
            return self.race.may_be_bettered(reason)
        if may_retry(facts_of(self, reason, now_s)) is not Verdict.RETRY:
            return False
        return not busy_s or self._elsewhere() or (busy_s <= PATIENCE_S and now_s + busy_s < self.until_s)

    def _elsewhere(self) -> bool:
        """Whether there is an instance that this exchange has not asked yet."""
        tried = (*self.excluded, self.endpoint)
        return any(endpoint not in tried for endpoint in self.upstream.endpoints.ready)

    def _let_go(self, status: int, busy_s: float, now_s: float) -> None:
        connection, self.connection = self.connection, None
        assert connection is not None
        if self.downstream_paused:
            connection.resume_reading()
        LetGo(connection, now_s, keep=self.request_done)
        self.end_attempt(FAILED_REMOTE, now_s, reusable=False, busy_s=busy_s)
        if self.race is not None:
            self.race.go_on()
            return
        self._try_again(STATUSES[status], now_s, 0.0 if self._elsewhere() else busy_s)

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
            out.append(last_chunk(response_trailers(self, trailers)) if trailers else LAST_CHUNK)
        else:
            out += pieces
        data = b"".join(out)
        self.bytes_out += len(data)
        now_s = monotonic()
        # First the place at the instance: who has got the answer may ask another worker the next moment.
        self.end_attempt(OK if self.status < 500 else FAILED_REMOTE, now_s, reusable=self.request_done)
        if data:
            self.downstream.write(data)
        self._settle(now_s)
        self.downstream.finish(keep_alive=self.keep_alive)

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:
        """The upstream agreed to speak another protocol (101): join the two sides."""
        self.phase = TUNNEL
        self.status = head.status
        self.moved = True
        now_s = monotonic()
        self.upstream_s = now_s - self.sent_at_s
        if self.attempt is not None:
            self.attempt.status = head.status
        self.upstream.endpoints.balancer.observe(self.endpoint, self.upstream_s, OK, now_s)
        self.downstream.write(switching_response(self, head))
        self.downstream.start_tunnel(self, self.connection, rest)  # type: ignore[arg-type]  # it said so itself

    def on_tunnel_closed(self, bytes_in: int, bytes_out: int) -> None:
        """Both sides of the tunnel are done."""
        if self.phase is TUNNEL:
            self.bytes_in, self.bytes_out = bytes_in, bytes_out
            now_s = monotonic()
            self.end_attempt(OK, now_s, reusable=False)
            self._settle(now_s)

    # -- 8. the fork ---------------------------------------------------------------------------

    def on_upstream_error(self, error: GatewayError) -> None:
        """The connection broke, or what came over it was no HTTP."""
        if self.phase is RESPONDING:
            self._cut(error, FAILED_REMOTE)
        elif self.phase is WAITING:
            self._fail(error, monotonic())

    def _fail(self, error: GatewayError, now_s: float) -> None:
        connection = self.connection
        stale = isinstance(error, UpstreamClosed) and connection is not None and connection.uses > 0 and not connection.received
        reason = REASONS.get(error.slug, error.slug)
        outcome = outcome_of(error)
        if isinstance(error, Overloaded):
            self.plane.on_want(error.cause, now_s)  # another instance may have a connection that is idle
        if self.race is not None:
            self.end_attempt(Outcome.ABANDONED if stale else outcome, now_s, reusable=False, error=error)
            self.failure = error
            self.race.go_on()
            return
        verdict = may_retry(facts_of(self, reason, now_s, nothing_sent=error.retry_safe, stale=stale and not self.stale_spent))
        if verdict is Verdict.REPLAY:
            self._replay(now_s)
            return
        self.end_attempt(outcome, now_s, reusable=False, error=error)
        if verdict is Verdict.GIVE_UP:
            self._reject(error)
            return
        self.failure = error
        self._try_again(reason, now_s)

    def _try_again(self, reason: str, now_s: float, wait_s: float = 0.0) -> None:
        """Another attempt, elsewhere if possible: at once, or after the longer one of the back-off and `wait_s`."""
        upstream, retry = self.upstream, self.route.retry
        upstream.retry_budget(retry.budget, retry.min_per_second).withdraw()
        self.plane.metrics.retries[upstream.name, reason] += 1
        self.excluded = (*self.excluded, self.endpoint)
        wait_s = max(wait_s, backoff_s(retry.backoff, self.attempts, reason, self.plane.random.random()))
        if wait_s:
            self.phase = PAUSED
            self.deadline_s = self.until_s
            self.pause = self.plane.loop.call_later(wait_s, self._on_pause_over)
        else:
            self._pick(now_s)

    def _leave_pause(self) -> None:
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None
        self.upstream.line.leave(self)

    def _on_pause_over(self) -> None:
        self.pause = None
        self._pick(monotonic())

    def _replay(self, now_s: float) -> None:
        """Same endpoint, same attempt, new connection: the old one had been closed while it was idle."""
        if self.connection is not None:
            self.connection.pool.release(self.connection, now_s, reusable=False)
            self.connection = None
        self.stale_spent = True
        self.sent_at_s = now_s
        self._connect()

    def _reject(self, error: GatewayError) -> None:
        """Say no in the gateway's own name."""
        self.error = error
        self._say(error.status, problem.render(error, self.request_id, **self._manner(error.status, close=error.close)))

    def _answer(self, answer: Answer) -> None:
        """Answer in the gateway's own name: a policy had it ready."""
        self._say(answer.status, answer.render(self.request_id, **self._manner(answer.status, close=False)))

    def _manner(self, status: int, *, close: bool) -> Manner:
        """How an answer of the gateway's own goes to this client."""
        if self.trace is not None and self.trace.explained:
            self.answer_lines += explanation_lines(self, status)
        head, plane = self.head, self.plane
        unread = not self.request_done
        if close or self.downstream.goodbye or (unread and (head.chunked or head.expect_continue or head.content_length > DISCARD_BYTES)):
            self.keep_alive = False
        security = plane.security
        return {
            "date": plane.date_line,
            "extra": self.answer_lines if security is None else self.answer_lines + security.all(secure=self.secure),
            "head_only": head.method == b"HEAD",
            "close": not self.keep_alive,
            "http10": head.version != "1.1",
        }

    def _say(self, status: int, data: bytes) -> None:
        self.status = status
        self.bytes_out = len(data)
        self.downstream.write(data)
        self._settle(monotonic())
        self.downstream.finish(keep_alive=self.keep_alive)

    def _cut(self, error: GatewayError, outcome: Outcome) -> None:
        """A response that has begun and cannot be finished: only a broken connection tells the client."""
        self.error = error
        now_s = monotonic()
        self.end_attempt(outcome, now_s, reusable=False, error=error)
        self._settle(now_s)
        self.downstream.abort()

    # -- 9. the client is gone -----------------------------------------------------------------

    def on_client_gone(self) -> None:
        """Nobody is left to answer: the upstream's side is closed, and blamed for nothing."""
        if self.phase is SETTLED:
            return
        self.error = ClientGone()
        now_s = monotonic()
        if self.phase is PARKED:
            self.wait.flight.leave(self)
        elif self.phase >= CONNECTING:
            if self.race is not None:
                self.race.call_off(now_s)
            self.end_attempt(Outcome.ABANDONED, now_s, reusable=False)
        if not self.status:
            self.status = ClientGone.status
        self._settle(now_s)

    # -- back-pressure and time ----------------------------------------------------------------

    def on_downstream_paused(self) -> None:
        """The client reads more slowly than the upstream writes."""
        self.downstream_paused = True
        if self.connection is not None:
            self.connection.pause_reading()

    def on_downstream_resumed(self) -> None:
        """The client has caught up."""
        self.downstream_paused = False
        self.moved = True
        if self.connection is not None:
            self.connection.resume_reading()

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
            self._on_deadline(now_s)
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

    def _on_deadline(self, now_s: float) -> None:
        if self.phase is RESPONDING:
            # Whose fault: a client that does not read, or an upstream that does not write.
            outcome = Outcome.ABANDONED if self.downstream_paused else FAILED_LOCAL
            self._cut(ResponseTimeout(cause="idle in the response body"), outcome)
        elif self.phase is WAITING and not self.request_done and not self.upstream_paused:
            self.end_attempt(Outcome.ABANDONED, monotonic(), reusable=False)
            self._reject(RequestTimeout(close=True))
        elif self.phase is TUNNEL:
            self.downstream.abort()
            self.connection.close()  # type: ignore[union-attr]  # there is one until the tunnel is closed
        elif self.phase is PARKED:
            self.wait.flight.leave(self)
            self._reject(self.wait.late)
        elif self.phase is PAUSED:
            self._reject(self.failure or (ResponseTimeout() if self.pause is not None else Overloaded(cause=NO_ROOM)))
        elif self.phase in (WAITING, CONNECTING):
            self._fail(ResponseTimeout(cause=f"no answer within {now_s - self.sent_at_s:.1f} s"), now_s)

    # -- 10. the end of an attempt -------------------------------------------------------------

    def end_attempt(
        self, outcome: Outcome, now_s: float, *, reusable: bool, error: GatewayError | None = None, busy_s: float = 0.0
    ) -> None:
        endpoint, upstream = self.endpoint, self.upstream
        endpoint.active -= 1
        if self.trace is not None and self.attempt is not None:
            self.trace.end_attempt(self.attempt, outcome, error, now_s)
            self.attempt = None
        if self.phase < RESPONDING:
            self.upstream_s = now_s - self.sent_at_s
            upstream.endpoints.balancer.observe(endpoint, max(self.upstream_s, busy_s), outcome, now_s)
        seconds = self.upstream_s
        upstream.duration.fresh.append(seconds)
        if outcome is OK:
            endpoint.series.answered.append(seconds)
            if endpoint.failures_in_row:
                upstream.outliers.succeeded(endpoint, self.sent_at_s, now_s)
        else:
            self._record_otherwise(outcome, error, now_s)
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        connection = self.connection
        if connection is not None:
            self.connection = None
            if self.downstream_paused:
                connection.resume_reading()
            connection.pool.release(connection, now_s, reusable=reusable)
        if upstream.line.waiting:
            upstream.advance_line(now_s)

    def _record_otherwise(self, outcome: Outcome, error: GatewayError | None, now_s: float) -> None:
        """An attempt that was not simply answered: it failed, or was given up, which is nobody's failure."""
        endpoint = self.endpoint
        series = endpoint.series
        series.record(outcome, self.upstream_s)
        if outcome is FAILED_REMOTE or outcome is FAILED_LOCAL:
            series.failures += 1
            series.last_error = f"{error.slug}: {error.cause}" if error is not None else "5xx answer"
            if error is not None:
                self.upstream.outliers.failed(endpoint, outcome, self.sent_at_s, now_s)

    # -- 11. settle ----------------------------------------------------------------------------

    def _settle(self, now_s: float) -> None:
        if self.phase is PAUSED:
            self._leave_pause()
        self.phase = SETTLED
        self.body = NOTHING
        if self.accused is not None:
            self._blame_accused()
        plane = self.plane
        route: Route | None = self.route
        upstream: Upstream | None = self.upstream
        plane.active.discard(self)
        if self.trace is not None:
            self.trace.end(self, now_s)
        if upstream is not None:
            upstream.requests_total += 1
            if self.status >= 500 or upstream.tripped is not None:
                upstream.on_outcome(self, now_s)
        if route is None:
            series = plane.unrouted
        else:
            service = upstream.name if upstream is not None else self.service_meant()
            series = route.series.get(service) or plane.series_of(route, service)
        series.fresh.append((METHOD_LABELS.get(self.head.method, "other"), self.status))
        series.duration.fresh.append(now_s - self.started_s)
        if self.error is not None:
            plane.metrics.errors[self.error.slug] += 1
        if plane.access_log is not None:
            log_exchange(self, now_s)

    def service_meant(self) -> str:
        """The service for which an exchange was that never got there, as far as there is one; empty otherwise."""
        name = self.route.service_of(self.target.path)
        return name if name in self.plane.upstreams else ""
