"""Checks are carried out, adjusted to what is registered, and ended without a trace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.health_runner import OUTPUT_READ_BYTES, HealthRunner, Streak, http_status
from discovery.embedded.records import CheckDefinition, Node, Registration, Service
from tests.support.registry_client import until

SOON_S = 0.03


class NoDelay(Random):
    """Every first probe is due at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Target:
    """A server that answers each connection with `answer`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a TCP check says nothing
        writer.close()


@pytest.fixture
async def target() -> AsyncIterator[tuple[Target, str]]:
    """The server and its ``host:port``."""
    it = Target()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    async with server:
        yield it, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def agent() -> AsyncIterator[LocalAgent]:
    """An agent whose checks are being carried out."""
    made = LocalAgent(Catalog(Node("0", "n"), Changes(1)))
    runner = HealthRunner(made, asyncio.get_running_loop().time, NoDelay(), tidy_interval_s=SOON_S)
    made.on_checks_changed = runner.refresh
    runner.start()
    yield made
    await runner.aclose()


def now() -> float:
    return asyncio.get_running_loop().time()


def register(agent: LocalAgent, **check: object) -> None:
    definition = CheckDefinition(**{"kind": "http", "id": "c", "service_id": "web", "interval_s": SOON_S, "timeout_s": 0.3} | check)
    agent.register(Registration(Service("web", "web"), (definition,)), now())


async def result(agent: LocalAgent, status: str | None = None) -> tuple[str, str]:
    """The check's status and output, as soon as there is an output (or a certain status)."""
    await until(lambda: agent.checks["c"].check.output != "" and status in (None, agent.checks["c"].check.status))
    return agent.checks["c"].check.status, agent.checks["c"].check.output


@pytest.mark.parametrize(
    ("code", "status"), [(200, "passing"), (204, "passing"), (301, "critical"), (404, "critical"), (429, "warning"), (500, "critical")]
)
def test_the_status_code_of_an_http_check_decides(code: int, status: str) -> None:
    """2xx is fine, 429 means busy."""
    assert http_status(code) == status


def test_a_streak_is_needed_where_one_is_asked_for() -> None:
    """One bad result in between starts the count anew; by default each result counts."""
    patient = Streak(CheckDefinition("http", success_before_passing=2, failures_before_critical=3))
    results = ["critical", "critical", "passing", "critical", "critical", "critical", "passing", "warning"]
    assert [patient.counts(status) for status in results] == [False, False, False, False, False, True, False, True]
    assert all(map(Streak(CheckDefinition("http")).counts, results))


async def test_an_http_check_asks_as_it_was_told_to(agent: LocalAgent, target: tuple[Target, str]) -> None:
    """Method, headers and body; what comes back is the output."""
    it, place = target
    register(agent, http=f"http://{place}/health?x=1", method="POST", body="hello", header={"X-A": ("1", "2")})
    status, output = await result(agent)

    assert (status, output) == ("passing", f"HTTP POST http://{place}/health?x=1: 200 OK Output: ok")
    head = it.asked[0].lower()
    assert head.startswith(b"post /health?x=1 http/1.1\r\n")
    assert head.count(b"x-a: ") == 2
    assert b"user-agent: consul health check" in head


async def test_of_a_long_answer_only_the_beginning_is_read(agent: LocalAgent, target: tuple[Target, str]) -> None:
    """An endless health page harms nobody."""
    it, place = target
    it.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (3 * OUTPUT_READ_BYTES)
    register(agent, http=f"http://{place}/")
    output = (await result(agent))[1]
    assert 0.9 * OUTPUT_READ_BYTES < output.count("x") <= OUTPUT_READ_BYTES


@pytest.mark.parametrize(
    ("answer", "says"),
    [(b"nonsense\r\n\r\n", "GET"), (b"", "disconnected"), (b"HTTP/1.1 503 Nope\r\nContent-Length: 0\r\n\r\n", "503 Nope")],
)
async def test_a_bad_answer_is_critical(agent: LocalAgent, target: tuple[Target, str], answer: bytes, says: str) -> None:
    """The output says what was wrong."""
    it, place = target
    it.answer = answer
    register(agent, http=f"http://{place}/")
    status, output = await result(agent)
    assert status == "critical"
    assert says in output


@pytest.mark.parametrize("kind", ["http", "tcp"])
@pytest.mark.parametrize("place", ["127.0.0.1:1", "127.0.0.1:port", ":"])
async def test_where_nobody_is_the_check_is_critical(agent: LocalAgent, kind: str, place: str) -> None:
    """An address that cannot be used is no reason to stop checking."""
    register(agent, kind=kind, http=f"http://{place}/", tcp=place)
    status, output = await result(agent)
    assert (status, place in output) == ("critical", True)


async def test_a_service_that_does_not_answer_in_time_is_critical(agent: LocalAgent) -> None:
    """A connection alone is not enough for HTTP, but for TCP."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        register(agent, http=f"http://{place}/", timeout_s=0.05)
        assert await result(agent) == ("critical", f'GET "http://{place}/": no answer within 0.05s')
        register(agent, kind="tcp", tcp=place)
        assert await result(agent, "passing") == ("passing", f"TCP connect {place}: Success")


async def test_a_changed_definition_replaces_the_probe_and_the_same_leaves_it_alone(agent: LocalAgent, target: tuple[Target, str]) -> None:
    """Registering again does not probe again."""
    it, place = target
    for _ in range(3):
        register(agent, http=f"http://{place}/one", interval_s=60)
        await asyncio.sleep(SOON_S)
    register(agent, http=f"http://{place}/two", interval_s=60)
    await asyncio.sleep(2 * SOON_S)
    assert [asked.split()[1] for asked in it.asked] == [b"/one", b"/two"]


async def test_a_ttl_runs_out_by_itself(agent: LocalAgent) -> None:
    """The timer follows the nearest deadline, and is set anew where heartbeats have moved it."""
    register(agent, kind="ttl", ttl_s=0.1, status="passing")
    await asyncio.sleep(0.07)
    agent.heartbeat("c", "passing", "", now())
    await asyncio.sleep(0.07)
    assert agent.checks["c"].check.status == "passing"
    assert await result(agent) == ("critical", "TTL expired")


async def test_what_stays_critical_is_tidied_away(agent: LocalAgent) -> None:
    """Probes of it end with it."""
    register(agent, http="http://127.0.0.1:1/", deregister_after_s=0.05)
    await until(lambda: not agent.services)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("check ") and not task.cancelling()] == []


async def test_nothing_is_carried_out_before_the_start_or_after_the_end(target: tuple[Target, str]) -> None:
    """Registrations are kept meanwhile, and taken up at the next start."""
    it, place = target
    agent = LocalAgent(Catalog(Node("0", "n"), Changes(1)))
    runner = HealthRunner(agent, asyncio.get_running_loop().time, NoDelay())
    agent.on_checks_changed = runner.refresh
    register(agent, http=f"http://{place}/")
    await asyncio.sleep(SOON_S)
    assert it.asked == []
    runner.start()
    await result(agent)
    await runner.aclose()
    await runner.aclose()
    done = len(it.asked)
    await asyncio.sleep(2 * SOON_S)
    assert len(it.asked) == done


async def test_an_end_waits_for_its_probes(agent: LocalAgent) -> None:
    """None of them is left to be cancelled by the loop."""
    register(agent, http="http://127.0.0.1:1/")
    await asyncio.sleep(0)
    await ends(lambda: HealthRunner(agent, now, NoDelay()).aclose())


async def ends(work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(1):
        await work()
