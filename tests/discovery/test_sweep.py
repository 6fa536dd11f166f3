"""All checks at a glance: what an answer says of whom, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.consul_wire import Read, Reply
from discovery.errors import DiscoveryError, MalformedAnswer, Unreachable
from discovery.sweep import EXPLAINED_S, Concerned, Sweep, concerned, pieces
from discovery.trust import Trust
from tests.support.virtual_time import run_virtual


def check(service: str, node: str = "n1", status: str = "passing", **more: Any) -> dict[str, Any]:
    name = {"ServiceName": service, "ServiceID": f"{service}-1"} if service else {"ServiceName": ""}
    return {"Node": node, "CheckID": f"service:{service}" if service else "serfHealth", "Status": status, **name, **more}


def changed(before: tuple[Any, ...], after: tuple[Any, ...], **style: Any) -> Concerned:
    return concerned(pieces(json.dumps(before, **style).encode()) ^ pieces(json.dumps(after, **style).encode()))


BEFORE = (check("a"), check("b"), check("", "n1"), check("", "n2"))


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize(
    ("after", "services", "nodes"),
    [
        (BEFORE, set(), set()),
        (BEFORE[::-1], set(), set()),
        ((check("a", status="critical"), *BEFORE[1:]), {"a"}, set()),
        ((check("A", Output="slow"), *BEFORE[1:]), {"a"}, set()),
        ((check("a", Output='{"Node": "x", "ServiceName": "b"}, {"Node":'), *BEFORE[1:]), {"a"}, set()),
        ((*BEFORE, check("b", "n2")), {"b"}, set()),
        ((*BEFORE, check("caf\u00e9", "n2")), {"caf\u00e9"}, set()),
        (BEFORE[1:], {"a"}, set()),
        ((*BEFORE[:3], check("", "n2", "critical")), set(), {"n2"}),
        ((*BEFORE, check("", "n1", "critical", CheckID="_node_maintenance")), set(), {"n1"}),
        ((), {"a", "b"}, {"n1", "n2"}),
    ],
)
def test_an_answer_names_what_changed(after: tuple[Any, ...], services: set[str], nodes: set[str], indent: int | None) -> None:
    """Services by their checks, nodes by their own; the order says nothing, nor does what a check puts out."""
    assert changed(BEFORE, after, indent=indent) == (services, nodes, False)


def test_what_cannot_be_read_concerns_everybody() -> None:
    """Better one read too many."""
    assert changed(BEFORE, (*BEFORE, {"Node": "n1"})).everybody
    assert changed(BEFORE, (*BEFORE, {"Node": 7, "ServiceName": "a"})).everybody


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5), st.tuples(st.text(min_size=1), st.text(), st.text()))
def test_the_one_that_is_new_is_named(others: list[tuple[str, str, str]], new: tuple[str, str, str]) -> None:
    """Whatever the names and outputs are made of."""
    before = tuple(check(service, node, Output=output) for service, node, output in others)
    one = check(*new[:2], Output=new[2], ModifyIndex=7)
    assert changed(before, (*before, one)).services == {new[0].lower()}


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"x[]", b'[{"Node":"a"'])
def test_what_is_no_list_is_malformed(body: bytes) -> None:
    """A truncated answer changes nothing."""
    with pytest.raises(MalformedAnswer):
        pieces(body)


class Kept:
    """What a sweep knows of a service: where its instances are."""

    def __init__(self, *nodes: str) -> None:
        self.nodes = frozenset(nodes)


class Told:
    """Writes down what a watch is told, and reads when it is."""

    def __init__(self, name: str) -> None:
        self.path = f"/v1/health/service/{name}"
        self.news: list[str] = []
        self.pacer = self.kept = self
        self.quiet = True
        self.asked_at_s = float("-inf")

    def tell(self) -> None:
        self.news.append("told")

    def worry(self, error: DiscoveryError) -> None:
        self.news.append(error.kind)

    def assure(self, at_s: float) -> None:
        self.news.append(f"assured {at_s:g}")


class Scene:
    """Services a and b on n1, c on n2; the registry answers what was put."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.told = {name: Told(name) for name in "abc"}
        nodes = {"a": ("n1",), "b": ("n1",), "c": ("n2",)}
        self.services: dict[str, Any] = {name: (Kept(*nodes[name]), told) for name, told in self.told.items()}
        self.answer: list[dict[str, Any]] | DiscoveryError = [check("a"), check("b"), check("c", "n2"), check("", "n1")]
        self.status = 200
        self.headers: dict[str, Any] = {}
        self.sweep = Sweep(self.services, self.ask, max_age_s=60.0, clock=self.loop.time)

    async def ask(self, _path: str, _read: Read) -> Reply:
        await asyncio.sleep(0)
        if isinstance(self.answer, DiscoveryError):
            raise self.answer
        return Reply(self.status, json.dumps(self.answer).encode(), "7", **self.headers)

    async def read(self) -> None:
        """One read as a watcher does it."""
        reply = await self.sweep.ask(self.sweep.path, Read())
        if reply.status == 200:
            self.sweep.accept(reply, Read(), self.loop.time(), recovering=False)

    def news(self) -> dict[str, list[str]]:
        """What was told since the last call."""
        found = {name: told.news[:] for name, told in self.told.items() if told.news}
        for told in self.told.values():
            told.news.clear()
        return found


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        scene = Scene()
        await story(scene)
        scene.sweep.stop()

    run_virtual(whole())


EVERYBODY = {"a": ["told"], "b": ["told"], "c": ["told"]}


def test_the_first_answer_says_nothing_and_so_all_are_read() -> None:
    """What changed before it is anybody's guess; a second, equal one tells nobody."""

    async def story(scene: Scene) -> None:
        await scene.read()
        assert scene.news() == EVERYBODY
        await scene.read()
        assert scene.news() == {}

    play(story)


def test_only_those_concerned_are_told() -> None:
    """A service by its check; all services of a node by the node's own."""

    async def story(scene: Scene) -> None:
        await scene.read()
        scene.news()
        scene.answer = [check("a", status="critical"), check("b"), check("c", "n2"), check("", "n1")]
        await scene.read()
        assert scene.news() == {"a": ["told"]}
        scene.answer[3] = check("", "n1", "critical")
        await scene.read()
        assert scene.news() == {"a": ["told"], "b": ["told"]}

    play(story)


@pytest.mark.parametrize(("error", "kind"), [(Unreachable("x"), "unreachable"), (None, "server_error")])
def test_a_failure_worries_all_and_afterwards_all_are_read(error: DiscoveryError | None, kind: str) -> None:
    """The one read stands for all of them."""

    async def story(scene: Scene) -> None:
        await scene.read()
        scene.news()
        good = scene.answer
        scene.answer, scene.status = error or good, 500
        with contextlib.suppress(DiscoveryError):
            await scene.read()
        scene.sweep.refuse("as the watcher does", scene.loop.time())
        assert scene.news() == {name: [kind] for name in "abc"}
        scene.answer, scene.status = good, 200
        await scene.read()
        assert scene.news() == EVERYBODY

    play(story)


def test_quiet_services_are_confirmed_by_both_reads() -> None:
    """As of the older answer, and not at all by one that may be out of date."""

    async def story(scene: Scene) -> None:
        await scene.read()
        scene.news()
        scene.sweep.catalog = Trust(60.0)
        await scene.read()
        assert scene.news() == {}
        scene.sweep.catalog.confirm(900.0)
        await scene.read()
        assert scene.news() == {name: ["assured 900"] for name in "abc"}
        scene.headers = {"known_leader": False}
        await scene.read()
        assert scene.news() == {}
        assert scene.sweep.trust.state == "stale"

    play(story)


def test_a_move_that_no_check_explains_makes_a_pass() -> None:
    """Over all that were not read since, and at most one per second, however often the catalog moves."""

    async def story(scene: Scene) -> None:
        await scene.read()
        await asyncio.sleep(1.0)
        scene.news()
        scene.sweep.catalog_moved()
        scene.told["a"].asked_at_s = scene.loop.time() + 0.05
        await asyncio.sleep(0.3)
        assert scene.news() == {"b": ["told"], "c": ["told"]}
        for _ in range(30):
            scene.sweep.catalog_moved()
            await asyncio.sleep(0.1)
        assert [len(news) for news in scene.news().values()] == [3, 3, 3]

    play(story)


def test_a_move_that_a_check_explains_makes_one_later() -> None:
    """It may have hidden another one; one that nothing explains does not wait for it."""

    async def story(scene: Scene) -> None:
        await scene.read()
        scene.news()
        scene.sweep.catalog_moved()
        scene.answer = [check("a", status="critical"), check("b"), check("c", "n2"), check("", "n1")]
        await scene.read()
        assert scene.news() == {"a": ["told"]}
        await asyncio.sleep(EXPLAINED_S - 0.1)
        assert scene.news() == {}
        await asyncio.sleep(0.2)
        assert scene.news() == EVERYBODY

        await asyncio.sleep(1.0)
        scene.sweep.catalog_moved()
        scene.answer[0] = check("a")
        await scene.read()
        await asyncio.sleep(1.0)
        scene.news()
        scene.sweep.catalog_moved()
        await asyncio.sleep(0.3)
        assert scene.news() == EVERYBODY

    play(story)


def test_a_sweep_that_ended_begins_anew() -> None:
    """No pass comes any more, and the first answer of the next time says nothing."""

    async def story(scene: Scene) -> None:
        await scene.read()
        scene.news()
        scene.sweep.catalog_moved()
        await asyncio.sleep(0.26)
        scene.sweep.catalog_moved()
        scene.sweep.stop()
        await asyncio.sleep(5.0)
        assert scene.news() == {}
        await scene.read()
        assert scene.news() == EVERYBODY

    play(story)


def test_a_pass_reads_four_at_a_time_and_everybody_in_turn() -> None:
    """Also when the next one begins before it has ended; who is read meanwhile, or reads anyway, is not counted."""

    async def story(scene: Scene) -> None:
        names = [f"s{n}" for n in range(10)]
        told = {name: Told(name) for name in names}
        scene.services.clear()
        scene.services.update({name: (Kept(), told[name]) for name in names})
        told["s1"].quiet = False

        def begun() -> list[int]:
            return [n for n, name in enumerate(names) if told[name].news]

        await scene.read()
        assert begun() == [0, 1, 2, 3, 4]
        told["s5"].asked_at_s = scene.loop.time() + 1.0
        await scene.sweep.ask_for_one(told["s2"].path, Read())
        assert begun() == [0, 1, 2, 3, 4, 6]
        await scene.sweep.ask_for_one(told["s2"].path, Read())
        assert begun() == [0, 1, 2, 3, 4, 6]
        scene.sweep.catalog_moved()
        await asyncio.sleep(1.0)
        assert begun() == [0, 1, 2, 3, 4, 6, 7, 8, 9]

    play(story)
