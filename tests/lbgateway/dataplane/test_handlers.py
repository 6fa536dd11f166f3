"""Who answers: a table of messages and their handlers, what a refusal sends, and what waits in a queue."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.config.edge import CorsSettings
from lbgateway.dataplane.asgi import AsgiExchange
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.handlers import Queued, Refusal, choose_handler
from lbgateway.dataplane.head import NO_HEAD, RequestHead
from lbgateway.dataplane.routing import KNOWN, KNOWN_BYTES
from lbgateway.errors import BadRequest, GatewayError, HeadersTooLarge, MethodNotAllowed
from lbgateway.policies.cors import Cors
from tests.support.playbook import Client, World, get, ok, post, request

PLANE = World().plane
CHUNKED = "Transfer-Encoding: chunked"


def chosen(method: bytes, target: bytes, error: GatewayError | None = None) -> tuple[Any, RequestHead]:
    head = RequestHead()
    head.method, head.target = method, target
    return choose_handler(PLANE, head, error), head


# -- the choice ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "kind", "path"),
    [
        (b"GET", b"/", Exchange, b"/"),
        (b"GET", b"/api/orders/7?x=1", Exchange, b"/api/orders/7"),
        (b"GET", b"http://shop.example/a", Exchange, b"/a"),
        (b"QUERY", b"/a", Exchange, b"/a"),
        (b"OPTIONS", b"*", Exchange, b"*"),
        (b"OPTIONS", b"/a", Exchange, b"/a"),
        (b"GET", b"/health", AsgiExchange, b"/health"),
        (b"GET", b"/health/ready?verbose", AsgiExchange, b"/health/ready"),
        (b"POST", b"/admin/reload", AsgiExchange, b"/admin/reload"),
        (b"GET", b"/metrics", AsgiExchange, b"/metrics"),
        (b"GET", b"http://shop.example/admin", AsgiExchange, b"/admin"),
        (b"GET", b"//admin/./routes", AsgiExchange, b"/admin/routes"),
        (b"GET", b"/api/../admin", AsgiExchange, b"/admin"),
        (b"GET", b"/%61dmin", AsgiExchange, b"/admin"),
        (b"GET", b"/healthy", Exchange, b"/healthy"),
        (b"GET", b"/administration", Exchange, b"/administration"),
        (b"GET", b"/metrics2/x", Exchange, b"/metrics2/x"),
        (b"GET", b"/api/admin", Exchange, b"/api/admin"),
        (b"GET", b"/admin/../api", Exchange, b"/api"),
    ],
)
def test_who_answers_a_request(method, target, kind, path):
    """The normal form of the path decides, in whole segments, and is kept for the handler."""
    handler, head = chosen(method, target)
    assert type(handler) is kind
    assert head.resolved.path == path


def test_what_is_known_of_a_target_ends_with_the_routes():
    """A target that has been proxied belongs to the gateway as soon as the table is swapped for one that leaves it that path."""
    plane = World().plane
    head = RequestHead()
    head.method, head.target = b"GET", b"/gw/x?y=1"
    assert [type(choose_handler(plane, head, None)) for _ in range(2)] == [Exchange, Exchange]
    plane.own_prefixes = (b"/gw",)
    plane.use_routes(plane.routes)
    assert type(choose_handler(plane, head, None)) is AsgiExchange
    head.method = b"TRACE"
    assert type(choose_handler(plane, head, None)) is Refusal


def test_a_path_below_no_route_is_asked_for_anew_each_time_where_there_are_pages():
    """Whether a page or a service answers may depend on more than the target: only what is a service's in any case is remembered."""
    plane = World().plane
    plane.spa = plane.application
    head = RequestHead()
    head.method = b"GET"
    for target, kind in ((b"/api/orders/1", Exchange), (b"/about", AsgiExchange)):
        head.target = target
        assert [type(choose_handler(plane, head, None)) for _ in range(2)] == [kind, kind]
    assert set(plane.known_targets) == {b"/api/orders/1"}


@pytest.mark.parametrize(
    ("target", "kind", "beside_pages"),
    [
        (b"/admin;x/config", Refusal, Refusal),
        (b"/admin;/config", Refusal, Refusal),
        (b"/health;x", Refusal, Refusal),
        (b"/;x/metrics", Refusal, Refusal),
        (b"/healthy;x", Exchange, AsgiExchange),
        (b"/api;x/orders/1", Exchange, Refusal),
        (b"/api/orders;x/1", Exchange, Exchange),
        (b"/about;x", Exchange, AsgiExchange),
    ],
)
def test_parameters_hide_nobody_s_path(target, kind, beside_pages):
    """Who drops them would read a path of ours, or one of a route's that pages must not answer: nobody gets it."""
    for pages, expected in ((False, kind), (True, beside_pages)):
        plane = World().plane
        plane.spa = plane.application if pages else None
        head = RequestHead()
        head.method, head.target = b"GET", target
        assert type(choose_handler(plane, head, None)) is expected, pages


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (get("/api/orders/%zz", "Origin: https://app.example"), 400),
        (get("/admin;x", "Origin: https://app.example"), 400),
        (request("TRACE", "/api/orders/1", "Origin: https://app.example"), 405),
        (request("POST", "/api/orders/1", "Origin: https://app.example", "Content-Length: 1", CHUNKED), 400),
        (get("/api/orders/1", "Origin: https://app.example", f"X-Long: {'x' * 70000}"), 431),
    ],
)
def test_pages_may_read_what_is_wrong_with_their_requests(message, status):
    """Also where no route was found whose word it would be."""
    world = World()
    world.plane.cors = Cors(CorsSettings(allow_origins=["https://app.example"]))
    answer = world.client().sends(message).got()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"\r\nAccess-Control-Allow-Origin: https://app.example\r\n") == 1
    assert b"\r\nVary: Origin\r\n" in answer


def test_what_is_known_of_targets_is_bounded():
    """Clients choose them: neither many nor long ones fill the memory."""
    plane = World().plane
    head = RequestHead()
    head.method = b"GET"
    for target in (b"/" + b"x" * KNOWN_BYTES, *(b"/api/orders/%d" % number for number in range(KNOWN + 10))):
        head.target = target
        assert type(choose_handler(plane, head, None)) is Exchange
        assert head.resolved.path == target
    assert len(plane.known_targets) <= KNOWN
    assert max(map(len, plane.known_targets)) <= KNOWN_BYTES


@pytest.mark.parametrize(
    ("method", "target", "refused"),
    [
        (b"TRACE", b"/", MethodNotAllowed),
        (b"TRACE", b"/admin", MethodNotAllowed),
        (b"TRACE", b"*", MethodNotAllowed),
        (b"CONNECT", b"shop.example:443", MethodNotAllowed),
        (b"CONNECT", b"/", MethodNotAllowed),
        (b"GET", b"*", BadRequest),
        (b"GET", b"shop.example:443", BadRequest),
        (b"GET", b"ftp://shop.example/", BadRequest),
        (b"GET", b"/a%2fb", BadRequest),
        (b"GET", b"/../admin", BadRequest),
        (b"GET", b"/admin%2froutes", BadRequest),
        (b"OPTIONS", b"/a\\b", BadRequest),
        (b"OPTIONS", b"**", BadRequest),
        (b"GET", b"", BadRequest),
    ],
)
def test_what_is_no_request_is_refused(method, target, refused):
    """A method that no gateway serves, a target with two readings; the connection cannot be used further."""
    handler, head = chosen(method, target)
    assert type(handler) is Refusal
    assert (type(handler.error), handler.error.close) == (refused, True)
    assert not hasattr(head, "resolved")


@pytest.mark.parametrize(("method", "target"), [(b"GET", b"/"), (b"GET", b"/admin"), (b"TRACE", b"/"), (b"GET", b"*")])
def test_a_framing_error_comes_before_all_else(method, target):
    """Nothing in a head is believed whose framing is in doubt (the contract, section 7)."""
    error = HeadersTooLarge(close=True)
    handler, head = chosen(method, target, error)
    assert type(handler) is Refusal
    assert handler.error is error
    assert not hasattr(head, "resolved")


def test_a_refused_method_names_those_that_are_served():
    """405 comes with Allow (RFC 9110, 15.5.6), and what is refused is not in it."""
    handler, _ = chosen(b"TRACE", b"/")
    name, _, methods = handler.error.headers.removesuffix(b"\r\n").partition(b": ")
    assert (name, b"\r\n" in methods) == (b"Allow", False)
    assert set(methods.split(b", ")) == {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"}


def spelt(letter: str) -> st.SearchStrategy[str]:
    return st.sampled_from((letter, f"%{ord(letter):02x}", f"%{ord(letter):02X}"))


SLASHES = st.sampled_from(("/", "//", "/./", "/x/../", "///"))


@hypothesis.given(own=st.sampled_from(("health", "admin", "metrics")), more=st.sampled_from(("", "routes")), data=st.data())
def test_no_spelling_of_an_own_path_reaches_an_upstream(own, more, data):
    """Escapes, doubled slashes and dot segments: whoever guards the gateway's own paths guards them all."""
    segments = [own, more] if more else [own]
    target = "".join(data.draw(SLASHES) + "".join(data.draw(spelt(letter)) for letter in segment) for segment in segments)
    handler, head = chosen(b"GET", target.encode())
    assert type(handler) is AsgiExchange
    assert head.resolved.path == "".join(f"/{segment}" for segment in segments).encode()


# -- a refusal -------------------------------------------------------------------------------------


def refused(message: bytes) -> tuple[World, Client, list[bytes], bytes]:
    """The lines and the body of the answer to `message`."""
    world = World(orders=1)
    world.plane.date_line = b"Date: ours\r\n"
    world.plane.access_log = []
    client = world.client().sends(message)
    head, _, body = client.got().partition(b"\r\n\r\n")
    return world, client, head.split(b"\r\n"), body


@pytest.mark.parametrize(
    ("message", "status", "slug"),
    [
        (request("TRACE", "/api/orders/"), 405, "method_not_allowed"),
        (b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n", 405, "method_not_allowed"),
        (get("/a%2fb"), 400, "bad_request"),
        (get("*"), 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
    ],
)
def test_a_refusal_is_one_problem_and_the_end(message, status, slug):
    """Counted, logged with the id that the client got, and no upstream was asked for anything."""
    world, client, lines, body = refused(message)
    told = json.loads(body)
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert {b"Date: ours", b"Connection: close", b"Content-Length: %d" % len(body)} <= set(lines)
    assert (told["status"], told["type"]) == (status, f"urn:lbgateway:problem:{slug}")
    assert f"X-Request-Id: {told['request_id']}".encode() in lines
    assert (client.transport.ended, world.asked, world.left) == (True, [], [])
    assert world.plane.metrics.errors == {slug: 1}
    [entry] = world.plane.access_log
    assert (entry[1].decode(), entry[2], entry[9], entry[10]) == (told["request_id"], "192.0.2.7", status, slug)
    assert entry[15] == len(b"\r\n".join(lines)) + 4 + len(body)


def test_the_refusal_of_a_head_has_no_body():
    """But its length (RFC 9110, 9.3.2)."""
    _, client, lines, body = refused(request("HEAD", "/a%2fb"))
    [length] = [line for line in lines if line.startswith(b"Content-Length: ")]
    assert (body, client.transport.ended) == (b"", True)
    assert int(length.partition(b": ")[2]) > 100


def test_a_refused_request_is_answered_once_whatever_follows_it():
    """Its body, another request, garbage: nobody reads on."""
    _, client, lines, body = refused(request("TRACE", "/", CHUNKED) + b"zz\r\nnonsense" + get())
    assert lines[0].startswith(b"HTTP/1.1 405 ")
    assert json.loads(body)["status"] == 405
    assert client.sends(get()).got() == b""


def test_a_refusal_takes_every_event_of_its_request_in_silence():
    """Its answer is out: the rest of the body, pauses and the client's end change nothing of it."""
    world = World(orders=1)
    client = world.client()
    refusal = Refusal(BadRequest("first"))
    refusal.begin(client.protocol, NO_HEAD)
    refusal.on_request_body(b"abc")
    refusal.on_bad_request(HeadersTooLarge("second"))
    refusal.on_downstream_paused()
    refusal.on_downstream_resumed()
    refusal.on_request_end(None)
    refusal.on_client_gone()
    answer = client.got()
    assert (answer.count(b"HTTP/1.1"), b"first" in answer, b"second" in answer) == (1, True, False)
    assert world.plane.metrics.errors == {"bad_request": 1}


# -- waiting ---------------------------------------------------------------------------------------


class Recorder:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_request_body(self, data: bytes) -> None:
        self.told.append(data)

    def on_request_end(self, trailers: list[bytes] | None) -> None:
        self.told.append(("end", trailers))


ENDS = st.one_of(st.none(), st.just([("end", None)]), st.just([("end", [b"X-Sum", b": ", b"1", b"\r\n"])]))


@hypothesis.given(chunks=st.lists(st.binary(min_size=1, max_size=8), max_size=6), end=ENDS)
def test_a_replay_tells_what_was_told(chunks, end):
    """The same bytes in the same pieces and order; the end only if it has come, with its trailers."""
    queued, recorder = Queued(NO_HEAD, None), Recorder()
    for data in chunks:
        queued.on_request_body(data)
    for _, trailers in end or ():
        queued.on_request_end(trailers)
    queued.replay(recorder)
    assert recorder.told == [*chunks, *(end or ())]


def test_a_body_that_turns_out_malformed_while_it_waits_is_refused_in_its_turn():
    """The error takes the place of whatever the request was."""
    queued = Queued(NO_HEAD, None)
    assert queued.error is None
    error = BadRequest()
    queued.on_bad_request(error)
    assert queued.error is error


def behind_a_get(second: bytes) -> tuple[World, Client]:
    """`second` has waited behind a GET, which is answered now."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1"), second)
    upstream = world.connects()
    assert client.got() == b""
    upstream.sends(ok(b"first"))
    return world, client


def test_a_request_that_has_waited_is_sent_whole():
    """Body, framing and trailers as they came meanwhile."""
    world, client = behind_a_get(request("PUT", "/api/orders/2", CHUNKED) + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n")
    [upstream] = world.upstreams
    assert client.got().endswith(b"\r\n\r\nfirst")
    sent = upstream.got().partition(b"PUT /2 HTTP/1.1\r\n")[2]
    body = sent.partition(b"\r\n\r\n")[2]
    assert (b"abc" in body, b"de" in body, body.endswith(b"0\r\nX-Sum: 1\r\n\r\n")) == (True, True, True)
    upstream.sends(ok(b"second"))
    assert client.got().endswith(b"\r\n\r\nsecond")
    assert (client.closed, world.left) == (False, [])


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (get("/a%2fb"), 400),
        (request("TRACE", "/"), 405),
        (request("POST", "/api/orders/2", CHUNKED) + b"zz\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_a_refusal_waits_for_the_answers_in_front_of_it(second, status):
    """Answers come in the order of the requests (RFC 9112, 9.3.2); then the connection ends."""
    world, client = behind_a_get(second)
    first, _, rest = client.got().partition(b"first")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.startswith(b"HTTP/1.1 %d " % status)
    assert (rest.count(b"HTTP/1.1 "), client.transport.ended, world.asked, world.left) == (1, True, [], [])


def test_a_body_that_is_too_large_by_its_first_piece_is_refused_once():
    """What waits behind that piece is told to a handler that has answered already."""
    world = World("server: {max_body: 2B}\n", orders=1)
    client = world.client().sends(
        get("/api/orders/1"), request("POST", "/api/orders/2", CHUNKED) + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"
    )
    world.connects().sends(ok(b"first"))
    _, _, rest = client.got().partition(b"first")
    assert rest.startswith(b"HTTP/1.1 413 ")
    assert (rest.count(b"HTTP/1.1 "), world.plane.metrics.errors, world.left) == (1, {"payload_too_large": 1}, [])


def test_many_that_wait_are_answered_in_their_order():
    """Each with its own body."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/0"), *(post(f"/api/orders/{number}", b"%d" % number) for number in range(1, 4)))
    upstream = world.connects().sends(ok(b"0"))
    for number in range(1, 4):
        assert upstream.got().endswith(b"\r\n\r\n%d" % number)
        assert client.got().endswith(b"\r\n\r\n%d" % (number - 1))
        upstream.sends(ok(b"%d" % number))
    assert client.got().endswith(b"\r\n\r\n3")
    assert world.left == []
