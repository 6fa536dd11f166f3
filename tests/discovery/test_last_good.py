"""What is kept of the registry's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.consul_wire import Consistency, Read, Reply
from discovery.errors import MalformedAnswer
from discovery.instance import Catalog, Snapshot, SnapshotState
from discovery.last_good import LastGoodCatalog, LastGoodService, Rules, tell
from discovery.protection import NodeBoard
from tests.discovery.fake_consul import entry

PLAIN = Read()


class Kept:
    """A kept service or catalog with everything it told."""

    def __init__(self, kind: type[LastGoodService | LastGoodCatalog], *, hold_s: float = 10.0, board: NodeBoard | None = None) -> None:
        self.told: list[Any] = []
        self.updates: list[str] = []
        self.errors: list[str] = []
        rules = Rules("dc1", frozenset(), True, 60.0, hold_s, board or NodeBoard(), self.updates.append, self.errors.append)
        self.kept: Any = LastGoodService("orders", self.told.append, rules) if kind is LastGoodService else kind(self.told.append, rules)  # type: ignore[arg-type,call-arg] one of two shapes

    def hears(
        self, at_s: float, content: Any, index: int | None = 7, read: Read = PLAIN, *, recovering: bool = False, **circumstances: Any
    ) -> None:
        reply = Reply(200, json.dumps(content).encode(), None if index is None else str(index), **circumstances)
        self.kept.accept(reply, read, at_s, recovering=recovering)

    @property
    def last(self) -> str:
        snapshot: Snapshot = self.told[-1]
        return f"v{snapshot.version} {snapshot.state} " + ",".join(f"{i.id}={i.state}" for i in snapshot.instances)


@pytest.fixture
def service() -> Kept:
    return Kept(LastGoodService)


@pytest.fixture
def catalog() -> Kept:
    return Kept(LastGoodCatalog)


def test_nothing_is_told_before_something_is_known(service: Kept) -> None:
    """An outage at the start makes no empty snapshot."""
    service.kept.refuse("refused", 1.0)

    assert service.told == []
    assert service.kept.snapshot is None
    assert service.kept.trust.last_error == "refused"


def test_a_service_without_instances_is_something_known(service: Kept) -> None:
    """503 is not "not yet"."""
    service.hears(1.0, [])

    assert service.last == "v1 fresh "
    assert service.updates == ["orders"]


def test_only_changes_are_told(service: Kept) -> None:
    """A confirmation moves its moment, quietly."""
    service.hears(1.0, [entry(1)])
    service.hears(31.0, [entry(1)], index=8)

    assert len(service.told) == 1
    assert (service.kept.snapshot.confirmed_at_s, service.kept.snapshot.index, service.kept.snapshot.version) == (31.0, 8, 1)
    service.hears(32.0, [entry(1), entry(2)], index=9)
    assert service.last == "v2 fresh orders-1=passing,orders-2=passing"
    assert service.updates == ["orders", "orders"]


def test_a_failure_keeps_everything_and_says_so_once(service: Kept) -> None:
    """Stale at the first failure, expired at max_age, fresh with the next good answer; the version stays."""
    service.hears(1.0, [entry(1)])
    for at_s in (2.0, 3.0, 61.0, 62.0):
        service.kept.refuse("refused", at_s)
    service.hears(63.0, [entry(1)])

    assert [(s.version, s.state, s.last_error, len(s.instances)) for s in service.told] == [
        (1, "fresh", None, 1),
        (1, "stale", "refused", 1),
        (1, "expired", "refused", 1),
        (1, "fresh", None, 1),
    ]


def test_nonsense_changes_nothing(service: Kept) -> None:
    """It raises, and the last good answer is still there."""
    service.hears(1.0, [entry(1)])
    with pytest.raises(MalformedAnswer):
        service.hears(2.0, {"not": "a list"})

    assert service.kept.snapshot.confirmed_at_s == 1.0
    assert len(service.kept.snapshot.instances) == 1


def test_broken_entries_are_counted_once_per_body(service: Kept) -> None:
    """Not with every wake-up."""
    for index in (7, 8, 9):
        service.hears(1.0, [entry(1), {}], index=index)

    assert service.errors == ["malformed_entry"]


def test_a_suspicious_loss_is_held_and_asks_for_a_second_look(service: Kept) -> None:
    """The rest of that story is told by protection."""
    service.hears(1.0, [entry(1)], index=7)
    service.hears(2.0, [], index=8)

    assert service.last == "v2 fresh orders-1=suspect"
    assert service.kept.recheck.at_s == 3.0
    service.hears(4.0, [entry(1)], index=9)
    assert service.last == "v3 fresh orders-1=passing"
    assert service.kept.recheck is None


def test_a_loss_without_a_moved_index_is_a_lost_permission(service: Kept) -> None:
    """Even a single one of three."""
    service.hears(1.0, [entry(1), entry(2), entry(3)], index=7)
    service.hears(2.0, [entry(1), entry(2)], index=7)

    assert service.last == "v2 fresh orders-1=passing,orders-2=passing,orders-3=suspect"


def test_a_single_deregistration_is_believed_at_once(service: Kept) -> None:
    """One of three, with the index that it moved."""
    service.hears(1.0, [entry(1), entry(2), entry(3)], index=7)
    service.hears(2.0, [entry(1), entry(2)], index=8)

    assert service.last == "v2 fresh orders-1=passing,orders-2=passing"


def test_indexes_that_are_no_indexes_prove_nothing(service: Kept) -> None:
    """Two answers without one are not "the same index"."""
    service.hears(1.0, [entry(1), entry(2), entry(3)], index=None)
    service.hears(2.0, [entry(1), entry(2)], index=None)

    assert service.last == "v2 fresh orders-1=passing,orders-2=passing"


def test_an_old_answer_is_used_but_not_trusted(service: Kept) -> None:
    """Its instances are taken, its age is not."""
    service.hears(1.0, [entry(1)], last_contact_s=20.0)

    assert service.last == "v1 stale orders-1=passing"
    assert service.told[0].last_error == "the server lost its leader 20 s ago"
    service.hears(2.0, [entry(1)], read=Read(consistency=Consistency.DEFAULT))
    assert service.last == "v1 fresh orders-1=passing"


def test_an_empty_cache_knows_nothing(service: Kept, catalog: Kept) -> None:
    """Not even that there is nothing."""
    service.hears(1.0, [], from_cache=True)
    catalog.hears(1.0, {}, from_cache=True)

    assert (service.told, catalog.told) == ([], [])
    service.hears(2.0, [entry(1)], from_cache=True)
    assert service.last == "v1 stale orders-1=passing"


def test_a_restarting_agent_is_seen_over_services() -> None:
    """Two services of one node turn within two seconds, together with the node's own check."""
    board = NodeBoard()
    first, second = Kept(LastGoodService, board=board), Kept(LastGoodService, board=board)
    second.kept.service = "users"
    for at_s, status in ((1.0, "passing"), (5.0, "critical")):
        first.hears(at_s, [entry(1, status=status, serf=status)], index=int(at_s))
        second.hears(at_s, [entry(1, service="users", status=status, serf=status)], index=int(at_s))

    assert first.last == "v2 fresh orders-1=suspect"
    assert second.last == "v2 fresh users-1=suspect"


def test_the_path_survives_any_name() -> None:
    """A name may contain what a path may not."""
    rules = Rules(None, frozenset(), True, 60.0, 10.0, NodeBoard(), print, print)

    assert LastGoodService("a b/c?d", print, rules).path == "/v1/health/service/a%20b%2Fc%3Fd"


def test_a_catalog_tells_changes_of_names_and_tags(catalog: Kept) -> None:
    """And nothing else: it wakes for every second instance, too."""
    catalog.hears(1.0, {"orders": ["a"]}, index=7)
    catalog.hears(2.0, {"orders": ["a"]}, index=8)
    catalog.hears(3.0, {"orders": ["a", "b"]}, index=9)
    catalog.hears(4.0, {}, index=10)

    assert [told.services for told in catalog.told] == [{"orders": {"a"}}, {"orders": {"a", "b"}}, {}]
    assert catalog.told[1].confirmed_at_s == 3.0


@pytest.mark.parametrize("circumstances", [{"index": 7}, {"index": 9, "known_leader": False}])
def test_a_catalog_that_only_hides_names_loses_none(catalog: Kept, circumstances: dict[str, Any]) -> None:
    """The index did not move, or the answer is old."""
    catalog.hears(1.0, {"orders": ["a"], "users": []}, index=7)
    catalog.hears(2.0, {"users": ["b"]}, **circumstances)

    assert catalog.kept.catalog.services == {"orders": {"a"}, "users": {"b"}}


def test_a_catalog_outlives_failures(catalog: Kept) -> None:
    """Stale, and complete."""
    catalog.hears(1.0, {"orders": []})
    catalog.kept.refuse("refused", 2.0)
    catalog.kept.refuse("refused again", 3.0)

    assert [told.state for told in catalog.told] == ["fresh", "stale"]
    assert catalog.kept.catalog == Catalog({"orders": frozenset()}, 1.0, SnapshotState.STALE, "refused again")


def test_a_registry_that_reads_its_own_past_brings_nobody_back(service: Kept) -> None:
    """Neither those who left long ago, nor the state that an instance had then; meanwhile what is known is stale."""
    service.hears(1.0, [entry(9)], index=502)
    service.kept.refuse("refused", 5.0)
    for number, (index, ids) in enumerate(((117, (1, 2)), (171, (1, 2, 3)), (435, (3, 9)))):
        service.hears(10.0 + number / 100, [entry(each) for each in ids], index=index, recovering=True)
        assert service.last == "v1 stale orders-9=passing"
        assert service.kept.trust.last_error == f"the registry is behind what it had told before (index {index} after 502)"
    service.hears(10.04, [entry(9)], index=502, recovering=True)
    assert service.last == "v1 fresh orders-9=passing"
    assert service.kept.recheck is None


def test_a_registry_that_has_lost_its_data_is_believed_when_it_stays_so(service: Kept) -> None:
    """Whoever has registered since is taken in, and a loss is judged as ever."""
    service.hears(1.0, [entry(1)], index=502)
    service.hears(10.0, [entry(1), entry(2)], index=20, recovering=True)
    assert service.last == "v1 stale orders-1=passing"
    again = service.kept.recheck
    service.hears(again.at_s, [entry(1), entry(2)], index=20, read=Read(consistency=again.consistency), recovering=True)
    assert service.last == "v2 fresh orders-1=passing,orders-2=passing"


def test_who_has_not_registered_again_yet_is_not_gone(service: Kept) -> None:
    """The first of the services is back within the hold, so no answer is empty."""
    service.hears(1.0, [entry(1), entry(2)], index=502)
    service.hears(10.0, [], index=12, recovering=True)
    service.hears(10.2, [entry(1)], index=20, read=Read(consistency=Consistency.CONSISTENT), recovering=True)
    assert service.last == "v2 fresh orders-1=passing,orders-2=suspect"
    service.hears(19.0, [entry(1), entry(2)], index=21)
    assert service.last == "v3 fresh orders-1=passing,orders-2=passing"


def test_a_catalog_out_of_the_past_loses_no_service(catalog: Kept) -> None:
    """What was registered last is missing there."""
    catalog.hears(1.0, {"orders": [], "users": []}, index=502)
    catalog.hears(10.0, {"orders": [], "old": []}, index=117, recovering=True)
    assert set(catalog.told[-1].services) == {"orders", "users"}
    assert catalog.told[-1].state is SnapshotState.STALE
    catalog.hears(10.1, {"orders": [], "users": []}, index=502, recovering=True)
    assert (set(catalog.told[-1].services), catalog.told[-1].state) == ({"orders", "users"}, SnapshotState.FRESH)
    assert catalog.kept.recheck is None


def test_a_listener_that_breaks_harms_nobody() -> None:
    """It is a bug, it is logged, and the watch goes on."""

    def broken(_: object) -> None:
        raise ZeroDivisionError

    tell(broken, 1)


def test_a_change_that_nobody_told_of_is_counted(service: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """By a resync only; the answer counts like any other."""
    service.hears(1.0, [entry(1)], index=7, read=Read(resync=True))
    service.hears(2.0, [entry(1), entry(2)], index=8)
    service.hears(3.0, [entry(1), entry(2)], index=9, read=Read(resync=True))
    assert service.errors == []
    service.hears(4.0, [entry(1), entry(2), entry(3)], index=10, read=Read(resync=True))

    assert service.errors == ["resync_drift"]
    assert service.last == "v3 fresh orders-1=passing,orders-2=passing,orders-3=passing"
    assert "a resync found what no change had told of" in caplog.text
