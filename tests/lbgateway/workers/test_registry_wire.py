"""What the registry says, on its way from the parent to a worker."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from discovery.instance import Catalog, Instance, InstanceKey, InstanceState, KeyValue, Snapshot, SnapshotState, SourceStatus
from lbgateway.dataplane.gateway_endpoint import endpoint_key
from lbgateway.workers import registry_wire
from lbgateway.workers.slots import Slots

TEXT = st.text(max_size=6)
INSTANCES = st.builds(
    Instance,
    st.builds(InstanceKey, TEXT, TEXT, TEXT, TEXT, st.sampled_from("abc")),
    st.just("orders"), TEXT, st.integers(1, 65535), st.integers(0, 99), st.sampled_from(InstanceState), st.none() | TEXT, TEXT,
    st.lists(TEXT, max_size=2).map(tuple), st.dictionaries(TEXT, TEXT, max_size=2), st.none() | TEXT, st.integers(0, 9), st.integers(0, 9),
)  # fmt: skip
GROUPS = st.lists(INSTANCES, max_size=5, unique_by=lambda each: each.key).map(lambda found: tuple(sorted(found, key=lambda each: each.key)))


def sent(facts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(facts))
    return found


def snapshot(instances: tuple[Instance, ...], version: int = 1) -> Snapshot:
    return Snapshot("orders", version, instances, 7, 1.5, SnapshotState.STALE, "away")


@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_a_worker_knows_what_the_parent_knows(groups):
    """After every change, and one that comes late after being told all at once; and each place on the board is the same to both."""
    slots, early, late = Slots(lambda _slot: True), {}, {}
    teller, hearer = registry_wire.SnapshotTeller(slots), registry_wire.SnapshotHearer(early)
    for version, group in enumerate(groups):
        now = snapshot(group, version)
        assert hearer.hear(sent(teller.news(now, 0.0))) == now
        (whole,) = teller.whole(0.0)
        assert registry_wire.SnapshotHearer(late).hear(sent(whole)) == now
        expected = {owner: slots.take(owner, 0.0) for owner in ("orders", *map(endpoint_key, group))}
        assert {owner: early[owner] for owner in expected} == {owner: late[owner] for owner in expected} == expected


def of(count: int, **changes: Any) -> tuple[Instance, ...]:
    made = (InstanceKey("dc1", "", "", "node", f"orders-{number:03}") for number in range(count))
    return tuple(
        Instance(key, "orders", "10.0.0.1", 9000 + i, 1, InstanceState.PASSING, None, "passing", (), changes, None, 1, 1)
        for i, key in enumerate(made)
    )  # fmt: skip


def test_only_what_has_changed_is_told():
    """One of five hundred that moves costs one, one that leaves its key."""
    teller, all_of_them = registry_wire.SnapshotTeller(Slots(lambda _slot: True)), of(500)
    assert len(teller.news(snapshot(all_of_them), 0.0)["there"]) == 500
    moved = (*all_of_them[:-1], *of(500, build="7")[-1:])
    facts = teller.news(snapshot(moved), 0.0)
    assert (len(facts["there"]), facts["gone"], facts["whole"]) == (1, [], False)
    facts = teller.news(snapshot(moved[1:]), 0.0)
    assert (facts["there"], facts["gone"]) == ([], [all_of_them[0].key])
    assert len(json.dumps(facts)) < 400


def test_places_of_who_is_gone_are_given_back():
    """With the instance, and with the service; a worker forgets them, too."""
    slots, known = Slots(lambda _slot: True), {}
    teller, hearer = registry_wire.SnapshotTeller(slots), registry_wire.SnapshotHearer(known)
    hearer.hear(sent(teller.news(snapshot(of(3)), 0.0)))
    hearer.hear(sent(teller.news(snapshot(of(2)), 0.0)))
    assert (len(slots), len(known)) == (2 + 1, 2 + 1)
    teller.gone("orders", 0.0)
    hearer.forget("orders")
    assert [owner for owner in known if owner != "orders"] == []
    assert teller.whole(0.0) == []


def test_catalog_status_and_values_arrive_as_they_were():
    """Names, tags and ages; a value's bytes go beside the facts, and none is not an empty one."""
    catalog = Catalog({"orders": frozenset({"a", "b"}), "users": frozenset()}, 2.5, SnapshotState.FRESH, None)
    assert registry_wire.catalog_of(sent(registry_wire.catalog_facts(catalog))) == catalog
    for status in (SourceStatus("consul", SnapshotState.STALE, 3.0, "away"), SourceStatus("consul", None, None, None)):
        assert registry_wire.status_of("consul", sent(registry_wire.status_facts(status))) == status
    for value in (KeyValue("key", b"\xff\x00", 3, None), KeyValue("key", b"", 3, None), KeyValue("key", None, 3, "away")):
        facts, payload = registry_wire.value_facts(value)
        assert registry_wire.value_of(sent(facts), payload) == value
