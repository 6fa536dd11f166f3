"""Which services are exposed, and for how long they stay known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from discovery.instance import Catalog, InstanceState, Snapshot, SnapshotState, SourceStatus
from discovery.registry import Expose, Known, Registry, desired, remember
from discovery.source import CatalogListener, SnapshotListener
from discovery.static import StaticSource, static_instance
from tests.support.virtual_time import run_virtual

TAG = "lbgateway.enable=true"
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("expose", "named", "watched"),
    [
        ("tagged", (), {"orders", "upper"}),
        ("tagged", ("users", "absent"), {"orders", "upper", "users", "absent"}),
        ("all", (), {"orders", "upper", "users", "other"}),
        ("all", ("absent",), {"orders", "upper", "users", "other", "absent"}),
        (frozenset({"users", "absent"}), (), {"users"}),
        (frozenset({"consul"}), ("consul",), set()),
        (NONE, (), set()),
    ],
)
def test_the_rules_of_exposure(expose: Expose, named: tuple[str, ...], watched: set[str]) -> None:
    """Opted in, listed or named; Consul itself never, and what is named even if it does not exist."""
    known = {
        "orders": Known(frozenset({"blue", TAG})),
        "upper": Known(frozenset({TAG.upper()})),
        "users": Known(frozenset({"lbgateway.enable=false"})),
        "other": Known(frozenset({"lbgateway.enable"})),
        "consul": Known(frozenset({TAG})),
    }

    assert desired(known, expose, frozenset(named)) == watched


@pytest.mark.parametrize(
    ("known", "catalog", "alive", "names"),
    [
        ({}, {"a": NONE}, False, {"a": Known(NONE)}),
        ({"a": Known(NONE)}, {}, False, {"a": Known(NONE, 100.0)}),
        ({"a": Known(NONE, 71.0)}, {}, False, {"a": Known(NONE, 71.0)}),
        ({"a": Known(NONE, 70.0)}, {}, False, {}),
        ({"a": Known(NONE, 70.0)}, {}, True, {"a": Known(NONE, 70.0)}),
        ({"a": Known(NONE, 70.0)}, {"a": frozenset("t")}, False, {"a": Known(frozenset("t"))}),
        ({"a": Known(frozenset("t"))}, {"a": NONE}, False, {"a": Known(NONE)}),
    ],
)
def test_names_are_forgotten_after_the_grace(known, catalog, alive: bool, names: dict[str, Known]) -> None:
    """At 100 s with a grace of 30: a vanished name keeps its tags; a present one has those of the catalog."""
    assert remember(known, catalog, 100.0, grace_s=30.0, alive=lambda _: alive) == names


class Source:
    """Tells what the test says."""

    provider = "consul"

    def __init__(self) -> None:
        self.listeners: dict[str, SnapshotListener] = {}
        self.known: dict[str, Snapshot] = {}
        self.catalog_listener: CatalogListener | None = None
        self.started = self.closed = False
        self.last_error: str | None = None

    async def start(self) -> None:
        self.started = True

    def watch(self, service: str, listener: SnapshotListener) -> None:
        assert service not in self.listeners
        self.listeners[service] = listener

    def unwatch(self, service: str) -> None:
        del self.listeners[service]
        self.known.pop(service, None)

    def watch_catalog(self, listener: CatalogListener) -> None:
        self.catalog_listener = listener

    def snapshot(self, service: str) -> Snapshot | None:
        return self.known.get(service)

    def status(self) -> SourceStatus:
        return SourceStatus("consul", SnapshotState.FRESH, 1.0, self.last_error)

    async def aclose(self) -> None:
        self.closed = True

    def registered(self, *names: str, tags: Iterable[str] = (TAG,), state: SnapshotState = SnapshotState.FRESH) -> None:
        assert self.catalog_listener is not None
        self.catalog_listener(Catalog(dict.fromkeys(names, frozenset(tags)), 0.0, state))

    def tell(self, service: str, *states: InstanceState) -> None:
        instances = tuple(replace(static_instance(service, "10.0.0.1", 80 + n), state=s) for n, s in enumerate(states))
        self.known[service] = Snapshot(service, 1, instances, 7, 0.0)
        self.listeners[service](self.known[service])


class Scene:
    """A registry over a scripted source, with what it told."""

    def __init__(self, *, expose: Expose = "tagged", named: Iterable[str] = ()) -> None:
        self.source = Source()
        self.told: list[Snapshot] = []
        self.gone: list[str] = []
        self.registry = Registry(
            self.source,
            expose=expose,
            named=named,
            on_snapshot=self.told.append,
            on_gone=self.gone.append,
            clock=asyncio.get_running_loop().time,
        )


def play(story: Callable[[Scene], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        scene = Scene(**settings)
        await scene.registry.start()
        assert scene.source.started
        await story(scene)
        await scene.registry.aclose()
        await scene.registry.aclose()
        assert scene.source.closed

    run_virtual(whole())


def test_what_opts_in_is_watched_at_once() -> None:
    """Within the very call that brings the catalog; the others are only known by name."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        assert list(scene.source.listeners) == ["orders"]
        scene.source.tell("orders", InstanceState.PASSING)
        assert scene.told == [scene.registry.snapshot("orders")]
        assert scene.registry.exposed("Orders")
        assert scene.registry.registered("ORDERS")
        assert scene.registry.services() == ("orders",)
        assert repr(scene.registry) == "<Registry consul exposed=1 registered=1>"

    play(story)


def test_to_be_named_is_not_to_opt_in() -> None:
    """By a tag of the catalog, or one that is newer than it; and by the operator's own list."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        assert [scene.registry.opted_in(name) for name in ("Orders", "users", "unknown")] == [True, False, False]
        assert scene.registry.opted_in("users", [TAG])
        scene.registry.configure(expose=frozenset({"users"}), named=())
        assert [scene.registry.opted_in(name, [TAG]) for name in ("orders", "users")] == [False, True]
        scene.registry.configure(expose="all", named=())
        assert scene.registry.opted_in("anybody")

    play(story, named=["users"])


def test_what_does_not_opt_in_is_listed_for_operators() -> None:
    """They are told what to do; Consul itself is no candidate."""

    async def story(scene: Scene) -> None:
        scene.source.registered("users", "consul", "mails", tags=())
        assert scene.registry.unexposed() == ("mails", "users")
        assert scene.registry.registered("users")
        assert not scene.registry.exposed("users")
        assert scene.registry.snapshot("users") is None
        assert scene.source.listeners == {}

    play(story)


def test_named_services_are_watched_before_anything_is_known() -> None:
    """Even if the catalog never comes."""

    async def story(scene: Scene) -> None:
        assert scene.registry.services() == ("billing", "users")
        assert scene.registry.snapshot("users") is None
        scene.source.registered()
        await asyncio.sleep(3600)
        assert scene.registry.services() == ("billing", "users")

    play(story, named=["Users", "billing"])


def test_a_vanished_name_stays_for_thirty_seconds() -> None:
    """503 rather than 404 while a registry comes back empty; then it goes, and that is told."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        scene.source.tell("orders", InstanceState.SUSPECT)
        scene.source.registered()
        await asyncio.sleep(29)
        assert scene.registry.exposed("orders")
        assert scene.registry.registered("orders")
        assert scene.gone == []
        await asyncio.sleep(2)
        assert not scene.registry.exposed("orders")
        assert not scene.registry.registered("orders")
        assert (scene.gone, scene.source.listeners) == (["orders"], {})

    play(story)


def test_a_name_that_comes_back_in_time_was_never_away() -> None:
    """Its watch goes on; the next disappearance has a grace of its own."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        scene.source.registered()
        await asyncio.sleep(29)
        scene.source.registered("orders")
        await asyncio.sleep(29)
        scene.source.registered()
        await asyncio.sleep(29)
        assert scene.registry.exposed("orders")
        assert scene.gone == []

    play(story)


def test_nothing_is_forgotten_while_the_catalog_is_in_doubt() -> None:
    """A registry that cannot be read proves no absence; the grace ends after it is back."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        scene.source.registered()
        scene.source.registered(state=SnapshotState.STALE)
        await asyncio.sleep(3600)
        assert scene.registry.exposed("orders")
        scene.source.registered()
        assert scene.gone == ["orders"]

    play(story)


def test_what_has_instances_is_not_forgotten() -> None:
    """A catalog that hides a name does not hide its instances."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        scene.source.tell("orders", InstanceState.PASSING)
        scene.source.registered()
        await asyncio.sleep(120)
        assert scene.registry.exposed("orders")
        scene.source.tell("orders")
        await asyncio.sleep(10)
        assert scene.gone == ["orders"]

    play(story)


def test_a_tag_that_is_taken_away_closes_the_door_at_once() -> None:
    """That is somebody's decision, not an accident."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders")
        scene.source.registered("orders", tags=())
        assert scene.gone == ["orders"]
        assert scene.registry.unexposed() == ("orders",)

    play(story)


def test_other_rules_apply_at_once() -> None:
    """What is exposed before and after is watched without a break."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders", "users")
        scene.registry.configure(expose=frozenset({"Users"}), named=["mails"])
        assert scene.registry.services() == ("mails", "users")
        assert scene.gone == ["orders"]
        scene.registry.configure(expose="all", named=[])
        assert scene.registry.services() == ("orders", "users")
        assert scene.gone == ["orders", "mails"]

    play(story)


def test_it_is_settled_when_everything_watched_has_been_heard_of() -> None:
    """The catalog first, then each service that it makes interesting."""

    async def story(scene: Scene) -> None:
        registry, source = scene.registry, scene.source
        assert not registry.heard()
        source.tell("users", InstanceState.PASSING)
        assert not registry.settled()
        source.registered("orders")
        assert registry.heard()
        assert not registry.settled()
        source.tell("orders")
        assert registry.settled()

    play(story, named=["users"])


def test_what_only_the_disk_knows_is_not_settled() -> None:
    """A registry that does answer has a moment to do so; what is known meanwhile can be remembered."""

    async def story(scene: Scene) -> None:
        scene.source.registered("orders", state=SnapshotState.SNAPSHOT)
        scene.source.tell("orders", InstanceState.SUSPECT)
        scene.source.known["orders"] = replace(scene.source.known["orders"], state=SnapshotState.SNAPSHOT)
        assert scene.registry.heard()
        assert not scene.registry.settled()
        scene.source.known["orders"] = replace(scene.source.known["orders"], state=SnapshotState.EXPIRED)
        assert not scene.registry.settled()
        scene.source.known["orders"] = replace(scene.source.known["orders"], state=SnapshotState.SNAPSHOT)
        known = scene.registry.known()
        assert known.catalog is not None
        assert (known.catalog.state, known.snapshots) == ("snapshot", {"orders": scene.source.known["orders"]})
        scene.source.last_error = "refused"
        assert scene.registry.settled()

    play(story)


def test_a_registry_that_cannot_be_read_is_not_waited_for() -> None:
    """A gateway must start while Consul is down."""

    async def story(scene: Scene) -> None:
        scene.source.last_error = "All connection attempts failed"
        assert scene.registry.settled()
        assert not scene.registry.heard()

    play(story)


def test_the_sources_status_is_the_registrys() -> None:
    """There is one of it."""

    async def story(scene: Scene) -> None:
        assert scene.registry.status() == SourceStatus("consul", SnapshotState.FRESH, 1.0, None)

    play(story)


def test_a_closed_registry_ignores_late_news() -> None:
    """A catalog may still be on its way."""

    async def story(scene: Scene) -> None:
        await scene.registry.aclose()
        scene.source.registered("orders")
        scene.registry.configure(expose="all", named=["users"])
        assert scene.registry.services() == ()

    play(story)


async def test_a_static_source_exposes_everything() -> None:
    """Whatever the rules say; what is taken out of it is gone at once."""
    source = StaticSource({"orders": [static_instance("orders", "10.0.0.1", 80)], "users": []})
    told: list[Snapshot] = []
    gone: list[str] = []
    registry = Registry(source, expose="tagged", named=(), on_snapshot=told.append, on_gone=gone.append)
    await registry.start()

    assert registry.services() == ("orders", "users")
    assert [s.service for s in told] == ["orders", "users"]
    source.replace({"users": []})
    assert (registry.services(), gone) == (("users",), ["orders"])
    await registry.aclose()
