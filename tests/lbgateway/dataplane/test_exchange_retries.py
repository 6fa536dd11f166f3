"""Playbooks of attempts after the first: what is tried again, where, when, and what the client gets in the end."""

from __future__ import annotations

import pytest

from lbgateway.dataplane.exchange_state import Phase
from tests.lbgateway.dataplane.test_exchange import problem, started
from tests.support.playbook import Client, Peer, World, get, ok, post, request

FAILED = b"HTTP/1.1 %d Oops\r\nContent-Length: 4\r\n%b\r\noops"


def failed(status: int = 500, *lines: bytes) -> bytes:
    return FAILED % (status, b"".join(line + b"\r\n" for line in lines))


def retry(text: str) -> str:
    return f"services: {{orders: {{retry: {{{text}}}}}}}\n"


def outcomes(world: World) -> list[dict[str, int]]:
    return [endpoint.series.outcomes for endpoint in world.endpoints()]


# -- a status is an answer that another instance might not give --------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failed_answer_is_let_go_and_another_instance_asked(status):
    """The client sees nothing of it; the connection, whose answer has come whole, is kept."""
    world = World(orders=2)
    client, upstream = started(world)
    upstream.sends(failed(status))
    assert (client.got(), client.exchange.phase, upstream.closed) == (b"", Phase.CONNECTING, False)
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, outcomes(world)) == ([], [{"failed_remote": 1}, {"ok": 1}])
    assert dict(world.plane.metrics.retries) == {("orders", str(status)): 1}
    assert [len(endpoint.pool.idle) for endpoint in world.endpoints()] == [1, 1]
    assert (world.statuses(), dict(world.plane.metrics.errors)) == ({("GET", 200): 1}, {})


def test_a_connection_that_was_let_go_serves_again():
    """Nothing of the answer that nobody wanted is in the next one."""
    world = World(orders=1)
    client, upstream = started(world)
    upstream.sends(failed())
    assert upstream.got().count(b"GET /1 HTTP/1.1") == 2
    upstream.sends(ok())
    assert client.got().endswith(b"\r\n\r\nfine")
    assert (world.asked, world.left) == ([], [])


@pytest.mark.parametrize("message", [failed()[:-1], b"HTTP/1.1 500 Oops\r\n\r\nuntil the end", FAILED[:60].replace(b"%d", b"500") + b"x"])
def test_an_answer_that_has_not_come_whole_takes_its_connection_along(message):
    """To wait for the rest would cost more than a new one."""
    world = World(orders=2)
    client, upstream = started(world)
    upstream.sends(message)
    assert upstream.closed or not client.exchange.excluded
    if client.exchange.excluded:
        world.connects().sends(ok())
        assert client.got().endswith(b"fine")
        assert world.left == []


def test_an_answer_that_turns_out_to_be_no_http_behind_its_head_is_let_go_once():
    """The connection is closed and given back a single time."""
    world = World(orders=2)
    client, upstream = started(world)
    upstream.sends(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert upstream.closed
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, outcomes(world)) == ([], [{"failed_remote": 1}, {"ok": 1}])


@pytest.mark.parametrize("status", [400, 404, 429, 501, 505])
def test_other_statuses_are_answers(status):
    """What the request is guilty of, another instance would say too."""
    world = World(orders=2)
    client, upstream = started(world)
    upstream.sends(failed(status))
    assert client.got().startswith(b"HTTP/1.1 %d " % status)
    assert (world.asked, world.left) == ([], [])


def test_the_last_answer_is_passed_on_as_it_is():
    """An upstream's 5xx never turns into the gateway's."""
    world = World(retry("attempts: 1"), orders=3)
    client, upstream = started(world)
    upstream.sends(failed(503))
    world.connects().sends(failed(500, b"X-Reason: disk"))
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"X-Reason: disk\r\n" in answer
    assert answer.endswith(b"\r\n\r\noops")
    assert b"Proxy-Status" not in answer
    assert (world.left, world.statuses()) == ([], {("GET", 500): 1})


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_two_instances_that_say_the_same_leave_the_third_its_try(status):
    """Two of three may be broken in the same way: as often as the configuration says, somebody else is asked."""
    world = World(retry("attempts: 2"), orders=3)
    client, upstream = started(world)
    upstream.sends(failed(status))
    world.connects().sends(failed(status))
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, client.world.plane.metrics.retries["orders", str(status)]) == ([], 2)


def test_one_instance_that_says_the_same_twice_proves_nothing():
    """Alone, it is asked as often as the configuration says."""
    world = World(retry("attempts: 2"), orders=1)
    client, upstream = started(world)
    upstream.sends(failed(503), failed(503))
    assert client.got() == b""
    upstream.sends(ok())
    assert client.got().endswith(b"fine")


@pytest.mark.parametrize(
    ("method", "status", "again"),
    [
        ("GET", 500, True), ("HEAD", 500, True), ("OPTIONS", 500, True), ("PUT", 500, False), ("DELETE", 500, False),
        ("PUT", 503, True), ("DELETE", 502, True), ("POST", 503, False), ("PATCH", 504, False), ("POST", 500, False),
    ],
)  # fmt: skip
def test_what_may_be_sent_again(method, status, again):
    """A 500 says that something was begun: what changes anything is not sent again."""
    world = World(orders=2)
    client, upstream = started(world, request(method, "/api/orders/"))
    upstream.sends(failed(status))
    assert (world.asked != []) is again
    assert client.got().startswith(b"" if again else b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(("how", "again"), [("resets", True), (503, True), (500, False)])
def test_an_idempotency_key_is_the_clients_word_that_twice_does_no_harm(how, again):
    """In any spelling; a 500 stays an answer."""
    world = World(orders=2)
    client, upstream = started(world, post("/api/orders/", b"abc", "idempotency-KEY: 7"))
    if how == "resets":
        upstream.resets()
    else:
        upstream.sends(failed(how))
    if again:
        fresh = world.connects()
        assert fresh.got().endswith(b"\r\n\r\nabc")
        fresh.sends(ok())
        assert client.got().endswith(b"fine")
    else:
        assert client.got().startswith(b"HTTP/1.1 500 ")
    assert (world.asked, world.left) == ([], [])


def test_a_body_that_is_still_coming_goes_to_the_next_instance_from_its_beginning():
    """And its connection, which has half of a request, is not kept."""
    world = World(orders=2)
    client, upstream = started(world, request("PUT", "/api/orders/", "Content-Length: 6", body=b"abc"))
    upstream.sends(failed(503))
    assert upstream.closed
    fresh = world.connects()
    assert fresh.got().endswith(b"\r\n\r\nabc")
    client.sends(b"def")
    assert fresh.got() == b"def"
    fresh.sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_words_that_are_not_in_the_list_are_not_tried_again():
    """`on` replaces the built-in list."""
    world = World(retry('on: [connect, "503"]'), orders=2)
    client, upstream = started(world)
    upstream.sends(failed(500))
    assert client.got().startswith(b"HTTP/1.1 500 ")
    client.sends(get())
    upstream.resets()
    world.connects().resets()
    assert problem(client.got(), 502, "upstream_closed")


def test_a_malformed_answer_and_a_timeout_are_tried_again():
    """Elsewhere: both may be one instance's trouble."""
    world = World("services: {orders: {timeout: {response: 2s}}}\n", orders=3)
    client, upstream = started(world)
    upstream.sends(b"SSH-2.0-OpenSSH\r\n")
    second = world.connects()
    world.ticks(client.exchange.sent_at_s + 2.0)
    assert second.closed
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert dict(world.plane.metrics.retries) == {("orders", "malformed"): 1, ("orders", "timeout"): 1}
    assert outcomes(world) == [{"failed_remote": 1}, {"failed_local": 1}, {"ok": 1}]


def test_each_try_has_a_time_of_its_own():
    """`per_try_timeout` bounds it, `total` all of them."""
    world = World("services: {orders: {timeout: {total: 3s}, retry: {per_try_timeout: 2s}}}\n", orders=3)
    client, upstream = started(world)
    began_s = client.exchange.started_s
    world.ticks(began_s + 2.0)
    assert upstream.closed
    world.connects()
    assert client.exchange.deadline_s == pytest.approx(began_s + 2.0, abs=1.1)
    client.exchange.until_s = began_s
    world.ticks(began_s + 3.1)
    assert problem(client.got(), 504, "response_timeout")
    assert world.left == []


# -- pauses ----------------------------------------------------------------------------------------


def paused(world: World) -> tuple[Client, Peer]:
    """The first attempt was reset, the second one waits for its back-off."""
    world.hurries = False
    client, upstream = started(world)
    upstream.resets()
    assert client.exchange.phase is Phase.PAUSED
    return client, upstream


def test_between_two_tries_there_is_a_pause_of_random_length():
    """Up to the base, then up to twice as much: clients of one bad instance do not come back in step."""
    world = World(retry("backoff: 40ms"), orders=3)
    client, upstream = started(world)
    upstream.resets()
    world.connects().sends(failed(502))
    first, second = world.waited
    assert 0.0 < first <= 0.04
    assert 0.0 < second <= 0.08
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")


def test_a_refused_connect_is_not_paused_for():
    """Nobody was there: the next one is asked at once."""
    world = World(orders=2)
    world.hurries = False
    client = world.client().sends(get())
    world.connect.fails()
    world.connects().sends(ok())
    assert (client.got().endswith(b"fine"), world.loop.timers) == (True, [])


def test_a_client_that_leaves_in_a_pause_is_not_asked_for():
    """No attempt counts, no timer is left."""
    world = World(orders=2)
    client, _ = paused(world)
    client.resets()
    assert (world.left, world.loop.timers, world.asked) == ([], [], [])
    assert world.statuses() == {("GET", 499): 1}
    assert outcomes(world) == [{"failed_local": 1}, {}]


def test_a_pause_does_not_outlive_the_time_for_all_tries():
    """The answer is what the last one ended with."""
    world = World(orders=2)
    client, _ = paused(world)
    world.ticks(client.exchange.started_s + 60)
    assert problem(client.got(), 502, "upstream_closed")
    assert (world.left, world.loop.timers) == ([], [])


def test_a_body_that_is_refused_in_a_pause_ends_it():
    """413: there is no attempt to end."""
    world = World("server: {max_body: 5B}\n", orders=2)
    world.hurries = False
    client, upstream = started(world, request("PUT", "/api/orders/", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    upstream.resets()
    client.sends(b"3\r\ndef\r\n")
    assert problem(client.got(), 413, "payload_too_large")
    assert (world.left, world.loop.timers) == ([], [])


def test_a_pause_ends_where_the_service_has_vanished():
    """What went wrong before is the answer."""
    world = World(orders=2)
    client, _ = paused(world)
    world.registers("orders")
    world.passes()
    assert problem(client.got(), 502, "upstream_closed")


# -- Retry-After -----------------------------------------------------------------------------------


def test_who_wants_to_be_left_alone_is_while_there_are_others():
    """The other one is asked without waiting so long."""
    world = World(orders=2)
    client, upstream = started(world)
    upstream.sends(failed(503, b"Retry-After: 2"))
    assert world.waited[0] < 0.1
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")


def test_the_only_one_is_asked_again_when_it_said():
    """If that is soon."""
    world = World(orders=1)
    client, upstream = started(world)
    upstream.sends(failed(503, b"Retry-After: 2"))
    assert world.waited == [2.0]
    upstream.sends(ok())
    assert client.got().endswith(b"fine")


@pytest.mark.parametrize(("text", "seconds"), [("", b"60"), ("services: {orders: {timeout: {total: 1s}}}\n", b"2")])
def test_its_answer_is_passed_on_when_that_is_too_late(text, seconds):
    """With its Retry-After, so that the client may decide."""
    world = World(text, orders=1)
    client, upstream = started(world)
    upstream.sends(failed(503, b"Retry-After: " + seconds))
    assert b"Retry-After: " + seconds in client.got()
    assert world.left == []


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_busy_costs_as_much_as_it_says(status):
    """So others are preferred for a while; it is no failure that ejects."""
    world = World(retry("attempts: 0"), balancer="ewma", orders=1)
    _, upstream = started(world)
    upstream.sends(failed(status, b"Retry-After: 7"))
    assert world.endpoint("orders-1").latency_s == pytest.approx(7.0)


# -- budget ----------------------------------------------------------------------------------------


def test_an_empty_budget_ends_all_retries():
    """The answer that there is, is the answer."""
    world = World(retry("budget: 0, min_per_second: 0"), orders=2)
    client, upstream = started(world)
    upstream.sends(failed(503))
    assert client.got().startswith(b"HTTP/1.1 503 ")
    upstream.resets()
    client.sends(get())
    world.connect.fails()
    assert problem(client.got(), 502, "connect_failed")
    assert (dict(world.plane.metrics.retries), world.left) == ({}, [])


def answers(world: World, message: bytes) -> None:
    """Whoever is asked, now or because of the answer, says this."""
    for _ in range(3):
        for asked in tuple(world.asked):
            asked.succeeds()
        for peer in world.upstreams:
            if peer.got():
                peer.sends(message)


def test_requests_pay_for_retries():
    """At a budget of one half each second one may be tried again."""
    text = "services: {orders: {breaker: null, retry: {budget: 0.5, min_per_second: 0, attempts: 1}}}\n"
    world = World(text, orders=2)
    client, upstream = started(world)
    upstream.sends(ok())
    for _ in range(7):
        client.sends(get())
        answers(world, ok())
    assert client.got().count(b"200 OK") == 8
    for _ in range(20):
        client.sends(get())
        answers(world, failed(503))
    assert world.plane.metrics.retries["orders", "503"] == pytest.approx((8 + 20) / 2, abs=1)


def test_a_failed_connect_is_not_refused_for_want_of_a_token():
    """It has loaded nobody; what has reached an instance is."""
    world = World(retry("budget: 0.2, min_per_second: 0"), orders=3)
    client = world.client().sends(get())
    world.connect.fails()
    world.connects().sends(failed(503))
    assert client.got().startswith(b"HTTP/1.1 503 ")
    assert (dict(world.plane.metrics.retries), world.left) == ({("orders", "connect"): 1}, [])


def test_a_route_with_a_budget_of_its_own_has_its_own_bucket():
    """The others' retries do not empty it."""
    text = "routes: [{prefix: /a, service: orders}, {prefix: /b, service: orders, retry: {budget: 1, min_per_second: 1}}]\n"
    world = World(retry("budget: 0, min_per_second: 0") + text, orders=2)
    world.client().sends(get("/a"))
    world.connect.fails()
    assert world.asked == []
    world.client().sends(get("/b"))
    world.connect.fails()
    assert len(world.asked) == 1
