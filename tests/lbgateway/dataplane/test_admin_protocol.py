"""The port of the gateway's own: who answers there, and who still gets in."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lbgateway.dataplane.admin_protocol import SPARE, AdminProtocol, choose_own
from lbgateway.dataplane.asgi import AsgiExchange
from lbgateway.dataplane.handlers import Refusal
from lbgateway.dataplane.head import RequestHead
from lbgateway.dataplane.plane import Limits
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.errors import BadRequest, GatewayError
from tests.support.playbook import World, get, ok
from tests.support.transports import FakeTransport


@pytest.mark.parametrize(
    ("method", "target", "error", "kind"),
    [
        (b"GET", b"/health", None, AsgiExchange),
        (b"GET", b"/api/orders/1", None, AsgiExchange),
        (b"POST", b"http://gw.example/admin/upstreams", None, AsgiExchange),
        (b"OPTIONS", b"*", None, AsgiExchange),
        (b"GET", b"*", None, AsgiExchange),
        (b"TRACE", b"/health", None, Refusal),
        (b"GET", b"/a%2fb", None, Refusal),
        (b"GET", b"/health", BadRequest(), Refusal),
    ],
)
def test_the_application_answers_all_that_is_a_request(method: bytes, target: bytes, error: GatewayError | None, kind: type[Any]):
    """Paths of routes, too: none is proxied from here."""
    head = RequestHead()
    head.method, head.target = method, target
    assert type(choose_own(World().plane, head, error)) is kind


def test_what_the_public_port_remembers_is_not_proxied_here():
    """A target that is known is a short way to an upstream: not from this port."""
    world = World(orders=1)
    world.client().sends(get("/api/orders/1"))
    world.connects().sends(ok())
    head = RequestHead()
    head.method, head.target = b"GET", b"/api/orders/1"
    assert head.target in world.plane.known_targets
    assert type(choose_own(world.plane, head, None)) is AsgiExchange


class Noted(AdminProtocol):
    """Writes down what its own rules were asked for, and is done with it."""

    asked: ClassVar[list[bytes]] = []

    class Done:
        def begin(self, protocol: GatewayProtocol, head: RequestHead) -> None:
            Noted.asked.append(head.target)
            protocol.finish(keep_alive=True)

    choose = staticmethod(lambda plane, head, error: Noted.Done())  # type: ignore[assignment]  # as much of a handler as is asked


def test_a_request_that_repeats_itself_goes_by_the_rules_of_this_port_each_time():
    """Also one that the public port has learnt to know as a service's."""
    world = World(orders=1)
    public = world.client().sends(get("/api/orders/1"))
    upstream = world.connects().sends(ok())
    public.sends(get("/api/orders/1"))
    upstream.sends(ok())
    assert b"GET /api/orders/1" in world.plane.known_lines
    protocol = Noted(world.plane)
    FakeTransport(world.later, peer="192.0.2.7").start(protocol)
    for _ in range(3):
        protocol.data_received(get("/api/orders/1"))
    assert Noted.asked == [b"/api/orders/1"] * 3


def test_operators_get_in_when_clients_have_taken_every_place():
    """A few of them: this port has its bound, too."""
    plane = World().plane
    plane.limits = Limits(max_connections=2)
    clients = [GatewayProtocol(plane) for _ in range(3)]
    assert [plane.accept(each) for each in clients] == [True, True, False]
    operators = [plane.accept(AdminProtocol(plane)) for _ in range(SPARE)]
    assert operators == [True] * (SPARE - 1) + [False]
