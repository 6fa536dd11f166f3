"""What all exchanges share: small decisions by tables, the sweep with a loop of its own."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from lbgateway.dataplane.plane import SWEEP_S, DataPlane, Limits
from lbgateway.dataplane.routing import RouteTable
from tests.support.playbook import HandLoop, World, get


def plane() -> DataPlane:
    return DataPlane(HandLoop())  # type: ignore[arg-type]  # the part of a loop that it needs


# -- decisions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (b"/health", True),
        (b"/health/", True),
        (b"/health/ready", True),
        (b"/healthy", False),
        (b"/admin/upstreams", True),
        (b"/administration", False),
        (b"/metrics", True),
        (b"/api/health", False),
        (b"/", False),
    ],
)
def test_a_prefix_of_ours_is_whole_segments(path: bytes, own: bool):
    """A service may have a path that only begins like one of ours."""
    assert plane().owns(path) is own


def test_own_prefixes_are_as_configured():
    """Without them all paths are the services'."""
    mine = plane()
    mine.own_prefixes = (b"/gw",)
    assert (mine.owns(b"/gw/x"), mine.owns(b"/health")) == (True, False)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("fe80::1%eth0", True),
        ("fe80::1", True),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_who_is_a_trusted_proxy(peer: str, trusted: bool):
    """An IPv4 peer of a dual-stack socket is that IPv4 peer; a zone is no part of the address; a unix socket has no peer."""
    mine = plane()
    mine.trusted = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10"))
    assert mine.trusts(peer) is trusted


def test_nobody_is_trusted_unless_configured():
    """Not even the own machine."""
    assert [plane().trusts(peer) for peer in ("127.0.0.1", "::1", "10.0.0.1")] == [False, False, False]


def test_trust_given_and_taken_reaches_open_connections():
    """A proxy that is no longer trusted must not go on speaking for others over a connection that it keeps."""
    world = World()
    client = world.client()
    believed = [client.protocol.trusted]
    for networks in (["0.0.0.0/0", "::/0"], []):
        world.plane.trust(map(ipaddress.ip_network, networks))
        believed.append(client.protocol.trusted)
    assert believed == [False, True, False]


def test_each_connection_is_counted():
    """Also one that is refused: it was accepted by the kernel, and answered."""
    world = World()
    world.plane.limits = Limits(max_connections=1)
    world.client()
    world.client()
    assert world.plane.metrics.connections_accepted == 2


def test_one_connection_too_many_is_refused_and_the_next_one_after_a_leave_is_not():
    """503, and the end is said; those that are there go on."""
    world = World()
    world.plane.limits = Limits(max_connections=2)
    first, second, third = world.client(), world.client(), world.client()
    assert third.got().startswith(b"HTTP/1.1 503 ")
    assert [each.transport.ended for each in (first, second, third)] == [False, False, True]
    first.ends()
    third.ends()
    fourth = world.client()
    assert (fourth.got(), fourth.transport.ended, second.closed) == (b"", False, False)


def test_the_series_of_a_route_are_found_once():
    """A route that leads to two services has the series of both, and they outlive the route."""
    world = World()
    route: Any = world.client().sends(get("/api/orders/1")).exchange.route
    series = world.plane.series_of(route, "orders")
    assert route.series["orders"] is series
    assert world.plane.series_of(route, "orders") is series
    assert world.plane.series_of(route, "users") is not series
    assert (series.route, series.service) == (route.label, "orders")


def test_a_route_that_is_gone_counts_for_nobody():
    """Its series disappear with the table that had it; an exchange that still runs on it brings none back."""
    world = World()
    route: Any = world.client().sends(get("/api/orders/1")).exchange.route
    world.plane.series_of(route, "orders")
    world.plane.use_routes(RouteTable(()))
    assert world.plane.metrics.routes == {}
    world.plane.series_of(route, "users")
    assert world.plane.metrics.routes == {}
    world.plane.use_routes(RouteTable((route,)))
    assert world.plane.series_of(route, "users") is world.plane.metrics.routes[route.label, "users"]


def test_what_no_route_takes_is_counted_over_all_reloads():
    """It belongs to no table."""
    world = World()
    world.client().sends(get("/nowhere"))
    world.plane.use_routes(RouteTable(()))
    world.client().sends(get("/nowhere"))
    assert world.plane.metrics.routes == {("", ""): world.plane.unrouted}
    assert world.plane.unrouted.requests == {("GET", 404): 2}


# -- the sweep -------------------------------------------------------------------------------------


class Ticked:
    """An exchange, a client connection or an upstream, as the sweep sees it."""

    def __init__(self, handler: object = None) -> None:
        self.handler = handler
        self.calls: list[str] = []

    def on_tick(self, now_s: float) -> None:
        self.calls.append("tick")

    def sweep(self, now_s: float) -> None:
        self.calls.append("sweep")

    def rate(self, elapsed_s: float) -> None:
        self.calls.append("rate")

    def rotate(self) -> None:
        self.calls.append("rotate")


def swept() -> tuple[DataPlane, Ticked, Ticked, Ticked, Ticked]:
    mine = plane()
    exchange, idle, busy, upstream = Ticked(), Ticked(), Ticked(handler=object()), Ticked()
    mine.active = {exchange}  # type: ignore[arg-type]  # the part that the sweep calls
    mine.connections = {idle, busy}  # type: ignore[arg-type]  # as above
    mine.upstreams = {"orders": upstream}  # type: ignore[dict-item]  # as above
    return mine, exchange, idle, busy, upstream


def test_the_sweep_ticks_whatever_has_a_deadline():
    """A connection whose request is being answered has none of its own: its handler has."""
    mine, exchange, idle, busy, upstream = swept()
    mine.start()
    assert (exchange.calls, idle.calls, busy.calls, upstream.calls) == (["tick"], ["tick"], [], ["sweep"])
    assert mine.metrics.requests_active == 1
    assert mine.date_line.startswith(b"Date: ")
    assert mine.date_line.endswith(b" GMT\r\n")


def test_the_sweep_goes_on_until_it_is_stopped():
    """It asks the loop for the next one each time."""
    mine, exchange, *_ = swept()
    mine.start()
    loop: Any = mine.loop
    [(delay_s, again)] = loop.timers
    assert delay_s == SWEEP_S
    loop.timers.clear()
    again()
    assert (exchange.calls, len(loop.timers)) == (["tick", "tick"], 1)
    mine.stop()
    assert loop.timers == []
    mine.stop()


@pytest.mark.parametrize(("elapsed_s", "calls"), [(0.0, ["sweep"]), (1.5, ["sweep", "rate"]), (31.0, ["sweep", "rate", "rotate"])])
def test_rates_and_windows_go_more_slowly(elapsed_s: float, calls: list[str]):
    """Once a second, and every 30 s."""
    mine, *_, upstream = swept()
    mine._rated_at_s -= elapsed_s
    mine._rotated_at_s -= elapsed_s
    mine.start()
    assert upstream.calls == calls
    mine._sweep()
    assert upstream.calls == [*calls, "sweep"]


def test_the_lag_of_the_loop_is_how_late_the_sweep_comes():
    """Coming early is no lag."""
    mine, *_ = swept()
    mine.start()
    assert mine.metrics.loop_lag_s < 0.05
    mine._swept_at_s -= 5.0
    mine._sweep()
    assert 4.8 < mine.metrics.loop_lag_s < 5.1
    mine._sweep()
    assert mine.metrics.loop_lag_s == 0.0
