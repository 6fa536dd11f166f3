"""When the configuration is put together again, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from discovery.instance import Instance, KeyValue
from lbgateway.composition.compose import Composition
from lbgateway.composition.composer import LINGER_S, LONGEST_REST_S, LONGEST_S, QUIET_S, REST, Composer
from lbgateway.composition.stored import StoredConfig
from lbgateway.config import Settings
from tests.lbgateway.composition.registrations import instance, settings_of, snapshot
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

GRANTS = "discovery: {consul: {tag_prefixes: {orders: [/shop, /api], users: [/shop]}}}\n"


class Scene:
    """A composer with everything that it put into force, and when."""

    def __init__(self, text: str = "", stored: StoredConfig | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.applied: list[tuple[float, Composition]] = []
        self.exposed: set[str] = set()
        self.broken = False
        self.takes_s = 0.0
        self.composer = Composer(
            settings_of(text), stored, loop=self.loop, exposed=lambda: self.exposed, apply=self.apply, aside=self.aside
        )

    async def aside(self, function: Callable[[], Any]) -> Any:
        await asyncio.sleep(0.001)
        return function()

    def apply(self, composition: Composition) -> None:
        if self.broken:
            raise RuntimeError("a bug")
        assert isinstance(self.loop, VirtualTimeLoop)
        self.loop.spend(self.takes_s)
        self.applied.append((self.loop.time(), composition))

    def see(self, service: str, *instances: Instance) -> None:
        self.exposed.add(service)
        self.composer.saw(snapshot(service, *instances))

    async def quiet(self, seconds: float = 1.0) -> list[str]:
        """The prefixes that tags have brought, after a while."""
        await asyncio.sleep(seconds)
        return self.prefixes()

    def prefixes(self) -> list[str]:
        if not self.applied:
            return []
        composition = self.applied[-1][1]
        pairs = zip(composition.settings.routes, composition.sources, strict=True)
        return [route.prefix for route, source in pairs if source == "tags"]


def play(story: Callable[[Scene], Awaitable[None]], *arguments: Any) -> None:
    async def whole() -> None:
        scene = Scene(*arguments)
        await story(scene)
        scene.composer.close()
        before = len(scene.applied)
        await asyncio.sleep(2 * LINGER_S)
        assert len(scene.applied) == before, "a timer was left"

    run_virtual(whole())


def orders(number: int = 1, *tags: str, **more: Any) -> Instance:
    return instance("orders", number, *(tags or ("lbgateway.prefix=/api/orders",)), **more)


def test_news_are_collected_for_a_moment():
    """300 services that register within a tenth of a second cost a handful of compositions, and none waits long."""

    async def story(scene: Scene) -> None:
        began_s = scene.loop.time()
        for number in range(300):
            scene.see(f"s{number}", instance(f"s{number}", 1, f"lbgateway.prefix=/api/s{number}"))
            await asyncio.sleep(0.1 / 300)
        assert len(await scene.quiet()) == 300
        assert 2 <= len(scene.applied) <= 4
        assert scene.applied[0][0] - began_s <= LONGEST_S + 0.001
        assert scene.applied[-1][0] - began_s <= 0.1 + LONGEST_S

    play(story)


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.02, REST * 0.02), (1.0, LONGEST_REST_S)])
def test_compositions_leave_time_for_requests(takes_s: float, rest_s: float) -> None:
    """The longer one takes, the later comes the next; but it comes."""

    async def story(scene: Scene) -> None:
        scene.takes_s = takes_s
        scene.see("orders", orders())
        await asyncio.sleep(QUIET_S * 1.5)
        ended_s = scene.applied[0][0]
        scene.see("orders", orders(1, "lbgateway.prefix=/api/orders/v2"))
        await scene.quiet(3)
        assert scene.applied[1][0] - takes_s == pytest.approx(ended_s + rest_s)

    play(story)


def test_a_single_change_is_in_force_almost_at_once():
    """And what changes nothing of the tags is none."""

    async def story(scene: Scene) -> None:
        scene.see("orders", orders())
        assert await scene.quiet(QUIET_S * 1.5) == ["/api/orders"]
        scene.see("orders", orders(), orders(2))
        scene.see("orders", orders(), orders(2))
        scene.see("plain", instance("plain", 1))
        await scene.quiet()
        assert len(scene.applied) == 1

    play(story)


def test_a_route_outlives_the_last_instance_for_a_while():
    """Also when the registry has forgotten the name; and an instance that comes back finds it in place."""

    async def story(scene: Scene) -> None:
        scene.see("orders", orders())
        scene.see("orders")
        scene.composer.gone("orders", unexposed=False)
        assert await scene.quiet(LINGER_S - 1) == ["/api/orders"]
        assert scene.composer.lingers("orders")
        scene.see("orders", orders())
        assert not scene.composer.lingers("orders")
        assert await scene.quiet(2 * LINGER_S) == ["/api/orders"]
        scene.see("orders")
        assert await scene.quiet(LINGER_S + 1) == []
        assert not scene.composer.lingers("orders")

    play(story)


def test_what_is_exposed_no_longer_is_gone_at_once():
    """That was somebody's decision."""

    async def story(scene: Scene) -> None:
        scene.see("orders", orders())
        assert await scene.quiet() == ["/api/orders"]
        scene.composer.gone("orders", unexposed=True)
        scene.composer.gone("never-seen", unexposed=False)
        assert await scene.quiet() == []

    play(story)


def test_a_deploy_does_not_make_a_service_a_newcomer():
    """Who came first keeps the path while its instances are replaced, and loses it when it is gone."""

    async def story(scene: Scene) -> None:
        scene.see("orders", orders(1, "lbgateway.prefix=/shop"))
        scene.see("users", instance("users", 5, "lbgateway.prefix=/shop/u"))
        assert await scene.quiet() == ["/shop"]
        scene.see("orders", orders(9, "lbgateway.prefix=/shop"))
        assert await scene.quiet() == ["/shop"]
        scene.composer.gone("orders", unexposed=True)
        assert await scene.quiet() == ["/shop/u"]
        scene.see("orders", orders(9, "lbgateway.prefix=/shop"))
        assert await scene.quiet() == ["/shop/u", "/shop"]

    play(story, GRANTS)


def test_a_newcomer_without_tags_has_its_name():
    """What others claimed below it is given back."""

    async def story(scene: Scene) -> None:
        scene.see("orders", orders(1, "lbgateway.prefix=/api/users"))
        assert await scene.quiet() == ["/api/users"]
        scene.see("users", instance("users", 2))
        assert await scene.quiet() == []
        scene.composer.gone("users", unexposed=True)
        scene.exposed.discard("users")
        assert await scene.quiet() == ["/api/users"]

    play(story, GRANTS)


def test_a_reload_hears_the_tags_by_its_own_rules():
    """Nothing of it is in force before the reload is."""

    async def story(scene: Scene) -> None:
        def routes(settings: Settings) -> list[str]:
            return [route.prefix for route in scene.composer.composed(settings).settings.routes]

        scene.see("orders", orders(1, "lbgateway.prefix=/shop", "lbgateway.auth=none"))
        await scene.quiet()
        granted = settings_of("discovery: {consul: {tag_prefixes: {orders: [/shop]}, allow_tag_keys: [auth]}}")
        silent = settings_of("discovery: {consul: {routes_from_tags: false, tag_prefixes: {orders: [/shop]}}}")
        static = settings_of("discovery: {provider: static, consul: {tag_prefixes: {orders: [/shop]}}}")
        assert routes(granted) == ["/api/{service}", "/shop"]
        assert routes(silent) == routes(static) == ["/api/{service}"]
        assert scene.prefixes() == []
        scene.composer.rebase(granted, scene.composer.composed(granted))
        assert await scene.quiet() == ["/shop"]
        assert scene.applied[-1][1].settings.routes[1].auth == "none"
        scene.composer.rebase(silent, scene.composer.composed(silent))
        scene.see("orders", orders(2, "lbgateway.prefix=/shop/x"))
        await scene.quiet()
        assert routes(silent) == ["/api/{service}"]

    play(story)


def test_the_store_is_heard():
    """A start waits for its first word."""
    stored = StoredConfig("k", lambda _kind: None)

    async def story(scene: Scene) -> None:
        assert not scene.composer.settled()
        scene.composer.heard_key(KeyValue("k", b"routes: [{prefix: /kv, service: a}]"))
        assert not scene.composer.settled()
        await asyncio.sleep(0.002)
        assert scene.composer.settled()
        scene.composer.flush()
        assert scene.applied[-1][1].sources == ("built-in", "kv")
        scene.composer.flush()
        await scene.quiet()
        assert len(scene.applied) == 1

    play(story, "", stored)


def test_a_bug_leaves_the_old_configuration_in_force():
    """The next change is another chance."""

    async def story(scene: Scene) -> None:
        assert scene.composer.settled()
        scene.see("orders", orders())
        scene.broken = True
        with capture_logs() as logs:
            assert await scene.quiet() == []
        assert [event["log_level"] for event in logs] == ["error"]
        scene.broken = False
        scene.see("users", instance("users", 1, "lbgateway.prefix=/api/users"))
        assert await scene.quiet() == ["/api/orders", "/api/users"]
        assert repr(scene.composer) == "<Composer declared=2 lingering=0 pending=False>"

    play(story)
