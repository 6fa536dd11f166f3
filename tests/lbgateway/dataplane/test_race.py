"""Playbooks of two attempts at the same time: who wins, and what becomes of the other."""

from __future__ import annotations

from time import monotonic

import pytest

from balancers.endpoint import EndpointState
from lbgateway.dataplane.exchange_state import Phase
from tests.lbgateway.dataplane.test_exchange import problem
from tests.lbgateway.dataplane.test_exchange_retries import failed, outcomes
from tests.lbgateway.dataplane.test_hedge import hedged, hedges, raced
from tests.support.playbook import get, ok, request


def test_who_is_asked_second_gets_the_same_request():
    """After the delay, at another instance; the exchange's own attempt goes on meanwhile."""
    world = hedged()
    client, first, second = raced(world)
    assert world.waited == [pytest.approx(0.05, abs=0.02)]
    assert first.got() == second.got() != b""
    assert [endpoint.active for endpoint in world.endpoints()] == [1, 1]
    assert (client.exchange.attempts, client.exchange.hedged, hedges(world)) == (2, True, 1)
    assert repr(client.exchange.race) == "<Race orders-1 orders-2 led by orders-1>"
    assert dict(world.plane.metrics.retries) == {}


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "429 Too Many Requests", "501 Not Implemented"])
def test_the_first_head_wins(winner, status):
    """The other connection is closed, its attempt abandoned; the winner's is kept."""
    world = hedged()
    client, *runners = raced(world)
    runners[winner].sends(ok(status=status))
    assert client.got().startswith(b"HTTP/1.1 " + status[:3].encode())
    assert (runners[winner].closed, runners[1 - winner].closed) == (False, True)
    known = outcomes(world)
    assert known[1 - winner] == {"abandoned": 1}
    assert list(known[winner].values()) == [1]
    assert (world.left, [len(endpoint.pool.idle) for endpoint in world.endpoints()]) == ([], [1 - winner, winner])
    assert world.statuses() == {("GET", int(status[:3])): 1}


@pytest.mark.parametrize("winner", [0, 1])
def test_an_answer_in_pieces_wins_with_its_head(winner):
    """What comes behind the head finds the exchange, not the race."""
    world = hedged()
    client, *runners = raced(world)
    runners[winner].sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert (client.exchange.phase, client.exchange.race, runners[1 - winner].closed) == (Phase.RESPONDING, None, True)
    runners[winner].sends(b"3\r\ndef\r\n", b"0\r\n\r\n")
    assert client.got().endswith(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    assert world.left == []


def test_an_answer_like_the_one_before_wins_too():
    """Connections know a head that repeats itself, and tell all of it in one breath."""
    world = hedged()
    client = world.client()
    for _ in range(2):
        client.sends(get("/api/orders/1"))
        world.connects().sends(ok())
    client.got()
    first, second = world.upstreams
    client.sends(get("/api/orders/2"))
    world.passes()
    second.sends(ok(b"best"))
    assert client.got().endswith(b"best")
    assert (first.closed, second.closed, world.left) == (True, False, [])


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_does_not_win_while_the_other_runs(loser, status):
    """Whoever gave it; the other one's answer is the answer, and no retry was spent."""
    world = hedged()
    client, *runners = raced(world)
    runners[loser].sends(failed(status))
    assert (client.got(), client.exchange.race, client.exchange.phase) == (b"", None, Phase.WAITING)
    runners[1 - loser].sends(ok())
    assert client.got().endswith(b"fine")
    known = outcomes(world)
    assert (known[loser], known[1 - loser]) == ({"failed_remote": 1}, {"ok": 1})
    assert (world.left, dict(world.plane.metrics.retries)) == ([], {})


def test_two_5xx_are_the_requests_fault():
    """As without a race: the third one has its try, the last answer is passed on, and nobody is blamed."""
    world = hedged(orders=3)
    client, first, second = raced(world)
    first.sends(failed(500))
    second.sends(failed(500))
    assert client.got() == b""
    world.passes()
    world.connects().sends(failed(500))
    assert client.got().startswith(b"HTTP/1.1 500 ")
    assert [endpoint.blamed_total for endpoint in world.endpoints()] == [0, 0, 0]
    assert (world.asked, world.left) == ([], [])


def test_the_same_5xx_as_before_the_race_does_not_win():
    """It was the second instance to say so, but who still runs may know better."""
    world = hedged(orders=3)
    client = world.client().sends(get("/api/orders/1"))
    world.connects().sends(failed(500))
    world.passes()
    second, third = [asked.succeeds() for asked in tuple(world.asked)]
    second.sends(failed(500))
    assert client.got() == b""
    third.sends(ok())
    assert client.got().endswith(b"fine")
    assert outcomes(world) == [{"failed_remote": 1}, {"failed_remote": 1}, {"ok": 1}]
    assert ([endpoint.blamed_total for endpoint in world.endpoints()], world.left) == ([0, 0, 0], [])


def test_a_500_of_a_change_is_believed():
    """Who stopped in the middle of a PUT has begun it: as without a race, that is the answer."""
    world = hedged()
    client, first, second = raced(world, request("DELETE", "/api/orders/1"))
    first.sends(failed(500))
    assert client.got().startswith(b"HTTP/1.1 500 ")
    assert (second.closed, world.left) == (True, [])


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("how", ["resets", "ends", "garbage"])
def test_who_breaks_leaves_the_other_alone(loser, how):
    """A failure like any other for its instance; no retry, no budget."""
    world = hedged()
    client, *runners = raced(world)
    if how == "garbage":
        runners[loser].sends(b"\x16\x03\x01")
    else:
        getattr(runners[loser], how)()
    assert (client.got(), client.exchange.race) == (b"", None)
    runners[1 - loser].sends(ok())
    assert client.got().endswith(b"fine")
    assert outcomes(world)[loser] == {"failed_remote" if how == "garbage" else "failed_local": 1}
    assert (world.left, dict(world.plane.metrics.retries)) == ([], {})


def test_after_a_race_that_both_have_lost_there_may_be_another_try():
    """The two have been two of its attempts."""
    world = hedged(orders=3)
    client, first, second = raced(world)
    first.resets()
    second.resets()
    assert client.exchange.phase is Phase.PAUSED
    world.passes()
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert (client.protocol.handler, world.left, outcomes(world)) == (None, [], [{"failed_local": 1}, {"failed_local": 1}, {"ok": 1}])


def test_a_second_one_that_cannot_connect_changes_nothing():
    """The first one goes on."""
    world = hedged()
    client = world.client().sends(get("/api/orders/1"))
    first = world.connects()
    world.passes()
    world.connect.fails()
    first.sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, outcomes(world)) == ([], [{"ok": 1}, {"failed_local": 1}])


@pytest.mark.parametrize("first_connects", [True, False])
def test_a_connect_that_hangs_is_overtaken(first_connects):
    """An instance may be silent before there is a connection."""
    world = hedged()
    client = world.client().sends(get("/api/orders/1"))
    slow = world.connect
    world.passes()
    fast = next(each for each in world.asked if each is not slow)
    if first_connects:
        assert slow.succeeds().got().startswith(b"GET /1 ")
    fast.succeeds().sends(ok())
    assert client.got().endswith(b"fine")
    assert (slow.cancelled, world.left) == (not first_connects, [])
    assert outcomes(world) == [{"abandoned": 1}, {"ok": 1}]


def test_a_first_one_that_cannot_connect_after_all_leaves_the_second_to_connect():
    """It is not told twice."""
    world = hedged()
    client = world.client().sends(get("/api/orders/1"))
    slow = world.connect
    world.passes()
    slow.fails()
    assert (client.exchange.race, client.exchange.phase) == (None, Phase.CONNECTING)
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_a_client_that_leaves_ends_both():
    """Nobody is blamed, both connections are closed."""
    world = hedged()
    client, first, second = raced(world)
    client.ends()
    assert (first.closed, second.closed, world.left) == (True, True, [])
    assert outcomes(world) == [{"abandoned": 1}, {"abandoned": 1}]
    assert world.statuses() == {("GET", 499): 1}


def test_each_of_them_has_its_own_deadline():
    """The first one's passes first; then the second one's, and both have failed."""
    world = hedged(", timeout: {response: 2s, total: 9s}, retry: {attempts: 1}")
    client, first, second = raced(world)
    now_s = monotonic()
    client.exchange.race.second.deadline_s += 1.0
    world.ticks(now_s + 2.0)
    assert (first.closed, second.closed, client.exchange.race) == (True, False, None)
    world.ticks(now_s + 2.9)
    assert client.got() == b""
    world.ticks(now_s + 3.1)
    assert problem(client.got(), 504, "response_timeout")
    assert (world.left, outcomes(world)) == ([], [{"failed_local": 1}, {"failed_local": 1}])


def test_only_the_first_ones_early_hints_are_passed_on():
    """Two sets of them would be one too many."""
    world = hedged()
    client, first, second = raced(world)
    for number, runner in enumerate((first, second)):
        runner.sends(b"HTTP/1.1 103 Early Hints\r\nLink: </%d>\r\n\r\n" % number)
    assert client.got().count(b"103 Early Hints") == 1
    second.sends(ok())
    assert client.got().endswith(b"fine")


def test_a_body_is_sent_again():
    """All of it has come, and fits."""
    world = hedged()
    client, first, second = raced(world, request("PUT", "/api/orders/1", "Content-Length: 4", body=b"body"))
    assert first.got().endswith(b"\r\n\r\nbody")
    assert second.got().endswith(b"\r\n\r\nbody")
    second.sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_a_head_request_has_no_body_on_either_side():
    """Each connection is told."""
    world = hedged()
    client, _, second = raced(world, request("HEAD", "/api/orders/1"))
    second.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert client.got().endswith(b"\r\n\r\n")
    assert world.left == []


def test_a_client_that_stops_reading_during_the_race_holds_back_the_winner():
    """Memory is bounded whoever wins."""
    world = hedged()
    client, first, second = raced(world)
    client.stalls()
    client.exchange.on_downstream_paused()
    second.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert (first.closed, second.paused) == (True, True)
    client.flows()
    client.exchange.on_downstream_resumed()
    second.sends(b"123456789")
    assert client.got().endswith(b"123456789")
    assert world.left == []


def test_one_that_takes_nothing_does_not_keep_the_next_request_waiting():
    """All of the request has come: there is nothing to hold back for it."""
    world = hedged(orders=2)
    client = world.client().sends(request("PUT", "/api/orders/1", "Content-Length: 4", body=b"body"))
    world.connect.succeeds(stalled=True)
    world.passes()
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert not client.paused
    client.sends(get("/api/orders/2"))
    assert client.exchange.head.method == b"GET"


# -- what is learnt of the loser --------------------------------------------------------------------


def test_an_overtaken_instance_is_not_blamed_but_its_silence_counts():
    """Or an instance that hangs would look well as soon as it is left alone, and be picked again and again."""
    world = hedged()
    _, _, second = raced(world)
    loser = world.endpoint("orders-1")
    loser.latency_s, loser.latency_at_s = 0.01, monotonic()
    loser.oldest_at_s = silent_since_s = monotonic() - 5.0
    second.sends(ok())
    assert (loser.state, loser.failures_in_row, loser.series.failures) == (EndpointState.READY, 0, 0)
    assert loser.latency_s == pytest.approx(5.0, abs=0.5)
    assert loser.oldest_at_s == silent_since_s
