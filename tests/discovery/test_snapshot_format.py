"""From snapshots to bytes and back, and what is refused on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.instance import Catalog, Instance, InstanceKey, InstanceState, Remembered, Snapshot, SnapshotState
from discovery.snapshot_format import FROM_DISK, TTL_S, Unusable, decode, encode

NOW_S, WALL_S = 500.0, 1_700_000_000.0


def instance(number: int = 1, **more: Any) -> Instance:
    key = InstanceKey("consul", "dc1", "", f"n{number}", f"orders-{number}")
    return Instance(key, "orders", "10.0.0.7", 9000 + number, **more)


def known(*instances: Instance, confirmed_at_s: float = NOW_S) -> Remembered:
    snapshot = Snapshot("orders", 5, instances, 77, confirmed_at_s, last_error="token s3cret refused")
    return Remembered(Catalog({"orders": frozenset({"b", "a"}), "quiet": frozenset()}, confirmed_at_s), {"orders": snapshot})


def written(remembered: Remembered) -> bytes:
    return encode(remembered, provider="consul", datacenter="", now_s=NOW_S, wall_s=WALL_S)


def read(content: bytes, *, later_s: float = 0.0, datacenter: str = "") -> Remembered:
    """By another process, whose monotonic clock began somewhere else."""
    return decode(content, provider="consul", datacenter=datacenter, now_s=10.0, wall_s=WALL_S + later_s)


def test_everything_that_routing_needs_comes_back() -> None:
    """Instances as suspects, names with their tags, all of it as old as it is."""
    one = instance(weight=3, tags=("b", "a"), meta={"k": "v"}, zone="z", create_index=9, modify_index=11, reason="check: token=abc")
    back = read(written(known(one)), later_s=60.0)

    assert back.catalog == Catalog({"orders": frozenset({"a", "b"}), "quiet": frozenset()}, -50.0, SnapshotState.SNAPSHOT)
    snapshot = back.snapshots["orders"]
    assert (snapshot.state, snapshot.confirmed_at_s, snapshot.index, snapshot.last_error) == ("snapshot", -50.0, 0, None)
    [suspect] = snapshot.instances
    assert suspect == instance(
        weight=3, tags=("b", "a"), meta={"k": "v"}, zone="z", create_index=9, modify_index=11, reason=FROM_DISK, state=InstanceState.SUSPECT
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [("passing", "suspect"), ("warning", "suspect"), ("suspect", "suspect"), ("critical", "critical"), ("maintenance", "maintenance")],
)
def test_what_took_no_traffic_takes_none_now(before: str, after: str) -> None:
    """The registry's own word stays beside it."""
    content = written(known(instance(state=InstanceState(before), consul_status="its word")))
    [back] = read(content).snapshots["orders"].instances

    assert (back.state, back.consul_status) == (after, "its word")


def test_a_weight_that_makes_no_sense_spoils_no_file() -> None:
    """Less than nothing is nothing."""
    [back] = read(written(known(instance(weight=-1)))).snapshots["orders"].instances

    assert back.weight == 0


def test_no_check_output_and_no_error_is_written() -> None:
    """They may quote secrets."""
    content = written(known(instance(state=InstanceState.CRITICAL, reason="GET /?token=s3cret: 401")))

    assert b"s3cret" not in content


names = st.text(min_size=1, max_size=8)


@given(
    st.dictionaries(names, st.tuples(names, st.integers(1, 65535), st.sampled_from(list(InstanceState)), st.lists(names)), max_size=5),
    st.floats(0, 1e6),
)
def test_any_registry_survives_the_way_to_disk(services: dict[str, Any], age_s: float) -> None:
    """Whatever its names contain: addresses, ports, tags and moments are the same."""
    snapshots = {}
    for name, (id_, port, state, tags) in services.items():
        one = Instance(InstanceKey("consul", "", "", id_, id_), name, id_, port, state=state, tags=tuple(tags))
        snapshots[name] = Snapshot(name, 1, (one,), 1, NOW_S)
    before = Remembered(Catalog({name: frozenset(one.instances[0].tags) for name, one in snapshots.items()}, NOW_S), snapshots)
    if age_s >= TTL_S:
        with pytest.raises(Unusable):
            read(written(before), later_s=age_s)
        return
    back = read(written(before), later_s=age_s)

    assert back.catalog is not None
    assert back.catalog.services == before.catalog.services  # type: ignore[union-attr] set above
    assert {n: (s.instances[0].address, s.instances[0].port, s.instances[0].tags) for n, s in back.snapshots.items()} == {
        n: (s.instances[0].address, s.instances[0].port, s.instances[0].tags) for n, s in before.snapshots.items()
    }
    assert all(abs(10.0 - age_s - s.confirmed_at_s) < 1e-3 for s in back.snapshots.values())


def changed(**changes: Any) -> bytes:
    """A good file with other values at its root."""
    return json.dumps({**json.loads(written(known(instance()))), **changes}).encode()


def changed_instance(**changes: Any) -> bytes:
    file = json.loads(written(known(instance())))
    file["services"]["orders"]["instances"][0].update(changes)
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not whole JSON"),
        (written(known(instance()))[:-40], "it is not whole JSON"),
        (b"\xff\xfe\x00", "it is not whole JSON"),
        (b"[" * 100_000, "it is not whole JSON"),
        (b"[]", "it is no registry snapshot of lbgateway"),
        (b'{"orders": []}', "it is no registry snapshot of lbgateway"),
        (changed(kind="something else"), "it is no registry snapshot of lbgateway"),
        (changed(version=2), "it has format 2, this version reads format 1"),
        (changed(provider="zookeeper"), "it was written for zookeeper, not for consul"),
        (changed(datacenter="dc2"), "it was written for consul dc2, not for consul"),
        (changed(more=1), "more: Extra inputs are not permitted"),
        (changed(services=[]), "services: Input should be an object"),
        (changed_instance(port=0), "services.orders.instances.0.port: Input should be greater than 0"),
        (changed_instance(port="80"), "services.orders.instances.0.port: Input should be a valid integer"),
        (changed_instance(address=""), "services.orders.instances.0.address: String should have at least 1 character"),
        (changed_instance(state="fine"), "services.orders.instances.0.state: Input should be"),
        (changed_instance(tags=None), "services.orders.instances.0.tags: Input should be a valid array"),
    ],
)
def test_what_is_not_served_from(content: bytes, why: str) -> None:
    """Broken, foreign or of another registry: one sentence, and never another exception."""
    with pytest.raises(Unusable) as refused:
        read(content)

    assert str(refused.value).startswith(why)


def test_after_a_day_the_addresses_may_belong_to_others() -> None:
    """Whole or service by service."""
    content = written(known(instance(), confirmed_at_s=NOW_S - 60))
    assert read(content, later_s=TTL_S - 61).snapshots
    with pytest.raises(Unusable, match="nobody has confirmed it for more than 24 hours"):
        read(content, later_s=TTL_S)
    file = json.loads(content)
    file["services"]["orders"]["confirmed_at"] -= TTL_S

    back = read(json.dumps(file).encode())

    assert back.snapshots == {}
    assert back.catalog is not None
    assert "orders" in back.catalog.services


def test_a_clock_that_was_set_back_makes_nothing_younger_than_now() -> None:
    """What seems to come from the future was confirmed now."""
    assert read(written(known(instance())), later_s=-3600.0).snapshots["orders"].confirmed_at_s == 10.0
