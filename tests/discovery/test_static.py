"""Instances that are simply known."""

from __future__ import annotations

from discovery.instance import Catalog, Snapshot
from discovery.static import StaticSource, static_instance


def source() -> StaticSource:
    orders = [static_instance("orders", "10.0.0.2", 80, tags=["a"]), static_instance("orders", "10.0.0.1", 80, weight=3, zone="z")]
    return StaticSource({"Orders": orders, "users": []}, clock=lambda: 5.0)


async def test_everything_is_known_at_once() -> None:
    """Listeners are called while they are given."""
    known = source()
    told: list[Snapshot] = []
    catalogs: list[Catalog] = []
    await known.start()
    known.watch("orders", told.append)
    known.watch("nobody", told.append)
    known.watch_catalog(catalogs.append)

    assert [(s.service, s.version, s.state, [i.id for i in s.instances]) for s in told] == [
        ("orders", 1, "fresh", ["10.0.0.1:80", "10.0.0.2:80"]),
        ("nobody", 1, "fresh", []),
    ]
    assert catalogs == [Catalog({"orders": frozenset({"a"}), "users": frozenset()}, 5.0)]
    assert known.snapshot("ORDERS") == told[0]
    assert known.snapshot("users") is None


def test_a_replacement_tells_only_what_changed() -> None:
    """A service that is left out becomes empty, the others hear nothing."""
    known = source()
    told: list[Snapshot] = []
    catalogs: list[Catalog] = []
    for name in ("orders", "users", "mails"):
        known.watch(name, told.append)
    known.watch_catalog(catalogs.append)
    told.clear()

    known.replace({"users": [], "mails": [static_instance("mails", "10.0.0.3", 25)]})

    assert [(s.service, s.version, len(s.instances)) for s in told] == [("mails", 2, 1), ("orders", 2, 0)]
    assert catalogs[-1].services.keys() == {"users", "mails"}
    known.replace({"users": [], "mails": [static_instance("mails", "10.0.0.3", 25)]})
    assert len(told) == 2
    assert repr(known) == "<StaticSource services=2 index=2>"


def test_the_order_of_a_file_means_nothing() -> None:
    """An instance is its place."""
    known = source()
    told: list[Snapshot] = []
    known.watch("orders", told.append)
    instances = told[0].instances

    known.replace({"orders": reversed(instances), "users": []})

    assert len(told) == 1


async def test_nobody_hears_after_the_end() -> None:
    """Nor after unwatch."""
    known = source()
    told: list[Snapshot] = []
    known.watch("orders", told.append)
    known.watch("users", told.append)
    known.unwatch("orders")
    known.unwatch("unknown")
    known.replace({})
    assert [s.service for s in told] == ["orders", "users"]
    await known.aclose()
    known.replace({"users": [static_instance("users", "10.0.0.3", 25)]})

    assert len(told) == 2


def test_it_is_always_fresh() -> None:
    """There is nothing to lose."""
    status = source().status()

    assert (status.provider, status.state, status.age_s, status.last_error) == ("static", "fresh", 0.0, None)
