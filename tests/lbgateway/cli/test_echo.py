"""The demo's instances."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.embedded import EmbeddedRegistry
from discovery.embedded.http_server import Request
from lbgateway.cli.echo import Echo, main
from tests.support.gateway_process import ROOT


async def test_it_tells_what_it_received_and_who_it_is() -> None:
    """Enough to see what a gateway has changed on the way."""
    request = Request("POST", "/a b", (("page", "2"),), ((b"x-request-id", b"r-1"),), b"hello")
    response = await Echo("echo-1").answer(request)
    told = json.loads(response.body)
    assert response.status == 200
    assert told["instance"] == "echo-1"
    assert (told["method"], told["path"], told["query"]) == ("POST", "/a b", {"page": "2"})
    assert told["headers"] == {"x-request-id": "r-1"}
    assert told["body"] == "hello"


async def test_it_counts() -> None:
    """So that it is visible how requests are spread."""
    echo = Echo("echo-1")
    counts = [json.loads((await echo.answer(Request("GET", "/"))).body)["requests"] for _ in range(3)]
    assert counts == [1, 2, 3]


async def test_a_large_body_is_cut_short() -> None:
    """An upload does not come back whole, and bytes that are no text do no harm."""
    response = await Echo("echo-1").answer(Request("PUT", "/", body=b"\xff" + b"x" * 10_000))
    assert len(json.loads(response.body)["body"]) == 4096


def test_it_does_not_start_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The name is the instance's id in the registry."""
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "--name" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["the end of stdin", "SIGTERM"])
async def test_it_registers_itself_and_leaves_when_it_ends(by: str) -> None:
    """The registry knows it while it runs and not afterwards, whichever way it is asked to end."""
    registry = EmbeddedRegistry()
    await registry.start(port=0)
    try:
        child = await start_echo(registry.url)
        assert await passing(registry.url, 1) == ["echo-7"]
        assert child.stdin is not None
        if by == "SIGTERM":
            child.terminate()
        else:
            child.stdin.close()
        assert await asyncio.wait_for(child.wait(), 10) == 0
        child.stdin.close()
        assert await passing(registry.url, 0) == []
    finally:
        await registry.aclose()


async def start_echo(registry: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "lbgateway.cli.echo", "--name", "echo-7", "--registry", registry, "--until-stdin-closes"]
    return await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, cwd=Path(ROOT))


async def passing(registry: str, count: int) -> list[str]:
    """The ids of the passing instances, once there are `count` of them, or after ten seconds."""
    host, port = registry.removeprefix("http://").split(":")
    for _ in range(200):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/health/service/echo?passing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        await writer.wait_closed()
        ids = [row["Service"]["ID"] for row in json.loads(body)]
        if len(ids) == count:
            break
        await asyncio.sleep(0.05)
    return ids
