"""From what a registry says to endpoints with their pools, and the numbers that outlive both."""

from __future__ import annotations

from random import Random

import pytest

from balancers.endpoint import EndpointState, Outcome
from balancers.outlier import OutlierRules
from discovery.instance import Instance, InstanceKey, InstanceState, Snapshot
from lbgateway.controlplane.port import Command
from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.dataplane.httpx_pool import HttpxPool
from lbgateway.dataplane.pool import Pool
from lbgateway.dataplane.reach import HttpxReach
from lbgateway.dataplane.rules import UpstreamRules
from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream, endpoint_key
from tests.support.playbook import HandLoop
from tests.support.transports import FakeTransport, Later


def instance(name: str = "orders-1", address: str = "10.0.0.1", port: int = 9001, **more) -> Instance:
    return Instance(InstanceKey("static", "", "", "", name), "orders", address, port, **more)


def upstream_of(*instances: Instance, balancer: str = "round_robin") -> Upstream:
    upstream = Upstream("orders", balancer, pool_idle_s=4.0, loop=HandLoop(), random=Random(1))  # type: ignore[arg-type]  # never asked to connect
    says(upstream, *instances)
    return upstream


def says(upstream: Upstream, *instances: Instance, now_s: float = 1.0) -> None:
    """The registry's word."""
    upstream.take(Snapshot("orders", 1, instances, 1, now_s), now_s)


def one(upstream: Upstream) -> GatewayEndpoint:
    [endpoint] = upstream.endpoints.endpoints.values()
    return endpoint


def idle_connection(endpoint: GatewayEndpoint, now_s: float = 1.0) -> UpstreamConnection:
    connection = UpstreamConnection(endpoint.pool)
    FakeTransport(Later()).start(connection)
    connection.keep_alive = True
    endpoint.pool.active += 1
    endpoint.pool.release(connection, now_s, reusable=True)
    return connection


# -- what the registry says ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "state", "picked", "retired"),
    [
        (InstanceState.PASSING, EndpointState.READY, True, False),
        (InstanceState.WARNING, EndpointState.READY, True, False),
        (InstanceState.SUSPECT, EndpointState.SUSPECT, True, False),
        (InstanceState.CRITICAL, EndpointState.CRITICAL, False, True),
        (InstanceState.MAINTENANCE, EndpointState.MAINTENANCE, False, True),
    ],
)
def test_each_state_of_the_registry(said: InstanceState, state: EndpointState, picked: bool, retired: bool):
    """Who gets no requests keeps no idle connections either."""
    upstream = upstream_of(instance(state=said, reason="since noon"))
    endpoint = one(upstream)
    assert (endpoint.state, endpoint.reason, endpoint.pool.retired) == (state, "since noon", retired)
    assert (upstream.endpoints.pick(2.0) is endpoint) is picked


def test_an_endpoint_knows_what_it_is_made_of():
    """The warm path needs no more than what a pick returns."""
    upstream = upstream_of(instance(weight=3, zone="a"))
    endpoint = one(upstream)
    assert (endpoint.id, endpoint.weight, endpoint.instance.zone) == ("orders-1", 3.0, "a")
    assert (endpoint.pool.host, endpoint.pool.port, endpoint.pool.idle_timeout_s) == ("10.0.0.1", 9001, 4.0)
    assert upstream.snapshot is not None
    assert upstream.snapshot.instances == (endpoint.instance,)


def test_weight_zero_drains():
    """No new requests, no idle connections."""
    endpoint = one(upstream_of(instance(weight=0)))
    assert (endpoint.state, endpoint.pool.retired) == (EndpointState.DRAINING, True)


def test_an_endpoint_that_turns_critical_lets_its_idle_connections_go_and_comes_back():
    """Retired and revived: the same endpoint, the same pool."""
    upstream = upstream_of(instance())
    endpoint = one(upstream)
    connection = idle_connection(endpoint)
    says(upstream, instance(state=InstanceState.CRITICAL))
    assert (endpoint.pool.retired, endpoint.pool.idle, connection.transport.is_closing()) == (True, [], True)
    says(upstream, instance())
    assert (one(upstream), endpoint.pool.retired) == (endpoint, False)


def test_the_same_instance_keeps_its_endpoint_and_its_numbers():
    """Only what the registry says of it is new."""
    upstream = upstream_of(instance())
    endpoint = one(upstream)
    endpoint.latency_s, endpoint.series.answered = 0.2, [0.2] * 7
    connection = idle_connection(endpoint)
    changed = instance(weight=5, tags=("blue",))
    says(upstream, changed)
    assert one(upstream) is endpoint
    assert (endpoint.instance, endpoint.weight, endpoint.latency_s, endpoint.series.total) == (changed, 5.0, 0.2, 7)
    assert endpoint.pool.idle == [connection]


@pytest.mark.parametrize("moved", [instance(address="10.0.0.2"), instance(port=9002)])
def test_an_instance_that_moved_begins_anew(moved: Instance):
    """Its latencies, failures and connections belong to the old address, which drains."""
    upstream = upstream_of(instance())
    old = one(upstream)
    old.latency_s, old.series.answered = 0.2, [0.2] * 7
    connection = idle_connection(old)
    says(upstream, moved)
    new = one(upstream)
    assert new is not old
    assert (new.latency_s, new.series.total, new.pool.host, new.pool.port) == (0.0, 0, moved.address, moved.port)
    assert (old.state, old.pool.retired, connection.transport.is_closing()) == (EndpointState.GONE, True, True)


def test_identity_is_the_key_and_the_address():
    """Two nodes may both own an id; nothing else of an instance counts."""
    assert endpoint_key(instance()) == endpoint_key(instance(weight=9, state=InstanceState.CRITICAL))
    assert len({endpoint_key(each) for each in (instance(), instance("orders-2"), instance(address="::1"), instance(port=1))}) == 4


def test_who_left_and_comes_back_while_its_requests_run_is_the_same():
    """Its count of active requests goes on."""
    upstream = upstream_of(instance())
    endpoint = one(upstream)
    endpoint.active = 1
    says(upstream)
    upstream.sweep(2.0)
    says(upstream, instance())
    assert (one(upstream), endpoint.active, endpoint.pool.retired) == (endpoint, 1, False)


# -- settings --------------------------------------------------------------------------------------


def test_another_balancer_takes_over_the_endpoints():
    """They keep all they know, and are offered at once."""
    upstream = upstream_of(instance())
    endpoint = one(upstream)
    endpoint.latency_s = 0.2
    upstream.configure("least_connections", 9.0)
    assert (upstream.balancer_name, upstream.endpoints.balancer.name) == ("least_connections", "least_connections")
    assert upstream.endpoints.pick(2.0) is endpoint
    assert (endpoint.latency_s, endpoint.pool.idle_timeout_s) == (0.2, 9.0)


def test_the_same_balancer_stays_where_it_is():
    """A reload costs round robin not its turn."""
    upstream = upstream_of(instance())
    before = upstream.endpoints.balancer
    upstream.configure("round_robin", 9.0)
    assert upstream.endpoints.balancer is before


def test_endpoints_to_come_have_the_new_idle_time():
    """Not only those that are there."""
    upstream = upstream_of()
    upstream.configure("round_robin", 9.0)
    says(upstream, instance())
    assert one(upstream).pool.idle_timeout_s == 9.0


async def test_another_way_to_the_instances_replaces_the_pools():
    """Those who left get one as well, as they may come back; the same way again changes nothing."""
    upstream = upstream_of(instance("orders-1"), instance("orders-2"))
    left, stays = upstream.endpoints.endpoints.values()
    left.active = 1
    says(upstream, stays.instance)
    upstream.reach_by(HttpxReach())
    first = stays.pool
    assert (type(first), first.retired, type(left.pool), left.pool.retired) == (HttpxPool, False, HttpxPool, True)
    upstream.reach_by(HttpxReach())
    assert stays.pool is first
    upstream.reach_by(None)
    assert (type(stays.pool), first.retired) == (Pool, True)


# -- time, and the end -----------------------------------------------------------------------------


def test_the_sweep_closes_old_connections_and_forgets_who_left():
    """Who still has a request stays until it has ended."""
    upstream = upstream_of(instance(), instance("orders-2", "10.0.0.2"))
    staying, leaving = upstream.endpoints.endpoints.values()
    connection = idle_connection(staying, now_s=1.0)
    leaving.active = 1
    says(upstream, staying.instance)
    upstream.sweep(4.9)
    assert (connection.transport.is_closing(), list(upstream.endpoints.leaving.values())) == (False, [leaving])
    leaving.active = 0
    upstream.sweep(5.0)
    assert (connection.transport.is_closing(), upstream.endpoints.leaving) == (True, {})


def test_a_closed_upstream_finishes_what_runs_and_gets_nothing_new():
    """Its service is in no configuration any more."""
    upstream = upstream_of(instance())
    endpoint = one(upstream)
    endpoint.active = 1
    connection = idle_connection(endpoint)
    upstream.close(2.0)
    assert (upstream.endpoints.pick(2.0), upstream.endpoints.endpoints) == (None, {})
    assert (endpoint.pool.retired, connection.transport.is_closing(), endpoint.active) == (True, True, 1)


def test_the_rate_follows_the_requests_and_smooths_them():
    """Three tenths of the way with each look; it counts what came since the last one."""
    upstream = upstream_of()
    upstream.requests_total = 100
    upstream.rate(2.0)
    assert upstream.requests_per_second == pytest.approx(15.0)
    upstream.rate(1.0)
    assert upstream.requests_per_second == pytest.approx(10.5)
    upstream.requests_total += 1000
    for _ in range(50):
        upstream.rate(1.0)
        upstream.requests_total += 20
    assert upstream.requests_per_second == pytest.approx(20.0, rel=0.01)


def test_latencies_are_forgotten_at_the_second_turn():
    """The window is of the last 30 to 60 seconds."""
    upstream = upstream_of(instance())
    series = one(upstream).series
    series.record("ok", 0.02)
    upstream.rotate()
    assert series.quantile(0.5) is not None
    upstream.rotate()
    assert (series.quantile(0.5), series.total) == (None, 1)


# -- what operators say -----------------------------------------------------------------------------


def orders(upstream: Upstream, verb: str, now_s: float = 2.0, **more) -> None:
    upstream.obey(one(upstream), Command(verb, "ann", **more), now_s)


def test_who_is_drained_by_order_keeps_no_idle_connection():
    """And gets some again when the order is taken back."""
    upstream = upstream_of(instance())
    idle_connection(one(upstream))
    orders(upstream, "drain")
    assert (one(upstream).state, one(upstream).pool.retired, upstream.endpoints.pick(2.0)) == (EndpointState.DRAINING, True, None)
    orders(upstream, "undrain")
    assert (one(upstream).state, one(upstream).pool.retired, upstream.endpoints.pick(2.0)) == (EndpointState.READY, False, one(upstream))


def test_an_ejection_by_order_ends_with_its_time_and_without_a_trial():
    """Nor does panic undo it."""
    upstream = upstream_of(instance())
    upstream.guard(UpstreamRules(outlier=OutlierRules(), panic_threshold=0.5), 1.0)
    orders(upstream, "eject", for_s=30.0)
    upstream.sweep(31.9)
    assert (one(upstream).reason, upstream.endpoints.pick(31.9), upstream.endpoints.due) == ("ejected by ann", None, [])
    upstream.sweep(32.0)
    assert (one(upstream).state, upstream.orders) == (EndpointState.READY, {})


def test_uneject_ends_the_ejection_that_failures_brought():
    """As if nothing had failed."""
    upstream = upstream_of(instance(), instance("orders-2"))
    upstream.guard(UpstreamRules(outlier=OutlierRules()), 1.0)
    bad = upstream.endpoints.ready[0]
    for _ in range(5):
        upstream.outliers.failed(bad, Outcome.FAILED_REMOTE, 2.0, 2.0)
    assert bad.state is EndpointState.EJECTED
    upstream.obey(bad, Command("uneject", "ann"), 3.0)
    assert (bad.state, bad.failures_in_row) == (EndpointState.READY, 0)


def test_an_instance_remembers_how_its_state_changed():
    """The first state is none."""
    upstream = upstream_of(instance())
    assert one(upstream).history is None
    says(upstream, instance(state=InstanceState.CRITICAL, reason="no disk"), now_s=5.0)
    says(upstream, instance(), now_s=6.0)
    assert [tuple(change) for change in one(upstream).remembers().changes] == [
        (5.0, "ready", "critical", "no disk"),
        (6.0, "critical", "ready", None),
    ]
