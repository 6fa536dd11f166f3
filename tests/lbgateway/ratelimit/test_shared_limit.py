"""A limit that all gateways count together, with the test as its store."""

from __future__ import annotations

from typing import Any

import pytest

from lbgateway.errors import Overloaded, RateLimited
from lbgateway.policies.buckets import SHARDS
from lbgateway.policies.gcra import Limit
from lbgateway.policies.wait import Wait
from lbgateway.ratelimit.limiter import Limits
from lbgateway.ratelimit.share import SLOWEST_REFRESH_S, Share
from lbgateway.ratelimit.shared_limit import MOST, SharedLimit
from tests.lbgateway.policies.test_rate_limit import asking
from tests.support import many_clients
from tests.support.playbook import World, get, ok

HOURLY = Limit(100, 3600.0, 100)


class HandStore:
    """Notes who is asked about, and answers when the test says so."""

    def __init__(self, *, down: bool = False, late: bool = False, on_failure: str = "local", gateways: int = 1) -> None:
        self.down, self.late, self.on_failure = down, late, on_failure
        self.epoch = 0
        self.due: list[Share] = []
        self.hurried = 0
        self.gateways = lambda: gateways

    def ask(self, share: Share) -> None:
        share.asked = True
        self.due.append(share)

    def hurry(self) -> None:
        self.hurried += 1

    def answers(self, ahead_s: float, granted: int = 0, now_s: float = 0.0) -> None:
        """The store has counted the one who was asked about."""
        [share] = self.due
        self.due.clear()
        flight, share.flight, share.asked = share.flight, None, False
        share.hear(share.spent, ahead_s, granted, now_s)
        if flight is not None:
            flight.land()


def limit_over(store: HandStore, limit: Limit = HOURLY) -> SharedLimit:
    return SharedLimit(limit, store)  # type: ignore[arg-type]  # as much of a store as is used


class Waiter:
    """An exchange that is parked."""

    def __init__(self, wait: Wait, exchange: Any) -> None:
        self.wait, self.exchange = wait, exchange
        self.verdict: Any = "waits"
        wait.flight.join(self)

    def on_landed(self) -> None:
        self.verdict = self.wait.decide(self.exchange)


def parked(limit: SharedLimit, now_s: float = 0.0) -> Waiter:
    exchange = asking(now_s)
    wait = limit.admit(exchange)
    assert isinstance(wait, Wait)
    return Waiter(wait, exchange)


def test_a_first_request_passes_and_the_others_wait_for_the_stores_word():
    """One question for all of them; it says how many may pass."""
    store = HandStore()
    limit = limit_over(store)
    assert limit.admit(asking(0.0)) is None
    waiters = [parked(limit) for _ in range(3)]
    assert len(store.due) == 1

    store.answers(36.0 * 100, granted=2)

    assert store.hurried == 3
    assert [type(each.verdict) for each in waiters] == [type(None), type(None), RateLimited]
    assert waiters[2].verdict.headers == b"Retry-After: 36\r\n"


def test_a_warm_client_waits_for_nothing_and_is_reported_ahead_of_need():
    """When a tenth of the allowance is left, if the client was slow before."""
    store = HandStore()
    limit = limit_over(store, Limit(1000, 3600.0, 1000))
    limit.admit(asking(0.0))
    store.answers(3.6, now_s=2.0)
    asked_after = 0
    while not store.due:
        assert limit.admit(asking(2.0)) is None
        asked_after += 1
    assert asked_after == 45  # the allowance is 49
    assert [limit.admit(asking(2.0)) for _ in range(4)] == [None] * 4
    parked(limit, 2.0)


def test_who_is_over_the_limit_is_refused_without_a_question():
    """However often: what the store has said is enough."""
    store = HandStore()
    limit = limit_over(store)
    limit.admit(asking(0.0))
    store.answers(36.0 * 100)
    assert all(isinstance(limit.admit(asking(number / 1000)), RateLimited) for number in range(1000))
    assert store.due == []


def test_what_others_have_used_is_missing_here():
    """The store's word counts, not what this gateway has let pass."""
    store = HandStore()
    limit = limit_over(store)
    limit.admit(asking(0.0))
    store.answers(36.0 * 100)
    refused = asking(0.0)
    assert isinstance(limit.admit(refused), RateLimited)
    assert b"r=0;t=36\r\n" in refused.answer_lines
    assert store.due == []
    assert limit.admit(asking(37.0)) is None


def test_an_old_answer_is_refreshed_with_the_next_request():
    """Others may have used a lot meanwhile."""
    store = HandStore()
    limit = limit_over(store, Limit(1000, 3600.0, 1000))
    limit.admit(asking(0.0))
    store.answers(3.6)
    assert limit.admit(asking(0.5)) is None
    assert store.due == []
    assert limit.admit(asking(SLOWEST_REFRESH_S + 0.1)) is None
    assert len(store.due) == 1


def test_while_the_store_is_slow_nobody_waits_for_it():
    """The estimate decides; the first answers are taken as they come."""
    store = HandStore()
    limit = limit_over(store)
    limit.admit(asking(0.0))
    waiter = parked(limit)
    store.late = True
    flight, store.due[0].flight = store.due[0].flight, None
    flight.land()

    assert waiter.verdict is None
    assert [limit.admit(asking(0.0)) for _ in range(98)] == [None] * 98
    assert isinstance(limit.admit(asking(0.0)), RateLimited)


@pytest.mark.parametrize(("gateways", "passed"), [(1, 100), (4, 25), (200, 1)])
def test_without_the_store_each_gateway_takes_its_part(gateways, passed):
    """Together as many as before; at least one each."""
    limit = limit_over(HandStore(down=True, gateways=gateways))
    verdicts = [limit.admit(asking(0.0)) for _ in range(150)]
    assert sum(verdict is None for verdict in verdicts) == passed
    assert isinstance(verdicts[-1], RateLimited)
    assert limit.admit(asking(36.0 * gateways)) is None


def test_without_the_store_all_may_pass_or_nobody():
    """As the operator has decided; refusals say when to come back."""
    limit = limit_over(HandStore(down=True, on_failure="open"))
    assert all(limit.admit(asking(0.0)) is None for _ in range(500))

    refused = limit_over(HandStore(down=True, on_failure="closed")).admit(asking(0.0))
    assert isinstance(refused, Overloaded)


def test_after_an_outage_the_store_is_asked_about_everybody_anew():
    """It may have forgotten, or others may have counted meanwhile."""
    store = HandStore()
    limit = limit_over(store, Limit(1000, 3600.0, 1000))
    limit.admit(asking(0.0))
    store.answers(3.6)
    store.epoch += 1
    assert limit.admit(asking(0.0)) is None
    assert len(store.due) == 1
    parked(limit)


def test_what_was_granted_to_one_that_left_is_used_by_the_next():
    """It has been counted already."""
    store = HandStore()
    limit = limit_over(store)
    limit.admit(asking(0.0))
    waiter = parked(limit)
    waiter.wait.flight.leave(waiter)
    store.answers(36.0 * 100, granted=1)
    passed = asking(0.0)
    assert limit.admit(passed) is None
    assert b'RateLimit: "default";r=0;' in passed.answer_lines
    assert isinstance(limit.admit(asking(0.0)), RateLimited)


def test_an_exchange_waits_with_its_body_and_goes_on():
    """The whole way: parked, admitted by the answer, forwarded."""
    store = HandStore()
    world = World("rate_limit: {default: {requests: 100, per: 1h}}\n", limits=Limits("test", store), orders=1)  # type: ignore[arg-type]  # as above
    first, second = world.client().sends(get()), world.client().sends(get())
    world.connects().sends(ok())
    assert first.got().startswith(b"HTTP/1.1 200")
    assert second.got() == b""

    store.answers(36.0, granted=1)
    world.turn()
    world.upstreams[0].sends(ok())

    assert second.got().startswith(b"HTTP/1.1 200")
    assert world.left == []


def test_the_clients_are_bounded_and_forgotten():
    """As in memory."""
    store = HandStore(late=True)
    limit = limit_over(store, Limit(10, 1.0, 10))
    for number in range(1000):
        limit.admit(asking(0.0, b"%d" % number))
    for share in store.due:
        share.asked = False
    for _ in limit.shares.shards:
        limit.sweep(5.0)
    assert len(limit.shares) == 0


@pytest.mark.alone
def test_a_million_clients_cost_what_the_docs_say():
    """Half as many as in memory are remembered, for as many bytes: some 50 MB of a process."""
    cost = many_clients.cost_of("redis")
    assert cost["refused"] == 0
    assert SHARDS * MOST / 2 < cost["kept"] <= SHARDS * MOST
    assert cost["bytes"] <= 72 << 20
