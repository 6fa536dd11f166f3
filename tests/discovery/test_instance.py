"""Instances and snapshots are values."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from discovery.instance import Instance, InstanceKey, InstanceState, Snapshot

KEY = InstanceKey("consul", "dc1", "", "n1", "orders-1")


def test_an_instance_is_known_by_the_registrys_id() -> None:
    """The key tells it from the same id on another node."""
    assert Instance(KEY, "orders", "10.0.0.1", 80).id == "orders-1"
    assert KEY._replace(node="n2") != KEY


def test_nothing_known_can_be_changed() -> None:
    """Snapshots are handed to many listeners."""
    snapshot = Snapshot("orders", 1, (), 7, 0.0)

    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.version = 2  # type: ignore[misc] the point of the test


def test_a_snapshot_survives_the_way_to_a_worker() -> None:
    """Workers are other processes: it is pickled on the way, and equal there."""
    instance = Instance(KEY, "orders", "10.0.0.1", 80, state=InstanceState.WARNING, meta={"a": "b"}, tags=("x",))
    snapshot = Snapshot("orders", 3, (instance,), 7, 1.5)

    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
