"""Random histories: several clients and upstreams, bytes cut anywhere, everything breaking at any time.

The other side of both seams is h11, an HTTP of somebody else's: what the gateway sends must be right in its
eyes. Every answer is made of its client's own mark, so that one byte at the wrong place is seen.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import h11
import hypothesis
from hypothesis import strategies as st

from discovery.instance import InstanceState
from lbgateway.dataplane.race import Runner
from lbgateway.dataplane.trace import Tracing
from lbgateway.errors import ConnectTimeout, Forbidden
from lbgateway.telemetry.span_records import TraceRecord
from tests.support.gate import Gate
from tests.support.playbook import Client, Connect, HandTimer, Peer, World

TEXT = (
    "services: {orders: {retry: {attempts: 2, replay_body_up_to: 64B}, timeout: {tunnel_idle: 90s}, "
    "limits: {max_active: 1, max_pending: 3}}}\n"
)
HEDGED = TEXT.replace("max_active: 1", "max_active: 2").replace("limits:", "hedge: {after: 5ms, at_most: 1}, limits:")
"""A second attempt begins whenever one may: in these worlds every timer runs out at once."""
IDS = ("orders-1", "orders-2", "orders-3")
MARK = re.compile(rb"<c(\d+)>")
TARGET = re.compile(rb"/c(\d+)/(\w+)/(\d+)")

sizes = st.sampled_from([0, 1, 3, 40, 1000])
cuts = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@dataclass(frozen=True)
class Planned:
    """A request, and what its answer shall be."""

    method: str
    size: int
    chunked: bool
    answer: str
    answer_size: int

    def render(self, client: int) -> bytes:
        head = f"{self.method} /api/orders/c{client}/{self.answer}/{self.answer_size} HTTP/1.1\r\nHost: c{client}\r\n"
        body = marked(client, self.size)
        if self.method not in ("POST", "PUT"):
            return f"{head}\r\n".encode()
        if not self.chunked:
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + in_chunks(body)


def marked(client: int, count: int) -> bytes:
    return b"<c%d>" % client * count


def in_chunks(body: bytes, size: int = 37) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


planned = st.builds(
    Planned,
    method=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT"]),
    size=sizes,
    chunked=st.booleans(),
    answer=st.sampled_from(["length", "chunked", "close", "none", "interim"]),
    answer_size=sizes,
)


def answer_to(method: bytes, client: int, kind: str, size: int) -> bytes:
    """A valid answer of this kind; `close` ends with its connection."""
    body = marked(client, size)
    sent = b"" if method == b"HEAD" else body
    if kind == "chunked":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"" if method == b"HEAD" else in_chunks(body))
    if kind == "close":
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + sent
    if kind == "none":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" if kind == "interim" else b""
    return early + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + sent


def hear(http: h11.Connection, data: bytes) -> None:
    """To h11 no bytes are an end."""
    if data:
        http.receive_data(data)


class Service:
    """An upstream: reads requests with h11, answers what their path asks for."""

    def __init__(self, peer: Peer, *, broken: Callable[[bytes], tuple[bytes, bool]] | None = None) -> None:
        self.peer = peer
        self.broken = broken
        self.out = b""
        self.ends = False
        self.tunnel = False
        self.told: list[bytes] = []
        """The ``traceparent`` of each request, as far as there were any."""
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None

    def listen(self) -> None:
        """Read what has come. Whatever h11 does not understand, or does not belong to the client of the head, is a failure."""
        data = self.peer.got()
        if self.tunnel:
            return
        hear(self._http, data)
        while not self.tunnel:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request = event
                self.told += [value for name, value in event.headers if name == b"traceparent"]
            elif isinstance(event, h11.Data):
                asked = self._asked()
                assert asked is None or set(MARK.findall(bytes(event.data))) <= {asked[1]}
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
                rest, _ = self._http.trailing_data
                self._http = h11.Connection(h11.SERVER)
                hear(self._http, rest)
            else:
                return

    def _asked(self) -> re.Match[bytes] | None:
        """What the path asks for; a request that a mishap has mangled may ask for nothing."""
        assert self._request is not None
        return TARGET.fullmatch(self._request.target)

    def _answer(self) -> None:
        assert self._request is not None
        asked, host = self._asked(), dict(self._request.headers)[b"host"]
        assert self.broken is not None or (asked is not None and host == b"c" + asked[1])
        if asked is None:
            self.out += b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            return
        kind = asked[2].decode()
        if any(name == b"upgrade" for name, _ in self._request.headers):
            # From here on whatever is said is neither a request nor an answer.
            self.out += b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n" + marked(int(asked[1]), 3)
            self.tunnel = True
            return
        answer = answer_to(self._request.method, int(asked[1]), kind, min(int(asked[3]), 1000))
        ends = kind == "close"
        if self.broken is not None:
            answer, cut = self.broken(answer)
            ends = ends or cut
        self.out += answer
        self.ends = self.ends or ends

    def sends(self, size: int) -> None:
        piece, self.out = self.out[:size], self.out[size:]
        if not self.peer.closed:
            self.peer.sends(piece)
        if not self.out and self.ends and not self.peer.closed:
            self.peer.ends()


@dataclass
class Sender:
    """A client: sends its requests one behind the other, in pieces."""

    number: int
    peer: Client
    requests: list[Planned]
    left: bytes
    got: bytes = b""

    def sends(self, size: int) -> None:
        piece, self.left = self.left[:size], self.left[size:]
        if not self.peer.closed:
            self.peer.sends(piece)

    def collects(self) -> None:
        self.got += self.peer.got()

    def answers(self) -> Iterator[tuple[int, bytes]]:
        """The answers as h11 reads them; they must be complete, and nothing may be left."""
        rest = self.got
        for request in self.requests:
            http = h11.Connection(h11.CLIENT)
            http.send(h11.Request(method=request.method, target="/", headers=[("Host", "x")]))
            http.send(h11.EndOfMessage())
            hear(http, rest)
            status, body = 0, b""
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                assert event is not h11.NEED_DATA, rest
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
            yield status, body
            rest, _ = http.trailing_data
        assert rest == b""


@dataclass(frozen=True)
class Manner:
    """`patient`: pauses end one by one, in any order, and not at once; `admits`: a policy that parks all, and what it says in the end.

    `instances`: so many, at first. `traced`: every trace is recorded.
    """

    instances: int
    traced: bool
    patient: bool
    admits: bool | None

    def gate(self) -> Gate | None:
        if self.admits is None:
            return None
        return Gate(lambda _exchange: None if self.admits else Forbidden("not you"))


manners = st.builds(
    Manner,
    instances=st.integers(1, 3),
    traced=st.booleans(),
    patient=st.booleans(),
    admits=st.sampled_from([None, None, True, False]),
)


@dataclass
class Story:
    """Who is there, and in what order things happen: each number chooses among what could happen next."""

    world: World
    senders: list[Sender]
    sizes: list[int]
    services: list[Service] = field(default_factory=list)
    broken: Callable[[bytes], tuple[bytes, bool]] | None = None
    gate: Gate | None = None
    traces: list[TraceRecord] = field(default_factory=list)
    now_s: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, plans: list[list[Planned]], sizes: list[int], text: str, manner: Manner) -> Story:
        world = World(text, orders=manner.instances)
        world.hurries = not manner.patient
        senders = [Sender(number, world.client(), plan, b"".join(one.render(number) for one in plan)) for number, plan in enumerate(plans)]
        story = cls(world, senders, sizes, gate=manner.gate())
        if manner.traced:
            world.plane.tracing = Tracing(1.0, story.traces.append)
        if story.gate is not None:
            for route in world.plane.routes:
                route.admit = (story.gate,)
        return story

    def size(self) -> int:
        """The next piece is so long."""
        self.sizes.append(self.sizes.pop(0))
        return self.sizes[0]

    def possible(self) -> list[Callable[[], object]]:
        """What a network without faults could do next."""
        can: list[Callable[[], object]] = [lambda each=each: each.sends(self.size()) for each in self.senders if each.left]
        can += [lambda each=each: each.sends(self.size()) for each in self.services if each.out or (each.ends and not each.peer.closed)]
        can += [each.succeeds for each in self.world.asked if not each.cancelled]
        can += [lambda each=each: self.run_out(each) for each in self.world.loop.timers]
        if self.gate is not None and self.gate.flight.waiting:
            can.append(self.open_gate)
        return can

    def open_gate(self) -> None:
        """What a policy waits for has come."""
        assert self.gate is not None
        self.gate.opens()
        self.world.turn()

    def run_out(self, timer: HandTimer) -> None:
        """Back-off, or the time after which a second attempt begins, is over."""
        timer.cancel()
        timer.callback()
        self.world.turn()

    def step(self, do: Callable[[], object]) -> None:
        do()
        for peer in self.world.upstreams[len(self.services) :]:
            self.services.append(Service(peer, broken=self.broken))
        for service in self.services:
            service.listen()
        for sender in self.senders:
            sender.collects()
        assert len(self.world.plane.active) <= len(self.senders)
        for upstream in self.world.plane.upstreams.values():
            assert sum(each.active for each in upstream.endpoints.endpoints.values()) <= 2 * len(self.senders)
            assert set(upstream.line.waiting) <= self.world.plane.active

    def finish(self) -> None:
        """All that can still happen happens."""
        while can := self.possible():
            self.step(can[0])


# -- when nothing breaks -------------------------------------------------------------------------


@hypothesis.given(
    plans=st.lists(st.lists(planned, min_size=1, max_size=4), min_size=1, max_size=3),
    sizes=cuts,
    order=st.lists(st.integers(0, 30), min_size=10, max_size=80),
    text=st.sampled_from([TEXT, HEDGED]),
    manner=manners.filter(lambda manner: manner.admits is not False),
)
def test_whatever_the_order_of_things_each_client_gets_its_answers_in_its_order(plans, sizes, order, text, manner):
    """Bytes cut anywhere, connects that fail and go elsewhere, readers that pause: all bytes come through, nothing else does."""
    story = Story.of(plans, sizes, text, manner)
    for number in order:
        can = story.possible() + patience(story)
        story.step(can[number % len(can)])
    for peer in (*story.world.upstreams, *(sender.peer for sender in story.senders)):
        story.step(peer.flows)
    story.finish()
    for sender in story.senders:
        assert list(sender.answers()) == [expected(sender.number, one) for one in sender.requests]
        assert not sender.peer.closed
    nothing_is_left(story)
    assert sum(story.world.statuses().values()) == sum(map(len, plans))


def nothing_is_left(story: Story) -> None:
    """Each exchange, attempt, lease, race, wait in the line and stay at the gate has had one end; and no pause outlives its exchange."""
    story.world.passes()
    assert story.world.left == []
    assert story.gate is None or story.gate.flight.waiting == 0
    for upstream in story.world.plane.upstreams.values():
        assert len(upstream.line) == 0
        assert upstream.hedging is None or not upstream.hedging.racing
    if story.world.plane.tracing is not None:
        every_attempt_is_traced(story)


def every_attempt_is_traced(story: Story) -> None:
    """Once, with the pick before it, whatever has become of it; and no service has been told of a span that there is not."""
    spans = [(trace.trace_id, attempt.span_id) for trace in story.traces for attempt in trace.attempts]
    assert len(spans) == len(set(spans)) == sum(sum(upstream.duration.counts) for upstream in story.world.plane.upstreams.values())
    assert all(len(trace.attempts) == sum(pick.endpoint is not None for pick in trace.picks) for trace in story.traces)
    assert len({trace.trace_id for trace in story.traces}) == len(story.traces)
    told = [tuple(value.split(b"-")[1:3]) for service in story.services for value in service.told]
    assert set(told) <= set(spans)


def expected(client: int, one: Planned) -> tuple[int, bytes]:
    nothing = one.answer == "none" or one.method == "HEAD"
    return 204 if one.answer == "none" else 200, b"" if nothing else marked(client, one.answer_size)


def patience(story: Story) -> list[Callable[[], object]]:
    """Things that cost time but break nothing: pauses, and connects that fail while there is another try."""
    peers = [*story.world.upstreams, *(sender.peer for sender in story.senders)]
    can: list[Callable[[], object]] = [peer.stalls for peer in peers if not peer.closed]
    can += [peer.flows for peer in peers if not peer.closed]
    can += [each.fails for each in story.world.asked if not each.cancelled and tries(each) < 3]
    return can


def tries(asked: Connect) -> Any:
    waiter: Any = asked.waiter
    return (waiter.race.exchange if isinstance(waiter, Runner) else waiter).attempts


# -- when everything breaks ----------------------------------------------------------------------

BREAKAGES: list[Callable[[bytes], tuple[bytes, bool]]] = [
    lambda answer: (answer, False),
    lambda answer: (answer + answer, False),
    lambda answer: (answer + b"\r\nHTTP/1.1 200 O", False),
    lambda answer: (answer[: len(answer) * 2 // 3], True),
    lambda answer: (answer[:9], True),
    lambda answer: (b"\x16\x03\x01" + answer, False),
    lambda answer: (answer.replace(b"Content-Length: ", b"Content-Length: 1", 1), False),
    lambda answer: (answer.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1), False),
    lambda answer: (answer.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1), False),
    lambda answer: (answer.replace(b"200 OK", b"101 Switching", 1), False),
    lambda answer: (answer.replace(b"HTTP/1.1", b"HTTP/1.0", 1), True),
    lambda answer: (answer.replace(b"\r\n<", b"\r\n-<", 1), False),
    lambda answer: (answer.replace(b"200 OK", b"503 Busy", 1), False),
    lambda answer: (answer.replace(b"200 OK", b"500 Oops\r\nRetry-After: 1", 1), False),
    lambda answer: (answer.replace(b"200 OK", b"502 Gone", 1)[: len(answer) // 2], True),
    lambda answer: (answer.replace(b"200 OK\r\n", b"503 Busy\r\nRetry-After: 1\r\n", 1) * 2, False),
    lambda answer: (b"", True),
    lambda answer: (b"", False),
]

MISHAPS: list[bytes] = [
    b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff", b"\r\n\r\n",
    b"POST /api/orders/c0/length/3 HTTP/1.1\r\nHost: c0\r\nContent-Length: 5\r\n\r\nab",
    b"GET /api/orders/c0/length/3 HTTP/1.1\r\nHost: c0\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n",
    b"GET /api/orders/c0/length/3 HTTP/1.1\r\nHost: c0\r\nConnection: close\r\n\r\n", b"zz\r\n", b"GET /no HTTP/1.0\r\n\r\n",
]  # fmt: skip


@hypothesis.settings(max_examples=hypothesis.settings.get_profile("lbgateway").max_examples * 4)
@hypothesis.given(
    plans=st.lists(st.lists(planned, min_size=1, max_size=3), min_size=1, max_size=3),
    sizes=cuts,
    order=st.lists(st.integers(0, 400), min_size=20, max_size=150),
    breakages=st.lists(st.sampled_from(range(len(BREAKAGES))), min_size=1, max_size=4),
    mishaps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.sampled_from(MISHAPS)), max_size=2),
    text=st.sampled_from([TEXT, HEDGED]),
    manner=manners,
)
def test_whatever_breaks_every_exchange_settles_and_no_byte_goes_astray(plans, sizes, order, breakages, mishaps, text, manner):
    """Resets, half requests, answers that lie, time that runs away: nothing is raised, counted twice, or left."""
    story = Story.of(plans, sizes, text, manner)
    turn = itertools.cycle(breakages)

    def broken(answer: bytes) -> tuple[bytes, bool]:
        return BREAKAGES[next(turn)](answer)

    story.broken = broken
    for number, place, mishap in mishaps:
        sender = story.senders[number % len(story.senders)]
        mishap = mishap.replace(b"c0", b"c%d" % sender.number)  # noqa: PLW2901 it is that client's
        sender.left = sender.left[:place] + mishap + sender.left[place:]
    for number in order:
        usual, rare = story.possible(), trouble(story)
        can = usual if usual and number % 8 else rare
        story.step(can[number // 8 % len(can)])
    settles_by_time_alone(story)
    for sender in story.senders:
        assert set(MARK.findall(sender.got)) <= {b"%d" % sender.number}
    held = {connection.transport for endpoint in story.world.endpoints() for connection in endpoint.pool.idle}
    assert all(peer.transport.lost or peer.transport in held for peer in story.world.upstreams)
    idle = [connection for endpoint in story.world.endpoints() for connection in endpoint.pool.idle]
    assert all(connection.exchange is None and not connection.transport.is_closing() for connection in idle)


def trouble(story: Story) -> list[Callable[[], object]]:
    world = story.world
    open_peers = [peer for peer in (*world.upstreams, *(sender.peer for sender in story.senders)) if not peer.closed]
    can: list[Callable[[], object]] = []
    for peer in open_peers:
        can += (peer.resets, peer.ends, peer.stalls, peer.flows)
    for asked in world.asked:
        if not asked.cancelled:
            can += (asked.fails, lambda asked=asked: asked.fails(ConnectTimeout()))
    can += (lambda: tick(story, 0.1), lambda: tick(story, 35.0))
    can += (
        lambda: world.registers("orders", *IDS[:1]),
        lambda: world.registers("orders", *IDS),
        lambda: world.registers("orders", *IDS, orders_1=InstanceState.SUSPECT, orders_2=InstanceState.CRITICAL),
    )
    return can


def tick(story: Story, seconds: float) -> None:
    story.now_s += seconds
    story.world.ticks(story.now_s)


def settles_by_time_alone(story: Story) -> None:
    """Nobody does anything any more. All the same every exchange ends, and every client connection."""
    for _ in range(60):
        story.step(lambda: tick(story, 40.0))
    nothing_is_left(story)
    assert story.world.plane.connections == set()
    assert all(asked.cancelled for asked in story.world.asked)
    assert all(peer.transport.lost for peer in (sender.peer for sender in story.senders))
