"""The edge: what goes out over HTTP, and what httpx's errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from discovery import errors
from discovery.budget import PLAIN, SOCKETS, SlotBudget
from discovery.consul_client import ANSWER_S, CONNECT_S, ConsulClient, tls_context, translate
from discovery.consul_wire import Consistency, Read
from discovery.errors import DiscoveryError
from tests.discovery.fake_consul import FakeConsul, entry
from tests.support.virtual_time import run_virtual

PATH = "/v1/health/service/orders"


class Recorder(httpx.AsyncBaseTransport):
    """Answers anything, remembers the last request."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.request: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_read_becomes_a_request() -> None:
    """Path below the URL's own, token in a header, gzip wanted, all timeouts set."""
    recorder = Recorder(httpx.Response(200, content=b"[]", headers={"X-Consul-Index": "7"}))
    client = ConsulClient("http://consul.test/base/", token=" secret\n", datacenter="dc2", transport=recorder)

    answer = await client.ask("/v1/health/service/a%2Fb", Read(7, 32.0))
    await client.aclose()

    request = recorder.request
    assert request is not None
    assert request.url.raw_path == b"/base/v1/health/service/a%2Fb?stale=&dc=dc2&index=7&wait=32000ms"
    assert request.headers["X-Consul-Token"] == "secret"
    assert request.headers["Accept-Encoding"] == "gzip"
    assert request.extensions["timeout"] == {"connect": 2.0, "read": 44.0, "write": 44.0, "pool": None}
    assert (answer.status, answer.body, answer.index) == (200, b"[]", "7")


async def test_without_a_token_there_is_no_header() -> None:
    """An empty one would be refused."""
    recorder = Recorder(httpx.Response(200, content=b"[]"))
    client = ConsulClient("http://consul.test", token="", transport=recorder)
    await client.ask(PATH, Read())
    await client.aclose()

    assert recorder.request is not None
    assert "X-Consul-Token" not in recorder.request.headers


async def test_a_renewed_token_is_picked_up() -> None:
    """A function is asked for every read."""
    tokens = iter(["old", "new"])
    recorder = Recorder(httpx.Response(200, content=b"[]"))
    client = ConsulClient("http://consul.test", token=lambda: next(tokens), transport=recorder)
    await client.ask(PATH, Read())
    await client.ask(PATH, Read())
    await client.aclose()

    assert recorder.request is not None
    assert recorder.request.headers["X-Consul-Token"] == "new"


async def test_a_token_that_no_header_can_carry_is_told_without_telling_it() -> None:
    """Errors land in logs, tokens must not."""
    client = ConsulClient("http://consul.test", token="sécrèt", transport=Recorder(httpx.Response(200)))
    with pytest.raises(errors.Misconfigured) as caught:
        await client.ask(PATH, Read())
    await client.aclose()

    assert "crèt" not in str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (httpx.ConnectError("refused"), errors.Unreachable),
        (httpx.ConnectTimeout("slow"), errors.Unreachable),
        (httpx.ReadTimeout("silent"), errors.ReadTimedOut),
        (httpx.PoolTimeout("full"), errors.ReadTimedOut),
        (httpx.ReadError("reset"), errors.ConnectionLost),
        (httpx.WriteError("reset"), errors.ConnectionLost),
        (httpx.RemoteProtocolError("eof"), errors.ConnectionLost),
        (httpx.DecodingError("gzip"), errors.MalformedAnswer),
        (httpx.UnsupportedProtocol("ftp"), errors.Misconfigured),
        (httpx.InvalidURL("::"), errors.Misconfigured),
        (httpx.TooManyRedirects("loop"), DiscoveryError),
    ],
)
async def test_errors_are_translated_once(theirs: Exception, ours: type[DiscoveryError]) -> None:
    """Nobody behind this file knows httpx."""
    assert type(translate(theirs)) is ours
    client = ConsulClient("http://consul.test", transport=Recorder(theirs))
    with pytest.raises(ours):
        await client.ask(PATH, Read())
    await client.aclose()


def test_an_error_without_words_is_named_at_least() -> None:
    """An operator should not read an empty string."""
    assert str(translate(httpx.ReadError(""))) == "ReadError"


async def test_a_body_that_is_no_gzip_is_malformed() -> None:
    """A truncated answer is none."""
    broken = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))
    client = ConsulClient("http://consul.test", transport=Recorder(broken))
    with pytest.raises(errors.MalformedAnswer):
        await client.ask(PATH, Read())
    await client.aclose()


@pytest.mark.parametrize("url", ["localhost:8500", "ftp://x", ""])
def test_a_url_must_be_http(url: str) -> None:
    """Said at the start, not with the first read."""
    with pytest.raises(ValueError, match="must begin with http"):
        ConsulClient(url)


BLOCKED = SOCKETS - PLAIN


def test_more_reads_than_may_block_take_turns() -> None:
    """And plain reads never wait for them."""

    async def story() -> None:
        fake = FakeConsul()
        fake.put("orders", entry(1))
        client = ConsulClient("http://consul.test", transport=fake, budget=SlotBudget(clock=asyncio.get_running_loop().time))
        blocked = [asyncio.create_task(client.ask(PATH, Read(11, 1.0))) for _ in range(BLOCKED + 10)]
        await asyncio.sleep(0.5)
        assert fake.blocked == client.budget.in_use() == BLOCKED
        assert (await client.ask(PATH, Read(consistency=Consistency.DEFAULT))).status == 200
        await asyncio.gather(*blocked)
        assert asyncio.get_running_loop().time() == pytest.approx(1002.0, abs=0.1)
        assert client.budget.in_use() == 0
        await client.aclose()

    run_virtual(story())


class Slow(httpx.AsyncBaseTransport):
    """Answers after a second; ``error`` instead of an answer. Counts what is under way."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.answer = answer
        self.busy = 0
        self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(0.5)
        finally:
            self.busy -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, content=b"[]", headers={"X-Consul-Index": "7"})


def test_plain_reads_are_no_stampede() -> None:
    """Eight at a time, each with a connection of its own."""

    async def story() -> None:
        slow = Slow()
        client = ConsulClient("http://consul.test", transport=slow)
        await asyncio.gather(*(client.ask(PATH, Read()) for _ in range(20)))
        assert slow.most == PLAIN
        await client.aclose()

    run_virtual(story())


class Endless(httpx.AsyncByteStream):
    """A body that comes byte by byte, each in time, and has no end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(1.0)


def test_an_answer_without_an_end_is_late_in_the_end() -> None:
    """Each byte in time is not enough."""

    async def story() -> None:
        client = ConsulClient("http://consul.test", transport=Slow(httpx.Response(200, stream=Endless())))
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(errors.ReadTimedOut, match="does not come to the end of its answer"):
            await client.ask(PATH, Read())
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(CONNECT_S + Read().timeout_s + ANSWER_S, abs=1.0)
        await client.aclose()

    run_virtual(story())


def cut(cause: Exception | None = None) -> httpx.ConnectError:
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("several", [cause]) if cause else None
    return error


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (None, 0),
        (httpx.Response(500), 0),
        (cut(), 0),
        (httpx.ReadError("reset"), 1),
        (httpx.ReadTimeout("silence"), 1),
    ],
)
def test_a_read_that_was_not_answered_keeps_its_slot(answer: httpx.Response | Exception | None, kept: int) -> None:
    """The agent counts it until its wait and the jitter are over; one that never got there is not counted."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        client = ConsulClient("http://consul.test", transport=Slow(answer), budget=SlotBudget(clock=loop.time))
        with contextlib.suppress(DiscoveryError):
            await client.ask(PATH, Read(7, 16.0))
        assert client.budget.in_use() == kept
        await asyncio.sleep(16.0)
        assert client.budget.in_use() == kept
        await asyncio.sleep(0.6)
        assert client.budget.in_use() == 0
        await client.aclose()

    run_virtual(story())


def test_a_cancelled_read_keeps_its_slot_and_an_ended_agent_none() -> None:
    """Closing a connection is not seen by an agent whose read still waits; being refused says that it has gone."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        slow = Slow()
        client = ConsulClient("http://consul.test", transport=slow, budget=SlotBudget(clock=loop.time))
        task = asyncio.create_task(client.ask(PATH, Read(7, 16.0)))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert client.budget.in_use() == 1
        slow.answer = cut(ConnectionRefusedError())
        with pytest.raises(errors.Unreachable):
            await client.ask(PATH, Read(7, 16.0))
        assert client.budget.in_use() == 0
        await client.aclose()

    run_virtual(story())


@pytest.mark.parametrize("answer", [httpx.Response(429), httpx.ReadError("reset")])
def test_an_agent_that_is_full_is_believed(answer: httpx.Response | Exception) -> None:
    """It refuses one read while others go on: there is room for those, and for no more, until the refused one would have ended."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        client = ConsulClient("http://consul.test", transport=Slow(answer), budget=SlotBudget(clock=loop.time))
        for _ in range(20):
            await client.budget.take()
        with contextlib.suppress(DiscoveryError):
            await client.ask(PATH, Read(7, 16.0))
        assert client.budget.room() == 20
        await asyncio.sleep(17.1)
        assert client.budget.room() == BLOCKED
        await client.aclose()

    run_virtual(story())


async def test_nothing_listens_is_unreachable() -> None:
    """Over a real socket, and the pools close twice without complaint."""
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ConsulClient(f"http://127.0.0.1:{port}", verify=False)
    with pytest.raises(errors.ConnectionLost):
        await client.ask(PATH, Read())
    server.close()
    await server.wait_closed()
    with pytest.raises(errors.Unreachable) as caught:
        await client.ask(PATH, Read())
    assert caught.value.refused
    await client.aclose()
    await client.aclose()


def test_tls_needs_readable_files(tmp_path: Path) -> None:
    """http needs none; https takes the system's authorities, or the ones named."""
    assert tls_context("http://consul.test", None, None, None) is False
    assert isinstance(tls_context("https://consul.test", None, None, None), ssl.SSLContext)
    with pytest.raises(OSError, match="No such file"):
        tls_context("https://consul.test", str(tmp_path / "ca.pem"), None, None)
    with pytest.raises(OSError, match="No such file"):
        tls_context("https://consul.test", None, str(tmp_path / "cert.pem"), None)
