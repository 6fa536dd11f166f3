"""Limits as clients meet them: whole exchanges, and the arithmetic under a clock of the test's own."""

from __future__ import annotations

import re
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.buckets import MOST, SHARDS, Buckets
from lbgateway.policies.gcra import Limit
from lbgateway.policies.rate_limit import RateLimit
from tests.support import many_clients
from tests.support.playbook import Client, World, get, ok, request
from tests.support.tokens import SECRET, token

SERVICES = "services: {orders: {instances: ['127.0.0.1:9']}}\n"
HOURLY = SERVICES + "rate_limit: {default: {requests: 2, per: 1h}}\n"
AUTH = f"auth: {{jwt: {{secret: '{SECRET}', algorithms: [HS256]}}}}\n"


def asking(now_s: float, key: bytes = b"a") -> Any:
    """As much of an exchange as a limit looks at."""
    return SimpleNamespace(
        started_s=now_s,
        answer_lines=b"",
        downstream=SimpleNamespace(trusted=False, client_key=key),
        head=SimpleNamespace(forwarded=None),
        route=SimpleNamespace(label="/r"),
        plane=SimpleNamespace(metrics=SimpleNamespace(rate_limited=defaultdict(int))),
    )


def answers(client: Client, upstream: Any, *requests: bytes) -> list[str]:
    """The status of each answer; the service gives its own where it is asked."""
    statuses = []
    for each in requests:
        client.sends(each)
        if upstream.got():
            upstream.sends(ok())
        statuses.append(client.got().split(b" ", 2)[1].decode())
    return statuses


def connected(world: World, path: str = "/api/orders/", *lines: str) -> tuple[Client, Any]:
    """A client that has been served once, and the connection behind; `world.first_answer` is what it got."""
    client = world.client().sends(get(path, *lines))
    upstream = world.connects()
    upstream.got()
    upstream.sends(ok())
    world.first_answer = client.got()
    return client, upstream


def test_who_comes_too_often_is_told_when_to_come_back():
    """429 with everything that the contract asks for; the service hears nothing of it."""
    world = World(HOURLY, orders=1)
    client, upstream = connected(world)
    assert b'RateLimit-Policy: "default";q=2;w=3600\r\nRateLimit: "default";r=1;t=1800\r\n' in world.first_answer
    assert answers(client, upstream, get()) == ["200"]

    client.sends(get())

    refused = client.got()
    assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b'"type":"' in refused
    assert b"rate_limited" in refused
    assert b'RateLimit: "default";r=0;t=1800\r\n' in refused
    assert b"Retry-After: 1800\r\n" in refused
    assert upstream.got() == b""
    assert world.plane.metrics.rate_limited == {"/api/{service}": 1}
    assert world.left == []


def test_other_clients_are_not_concerned():
    """Each address has a count of its own."""
    world = World(HOURLY, orders=1)
    client, upstream = connected(world)
    assert answers(client, upstream, get(), get()) == ["200", "429"]

    other = world.client("192.0.2.8")
    assert answers(other, upstream, get(), get(), get()) == ["200", "200", "429"]


def test_routes_that_say_nothing_share_the_default_and_others_have_their_own():
    """`null` is no limit at all."""
    routes = (
        "routes:\n- {prefix: /a, service: orders}\n- {prefix: /b, service: orders}\n"
        "- {prefix: /c, service: orders, rate_limit: {requests: 1, per: 1h}}\n- {prefix: /d, service: orders, rate_limit: null}\n"
    )
    world = World(HOURLY + routes, orders=1)
    client, upstream = connected(world, "/a")

    assert answers(client, upstream, get("/b"), get("/a"), get("/b")) == ["200", "429", "429"]
    assert answers(client, upstream, get("/c"), get("/c")) == ["200", "429"]
    assert answers(client, upstream, *[get("/d")] * 4) == ["200"] * 4


def test_a_preflight_is_answered_before_anybody_counts():
    """It costs its sender nothing; one that nobody answers here is a request like any other."""
    ask = request("OPTIONS", "/api/orders/", "Origin: https://app.example", "Access-Control-Request-Method: GET")
    world = World(HOURLY + "cors: {allow_origins: ['https://app.example']}\n", orders=1)
    client, upstream = connected(world)
    assert answers(client, upstream, ask, ask, ask, get()) == ["204", "204", "204", "200"]

    world = World(HOURLY, orders=1)
    client, upstream = connected(world)
    assert answers(client, upstream, ask, ask) == ["200", "429"]


def test_an_error_that_pages_may_read_tells_the_limit_too():
    """CORS and limits both have something to say on a 429."""
    world = World(HOURLY + "cors: {allow_origins: ['https://app.example']}\n", orders=1)
    page = get("/api/orders/", "Origin: https://app.example")
    client, upstream = connected(world)
    assert answers(client, upstream, page) == ["200"]
    refused = client.sends(page).got()
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in refused
    assert b'RateLimit: "default";r=0' in refused


@pytest.mark.parametrize(("key", "statuses"), [("client", ["401", "401", "429"]), ("subject", ["401", "401", "401"])])
def test_a_flood_is_turned_away_before_the_token_and_a_subject_behind_it(key, statuses):
    """The contract's order: whom a token names is not known before it is checked."""
    world = World(f"rate_limit: {{default: {{requests: 2, per: 1h, key: {key}}}}}\n{AUTH}", orders=1)
    client = world.client()
    found = [client.sends(get()).got().split(b" ", 2)[1].decode() for _ in range(3)]
    assert found == statuses


def test_subjects_are_counted_wherever_they_come_from():
    """One address, two subjects; one subject, two addresses."""
    world = World(f"rate_limit: {{default: {{requests: 2, per: 1h, key: subject}}}}\n{AUTH}", orders=1)
    ann, bob = (get("/api/orders/", f"Authorization: Bearer {token('HS256', SECRET, sub=who)}") for who in ("ann", "bob"))
    client = world.client().sends(ann)
    upstream = world.connects()
    upstream.got()
    upstream.sends(ok())
    client.got()

    assert answers(client, upstream, ann, ann, bob) == ["200", "429", "200"]
    assert answers(world.client("192.0.2.9"), upstream, ann, bob, bob) == ["429", "200", "429"]


def test_a_refused_request_does_not_count():
    """Who keeps knocking is let in at the same moment as who waits."""
    limit = RateLimit(Limit(2, 1.0, 2))
    assert [limit.admit(asking(0.0)) for _ in range(2)] == [None, None]
    assert all(limit.admit(asking(0.1 + step / 1000)) is not None for step in range(300))
    assert limit.admit(asking(0.5)) is None


def test_the_answers_count_down_and_round_up():
    """Nobody is promised a request or a second too many."""
    limit, told = RateLimit(Limit(4, 2.0, 4)), []
    for _ in range(5):
        exchange = asking(100.0)
        limit.admit(exchange)
        told.append(re.search(rb"r=(\d+);t=(\d+)\r\n$", exchange.answer_lines).groups())
    assert told == [(b"3", b"1"), (b"2", b"1"), (b"1", b"2"), (b"0", b"2"), (b"0", b"1")]


@given(st.integers(1, 50), st.sampled_from([0.25, 1.0, 60.0]), st.integers(1, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_no_span_of_time_lets_more_through_than_its_burst_and_its_pace(requests, per_s, burst, gaps):
    """From any admitted request to any later one; and a client that has waited for its turn gets it."""
    limit, now_s, admitted = RateLimit(Limit(requests, per_s, burst)), 1000.0, []
    for gap in gaps:
        now_s += gap * per_s
        refusal = limit.admit(asking(now_s))
        if refusal is None:
            admitted.append(now_s)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            allowed = burst + (admitted[last] - admitted[first]) * requests / per_s
            assert last - first + 1 <= allowed + 1e-3
    assert limit.admit(asking(now_s + per_s / requests + 1e-6)) is None


def test_a_crowd_costs_bounded_memory_and_frees_nobody():
    """Many clients that come once, and one that is limited."""
    limit = RateLimit(Limit(2, 3600.0, 2), Buckets(lambda until_s: until_s, shards=2, most=256))
    while limit.admit(asking(0.0, b"greedy")) is None:
        pass
    for number in range(20_000):
        assert limit.admit(asking(1.0, b"%d" % number)) is None
    assert len(limit.buckets) <= 512
    assert limit.admit(asking(2.0, b"greedy")) is not None


@pytest.mark.alone
def test_a_million_clients_cost_what_the_docs_say():
    """Resident memory of a process with a limit of the usual size: some 50 MB, whoever comes."""
    cost = many_clients.cost_of("memory")
    assert cost["refused"] == 0
    assert SHARDS * MOST / 2 < cost["kept"] <= SHARDS * MOST
    assert cost["bytes"] <= 64 << 20


def test_who_stays_away_is_forgotten():
    """An idle client's state expires."""
    limit = RateLimit(Limit(10, 1.0, 10))
    for number in range(100):
        limit.admit(asking(0.0, b"%d" % number))
    for _ in limit.buckets.shards:
        limit.sweep(5.0)
    assert len(limit.buckets) == 0


def test_a_trusted_proxy_is_not_its_clients():
    """Each of those behind it has a count of its own; a client that says so itself has none."""
    world = World(HOURLY + "server: {trusted_proxies: [10.0.0.0/8]}\n", orders=1)
    _, upstream = connected(world)
    proxy = world.client("10.0.0.1")
    one, other = get("/api/orders/", "X-Forwarded-For: 203.0.113.1"), get("/api/orders/", "X-Forwarded-For: 203.0.113.2")
    assert answers(proxy, upstream, one, one, one, other) == ["200", "200", "429", "200"]
    liar = world.client("192.0.2.66")
    lies = [get("/api/orders/", f"X-Forwarded-For: 203.0.113.{number}") for number in range(3)]
    assert answers(liar, upstream, *lies) == ["200", "200", "429"]
