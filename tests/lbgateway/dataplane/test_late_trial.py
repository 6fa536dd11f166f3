"""Playbooks of a trial whose client was answered by another instance: it goes on, and what comes in the end decides."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from balancers.endpoint import EndpointState
from lbgateway.errors import ConnectFailed
from tests.lbgateway.dataplane.test_exchange_ejection import time_is_up
from tests.lbgateway.dataplane.test_exchange_retries import failed, outcomes
from tests.lbgateway.dataplane.test_hedge import HEDGE, hedges
from tests.support.playbook import Client, Peer, World, get, ok, request

EJECTED, READY = EndpointState.EJECTED, EndpointState.READY


class Scene(NamedTuple):
    """The first instance is ejected and under trial, the second one is asked beside it."""

    world: World
    client: Client
    bad: Peer
    good: Peer

    @property
    def state(self) -> EndpointState:
        return self.world.endpoint("orders-1").state

    @property
    def times_out(self) -> int:
        return self.world.endpoint("orders-1").ejections_in_row


def under_trial(message: bytes | None = None, more: str = "") -> Scene:
    """The client's first request has taken the instance out, its second one tries it."""
    world = World(f"services: {{orders: {{{HEDGE}, outlier: {{consecutive_failures: 1}}{more}}}}}\n", orders=2)
    world.hurries = False
    client = world.client().sends(get("/api/orders/1"))
    bad = world.connects().sends(failed(502))
    world.passes()
    good = world.connects().sends(ok())
    client.got(), bad.got(), good.got()
    time_is_up(world)
    client.sends(message or get("/api/orders/2"))
    assert bad.got() != b""
    world.passes()
    assert (hedges(world), good.got() != b"") == (1, True)
    return Scene(world, client, bad, good)


def overtaken(message: bytes | None = None, answer: bytes | None = None, more: str = "") -> Scene:
    """The second instance has answered the client; the trial goes on."""
    scene = under_trial(message, more)
    scene.good.sends(answer or ok(b"the other's"))
    assert scene.client.got().startswith(answer[:12] if answer else b"HTTP/1.1 200")
    assert (scene.state, scene.times_out, scene.bad.closed) == (EJECTED, 1, False)
    assert (scene.world.plane.active, scene.world.endpoint("orders-1").active) == (set(), 1)
    return scene


def decided(scene: Scene) -> dict[str, int]:
    """How the attempts of the bad one ended; nothing is left, and requests were counted once each."""
    assert (scene.world.left, scene.world.loop.timers) == ([], [])
    assert sum(scene.world.statuses().values()) == 2
    return outcomes(scene.world)[0]


def test_its_answer_brings_it_back():
    """Whose client has long been answered; the connection can be used again."""
    scene = overtaken()
    scene.bad.sends(ok(b"well again"))
    assert (scene.state, scene.client.got()) == (READY, b"")
    assert decided(scene) == {"failed_remote": 1, "ok": 1}
    assert len(scene.world.endpoint("orders-1").pool.idle) == 1


def test_an_answer_that_is_long_is_not_waited_for():
    """Its head has said what was to be known."""
    scene = overtaken()
    scene.bad.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
    assert (scene.state, scene.bad.closed) == (READY, True)
    assert decided(scene) == {"failed_remote": 1, "ok": 1}


def test_a_head_that_has_no_body():
    """And none is waited for."""
    scene = overtaken(request("HEAD", "/api/orders/2"), ok(b""))
    scene.bad.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    assert (scene.state, scene.bad.closed) == (READY, False)


def test_interim_answers_decide_nothing():
    """They are nobody's."""
    scene = overtaken()
    scene.bad.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert scene.state is EJECTED
    scene.bad.sends(ok())
    assert (scene.state, scene.client.got()) == (READY, b"")


def test_silence_until_the_end_of_its_time_keeps_it_out_for_longer():
    """That is the verdict on one that hangs, though no client has waited for it."""
    scene = overtaken()
    scene.world.passes()
    assert (scene.state, scene.times_out) == (EJECTED, 2)
    assert scene.world.waited[-1] == pytest.approx(30.0, abs=1.0)
    assert decided(scene) == {"failed_remote": 1, "failed_local": 1}
    assert "no answer within 30 s" in str(scene.world.endpoint("orders-1").series.last_error)


def test_a_client_that_reads_slowly_does_not_hold_it_up():
    """What was held back for the client is read now."""
    scene = under_trial()
    scene.client.stalls()
    scene.good.sends(ok(b"x" * 100_000))
    assert not scene.bad.paused
    scene.bad.sends(ok())
    assert scene.state is READY


@pytest.mark.parametrize(("how", "outcome"), [("resets", "failed_local"), ("garbage", "failed_remote")])
def test_a_connection_that_fails_keeps_it_out_for_longer(how, outcome):
    """As it would have with a client."""
    scene = overtaken()
    if how == "resets":
        scene.bad.sends(b"HTTP/1.1 200").resets()
    else:
        scene.bad.sends(b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n")
    assert (scene.state, scene.times_out) == (EJECTED, 2)
    assert decided(scene)[outcome] >= 1


def test_a_connection_that_was_closed_while_it_was_idle_says_nothing():
    """There will be another trial."""
    scene = overtaken()
    scene.bad.ends()
    assert (scene.state, scene.times_out) == (EJECTED, 1)
    assert decided(scene) == {"failed_remote": 1, "abandoned": 1}


@pytest.mark.parametrize(("status", "times"), [(500, 2), (504, 2), (503, 1), (501, 1)])
def test_an_answer_that_is_a_failure_keeps_it_out_for_longer(status, times):
    """But "not now" and "not this" are no failures of an instance, and no reason to have it back."""
    scene = overtaken()
    scene.bad.sends(failed(status))
    assert (scene.state, scene.times_out) == (EJECTED, times)
    assert decided(scene) == {"failed_remote": 2}


def test_the_answer_that_the_client_had_is_the_requests_fault():
    """The same 5xx from two instances blames nobody."""
    scene = overtaken(request("DELETE", "/api/orders/2"), failed(500))
    scene.bad.sends(failed(500))
    assert (scene.state, scene.times_out) == (EJECTED, 1)
    assert decided(scene) == {"failed_remote": 2}


def connecting() -> Scene:
    """As `overtaken`, but the bad one was not even connected to."""
    world = World(f"services: {{orders: {{{HEDGE}, outlier: {{consecutive_failures: 1}}}}}}\n", orders=2)
    world.hurries = False
    client = world.client().sends(get("/api/orders/1"))
    world.connect.fails()
    good = world.connects().sends(ok())
    client.got(), good.got()
    time_is_up(world)
    client.sends(request("PUT", "/api/orders/2", "Content-Length: 3", body=b"abc"))
    [first] = world.asked
    world.passes()
    good.sends(ok(b"the other's"))
    assert client.got().endswith(b"the other's")
    [again] = [asked for asked in world.asked if asked is not first]
    assert (first.cancelled, again.pool) == (True, first.pool)
    world.asked.remove(first)
    return Scene(world, client, good, good)


def test_who_was_not_connected_to_is_connected_to_and_asked():
    """All of the request is at hand."""
    scene = connecting()
    bad = scene.world.connects()
    got = bad.got()
    assert (got.startswith(b"PUT /2 HTTP/1.1\r\n"), got.endswith(b"\r\n\r\nabc")) == (True, True)
    bad.sends(ok())
    assert (scene.state, scene.world.left) == (READY, [])


def test_who_cannot_be_connected_to_stays_out_for_longer():
    """Refused, or late."""
    scene = connecting()
    scene.world.connect.fails(ConnectFailed(cause="refused"))
    assert (scene.state, scene.times_out) == (EJECTED, 2)
    assert decided(scene) == {"failed_local": 2}


def test_a_client_that_leaves_ends_its_trial():
    """Nobody has been found faster, so there is nothing to be decided."""
    scene = under_trial()
    scene.client.resets()
    assert (scene.state, scene.times_out, scene.bad.closed) == (EJECTED, 1, True)
    assert decided(scene) == {"failed_remote": 1, "abandoned": 1}


def test_a_trial_that_wins_ends_as_ever():
    """Whoever was asked beside it is abandoned."""
    scene = under_trial()
    scene.bad.sends(ok(b"well again"))
    assert scene.client.got().endswith(b"well again")
    assert (scene.state, scene.good.closed) == (READY, True)
    assert decided(scene) == {"failed_remote": 1, "ok": 1}


def test_who_is_brought_back_by_an_operator_meanwhile_is_not_judged():
    """There is nothing left to decide."""
    scene = overtaken()
    endpoint = scene.world.endpoint("orders-1")
    scene.world.plane.upstreams["orders"].outliers.release(endpoint, endpoint.ejected_until_s + 1)
    assert scene.state is READY
    scene.bad.sends(ok())
    assert (scene.state, decided(scene)) == (READY, {"failed_remote": 1, "ok": 1})
