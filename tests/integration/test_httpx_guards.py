"""``transport: httpx`` behind the same guards as our own connections: limits, breaker and deadline, over real sockets."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lbgateway.dataplane.httpx_pool import HttpxPool
from lbgateway.policies.circuit_breaker import BreakerState
from lbgateway.runtime import Gateway
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, ok

LEFT_MS = 800
PAUSE_S = 60.0
AT_ONCE_S = 4.0
"""Far below the 30 s that an instance may take; a machine that has other things to do needs some of it."""

Pair = tuple[LiveGateway, Listener]


@contextlib.contextmanager
def guarded(service: dict[str, Any], **more: Any) -> Iterator[Pair]:
    """A service that httpx reaches, without second attempts."""
    with one_upstream({"services": {"orders": {"transport": "httpx", "retry": {"attempts": 0}, **service}}, **more}) as pair:
        [endpoint] = pair[0].endpoints("orders")
        assert isinstance(endpoint.pool, HttpxPool)
        yield pair


def pause_is_over(root: Gateway) -> None:
    """The breaker has been open for long enough."""
    root.plane.upstreams["orders"].breaker.moved_at_s -= PAUSE_S


def problem(answer: Message) -> tuple[int, str]:
    return answer.status, str(json.loads(answer.body)["type"]).removeprefix("urn:lbgateway:problem:")


@pytest.mark.parametrize("limits", [{"max_active": 1}, {"max_connections": 1}, {"max_active": 5, "max_connections": 1}])
def test_who_is_one_too_many_is_told_at_once_to_come_again(limits: dict[str, int]) -> None:
    """503 with Retry-After while the only place is taken, no second connection is made; the place is free when the answer has gone."""
    with guarded({"limits": limits}) as (gateway, upstream):
        first, second = gateway.connect().get("/api/orders/1"), gateway.connect()
        server = upstream.accept()
        assert server.message().target == "/1"
        began_s = time.monotonic()
        answer = second.get("/api/orders/2").message()
        assert (problem(answer), answer.get("Retry-After")) == ((503, "overloaded"), "1")
        assert time.monotonic() - began_s < AT_ONCE_S
        assert upstream.nobody(0.1)
        server.send(ok(b"first"))
        assert first.message().body == b"first"
        second.get("/api/orders/3")
        assert server.message().target == "/3"
        server.send(ok(b"third"))
        assert second.message().body == b"third"


def test_who_waits_gets_the_connection_that_has_become_free() -> None:
    """With `max_pending` a second request stands in line; the third finds no place there."""
    with guarded({"limits": {"max_connections": 1, "max_pending": 1}}) as (gateway, upstream):
        first = gateway.connect().get("/api/orders/1")
        server = upstream.accept()
        assert server.message().target == "/1"
        second = gateway.connect().get("/api/orders/2")
        assert second.silent(0.1)
        assert problem(gateway.connect().get("/api/orders/3").message()) == (503, "overloaded")
        server.send(ok(b"first"))
        assert first.message().body == b"first"
        assert server.message().target == "/2"
        server.send(ok(b"second"))
        assert second.message().body == b"second"
        assert upstream.nobody(0.1)


def test_fast_500s_open_the_breaker() -> None:
    """From then on clients are told at once to come later, and the instance is not asked; it is let in again after the pause."""
    rules = {"min_requests": 4, "open_for": f"{PAUSE_S:g}s", "half_open_requests": 1}
    with guarded({"breaker": rules, "outlier": {"max_ejected": 0}}) as (gateway, upstream):
        client, server = gateway.connect(), None
        for _ in range(4):
            client.get()
            server = server or upstream.accept()
            server.message()
            server.send(ok(b"oops", status="500 Oops"))
            assert client.message().status == 500
        assert server is not None
        answer = client.get().message()
        assert (problem(answer), answer.get("Retry-After")) == ((503, "breaker_open"), "60")
        assert server.silent(0.1)
        gateway.call(pause_is_over)
        client.get()
        server.message()
        server.send(ok(b"well again"))
        assert client.message().body == b"well again"
        assert gateway.call(lambda root: root.plane.upstreams["orders"].breaker.state) is BreakerState.CLOSED


@pytest.mark.parametrize("warm", [False, True])
def test_a_deadline_that_runs_out_is_504(warm: bool) -> None:
    """Over a connection that is made for it, and over one that is there; the instance learns what is left, and is not waited for."""
    trusting = {"deadline_header": "X-Left", "trusted_proxies": ["127.0.0.0/8"]}
    with guarded({}, server=trusting) as (gateway, upstream):
        client, server = gateway.connect(), None
        if warm:
            client.get()
            server = upstream.serve(ok())
            assert client.message().status == 200
        began_s = time.monotonic()
        client.get("/api/orders/late", f"X-Left: {LEFT_MS}")
        server = server or upstream.accept()
        told = server.message().get("X-Left")
        assert problem(client.message()) == (504, "response_timeout")
        assert LEFT_MS / 1000 - 0.01 <= time.monotonic() - began_s < AT_ONCE_S
        assert told is not None
        assert 0 < int(told) <= LEFT_MS
        assert server.ended(2)


def test_who_has_no_time_left_asks_nobody() -> None:
    """504 at once."""
    trusting = {"deadline_header": "X-Left", "trusted_proxies": ["127.0.0.0/8"]}
    with guarded({}, server=trusting) as (gateway, upstream):
        assert problem(gateway.connect().get("/api/orders/", "X-Left: 0").message()) == (504, "response_timeout")
        assert upstream.nobody(0.1)
