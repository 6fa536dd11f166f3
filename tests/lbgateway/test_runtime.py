"""The composition root: what becomes of settings, of registry news, and of a request for what is not there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from discovery.instance import Catalog, KeyValue, Snapshot, SnapshotState, SourceStatus
from discovery.static import static_instance
from lbgateway.config import Settings, load_text
from lbgateway.errors import NoEndpoint, NoRoute
from lbgateway.parts import Parts
from lbgateway.runtime import Gateway

BASE = "auth: {default: none}\nlogging: {access_log: false}\n"
STATIC = "discovery: {provider: static}\n"
SECRET = "0123456789abcdef0123456789abcdef"


def settings_of(text: str = STATIC) -> Settings:
    return load_text(BASE + text, "gateway.yaml", {})


def gateway_of(text: str = STATIC) -> Gateway:
    return Gateway(settings_of(text), asyncio.get_running_loop())


class ScriptedSource:
    """A registry that says what the test lets it say."""

    provider = "consul"

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[Snapshot], None]] = {}
        self.known: dict[str, Snapshot] = {}
        self.tell_catalog: Callable[[Catalog], None] = lambda _: None
        self.last_error: str | None = None

    async def start(self) -> None:
        pass

    def watch(self, service: str, listener: Callable[[Snapshot], None]) -> None:
        self.listeners[service] = listener

    def unwatch(self, service: str) -> None:
        del self.listeners[service]

    def watch_catalog(self, listener: Callable[[Catalog], None]) -> None:
        self.tell_catalog = listener

    def snapshot(self, service: str) -> Snapshot | None:
        return self.known.get(service)

    def status(self) -> SourceStatus:
        return SourceStatus("consul", SnapshotState.FRESH if self.known else None, None, self.last_error)

    async def aclose(self) -> None:
        pass

    def registered(self, **tags: str) -> None:
        self.tell_catalog(Catalog({name: frozenset([tag]) for name, tag in tags.items()}, 0.0))

    def tell(self, service: str, *ports: int, tags: tuple[str, ...] = ()) -> None:
        instances = tuple(static_instance(service, "127.0.0.1", port, tags=tags) for port in ports)
        self.known[service] = Snapshot(service, 1, instances, 7, 0.0)
        self.listeners[service](self.known[service])


class Scripted(Gateway):
    """A gateway over a `ScriptedSource`."""

    source: ScriptedSource


class ScriptedParts(Parts):
    def source(self, *_given: object) -> Any:
        return ScriptedSource()


async def scripted(text: str = "") -> Scripted:
    gateway = Scripted(settings_of(text), asyncio.get_running_loop(), ScriptedParts())
    await gateway.registry.start()
    return gateway


ENABLED = "lbgateway.enable=true"


async def test_a_reload_keeps_the_endpoints_and_takes_everything_else():
    """Numbers survive; limits, routes and balancers are the new ones; and a restart stays needed until it comes."""
    services = "services: {orders: {instances: ['127.0.0.1:9001'], balancer: %s}}\n"
    gateway = gateway_of(STATIC + services % "p2c")
    await gateway.start()
    upstream = gateway.plane.upstreams["orders"]
    [endpoint] = upstream.endpoints.ready
    endpoint.latency_s = 0.5
    for _ in range(2):
        with capture_logs() as logs:
            gateway.reload(settings_of(STATIC + "server: {port: 9, max_headers: 7}\n" + services % "round_robin"))
        assert [event["key"] for event in logs] == ["server.port"]
    assert gateway.plane.upstreams["orders"] is upstream
    assert [each.latency_s for each in upstream.endpoints.ready] == [0.5]
    assert (upstream.balancer_name, gateway.plane.limits.max_headers) == ("round_robin", 7)
    gateway.reload(settings_of(STATIC))
    assert gateway.plane.upstreams == {}
    await gateway.aclose()


async def test_a_reload_that_fails_changes_nothing():
    """Half of a configuration is worse than the old one."""
    gateway = gateway_of()
    before = (gateway.settings, gateway.plane.routes, gateway.plane.limits, gateway.plane.application)
    broken: Any = settings_of().model_copy(update={"routes": (None,)})
    with pytest.raises(AttributeError):
        gateway.reload(broken)
    assert (gateway.settings, gateway.plane.routes, gateway.plane.limits, gateway.plane.application) == before


async def test_services_come_with_the_registry_and_go_with_their_tag():
    """A request finds the upstream as soon as the name opts in."""
    gateway = await scripted()
    gateway.source.registered(orders=ENABLED, shy="v1")
    gateway.source.tell("orders", 9001, 9002)
    assert {name: len(upstream.endpoints.ready) for name, upstream in gateway.plane.upstreams.items()} == {"orders": 2}
    gateway.source.registered(orders="v1", shy="v1")
    assert gateway.plane.upstreams == {}


async def test_the_start_is_told_with_what_was_found():
    """The first line of a log says whether the registry has been heard of."""
    gateway = await scripted("services: {orders: {}}\n")
    told = gateway.summary()
    assert (told["routes"], told["services"], told["discovery"], told["discovery_state"]) == (1, 1, "consul", "nothing heard yet")
    gateway.source.tell("orders", 9001)
    assert gateway.summary()["discovery_state"] == "fresh"


async def test_a_named_service_is_there_before_its_instances():
    """503, not 404."""
    gateway = await scripted("services: {orders: {}}\n")
    assert not gateway.plane.upstreams["orders"].endpoints.ready


async def test_before_the_registry_has_answered_nobody_knows_what_there_is():
    """503 at first; 404 once the registry has said that there is no such service."""
    gateway = await scripted()
    assert isinstance(gateway.plane.missing_upstream("orders"), NoEndpoint)
    gateway.source.registered()
    assert isinstance(gateway.plane.missing_upstream("orders"), NoRoute)


async def test_the_hint_for_an_unexposed_service_comes_once_for_each():
    """A scanner cannot fill the log, nor hide one service behind another; and consul is no service to expose."""
    gateway = await scripted()
    gateway.source.registered(orders="v1", users="v1", consul="")
    with capture_logs() as logs:
        for name in ("orders", "users", "orders", "consul", "absent", "users"):
            assert isinstance(gateway.plane.missing_upstream(name), NoRoute)
    assert [event["service"] for event in logs] == ["orders", "users"]
    assert all("lbgateway.enable=true" in event["what_to_do"] for event in logs)


async def test_a_start_waits_for_the_registry_but_not_for_ever():
    """Until all is known, until it is known to fail, or until the time is over."""
    gateway = await scripted()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await gateway.settle(0.05)
    assert loop.time() - began_s >= 0.05
    gateway.source.registered(orders=ENABLED)
    loop.call_later(0.02, gateway.source.tell, "orders", 9001)
    async with asyncio.timeout(5):
        await gateway.settle(60)
        assert gateway.plane.upstreams["orders"].endpoints.ready
        silent = await scripted()
        silent.source.last_error = "All connection attempts failed"
        await silent.settle(60)


async def test_log_settings_that_do_not_change_keep_the_log():
    """Closing one waits for its reader, which a reload should not make requests do."""
    gateway = gateway_of()
    assert gateway.plane.access_log is None
    logging = {"access_log": True, "sample": 0.5}
    noisy = gateway.settings.model_copy(update={"logging": gateway.settings.logging.model_copy(update=logging)})
    gateway.reload(noisy)
    first = gateway.plane.access_log
    assert first is not None
    gateway.reload(noisy)
    assert gateway.plane.access_log is first
    gateway.reload(settings_of())
    assert gateway.plane.access_log is None


async def test_a_secret_makes_a_verifier_and_its_failures_are_counted():
    """The same one for routes and for admin tokens."""
    gateway = Gateway(
        load_text(f"auth: {{jwt: {{secret: {SECRET}}}}}\nlogging: {{access_log: false}}\n{STATIC}", "gateway.yaml", {}),
        asyncio.get_running_loop(),
    )
    [route] = gateway.plane.routes.routes
    assert route.admit
    gateway._count_auth_failure("expired")
    assert gateway.plane.metrics.auth_failures["expired"] == 1


async def test_the_end_closes_all_connections_to_instances():
    """Idle ones at once; and draining is told before."""
    gateway = gateway_of(STATIC + "services: {orders: {instances: ['127.0.0.1:9001']}}\n")
    await gateway.start()
    upstream = gateway.plane.upstreams["orders"]
    [endpoint] = upstream.endpoints.ready
    gateway.drain()
    assert gateway.plane.draining
    await gateway.aclose()
    assert endpoint.pool.retired
    assert not upstream.endpoints.ready


def prefixes(gateway: Gateway) -> list[str]:
    return [route.label for route in gateway.plane.routes.routes]


async def test_tags_bring_routes_and_settings_and_take_them_along():
    """The upstream stays, with all it knows; and what is refused is shown."""
    gateway = await scripted()
    gateway.source.registered(orders=ENABLED)
    gateway.source.tell("orders", 9001)
    upstream = gateway.plane.upstreams["orders"]
    gateway.source.tell("orders", 9001, tags=("lbgateway.prefix=/api/orders/v1", "lbgateway.balancer=p2c", "lbgateway.prefix=/shop"))
    gateway.composer.flush()
    assert prefixes(gateway) == ["/api/{service}", "/api/orders/v1"]
    assert (gateway.plane.upstreams["orders"], upstream.balancer_name) == (upstream, "p2c")
    assert [route["prefix"] for route in gateway.view.routes() if route["error"]] == ["/shop"]
    gateway.source.tell("orders", 9001)
    gateway.composer.flush()
    assert (prefixes(gateway), upstream.balancer_name) == (["/api/{service}"], "ewma")


async def test_a_route_of_tags_outlives_the_registrys_memory():
    """503 while it lingers; 404 as soon as the service may not be reached any more."""
    gateway = await scripted()
    gateway.source.registered(orders=ENABLED)
    gateway.source.tell("orders", 9001, tags=("lbgateway.prefix=/api/orders/v1",))
    gateway._on_gone("orders")
    gateway.composer.flush()
    assert isinstance(gateway.plane.missing_upstream("orders"), NoRoute), "it is registered, so it was the exposure that ended"
    gateway.source.tell("orders", 9001, tags=("lbgateway.prefix=/api/orders/v1",))
    gateway.registry._known = {}
    gateway._on_gone("orders")
    gateway.composer.flush()
    assert isinstance(gateway.plane.missing_upstream("orders"), NoEndpoint)
    assert prefixes(gateway) == ["/api/{service}", "/api/orders/v1"]


async def test_the_store_exposes_what_it_names():
    """Until it names it no more."""
    gateway = await scripted("discovery: {consul: {config_key: k}}\n")
    gateway.source.registered(orders="v1")
    for text, known in ((b"services: {orders: {}}", ["orders"]), (b"{}", [])):
        gateway.composer.heard_key(KeyValue("k", text))
        async with asyncio.timeout(5):
            await gateway.settle(1)
            while sorted(gateway.plane.upstreams) != known:  # noqa: ASYNC110 a thread reads the text
                await asyncio.sleep(0.001)
    await gateway.aclose()


def test_a_gateway_starts_without_what_only_some_gateways_need():
    """The client of a Redis (which the breaker would bring along), and what reads the answers of name servers: a quarter of the start."""
    heavy = ("redis", "pybreaker", "dns", "consul", "lbgateway.telemetry.spans")
    code = f"import sys, lbgateway.server, lbgateway.runtime; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
