"""Playbooks: the way of a request as a trace of the wire, one story each. No socket, no loop, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import structlog

from discovery.instance import InstanceState
from lbgateway.dataplane.exchange_state import TRANSITIONS, Phase
from lbgateway.errors import ConnectFailed, GatewayError
from tests.support.gate import Gate, gated
from tests.support.playbook import Client, Peer, WatchedPhase, World, get, ok, post, request

CLOSED_MIDWAY = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"
POST_ONLY = "services: {orders: {instances: ['127.0.0.1:9']}}\nroutes: [{prefix: /api/orders, service: orders, methods: [POST]}]\n"
AT_ONCE = "services: {orders: {retry: {backoff: 0s}}}\n"
CHUNKED = "Transfer-Encoding: chunked"


def started(world: World, message: bytes | None = None) -> tuple[Client, Peer]:
    """A request is on its way over a new connection."""
    client = world.client().sends(message or get("/api/orders/1"))
    return client, world.connects()


def warm(world: World, *, idle_s: float = 0.0) -> tuple[Client, Peer]:
    """The only endpoint has an idle connection that served before."""
    client, upstream = started(world)
    upstream.sends(ok())
    client.got()
    upstream.got()
    [endpoint] = world.endpoints()
    [connection] = endpoint.pool.idle
    connection.idle_at_s -= idle_s
    return client, upstream


def problem(answer: bytes, status: int, slug: str) -> bool:
    """Whether `answer` is one complete answer of the gateway itself."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head.startswith(b"HTTP/1.1 %d " % status) and f"problem:{slug}".encode() in body and len(body) == length


# -- the life of a GET -----------------------------------------------------------------------------


def test_a_get_from_its_first_byte_to_its_last(phases: WatchedPhase):
    """One connect, one request, one answer; then everything is as it was, but for an idle connection."""
    world = World()
    client = world.client().sends(get("/api/orders/1?x=2"))
    endpoint = world.endpoint("orders-1")
    assert (endpoint.active, len(world.plane.active)) == (1, 1)
    upstream = world.connects()
    assert upstream.got().startswith(b"GET /1?x=2 HTTP/1.1\r\nHost: shop.example\r\n")
    upstream.sends(ok(b"hello"))
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert world.left == []
    assert (len(endpoint.pool.idle), upstream.closed, client.closed) == (1, False, False)
    assert world.statuses() == {("GET", 200): 1}
    assert phases.seen == {(Phase.BEGIN, Phase.CONNECTING), (Phase.CONNECTING, Phase.WAITING), (Phase.WAITING, Phase.RESPONDING),
                           (Phase.RESPONDING, Phase.SETTLED)}  # fmt: skip


def test_the_second_get_takes_the_connection_of_the_first(phases: WatchedPhase):
    """No task, no connect: the warm path."""
    world = World(orders=1)
    client, upstream = warm(world)
    phases.seen.clear()
    client.sends(get("/api/orders/2"))
    assert world.asked == []
    assert upstream.got().startswith(b"GET /2 HTTP/1.1\r\n")
    upstream.sends(ok(b"again"))
    assert client.got().endswith(b"again")
    assert (Phase.BEGIN, Phase.WAITING) in phases.seen
    assert world.left == []


def test_an_answer_in_pieces_is_passed_on_in_pieces():
    """Each read is written at once, whole: nothing waits for the end."""
    client, upstream = started(World())
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
    assert client.got().endswith(b"\r\n\r\n")
    upstream.sends(b"abc")
    assert client.got() == b"abc"
    upstream.sends(b"def")
    assert client.got() == b"def"
    assert client.world.left == []


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client():
    """Its end is known when the upstream closes; the client's connection goes on."""
    client, upstream = started(World())
    upstream.sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    head, body = client.got().split(b"\r\n\r\n")
    assert (b"Transfer-Encoding: chunked\r\n" in head, body) == (True, b"3\r\nabc\r\n")
    upstream.ends()
    assert client.got() == b"0\r\n\r\n"
    assert (client.closed, client.world.left) == (False, [])


def test_trailers_come_behind_the_last_chunk():
    """In both directions."""
    client, upstream = started(World(), request("POST", "/api/orders/", CHUNKED) + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert upstream.got().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    upstream.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n")
    assert client.got().endswith(b"\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n")
    assert client.world.left == []


def test_what_comes_before_the_answer_is_passed_on():
    """103, then the answer itself."""
    client, upstream = started(World())
    upstream.sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert client.got() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.sends(ok())
    assert client.got().endswith(b"fine")


def test_a_client_that_knows_no_interim_answers_gets_none():
    """HTTP/1.0 (RFC 9110, 15.2)."""
    client, upstream = started(World(), request("GET", "/api/orders/", version="1.0"))
    upstream.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n", ok())
    assert client.got().startswith(b"HTTP/1.1 200 OK")
    assert client.closed


def test_switching_protocols_joins_the_two_sides(phases: WatchedPhase):
    """From 101 on bytes are bytes; when one side ends, both do, and the exchange has settled with what it counted."""
    world = World()
    client, upstream = started(world, get("/api/orders/chat", "Connection: Upgrade", "Upgrade: websocket"))
    upstream.sends(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    upstream.got()
    exchange = client.exchange
    assert client.got().endswith(b"\r\n\r\nhi")
    client.sends(b"hello")
    assert upstream.got() == b"hello"
    upstream.resets()
    assert (client.closed, world.left) == (True, [])
    assert (exchange.bytes_in, exchange.bytes_out, exchange.status) == (5, 2, 101)
    assert {(Phase.WAITING, Phase.TUNNEL), (Phase.TUNNEL, Phase.SETTLED)} <= phases.seen


# -- refused before an endpoint is chosen ----------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text", "status", "slug"),
    [
        (get("/nowhere"), "", 404, "no_route"),
        (get("/api/unknown/"), "", 404, "no_route"),
        (post("/api/orders/", b"abcdef"), "server: {max_body: 5B}\n", 413, "payload_too_large"),
        (get("/api/orders/"), POST_ONLY, 405, "method_not_allowed"),
    ],
)
def test_what_leads_nowhere_is_answered_at_once(phases: WatchedPhase, message, text, status, slug):
    """No endpoint is counted, no connection asked for."""
    world = World(text)
    client = world.client().sends(message)
    assert problem(client.got(), status, slug)
    assert (world.asked, world.left) == ([], [])
    assert phases.seen == {(Phase.BEGIN, Phase.SETTLED)}
    assert world.plane.metrics.errors == {slug: 1}


def test_the_first_policy_that_refuses_is_the_answer():
    """The ones behind it are not asked."""
    world = World()
    asked: list[str] = []

    def refuse(_exchange: object) -> GatewayError | None:
        asked.append("first")
        return ConnectFailed("no")

    def never(_exchange: object) -> GatewayError | None:
        asked.append("second")
        return None

    route = world.plane.routes.match(b"shop.example", b"/api/orders/", b"GET", [b""])
    assert route is not None
    route.admit = (refuse, never)
    assert problem(world.client().sends(get()).got(), 502, "connect_failed")
    assert asked == ["first"]


def test_a_service_without_a_usable_instance_is_503():
    """Known and exposed, but nobody is there."""
    world = World(orders=1)
    world.registers("orders")
    assert problem(world.client().sends(get()).got(), 503, "no_endpoint")
    assert world.left == []


# -- another try -----------------------------------------------------------------------------------


def test_a_failed_connect_goes_elsewhere():
    """Even for POST: nothing was sent."""
    world = World(orders=2)
    client = world.client().sends(post("/api/orders/", b"abc"))
    first = world.connect.pool
    world.connect.fails()
    assert world.connect.pool is not first
    upstream = world.connects()
    assert upstream.got().endswith(b"\r\n\r\nabc")
    upstream.sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, dict(world.plane.metrics.retries)) == ([], {("orders", "connect"): 1})
    assert [each.series.outcomes for each in world.endpoints()] == [{"failed_local": 1}, {"ok": 1}]


def test_attempts_end():
    """One try and `attempts` more, then the last error is the answer."""
    world = World("services: {orders: {retry: {attempts: 2}}}\n", orders=5)
    client = world.client().sends(get())
    asked = []
    for _ in range(2):
        asked.append(world.connect.pool)
        world.connect.fails()
        assert client.got() == b""
    asked.append(world.connect.pool)
    world.connect.times_out()
    assert problem(client.got(), 504, "connect_timeout")
    assert len(set(asked)) == 3
    assert (world.left, client.closed) == ([], False)


def test_the_only_endpoint_is_tried_again_when_nobody_else_is_left():
    """The same one is better than nobody."""
    world = World(orders=1)
    client = world.client().sends(get())
    world.connect.fails()
    upstream = world.connects()
    upstream.sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_a_service_that_vanishes_between_two_tries_leaves_the_first_error():
    """What went wrong is more than that nobody is left."""
    world = World(orders=1)
    client = world.client().sends(get())
    world.registers("orders")
    world.connect.fails()
    assert problem(client.got(), 502, "connect_failed")
    assert world.left == []


@pytest.mark.parametrize(
    ("method", "again"), [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False)]
)
def test_a_reset_of_a_fresh_connection_is_tried_again_only_if_twice_does_no_harm(method, again):
    """The upstream may have worked on it (RFC 9110, 9.2.2)."""
    world = World(orders=2)
    client, upstream = started(world, request(method, "/api/orders/"))
    upstream.resets()
    if again:
        world.connects().sends(ok(b""))
        assert client.got().startswith(b"HTTP/1.1 200 OK")
    else:
        assert problem(client.got(), 502, "upstream_closed")
        assert world.asked == []
    assert world.left == []


@pytest.mark.parametrize("how", [Peer.ends, Peer.resets])
def test_a_stale_connection_is_replaced_without_spending_an_attempt(how: Callable[[Peer], Peer]):
    """The same endpoint, once; it is not blamed, because the connection was old and brought nothing."""
    world = World("services: {orders: {retry: {attempts: 0}}}\n", orders=1)
    client, upstream = warm(world)
    client.sends(get("/api/orders/2"))
    assert upstream.got().startswith(b"GET /2 ")
    how(upstream)
    assert client.exchange.attempts == 1
    fresh = world.connects()
    assert fresh.got().startswith(b"GET /2 ")
    fresh.sends(ok(b"second"))
    assert client.got().endswith(b"second")
    [endpoint] = world.endpoints()
    assert (endpoint.series.outcomes, world.left) == ({"ok": 2}, [])


def test_a_replay_happens_once():
    """If the new connection breaks too, it was not because of its age."""
    world = World("services: {orders: {retry: {attempts: 0}}}\n", orders=1)
    client, upstream = warm(world)
    client.sends(get("/api/orders/2"))
    upstream.ends()
    world.connects().ends()
    assert problem(client.got(), 502, "upstream_closed")
    assert (world.asked, world.left) == ([], [])


def test_only_one_stale_connection_is_replaced_for_nothing():
    """The next one costs an attempt like any other failure: a storm of resets must not last for ever."""
    world = World("services: {orders: {retry: {attempts: 1}}}\n", orders=2)
    client = world.client()
    idle = []
    for _ in range(2):
        client.sends(get())
        idle.append(world.connects().sends(ok()))
    client.got()
    client.sends(get())
    idle[0].ends()
    world.connects().resets()
    assert (client.exchange.attempts, client.exchange.endpoint.id) == (2, "orders-2")
    idle[1].ends()
    assert problem(client.got(), 502, "upstream_closed")
    assert (world.asked, world.left) == ([], [])


def test_an_endpoint_that_failed_is_not_asked_again_while_there_are_others():
    """Even where it would be its turn."""
    world = World(orders=2)
    client = world.client().sends(get())
    first = world.connect
    world.client().sends(get())
    first.fails()
    assert client.exchange.endpoint.id == "orders-2"


def test_an_old_connection_that_has_answered_a_byte_is_not_stale():
    """It is the upstream that broke: an attempt is spent."""
    world = World("services: {orders: {retry: {attempts: 0}}}\n", orders=1)
    client, upstream = warm(world)
    client.sends(get("/api/orders/2"))
    upstream.sends(b"HTTP/1.1 200").ends()
    assert problem(client.got(), 502, "upstream_closed")
    assert world.left == []


def test_a_post_is_not_replayed():
    """Whether the upstream has seen it, nobody knows."""
    world = World(orders=1)
    client, upstream = warm(world)
    client.sends(post("/api/orders/2", b"abc"))
    assert upstream.got().endswith(b"abc")
    upstream.ends()
    assert problem(client.got(), 502, "upstream_closed")
    assert (world.asked, world.left) == ([], [])


def test_a_post_does_not_trust_a_connection_that_was_idle_for_long():
    """It goes out on a new one; the GET behind it takes the old one."""
    world = World(orders=1)
    client, old = warm(world, idle_s=1.5)
    client.sends(post("/api/orders/2", b"abc"))
    fresh = world.connects()
    assert (old.got(), old.closed) == (b"", False)
    fresh.sends(ok())
    assert client.got().endswith(b"fine")


def test_a_body_is_kept_for_a_replay_as_long_as_it_is_small():
    """A PUT whose first try breaks is sent again, whole, framing and all."""
    world = World("services: {orders: {retry: {replay_body_up_to: 8B}}}\n", orders=2)
    client, upstream = started(world, request("PUT", "/api/orders/", CHUNKED) + b"4\r\nabcd\r\n")
    client.sends(b"4\r\nefgh\r\n0\r\n\r\n")
    sent = upstream.got()
    assert sent.endswith(b"\r\n\r\n4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n")
    upstream.resets()
    fresh = world.connects()
    assert fresh.got() == sent
    fresh.sends(ok())
    assert client.got().endswith(b"fine")


def test_a_body_that_is_larger_is_not_kept():
    """Nothing is sent again whose body we no longer have."""
    world = World("services: {orders: {retry: {replay_body_up_to: 8B}}}\n", orders=2)
    client, upstream = started(world, request("PUT", "/api/orders/", "Content-Length: 9", body=b"abcd"))
    client.sends(b"efgh")
    assert client.exchange.body == [b"abcd", b"efgh"]
    client.sends(b"i")
    assert client.exchange.body == []
    upstream.resets()
    assert problem(client.got(), 502, "upstream_closed")
    assert (world.asked, world.left) == ([], [])


def test_what_came_of_a_large_body_before_the_connect_is_sent_and_dropped():
    """Nothing of it is lost although it cannot be kept."""
    world = World("services: {orders: {retry: {replay_body_up_to: 2B}}}\n", orders=2)
    client = world.client().sends(request("PUT", "/api/orders/", "Content-Length: 6", body=b"abcd"))
    assert client.paused
    world.connect.fails()
    upstream = world.connects()
    assert upstream.got().endswith(b"\r\n\r\nabcd")
    assert (client.exchange.body, client.paused) == ([], False)
    client.sends(b"ef")
    assert upstream.got() == b"ef"
    upstream.sends(ok())
    assert client.world.left == []


def test_a_malformed_answer_is_no_answer():
    """502; the connection is not used again and the endpoint is blamed."""
    world = World(orders=2)
    client, upstream = started(world, post("/api/orders/", b"abc"))
    upstream.sends(b"SSH-2.0-OpenSSH\r\n")
    assert problem(client.got(), 502, "upstream_malformed")
    assert (upstream.closed, world.left) == (True, [])
    assert world.endpoint("orders-1").series.outcomes == {"failed_remote": 1}


def test_a_suspect_is_dropped_when_its_connect_fails():
    """It is not offered again before there is news of it."""
    world = World(orders=1)
    world.registers("orders", "orders-1", orders_1=InstanceState.SUSPECT)
    client = world.client().sends(get())
    world.connect.fails()
    assert problem(client.got(), 502, "connect_failed")
    assert problem(client.sends(get()).got(), 503, "no_endpoint")
    assert world.endpoint("orders-1").reason == "not picked since a connect failed"


# -- an answer that comes early, or breaks ---------------------------------------------------------


def test_an_answer_before_the_end_of_the_request_is_passed_on_and_ends_both_connections():
    """What is still being sent can be told neither from the next request nor from the next answer."""
    world = World()
    client, upstream = started(world, request("POST", "/api/orders/", "Content-Length: 9", body=b"abc"))
    upstream.sends(ok(b"enough", status="413 Too Large"))
    answer = client.got()
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"enough")
    assert (client.transport.ended, upstream.closed, world.left) == (True, True, [])


@pytest.mark.parametrize("how", [Peer.ends, Peer.resets])
def test_an_answer_that_breaks_off_is_cut(how: Callable[[Peer], Peer]):
    """No second answer, no quiet end: the client must see it. What had come is passed on before."""
    world = World()
    client, upstream = started(world)
    upstream.sends(CLOSED_MIDWAY)
    how(upstream)
    assert client.got().endswith(b"\r\n\r\nfour")
    assert (client.cut, world.left) == (True, [])
    assert world.endpoint("orders-1").series.outcomes == {"failed_remote": 1}
    assert world.statuses() == {("GET", 200): 1}
    assert world.plane.metrics.errors == {"upstream_closed": 1}


def test_a_malformed_body_cuts_the_answer():
    """The chunks before it are the client's, the rest is not."""
    world = World()
    client, upstream = started(world)
    upstream.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"zz\r\n")
    assert client.got().endswith(b"2\r\nok\r\n")
    assert (client.cut, upstream.closed, world.left) == (True, True, [])


def test_a_body_beyond_its_limit_is_refused_while_it_comes():
    """Chunks do not say beforehand how many they will be."""
    world = World("server: {max_body: 5B}\n")
    client, upstream = started(world, request("POST", "/api/orders/", CHUNKED) + b"3\r\nabc\r\n")
    client.sends(b"3\r\ndef\r\n")
    assert problem(client.got(), 413, "payload_too_large")
    assert not upstream.got().endswith(b"0\r\n\r\n")
    assert (upstream.closed, client.transport.ended, world.left) == (True, True, [])
    assert world.endpoint("orders-1").series.outcomes == {"abandoned": 1}


def test_a_malformed_body_is_refused_and_its_upstream_closed():
    """The upstream never gets an end of what has none."""
    world = World()
    client, upstream = started(world, request("POST", "/api/orders/", CHUNKED) + b"3\r\nabc\r\n")
    client.sends(b"zz\r\n")
    assert problem(client.got(), 400, "bad_request")
    assert (upstream.got().endswith(b"3\r\nabc\r\n"), upstream.closed, world.left) == (True, True, [])


# -- the client leaves -----------------------------------------------------------------------------


def begun(world: World) -> Client:
    client = world.client()
    client.sends(get()[:-2])
    return client


def connecting(world: World) -> Client:
    return world.client().sends(get())


def waiting(world: World) -> Client:
    return started(world)[0]


def uploading(world: World) -> Client:
    return started(world, request("POST", "/api/orders/", "Content-Length: 9", body=b"abc"))[0]


def responding(world: World) -> Client:
    client, upstream = started(world)
    upstream.sends(CLOSED_MIDWAY)
    return client


def tunnelling(world: World) -> Client:
    client, upstream = started(world, get("/api/orders/", "Connection: Upgrade", "Upgrade: chat"))
    upstream.sends(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    return client


@pytest.mark.parametrize("phase", [connecting, waiting, uploading, responding, tunnelling])
def test_whoever_leaves_takes_everything_along(phase: Callable[[World], Client]):
    """In each phase: the upstream's side is closed, nobody is blamed, nothing is left counted."""
    world = World()
    client = phase(world)
    client.resets()
    assert world.left == []
    assert all(upstream.closed for upstream in world.upstreams)
    assert all(asked.cancelled for asked in world.asked)
    expected = {"ok": 1} if phase is tunnelling else {"abandoned": 1}
    assert world.endpoint("orders-1").series.outcomes == expected
    [(key, count)] = world.statuses().items()
    assert count == 1
    assert key[1] == {responding: 200, tunnelling: 101}.get(phase, 499)


def test_whoever_leaves_in_the_middle_of_a_head_was_never_there():
    """No exchange, no count."""
    world = World()
    begun(world).ends()
    assert (world.left, world.statuses(), world.plane.connections) == ([], {}, set())


def test_a_connect_that_ends_after_its_client_has_left_is_told_to_stop():
    """Cancelled at once: nobody waits for it."""
    world = World()
    client = connecting(world)
    asked = world.connect
    client.ends()
    assert (asked.cancelled, world.left) == (True, [])


# -- time ------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_come_is_504():
    """Its deadline counts from the sending."""
    world = World("services: {orders: {timeout: {response: 2s}, retry: {attempts: 0}}}\n")
    client, upstream = started(world)
    sent_at_s = client.exchange.sent_at_s
    world.ticks(sent_at_s + 1.9)
    assert client.got() == b""
    world.ticks(sent_at_s + 2.0)
    assert problem(client.got(), 504, "response_timeout")
    assert (upstream.closed, client.closed, world.left) == (True, False, [])
    assert world.endpoint("orders-1").series.outcomes == {"failed_local": 1}
    assert world.endpoint("orders-1").series.last_error == "response_timeout: no answer within 2.0 s"


def test_the_total_bounds_all_attempts():
    """A second try has only what the first one left."""
    world = World("services: {orders: {timeout: {response: 30s, total: 5s}}}\n")
    client, upstream = started(world)
    started_at_s = client.exchange.started_s
    upstream.resets()
    world.connects()
    world.ticks(started_at_s + 4.9)
    assert client.got() == b""
    world.ticks(started_at_s + 5.0)
    assert problem(client.got(), 504, "response_timeout")


def test_the_total_bounds_a_connect_too():
    """The connect is given up, and it is the answer that did not come."""
    world = World("services: {orders: {timeout: {connect: 30s, total: 5s}}}\n")
    client = world.client().sends(get())
    asked = world.connect
    world.ticks(client.exchange.started_s + 5.0)
    assert problem(client.got(), 504, "response_timeout")
    assert (asked.cancelled, world.left) == (True, [])


def test_a_body_that_stops_coming_is_408():
    """The client's fault, and not the upstream's."""
    world = World()
    world.plane.body_timeout_s = 3.0
    client = uploading(world)
    [upstream] = world.upstreams
    now_s = client.exchange.started_s
    for moment_s in (now_s, now_s + 1, now_s + 3.9):
        world.ticks(moment_s)
        assert client.got() == b""
    world.ticks(now_s + 4.0)
    assert problem(client.got(), 408, "request_timeout")
    assert (upstream.closed, client.transport.ended, world.left) == (True, True, [])
    assert world.endpoint("orders-1").series.outcomes == {"abandoned": 1}


def test_each_byte_gives_a_body_more_time():
    """Slow is not stopped."""
    world = World()
    world.plane.body_timeout_s = 3.0
    client = uploading(world)
    now_s = client.exchange.started_s
    for second in range(0, 12, 2):
        world.ticks(now_s + second)
        if second < 10:
            client.sends(b"x")
    assert client.got() == b""
    assert client.exchange.phase is Phase.WAITING


def test_the_answers_time_begins_when_the_request_is_complete():
    """However long the body took."""
    world = World("services: {orders: {timeout: {response: 2s}}}\n")
    client = uploading(world)
    exchange = client.exchange
    world.ticks(exchange.started_s + 10)
    assert exchange.phase is Phase.WAITING
    exchange.sent_at_s -= 10
    client.sends(b"defghi")
    assert exchange.deadline_s == exchange.sent_at_s + 2.0
    assert exchange.sent_at_s >= exchange.started_s


@pytest.mark.parametrize(("slow", "outcome"), [("upstream", "failed_local"), ("client", "abandoned")])
def test_an_answer_that_stops_in_its_middle_is_cut(slow, outcome):
    """Blamed is the upstream that does not write, not the one whose client does not read."""
    world = World("services: {orders: {timeout: {idle: 2s}}}\n")
    client, upstream = started(world)
    if slow == "client":
        client.stalls()
    upstream.sends(CLOSED_MIDWAY)
    now_s = client.exchange.started_s
    for moment_s in (now_s, now_s + 1, now_s + 2.9):
        world.ticks(moment_s)
        assert not client.closed
    world.ticks(now_s + 3.0)
    assert (client.cut, upstream.closed, world.left) == (True, True, [])
    assert world.endpoint("orders-1").series.outcomes == {outcome: 1}


def test_a_silent_tunnel_ends():
    """After `tunnel_idle` without a byte in either direction; a byte gives it more time."""
    world = World("services: {orders: {timeout: {tunnel_idle: 60s}}}\n")
    client = tunnelling(world)
    [upstream] = world.upstreams
    now_s = client.exchange.started_s
    world.ticks(now_s)
    upstream.sends(b"x")
    world.ticks(now_s + 50)
    world.ticks(now_s + 109)
    assert not client.closed
    world.ticks(now_s + 110)
    assert (client.closed, upstream.closed, world.left) == (True, True, [])


# -- back-pressure ---------------------------------------------------------------------------------


def test_a_client_that_does_not_read_stops_the_upstream():
    """And starts it again: what waits in between stays where it is."""
    client, upstream = started(World())
    client.stalls()
    upstream.sends(CLOSED_MIDWAY)
    assert upstream.paused
    upstream.sends(b"fivesi")
    assert client.exchange.phase is Phase.RESPONDING
    client.flows()
    assert client.got().endswith(b"\r\n\r\nfourfivesi")
    assert (upstream.paused, client.world.left) == (False, [])


def test_an_upstream_that_does_not_read_stops_the_client():
    """The body waits in the client's hands, not in ours."""
    client, upstream = started(World(), request("POST", "/api/orders/", "Content-Length: 9", body=b"abc"))
    upstream.got()
    upstream.stalls()
    client.sends(b"def")
    assert client.paused
    client.sends(b"ghi")
    assert client.exchange.bytes_in == 6
    upstream.flows()
    assert (upstream.got(), client.paused) == (b"defghi", False)


def test_a_body_waits_while_its_upstream_is_not_connected():
    """One read of it is taken, no more."""
    client = World().client().sends(request("POST", "/api/orders/", "Content-Length: 9", body=b"abc"))
    assert client.paused
    client.sends(b"def")
    assert client.exchange.bytes_in == 3
    assert client.world.connects().got().endswith(b"abcdef")


def test_an_upstream_that_takes_nothing_from_the_start_holds_back_the_client():
    """What had come while it was being connected fills its buffer; nothing more is read until that is gone."""
    world = World()
    client = world.client().sends(request("POST", "/api/orders/", "Content-Length: 6"), b"abc")
    upstream = world.connect.succeeds(stalled=True)

    assert client.paused
    upstream.flows()
    assert not client.paused
    client.sends(b"def")
    assert upstream.got().endswith(b"abcdef")


def test_a_connection_goes_back_to_its_pool_reading():
    """Its last exchange had paused it for a client that reads slowly."""
    world = World(orders=1)
    client, upstream = started(world)
    client.stalls()
    upstream.sends(ok())
    assert (upstream.paused, world.left) == (False, [])
    other = world.client().sends(get("/api/orders/2"))
    upstream.sends(ok(b"for the other"))
    assert other.got().endswith(b"for the other")


def test_a_connect_for_a_client_that_reads_slowly_begins_paused():
    """The answer to the one before is not yet taken."""
    world = World(orders=1)
    client, upstream = started(world)
    client.stalls()
    upstream.sends(ok())
    client.sends(get("/api/orders/2"))
    assert upstream.paused
    client.flows()
    assert not upstream.paused


# -- pipelining and draining -----------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order():
    """The second is not even sent before the first is answered."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1") + get("/api/orders/2"))
    upstream = world.connects()
    assert upstream.got().count(b"HTTP/1.1") == 1
    upstream.sends(ok(b"one"))
    assert upstream.got().startswith(b"GET /2 ")
    upstream.sends(ok(b"two"))
    first, second = client.got().split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert (first.endswith(b"one"), second.endswith(b"two"), world.left) == (True, True, [])


def test_while_draining_each_answer_is_the_last_of_its_connection():
    """What runs is finished, nothing more is invited."""
    world = World()
    client, upstream = started(world)
    world.plane.drain()
    upstream.sends(ok())
    assert b"Connection: close\r\n" in client.got()
    assert (client.closed, world.left) == (True, [])


def test_every_transition_of_the_table_happens_and_no_other(phases: WatchedPhase):
    """The playbooks of this test walk the whole table."""
    world = World(orders=1)
    client, upstream = started(world)
    upstream.sends(ok())
    client.sends(get())
    upstream.sends(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nx").resets()
    for phase in (connecting, waiting, uploading, responding, tunnelling):
        phase(World(orders=1)).resets()
    World().client().sends(get("/nowhere"))
    twice = World(AT_ONCE, orders=2)
    twice.client().sends(get())
    twice.connect.fails()
    twice.connects().resets()
    for later in two_idle_connections(World(AT_ONCE, orders=2)):
        later.resets()
    for ended in (Peer.flows, Peer.resets):
        paused = World()
        paused.hurries = False
        client, upstream = started(paused)
        upstream.resets()
        ended(client)
        paused.passes()
    two_idle_connections(World(orders=2))[0].resets()
    parked_and_let_go()
    without_room()
    assert phases.seen == {(before, after) for before, afters in TRANSITIONS.items() for after in afters}


def parked_and_let_go() -> None:
    """Policies wait: for a connect, for one another, for a connection that is there, for a client that leaves."""
    gates = Gate(), Gate()
    world = gated(*gates)
    client = world.client().sends(get())
    for gate in gates:
        gate.opens()
    world.connects().sends(ok())
    client.sends(get())
    for gate in gates:
        gate.opens()
    world.client().sends(get()).ends()


def without_room() -> None:
    """Whatever an exchange comes from, it may have to wait for room."""
    gate, ways = Gate(), [World() for _ in range(3)]
    ways.append(gated(gate))
    for world in ways[1:]:
        world.client().sends(get())
    connected = ways[2].connects()
    for world in ways:
        world.hurries = False
        upstream = world.plane.upstreams["orders"]
        upstream.guard(replace(upstream.rules, max_pending=1, max_active=1), 0.0)
        for endpoint in world.endpoints():
            endpoint.most_active = 0
    ways[0].client().sends(get())
    ways[1].connect.fails()
    connected.resets()
    ways[2].passes()
    gate.opens()


def two_idle_connections(world: World) -> list[Peer]:
    """A fresh connection breaks and the next endpoint has an idle one: waiting is followed by waiting."""
    clients = [world.client().sends(get()) for _ in range(3)]
    peers = [asked.succeeds() for asked in tuple(world.asked)]
    peers[1].sends(ok())
    assert clients[1].got().endswith(b"fine")
    return [peers[0]]


# -- bugs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [get("/api/orders/1"), post("/api/orders/1", b"body")])
def test_a_policy_that_fails_is_a_500_and_nothing_is_left_of_it(message: bytes):
    """Not the client's fault, and nobody's business but the log's, which has all of it."""

    def failing(_exchange: object) -> GatewayError | None:
        raise ValueError("secret detail")

    world = gated(failing)
    with structlog.testing.capture_logs() as logged:
        client = world.client().sends(message)

    answer = client.got()
    assert problem(answer, 500, "internal_error")
    assert b"secret" not in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert (world.left, world.plane.metrics.errors["internal_error"]) == ([], 1)
    assert [str(event["exc_info"]) for event in logged] == ["secret detail"]
