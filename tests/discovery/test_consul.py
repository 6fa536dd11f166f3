"""The whole source against a Consul inside the test, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import pytest

from discovery.budget import Budgets
from discovery.consul import ConsulSource
from discovery.consul_body import Reading, decode_health
from discovery.instance import Catalog, InstanceState, KeyValue, Remembered, Snapshot, SnapshotState
from discovery.replay import REPLAY_S
from tests.discovery.fake_consul import FakeConsul, entry
from tests.support.virtual_time import run_virtual


class Scene:
    """A source with what it told; ``consul`` is the registry to be teased."""

    def __init__(self, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.consul = FakeConsul()
        self.told: list[Snapshot] = []
        self.catalogs: list[Catalog] = []
        self.errors: Counter[str] = Counter()
        self.updates: list[str] = []
        self.source = ConsulSource(
            "http://consul.test",
            clock=loop.time,
            random=Random(1),
            transport=self.consul,
            on_error=self.count,
            on_update=self.updates.append,
            **settings,
        )

    def count(self, kind: str) -> None:
        self.errors[kind] += 1

    async def orders(self, count: int = 3) -> None:
        """Three passing instances, watched and known."""
        self.consul.put("orders", *(entry(n, tags=("a",)) for n in range(1, count + 1)))
        self.source.watch("orders", self.told.append)
        self.source.watch_catalog(self.catalogs.append)
        await self.source.start()
        await asyncio.sleep(0.1)

    @property
    def last(self) -> str:
        return f"{self.told[-1].state} " + " ".join(f"{i.id[-1]}:{i.state}" for i in self.told[-1].instances)


def play(story: Callable[[Scene], Awaitable[None]], **settings: Any) -> Scene:
    """Tell a story, close the source, and make sure that nothing is left of it."""

    async def whole() -> Scene:
        scene = Scene(**settings)
        await story(scene)
        before = asyncio.get_running_loop().time()
        await scene.source.aclose()
        await scene.source.aclose()
        assert asyncio.get_running_loop().time() == before
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert scene.consul.blocked == 0
        return scene

    return run_virtual(whole())


def test_what_is_registered_is_told() -> None:
    """At once after the start, then with every change."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        assert scene.catalogs[-1].services == {"consul": frozenset(), "orders": {"a"}}
        scene.consul.put("orders", *(entry(n) for n in (1, 2, 3, 4)))
        await asyncio.sleep(0.1)
        assert scene.last == "fresh 1:passing 2:passing 3:passing 4:passing"
        assert scene.updates == ["orders", "orders"]

    play(story)


def test_a_new_name_is_read_at_once() -> None:
    """A watch that begins later does not wait for anything."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.put("users", entry(1, service="users"))
        scene.source.watch("Users", scene.told.append)
        await asyncio.sleep(0.001)
        assert (scene.told[-1].service, len(scene.told[-1].instances)) == ("users", 1)

    play(story)


def test_an_outage_changes_nothing_but_the_state() -> None:
    """Thirty seconds without Consul, which comes back with its data: fresh within two."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(0.01)
        assert scene.last == "stale 1:passing 2:passing 3:passing"
        assert scene.source.status().state == "stale"
        assert scene.source.status().last_error is not None
        await asyncio.sleep(30)
        scene.consul.down = False
        await asyncio.sleep(2.3)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        assert scene.source.status().state == "fresh"
        assert scene.source.status().last_error is None
        assert {s.version for s in scene.told} == {1}
        assert scene.errors.keys() == {"connection_lost", "unreachable"}

    play(story)


def test_the_read_after_an_outage_does_not_block() -> None:
    """The old index may be far ahead of a registry that lost its memory."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(5)
        scene.consul.reads.clear()
        scene.consul.down = False
        scene.consul.put("orders", entry(1), entry(2), entry(3), entry(4), index=2)
        await asyncio.sleep(2.3)
        assert "index" not in scene.consul.reads_of("orders")[0][1]
        assert len(scene.told[-1].instances) == 4

    play(story)


def test_an_index_that_goes_backwards_is_counted_and_followed() -> None:
    """A good answer with a lower index: the body counts, and the next read blocks on nothing."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.put("orders", entry(1), entry(2), entry(3), entry(4), index=5)
        await asyncio.sleep(31)
        assert scene.errors["index_reset"] == 2
        assert len(scene.told[-1].instances) == 4
        assert scene.consul.reads_of("orders")[-1][1]["index"] == "5"

    play(story)


def test_an_outage_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One per kind of failure, however many watches fail and however often; and one when it is over."""
    caplog.set_level("INFO", logger="discovery")

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(60)
        scene.consul.down = False
        await asyncio.sleep(3)

    play(story)
    assert [record.getMessage() for record in caplog.records] == [
        "Consul cannot be read, what is known stays: Server disconnected without sending a response.",
        "Consul cannot be read, what is known stays: All connection attempts failed",
        "Consul answers again",
    ]


def test_an_outage_of_some_is_not_over_while_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """An agent with too few connections serves one watch and cuts another: that is one outage, and no line for each turn."""
    caplog.set_level("INFO", logger="discovery.consul")

    async def story(scene: Scene) -> None:
        await scene.orders()
        for turn in range(20):
            scene.consul.cut_paths = {"/v1/health/service/orders", "/v1/catalog/services"}
            if turn % 2:
                scene.consul.cut_paths.discard("/v1/catalog/services")
            scene.consul.put("orders", *(entry(n) for n in range(1, 4 + turn % 2)))
            await asyncio.sleep(3)
        scene.consul.cut_paths.clear()
        await asyncio.sleep(6)
        assert scene.errors["connection_lost"] > 10

    play(story)
    assert [record.getMessage() for record in caplog.records] == ["Consul cannot be read, what is known stays: cut", "Consul answers again"]


def test_a_registry_that_restarts_empty_fails_nobody() -> None:
    """Services come back one by one within eight seconds; until then they are suspects."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(3)
        scene.consul.put("orders", index=2)
        scene.consul.down = False
        await asyncio.sleep(2 + REPLAY_S)
        assert scene.last == "fresh 1:suspect 2:suspect 3:suspect"
        back = []
        for number in (1, 2, 3):
            await asyncio.sleep(2)
            back.append(entry(number, create_index=number))
            scene.consul.put("orders", *back)
        await asyncio.sleep(0.5)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        await asyncio.sleep(60)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        assert all(len(s.instances) == 3 for s in scene.told)

    play(story)


def test_a_registry_that_reads_a_long_log_brings_nobody_back() -> None:
    """However long that lasts, and whoever leads it then: a verified leader answers when it has read all of it."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        now = scene.consul.services["orders"]
        scene.consul.kill()
        await asyncio.sleep(3)
        scene.consul.refused_modes = frozenset({"consistent"})
        scene.consul.down = False
        for index in range(2, 9):
            scene.consul.put("orders", *(entry(number) for number in range(3, 3 + index)), index=index)
            await asyncio.sleep(5)
            assert scene.last == "stale 1:passing 2:passing 3:passing"
        assert len([query for _, query in scene.consul.reads_of("orders") if "consistent" in query]) < 20
        scene.consul.refused_modes = frozenset()
        scene.consul.put("orders", *now, index=50)
        await asyncio.sleep(2)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        assert {instance.id for told in scene.told for instance in told.instances} == {"orders-1", "orders-2", "orders-3"}

    play(story)


def test_a_real_end_is_believed_after_the_hold() -> None:
    """Confirmed by the leader and by a verified leader, in time."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.reads.clear()
        scene.consul.put("orders")
        await asyncio.sleep(9.9)
        assert scene.last == "fresh 1:suspect 2:suspect 3:suspect"
        await asyncio.sleep(1)
        assert scene.last == "fresh "
        modes = ["consistent" if "consistent" in q else "stale" if "stale" in q else "default" for _, q in scene.consul.reads_of("orders")]
        assert "default" in modes
        assert modes.count("consistent") == 2

    play(story)


def test_a_loss_is_not_believed_while_there_is_no_leader() -> None:
    """Stale reads go on meanwhile, so that what comes back is seen."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.refused_modes = frozenset({"default", "consistent"})
        scene.consul.put("orders")
        await asyncio.sleep(60)
        assert scene.last.endswith("1:suspect 2:suspect 3:suspect")
        scene.consul.put("orders", entry(2))
        await asyncio.sleep(5)
        assert "2:passing" in scene.last
        scene.consul.refused_modes = frozenset()
        await asyncio.sleep(30)
        assert scene.last == "fresh 2:passing"

    play(story)


def test_single_losses_are_believed_at_once() -> None:
    """One of three is gone within a tenth of a second, and so is one that is critical or in maintenance."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.put("orders", entry(1), entry(3))
        await asyncio.sleep(0.1)
        assert scene.last == "fresh 1:passing 3:passing"
        scene.consul.put("orders", entry(1), entry(3, status="critical"))
        await asyncio.sleep(0.1)
        assert scene.last == "fresh 1:passing 3:critical"

    play(story)


def test_a_frozen_agent_is_noticed_by_the_read_timeout() -> None:
    """Nothing else would: the connection stays open."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.error = httpx.ReadTimeout("silence")
        scene.consul.put("orders", entry(1), entry(2), entry(3))
        await asyncio.sleep(1)
        assert scene.last == "stale 1:passing 2:passing 3:passing"
        assert scene.errors["timeout"] >= 1

    play(story)


@pytest.mark.parametrize(
    ("status", "text", "kind", "reads"), [(403, "ACL not found", "denied", 9), (400, "Invalid wait time", "misconfigured", 2)]
)
def test_a_refusal_is_not_hammered(status: int, text: str, kind: str, reads: int) -> None:
    """What is known stays; the state says that it is not confirmed any more."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.status, scene.consul.text = status, text
        scene.consul.wake()
        await asyncio.sleep(0.1)
        scene.consul.reads.clear()
        await asyncio.sleep(100)
        assert scene.last == "stale 1:passing 2:passing 3:passing"
        assert text in str(scene.source.status().last_error)
        assert scene.errors[kind] >= 2
        assert len(scene.consul.reads_of("orders")) <= reads
        scene.consul.status = None
        await asyncio.sleep(61)
        assert scene.source.status().state == "fresh"

    play(story)


def test_a_narrowed_token_takes_nothing_away() -> None:
    """200, an empty list, and the index has not moved."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        entries = scene.consul.services["orders"]
        scene.consul.services["orders"] = []
        await asyncio.sleep(120)
        assert scene.last == "fresh 1:suspect 2:suspect 3:suspect"
        assert "orders" in scene.catalogs[-1].services
        scene.consul.services["orders"] = entries
        await asyncio.sleep(40)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"

    play(story)


def test_an_agent_that_restarts_is_waited_for() -> None:
    """All instances of a node turn critical together with its own check, in two services."""

    async def story(scene: Scene) -> None:
        users: list[Snapshot] = []
        scene.consul.put("users", entry(1, service="users"))
        scene.source.watch("users", users.append)
        await scene.orders(2)
        scene.consul.put("orders", entry(1, serf="critical"), entry(2, serf="critical"))
        scene.consul.put("users", entry(1, service="users", serf="critical"))
        await asyncio.sleep(5)
        assert scene.last == "fresh 1:suspect 2:suspect"
        assert [i.state for i in users[-1].instances] == ["suspect"]
        await asyncio.sleep(6)
        assert scene.last == "fresh 1:critical 2:critical"

    play(story)


def test_a_cold_start_may_live_on_the_agents_cache() -> None:
    """While there is no leader at all; it is not called fresh."""

    async def story(scene: Scene) -> None:
        scene.consul.refused_modes = frozenset({"stale"})
        scene.consul.headers = {"X-Cache": "HIT", "Age": "40"}
        await scene.orders()
        assert scene.last == "stale 1:passing 2:passing 3:passing"
        status = scene.source.status()
        assert (status.state, status.last_error, round(status.age_s or 0)) == ("stale", "answered from the agent's cache", 40)
        scene.consul.refused_modes, scene.consul.headers = frozenset(), {}
        await asyncio.sleep(10)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"

    play(story)


def remembered(*numbers: int, age_s: float = 5.0) -> Remembered:
    """What the disk knows: suspects, 5 s old."""
    body = json.dumps([entry(number, tags=("a",)) for number in numbers]).encode()
    instances = tuple(replace(i, state=InstanceState.SUSPECT) for i in decode_health(body, Reading("orders")).instances)
    at_s = asyncio.get_running_loop().time() - age_s
    catalog = Catalog({"orders": frozenset("a"), "quiet": frozenset()}, at_s, SnapshotState.SNAPSHOT)
    return Remembered(catalog, {"orders": Snapshot("orders", 1, instances, 0, at_s, SnapshotState.SNAPSHOT)})


def test_without_consul_it_begins_with_what_the_disk_knows() -> None:
    """Told at once, called what it is while Consul stays away, and expired when it is too old; nothing else about it changes."""

    async def whole() -> None:
        scene = Scene(remembered=remembered(1, 2), max_age_s=60.0)
        scene.consul.down = True
        await scene.orders()
        assert scene.last == "snapshot 1:suspect 2:suspect"
        assert [(sorted(c.services), c.state) for c in scene.catalogs] == [(["orders", "quiet"], "snapshot")]
        status = scene.source.status()
        assert (status.state, round(status.age_s or 0), status.last_error) == ("snapshot", 5, "All connection attempts failed")
        scene.source.watch("unheard", scene.told.append)
        await asyncio.sleep(20)
        assert scene.source.status().state == "snapshot"
        await asyncio.sleep(60)
        assert scene.last == "expired 1:suspect 2:suspect"
        assert scene.updates == []
        await scene.source.aclose()

    run_virtual(whole())


def test_the_first_good_answer_takes_the_disks_place() -> None:
    """Who is in it is ready, who is not is gone; and the disk is not asked again when a service is watched anew."""

    async def whole() -> None:
        scene = Scene(remembered=remembered(1, 4))
        await scene.orders()
        assert [f"{s.state} {len(s.instances)}" for s in scene.told] == ["snapshot 2", "fresh 3"]
        assert scene.last == "fresh 1:passing 2:passing 3:passing"
        scene.source.unwatch("orders")
        scene.consul.down = True
        scene.consul.wake()
        scene.source.watch("orders", scene.told.append)
        await asyncio.sleep(5)
        assert len(scene.told) == 2
        await scene.source.aclose()

    run_virtual(whole())


def test_a_first_answer_without_any_instance_is_held_like_any_other() -> None:
    """A registry that came back empty while the gateway was down: the services that live register again within the hold."""

    async def whole() -> None:
        scene = Scene(remembered=remembered(1, 2), empty_hold_s=10.0)
        await scene.orders(0)
        await asyncio.sleep(5)
        assert scene.last == "fresh 1:suspect 2:suspect"
        scene.consul.put("orders", entry(1))
        await asyncio.sleep(1)
        assert scene.last == "fresh 1:passing 2:suspect"
        await asyncio.sleep(10)
        assert scene.last == "fresh 1:passing"
        await scene.source.aclose()

    run_virtual(whole())


def test_only_remembered_instances_with_the_wanted_tags_are_served() -> None:
    """The setting may be newer than the file."""

    async def whole() -> None:
        scene = Scene(remembered=remembered(1), tags=("b",))
        scene.consul.down = True
        await scene.orders()
        assert scene.last == "snapshot "
        await scene.source.aclose()

    run_virtual(whole())


def test_an_empty_agents_cache_does_not_replace_the_disk() -> None:
    """It knows nothing, not even that there is nothing."""

    async def whole() -> None:
        scene = Scene(remembered=remembered(1))
        scene.consul.refused_modes, scene.consul.headers = frozenset({"stale"}), {"X-Cache": "HIT", "Age": "1"}
        await scene.orders(0)
        assert scene.last == "snapshot 1:suspect"
        await scene.source.aclose()

    run_virtual(whole())


def test_without_a_registry_there_is_nothing_to_tell() -> None:
    """Unknown is not empty; the error is there for operators."""

    async def story(scene: Scene) -> None:
        scene.consul.down = True
        await scene.orders()
        assert scene.told == []
        status = scene.source.status()
        assert (status.state, status.age_s, status.last_error) == (None, None, "All connection attempts failed")
        scene.consul.down = False
        await asyncio.sleep(2.3)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"

    play(story)


def test_a_service_that_may_not_be_read_is_no_good_news() -> None:
    """The others are fresh; the source is not."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.status = 403
        scene.source.watch("secret", scene.told.append)
        await asyncio.sleep(0.1)
        assert scene.source.status().state == "stale"

    play(story)


def test_states_expire_while_the_last_answer_is_still_served() -> None:
    """After max_age; nothing is taken away."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(61)
        assert scene.last == "expired 1:passing 2:passing 3:passing"
        assert scene.source.status().state == "expired"

    play(story, max_age_s=60.0)


def test_watching_twice_replaces_the_listener() -> None:
    """The new one hears at once what is known; there is still one read."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        later: list[Snapshot] = []
        catalogs: list[Catalog] = []
        scene.source.watch("ORDERS", later.append)
        scene.source.watch_catalog(catalogs.append)
        assert len(later) == 1
        assert later[0] == scene.source.snapshot("orders")
        assert len(catalogs) == 1
        assert scene.consul.blocked == 2

    play(story)


def test_what_is_not_watched_is_not_read() -> None:
    """The blocked read ends with the next turn of the loop."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.source.unwatch("orders")
        scene.source.unwatch("unknown")
        await asyncio.sleep(0.01)
        assert scene.consul.blocked == 1
        assert scene.source.snapshot("orders") is None
        scene.consul.put("orders")
        await asyncio.sleep(1)
        assert len(scene.told) == 1

    play(story)


NAMES = [f"s{n}" for n in range(200)]


async def hundreds(scene: Scene) -> None:
    """More services than blocking reads, watched and known."""
    scene.source.watch_catalog(scene.catalogs.append)
    for name in NAMES:
        scene.consul.put(name, entry(1, service=name))
        scene.source.watch(name, scene.told.append)
    await scene.source.start()
    await asyncio.sleep(2)
    assert {s.service for s in scene.told} == set(NAMES)
    scene.told.clear()


def test_hundreds_of_services_are_swept() -> None:
    """Two reads block for all of them; a check that changes is known at once, anything else within a second and a half."""

    async def story(scene: Scene) -> None:
        await hundreds(scene)
        assert scene.consul.blocked == 2
        scene.consul.reads.clear()
        scene.consul.check("s7", entry(1, service="s7", status="critical"))
        await asyncio.sleep(0.1)
        assert [(s.service, s.instances[0].state) for s in scene.told] == [("s7", "critical")]
        assert len(scene.consul.reads_of("s7")) == 1
        assert [path for _, path, query in scene.consul.reads if "index" not in query] == ["/v1/health/service/s7"]

        scene.consul.edit("s8", entry(1, service="s8") | {"Service": {**entry(1, service="s8")["Service"], "Weights": {"Passing": 9}}})
        await asyncio.sleep(1.5)
        assert [(s.service, s.instances[0].weight) for s in scene.told[1:]] == [("s8", 9)]
        assert all(len(scene.consul.reads_of(name)) < 4 for name in NAMES)

    play(story)


def test_a_quiet_sweep_confirms_all() -> None:
    """Two reads per wait, no plain ones, and nothing grows old."""

    async def story(scene: Scene) -> None:
        await hundreds(scene)
        scene.consul.reads.clear()
        await asyncio.sleep(120)
        assert len(scene.consul.reads) <= 10
        status = scene.source.status()
        assert (status.state, scene.told) == ("fresh", [])
        assert status.age_s is not None
        assert status.age_s < 65

    play(story)


def test_an_outage_of_a_sweep_is_one_of_all() -> None:
    """All are stale at once, and expire; what changed meanwhile is read when the registry is back."""

    async def story(scene: Scene) -> None:
        await hundreds(scene)
        scene.consul.kill()
        await asyncio.sleep(0.1)
        assert {(s.service, str(s.state)) for s in scene.told} == {(name, "stale") for name in NAMES}
        await asyncio.sleep(61)
        assert str(scene.told[-1].state) == "expired"
        scene.consul.down = False
        scene.consul.put("s9", entry(1, service="s9"), entry(2, service="s9"))
        scene.told.clear()
        await asyncio.sleep(5)
        assert {(s.service, str(s.state)) for s in scene.told} == {(name, "fresh") for name in NAMES}
        assert max(len(s.instances) for s in scene.told) == 2

    play(story, max_age_s=60.0)


def test_a_loss_is_doubted_in_a_sweep_too() -> None:
    """Suspect, read again from the leader, believed after the hold."""

    async def story(scene: Scene) -> None:
        await hundreds(scene)
        scene.consul.put("s5")
        await asyncio.sleep(1.5)
        assert scene.last == "fresh 1:suspect"
        await asyncio.sleep(10)
        assert scene.last == "fresh "

    play(story)


def test_the_mode_changes_without_a_gap() -> None:
    """Fewer services: each blocks again, on what it has read last; more of them: swept, and none is read in vain."""

    async def story(scene: Scene) -> None:
        await hundreds(scene)
        for name in NAMES[50:]:
            scene.source.unwatch(name)
        await asyncio.sleep(6)
        assert scene.source.fan_in.direct
        assert scene.consul.blocked == 51
        scene.consul.reads.clear()
        scene.consul.put("s7", entry(1, service="s7"), entry(2, service="s7"))
        await asyncio.sleep(0.1)
        assert [(s.service, len(s.instances)) for s in scene.told] == [("s7", 2)]
        assert all("index" in query for _, query in scene.consul.reads_of("s7"))

        for name in NAMES[50:]:
            scene.source.watch(name, scene.told.append)
        await asyncio.sleep(0.5)
        assert not scene.source.fan_in.direct
        assert scene.consul.blocked == 52 + 1 - 1  # the fifty of before go on until they are answered
        scene.told.clear()
        for name in ("s7", "s77"):
            scene.consul.check(name, entry(1, service=name, status="critical"))
        await asyncio.sleep(0.2)
        assert {s.service for s in scene.told} == {"s7", "s77"}
        await asyncio.sleep(33)
        assert scene.consul.blocked == 2

    play(story)


def test_a_restart_within_the_wait_sweeps() -> None:
    """The reads of the source before still count at the agent: there is no room for as many again."""

    async def story(scene: Scene) -> None:
        budgets = Budgets(clock=asyncio.get_running_loop().time)
        for round_ in range(3):
            source = ConsulSource(
                "http://consul.test", clock=asyncio.get_running_loop().time, transport=scene.consul, random=Random(1), budgets=budgets
            )
            for name in NAMES[:60]:
                if round_ == 0:
                    scene.consul.put(name, entry(1, service=name))
                source.watch(name, scene.told.append)
            await source.start()
            await asyncio.sleep(2)
            assert source.fan_in.direct is (round_ == 0)
            assert budgets.of("http://consul.test").in_use() <= 82
            await source.aclose()

    play(story)


def test_another_agent_is_asked_when_one_falls_silent(caplog: pytest.LogCaptureFixture) -> None:
    """All watches go there together, after a single failure."""
    caplog.set_level("WARNING", logger="discovery")

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.silent_host = "one"
        scene.consul.hosts.clear()
        source = ConsulSource(["http://one", "http://two"], clock=asyncio.get_running_loop().time, transport=scene.consul, random=Random(1))
        told: list[Snapshot] = []
        source.watch("orders", told.append)
        source.watch_catalog(scene.catalogs.append)
        await source.start()
        await asyncio.sleep(1)
        assert len(told[-1].instances) == 3
        assert (scene.consul.hosts.count("one"), scene.consul.hosts.count("two")) == (1, 4)
        assert repr(source) == "<ConsulSource http://two fresh services=1>"
        await source.aclose()

    play(story)
    assert "another Consul agent is asked from now on" in caplog.text


def test_a_token_that_sees_nothing_is_no_empty_registry() -> None:
    """The missing rule is the source's error, nothing is known, and that ends with the rule's return."""

    async def story(scene: Scene) -> None:
        nodes, scene.consul.nodes = scene.consul.nodes, []
        scene.source.watch("orders", scene.told.append)
        scene.source.watch_catalog(scene.catalogs.append)
        await scene.source.start()
        await asyncio.sleep(1.0)
        status = scene.source.status()
        assert status.state is None
        assert "the token needs node:read" in str(status.last_error)
        scene.consul.nodes = nodes
        scene.consul.put("orders", entry(1))
        await asyncio.sleep(6.0)
        assert (scene.source.status().state, scene.source.status().last_error) == ("fresh", None)

    play(story)


def test_a_token_that_is_narrowed_is_named_too() -> None:
    """What is known stays, as suspect; the state says that it is not confirmed any more."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.services["orders"], scene.consul.nodes = [], []
        await asyncio.sleep(40.0)
        assert scene.last == "fresh 1:suspect 2:suspect 3:suspect"
        status = scene.source.status()
        assert status.state == "stale"
        assert "node:read" in str(status.last_error)

    play(story)


def test_a_flapping_check_is_damped(caplog: pytest.LogCaptureFixture) -> None:
    """Once a second: critical from the seventh change on, with the reason; the others are as they were, and the log has a line."""
    caplog.set_level("INFO", logger="discovery")

    async def story(scene: Scene) -> None:
        await scene.orders()
        states = []
        for second in range(30):
            status = "critical" if second % 2 else "passing"
            scene.consul.put("orders", entry(1, status=status), entry(2), entry(3))
            await asyncio.sleep(1.0)
            snapshot = scene.source.snapshot("orders")
            assert snapshot is not None
            states.append(str(snapshot.instances[0].state))
            assert [i.state for i in snapshot.instances[1:]] == ["passing", "passing"]
        assert states == ["passing", "critical"] * 3 + ["passing"] + ["critical"] * 23
        scene.consul.put("orders", entry(1), entry(2), entry(3))
        await asyncio.sleep(5.0)
        assert scene.last == "fresh 1:critical 2:passing 3:passing"
        assert str(scene.told[-1].instances[0].reason).startswith("flapping: ")
        await asyncio.sleep(4.0)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"

    play(story)
    assert [record.getMessage() for record in caplog.records] == [
        "an instance changes its state too often, the worse one is held: flapping: 7 changes within a minute, held for 30 s"
    ]


def test_new_instances_are_told_together_and_lost_ones_at_once() -> None:
    """A burst of registrations is a few snapshots, a deregistration in its middle is one of its own."""

    async def story(scene: Scene) -> None:
        await scene.orders(2)
        scene.told.clear()
        for count in range(3, 8):
            scene.consul.put("orders", *(entry(n) for n in range(1, count)))
            await asyncio.sleep(0.005)
        assert scene.told == []
        scene.consul.put("orders", *(entry(n) for n in range(2, 7)))
        await asyncio.sleep(0.001)
        assert scene.last == "fresh " + " ".join(f"{n}:passing" for n in range(2, 7))
        assert len(scene.told) == 1
        scene.consul.put("orders", *(entry(n) for n in range(2, 8)))
        scene.source.unwatch("orders")
        await asyncio.sleep(1.0)
        assert len(scene.told) == 1

    play(story)


def test_recovery_is_news_for_all_watches() -> None:
    """Whoever gets through first wakes the others: nobody sleeps through it."""

    async def story(scene: Scene) -> None:
        for number in range(60):
            scene.consul.put(f"s{number}", entry(1, service=f"s{number}"))
            scene.source.watch(f"s{number}", scene.told.append)
        await scene.source.start()
        await asyncio.sleep(1)
        scene.consul.kill()
        await asyncio.sleep(30)
        attempts = len(scene.consul.reads)
        await asyncio.sleep(10)
        assert len(scene.consul.reads) - attempts < 200
        scene.consul.down = False
        await asyncio.sleep(3)
        assert scene.source.status().state == "fresh"

    play(story)


def test_status_tells_the_oldest_confirmation() -> None:
    """Over all watches; and the source introduces itself."""

    async def story(scene: Scene) -> None:
        assert repr(scene.source) == "<ConsulSource http://consul.test unknown services=0>"
        await scene.orders()
        await asyncio.sleep(20)
        status = scene.source.status()
        assert (status.provider, status.state, status.last_error) == ("consul", "fresh", None)
        assert status.age_s == pytest.approx(20, abs=0.2)
        assert repr(scene.source) == "<ConsulSource http://consul.test fresh services=1>"

    play(story)


def test_settings_that_cannot_work_are_refused() -> None:
    """Before anything is watched."""
    with pytest.raises(ValueError, match="wait"):
        ConsulSource(wait_s=0)
    with pytest.raises(ValueError, match="eventual"):
        ConsulSource(consistency="eventual")


def test_a_key_is_followed_beside_the_services() -> None:
    """Absent, put, changed, deleted: each is one piece of news, and what becomes of a key says nothing of services."""
    told: list[KeyValue] = []

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.source.watch_key("/lbgateway/routes", told.append)
        await asyncio.sleep(1)
        for value in (b"a: 1", b"a: 2", None, b""):
            scene.consul.put_key("lbgateway/routes", value)
            await asyncio.sleep(1)
        status = scene.source.status()
        assert (status.state, status.last_error) == ("fresh", None)

    play(story)
    assert [(each.value, each.last_error) for each in told] == [(None, None), (b"a: 1", None), (b"a: 2", None), (None, None), (b"", None)]
    assert all(after.index > before.index >= 1 for before, after in itertools.pairwise(told))


def test_a_key_that_cannot_be_read_keeps_its_value() -> None:
    """And is told again as soon as it can."""
    told: list[KeyValue] = []

    async def story(scene: Scene) -> None:
        scene.consul.put_key("routes", b"a: 1")
        scene.source.watch_key("routes", told.append)
        await scene.source.start()
        await asyncio.sleep(1)
        scene.consul.status, scene.consul.text = 403, "Permission denied"
        scene.consul.wake()
        await asyncio.sleep(31)
        scene.consul.status = None
        await asyncio.sleep(61)
        scene.source.watch_key("other", told.append)
        await asyncio.sleep(1)

    scene = play(story)
    assert [(each.key, each.value, each.last_error and each.last_error[:8]) for each in told] == [
        ("routes", b"a: 1", None),
        ("routes", b"a: 1", "HTTP 403"),
        ("routes", b"a: 1", None),
        ("other", None, None),
    ]
    assert scene.errors["denied"] >= 1
