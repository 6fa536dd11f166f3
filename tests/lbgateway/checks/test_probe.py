"""One check of one instance, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from lbgateway.checks.probe import USER_AGENT, Place, probe
from lbgateway.dataplane.rules import CheckRules

HTTP = CheckRules(path="/healthz?deep=1", timeout_s=5.0)
TCP = CheckRules(timeout_s=5.0)
SOON = 0.05


@contextlib.asynccontextmanager
async def answering(response: bytes | None) -> AsyncIterator[tuple[Place, list[bytes]]]:
    """A server that gives everybody this answer and hangs up, or with None says nothing; and what it was sent."""
    seen: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]  # there is one: this
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            if response is None:
                await reader.read()
            else:
                writer.write(response)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Place("127.0.0.1", server.sockets[0].getsockname()[1]), seen
        await asyncio.sleep(0.01)  # a connection that was given up at once may still wait to be accepted
    await asyncio.gather(*serving)


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf", None),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", r"GET /healthz\?deep=1 answered 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", r"GET /healthz\?deep=1: .*illegal status line.*"),
        (b"", r"GET /healthz\?deep=1: Server disconnected.*"),
    ],
)
async def test_the_status_decides(response: bytes, says: str | None):
    """The body does not; a redirect is not followed."""
    async with answering(response) as (place, seen):
        said = await probe(place, HTTP)
    assert (said is None) == (says is None)
    assert says is None or re.fullmatch(says, said or "")
    assert seen[0].startswith(b"GET /healthz?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % place.port)
    assert f"User-Agent: {USER_AGENT}".encode() in seen[0]


async def test_silence_takes_no_longer_than_it_may():
    """And is named."""
    async with answering(None) as (place, _):
        assert await probe(place, CheckRules(path="/", timeout_s=SOON)) == "GET /: no answer within 0.05 s"


@pytest.mark.parametrize(("rules", "asked"), [(TCP, "TCP connect"), (HTTP, "GET /healthz?deep=1")])
async def test_nobody_there_is_said_in_the_system_s_words(rules: CheckRules, asked: str):
    """For either kind."""
    async with answering(b"") as (place, _):
        pass
    said = await probe(place, rules)
    assert said is not None
    assert said.startswith(f"{asked}: ")
    assert "refused" in said.lower() or "connect call failed" in said.lower() or "connection attempts failed" in said.lower()


async def test_a_connection_is_enough_for_tcp():
    """Nothing is sent."""
    async with answering(None) as (place, seen):
        assert await probe(place, TCP) is None
    assert seen == []


async def test_a_name_that_leads_nowhere_is_a_failure():
    """Not a bug."""
    said = await probe(Place("no-such-host.invalid", 80), CheckRules(path="/", timeout_s=5.0))
    assert said is not None
    assert said.startswith("GET /: ")
