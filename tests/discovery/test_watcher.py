"""One watch in virtual time: it waits, it goes on, it ends at once."""

from __future__ import annotations

import asyncio
from random import Random

from discovery.consul_wire import Consistency, Read, Reply
from discovery.errors import ConnectionLost, Denied, DiscoveryError, MalformedAnswer, ReadTimedOut, Unreachable
from discovery.pacing import Pacer
from discovery.protection import Recheck
from discovery.trust import Trust
from discovery.watcher import Watcher
from tests.support.virtual_time import run_virtual

GOOD = Reply(200, b"good", "7")


class Notebook:
    """Keeps what a watcher feeds it, without a meaning."""

    path = "/v1/something"

    def __init__(self) -> None:
        self.trust = Trust(60.0)
        self.recheck: Recheck | None = None
        self.accepted: list[tuple[bytes, bool]] = []
        self.states: list[str] = []
        self.broken: Exception | None = None

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:
        if self.broken is not None:
            raise self.broken
        self.accepted.append((reply.body, recovering))
        self.trust.confirm(now_s)
        self.states.append(str(self.trust.state))

    def refuse(self, error: str, now_s: float) -> None:
        self.trust.failed(error, now_s)
        self.states.append(str(self.trust.state))


class Script:
    """Answers reads in turn, each after a pause; then blocks for good."""

    def __init__(self, *steps: Reply | Exception | float) -> None:
        self.steps = list(steps)
        self.reads: list[tuple[float, Read]] = []
        self.cancelled = False

    async def ask(self, path: str, read: Read) -> Reply:
        self.reads.append((asyncio.get_running_loop().time() - 1000.0, read))
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Reply):
                return step
            await asyncio.sleep(step)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError


class Scene:
    """A watcher with its script, run for some virtual seconds."""

    def __init__(self, *steps: Reply | Exception | float) -> None:
        self.script = Script(*steps)
        self.kept = Notebook()
        self.errors: list[str] = []
        self.recovered = 0
        self.watcher: Watcher | None = None

    def recover(self, _: Watcher) -> None:
        self.recovered += 1

    async def play(self, seconds: float, *, direct: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.watcher = Watcher(
            self.kept,
            Pacer(wait_s=30.0, consistency=Consistency.STALE, random=Random(1)),
            self.script.ask,
            clock=loop.time,
            hold_s=10.0,
            on_error=lambda kind, _text: self.errors.append(kind),
            on_recovered=self.recover,
        )
        self.watcher.direct(direct=direct)
        self.watcher.start()
        self.watcher.start()
        await asyncio.sleep(seconds)

    async def end(self) -> None:
        assert self.watcher is not None
        task = self.watcher.stop()
        assert task is not None
        await asyncio.gather(task, return_exceptions=True)


def play(scene: Scene, seconds: float = 300.0) -> Scene:
    async def story() -> None:
        await scene.play(seconds)
        await scene.end()

    run_virtual(story())
    return scene


def test_a_plain_read_is_followed_by_blocking_ones() -> None:
    """From then on it waits in the registry."""
    scene = play(Scene(GOOD, 12.0, Reply(200, b"better", "8")))

    assert [read for _, read in scene.script.reads] == [Read(), Read(7, 30.0), Read(8, 30.0)]
    assert [body for body, _ in scene.kept.accepted] == [b"good", b"better"]
    assert scene.script.reads[2][0] == 12.0
    assert scene.errors == []


def test_after_a_failure_the_next_read_is_plain_and_soon() -> None:
    """Stale with the first failed read, fresh with the next good one."""
    scene = play(Scene(GOOD, 5.0, ConnectionLost("eof"), GOOD))

    assert scene.kept.states == ["fresh", "stale", "fresh"]
    at_s, read = scene.script.reads[2]
    assert read == Read()
    assert at_s <= 5.25
    assert (scene.errors, scene.recovered) == (["connection_lost"], 1)


def test_answers_after_an_outage_are_known_to_be_such() -> None:
    """For as long as a suspicious loss is held."""
    scene = play(Scene(GOOD, Unreachable("refused"), GOOD, 9.0, Reply(200, b"soon", "8"), 9.0, Reply(200, b"later", "9")))

    assert scene.kept.accepted == [(b"good", False), (b"good", True), (b"soon", True), (b"later", False)]


def test_a_refusal_is_no_outage() -> None:
    """A wrong token says nothing about the registry's memory."""
    scene = play(Scene(GOOD, Denied("403"), GOOD))

    assert scene.kept.accepted == [(b"good", False), (b"good", False)]
    assert scene.recovered == 1


def test_statuses_are_failures_too() -> None:
    """Whatever is not 200 keeps what is known."""
    scene = play(Scene(GOOD, Reply(500, b"No cluster leader", "1"), Reply(403, b"no"), GOOD))

    assert scene.errors == ["server_error", "denied"]
    assert len(scene.kept.accepted) == 2


def test_stale_expires_even_while_a_read_hangs() -> None:
    """An agent that is frozen says nothing at all."""
    scene = Scene(GOOD, ReadTimedOut("silence"))

    async def story() -> None:
        await scene.play(59.9)
        assert scene.kept.states == ["fresh", "stale"]
        await asyncio.sleep(0.2)
        assert scene.kept.states == ["fresh", "stale", "expired"]
        await scene.end()

    run_virtual(story())


def test_an_index_that_goes_backwards_is_reported() -> None:
    """It tells of a registry that lost its memory."""
    scene = play(Scene(Reply(200, b"", "43"), Reply(200, b"", "10"), Reply(200, b"", "10")))

    assert scene.errors == ["index_reset"]
    assert [read.index for _, read in scene.script.reads] == [0, 43, 0, 10]


def test_an_old_answer_is_checked_with_the_leader() -> None:
    """It does not count as recovery, nor as confirmation of anything."""
    scene = play(Scene(Unreachable("x"), Reply(200, b"old", "7", last_contact_s=60.0), GOOD))

    assert [read.consistency for _, read in scene.script.reads][:3] == [Consistency.STALE, Consistency.STALE, Consistency.DEFAULT]
    assert scene.kept.accepted == [(b"old", True), (b"good", True)]


def test_a_doubted_loss_is_looked_at_again_in_time() -> None:
    """The moment and the mode come from what is kept."""
    scene = Scene(GOOD, 4.0, Reply(200, b"same", "7"), GOOD)
    scene.kept.recheck = Recheck(1004.0, Consistency.DEFAULT)

    async def story() -> None:
        await scene.play(4.5)
        scene.kept.recheck = None
        await scene.end()

    run_virtual(story())
    assert [(read.index, read.wait_s, read.consistency) for _, read in scene.script.reads][:3] == [
        (0, 0.0, Consistency.STALE),
        (7, 4.0, Consistency.STALE),
        (0, 0.0, Consistency.DEFAULT),
    ]


def test_no_bug_ends_a_watch() -> None:
    """Ours or anybody's: it is counted, and the watch goes on."""
    scene = Scene(GOOD, GOOD, RuntimeError("bug"), GOOD)
    scene.kept.broken = ValueError("another")

    async def story() -> None:
        await scene.play(0.0)
        await asyncio.sleep(0.01)
        scene.kept.broken = None
        await asyncio.sleep(60)
        await scene.end()

    run_virtual(story())
    assert scene.errors == ["internal", "internal"]
    assert len(scene.kept.accepted) == 2


def test_nonsense_is_a_failure() -> None:
    """The last good answer stays, the watch goes on."""
    scene = Scene(GOOD, GOOD)
    scene.kept.broken = MalformedAnswer("no list")

    async def story() -> None:
        await scene.play(0.01)
        assert scene.errors == ["malformed"]
        scene.kept.broken = None
        await asyncio.sleep(10)
        assert len(scene.kept.accepted) == 1
        await scene.end()

    run_virtual(story())


def test_a_nudge_ends_the_pause() -> None:
    """When another watch has reached the registry there is no point in waiting."""
    scene = Scene(*([ReadTimedOut("silence")] * 12), GOOD)

    async def story() -> None:
        await scene.play(60.0)
        assert scene.watcher is not None
        assert scene.watcher.pacer.due_at_s - asyncio.get_running_loop().time() > 1.0
        scene.script.steps = [GOOD]
        scene.watcher.nudge()
        await asyncio.sleep(0.3)
        assert len(scene.kept.accepted) == 1
        await scene.end()

    run_virtual(story())


def test_a_blocked_read_is_cancelled_at_once() -> None:
    """Nothing waits for a registry that has nothing to say."""
    scene = Scene(GOOD)

    async def story() -> None:
        await scene.play(1.0)
        before = asyncio.get_running_loop().time()
        await scene.end()
        assert asyncio.get_running_loop().time() == before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(story())
    assert scene.script.cancelled
    assert repr(scene.watcher) == "<Watcher /v1/something stopped>"


def test_a_watch_that_never_ran_can_be_stopped() -> None:
    """There is no task to wait for."""
    pacer = Pacer(wait_s=30.0, consistency=Consistency.STALE, random=Random(1))

    async def nobody(path: str, read: Read) -> Reply:
        raise DiscoveryError(path)

    async def story() -> None:
        watcher = Watcher(
            Notebook(),
            pacer,
            nobody,
            clock=lambda: 0.0,
            hold_s=1.0,
            on_error=lambda *_: None,
            on_recovered=lambda _: None,
        )
        assert watcher.stop() is None

    run_virtual(story())


def test_a_swept_watch_waits_to_be_told() -> None:
    """It reads plainly, waits, and reads again when something changed, or for a resync; a new one in between."""

    async def story() -> None:
        scene = Scene(GOOD, GOOD, GOOD, GOOD)
        await scene.play(10.0, direct=False)
        assert scene.watcher is not None
        assert repr(scene.watcher) == "<Watcher /v1/something swept>"
        scene.watcher.assure(1009.0)
        assert scene.kept.trust.confirmed_at_s == 1009.0
        scene.watcher.tell()
        scene.watcher.assure(1010.0)  # it was told of a change: this answer may lie before it
        assert scene.kept.trust.confirmed_at_s == 1009.0
        await asyncio.sleep(10.0)
        scene.watcher.tell()
        await asyncio.sleep(400.0)
        await scene.end()
        assert [read for _, read in scene.script.reads] == [
            Read(),
            Read(),
            Read(),
            Read(resync=True),
        ]
        assert [at_s for at_s, _ in scene.script.reads[:3]] == [0.0, 10.0, 20.0]

    run_virtual(story())


def test_a_swept_watch_shares_the_worries_of_the_sweep() -> None:
    """Stale at once, though it did not fail itself, and expired in time; the next answer comes from a registry that was away."""

    async def story() -> None:
        scene = Scene(GOOD, GOOD)
        await scene.play(10.0, direct=False)
        assert scene.watcher is not None
        scene.watcher.worry(Unreachable("gone"))
        await asyncio.sleep(70.0)
        scene.watcher.tell()
        await asyncio.sleep(1.0)
        await scene.end()
        assert scene.kept.states == ["fresh", "stale", "expired", "fresh"]
        assert scene.kept.accepted == [(b"good", False), (b"good", True)]
        assert scene.errors == []

    run_virtual(story())


def test_a_watch_that_blocks_worries_for_itself() -> None:
    """Its own read still waits: nothing is known against it."""

    async def story() -> None:
        scene = Scene(GOOD)
        await scene.play(5.0)
        assert scene.watcher is not None
        scene.watcher.worry(Unreachable("gone"))
        await scene.end()
        assert scene.kept.states == ["fresh"]

    run_virtual(story())
