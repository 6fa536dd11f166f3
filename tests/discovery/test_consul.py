"""The whole source against a Consul inside the test, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import httpx
import pytest

from discovery.consul import ConsulSource
from discovery.instance import Catalog, Snapshot
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


def test_a_registry_that_restarts_empty_fails_nobody() -> None:
    """Services come back one by one within eight seconds; until then they are suspects."""

    async def story(scene: Scene) -> None:
        await scene.orders()
        scene.consul.kill()
        await asyncio.sleep(3)
        scene.consul.put("orders", index=2)
        scene.consul.down = False
        await asyncio.sleep(2)
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
        scene.consul.headers = {"X-Cache": "HIT"}
        await scene.orders()
        assert scene.last == "stale 1:passing 2:passing 3:passing"
        scene.consul.refused_modes, scene.consul.headers = frozenset(), {}
        await asyncio.sleep(10)
        assert scene.last == "fresh 1:passing 2:passing 3:passing"

    play(story)


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


def test_hundreds_of_services_take_turns() -> None:
    """More watches than may block at a time: all of them known at once, changes seen within seconds."""

    async def story(scene: Scene) -> None:
        names = [f"s{n}" for n in range(200)]
        for name in names:
            scene.consul.put(name, entry(1, service=name))
            scene.source.watch(name, scene.told.append)
        await scene.source.start()
        await asyncio.sleep(1)
        assert {s.service for s in scene.told} == set(names)
        assert scene.consul.blocked <= 90
        for name in names:
            scene.consul.put(name, entry(1, service=name), entry(2, service=name))
        await asyncio.sleep(4)
        assert {s.service for s in scene.told if s.version == 2} == set(names)

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
