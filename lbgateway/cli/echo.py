"""A tiny service for trying things out: it registers itself in Consul and tells what it receives.

``python -m lbgateway.cli.echo --name echo-1 --registry http://127.0.0.1:8500``

It is an ordinary program in all respects that matter to the gateway: it announces itself with
`discovery.register`, and leaves the registry when it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from discovery.embedded.http_server import HttpServer, Request, Response
from discovery.registrar import register

SERVICE = "echo"
BODY_SHOWN_BYTES = 4096
LINGER_S = 0.2
"""Between leaving the registry and closing the door: whoever was on the way here still gets an answer."""


class Echo:
    """Answers every request with what it has received, under the name of this instance."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0

    async def answer(self, request: Request) -> Response:
        """JSON; the body's first `BODY_SHOWN_BYTES` as text."""
        self.requests += 1
        told = {
            "instance": self.name,
            "requests": self.requests,
            "method": request.method,
            "path": request.path,
            "query": dict(request.query),
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
            "body": request.body[:BODY_SHOWN_BYTES].decode(errors="replace"),
            "pid": os.getpid(),
        }
        return Response(200, json.dumps(told, indent=2).encode() + b"\n", (("Content-Type", "application/json"),))


async def run(name: str, registry: str, port: int, *, until_stdin_closes: bool) -> None:
    """Serve and be registered until a signal comes, or the parent is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(stop_with_parent(stop)) if until_stdin_closes else None
    server = HttpServer(Echo(name).answer)
    port = await server.start("127.0.0.1", port)
    try:
        async with register(SERVICE, port, id=name, address="127.0.0.1", consul_url=registry):
            await stop.wait()
        await asyncio.sleep(LINGER_S)
    finally:
        await server.aclose()
        if watching is not None:
            watching.cancel()


async def stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` when stdin ends: nobody but the parent holds the other end, so that no kind of death of it goes unnoticed."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()


def main(arguments: list[str] | None = None) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m lbgateway.cli.echo", description="A service that tells what it receives.")
    parser.add_argument("--name", required=True, help="the instance's id in the registry")
    parser.add_argument("--registry", default="http://127.0.0.1:8500", help="Consul's HTTP API (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever holds the other end of stdin")
    options = parser.parse_args(arguments)
    asyncio.run(run(options.name, options.registry, options.port, until_stdin_closes=options.until_stdin_closes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
