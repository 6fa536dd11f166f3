"""``lbgateway demo``: everything on one machine, nothing to install, nothing left behind.

The order of the start, and backwards of the end: ports, registry, instances, gateway. The gateway and the
registry live in this process, each instance in one of its own, as services do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jwt
import uvloop

from discovery.embedded import EmbeddedRegistry
from lbgateway.cli.echo import SERVICE
from lbgateway.config import load_text
from lbgateway.listeners import bind
from lbgateway.server import serve
from lbgateway.telemetry import logging

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator, MutableMapping
    from socket import socket
    from types import FrameType

    from lbgateway.config import Settings

HOST = "127.0.0.1"
GATEWAY_PORT, REGISTRY_PORT = 8080, 8500
PORTS_TRIED = 100
INSTANCES = ("echo-1", "echo-2", "echo-3")
READY_WITHIN_S = 30.0
LEAVE_WITHIN_S = 3.0
REMIND_AFTER_S = 1.0
TOKEN_TTL_S = 24 * 3600
LOG_LEVEL = "warning"
"""What goes well is seen in the answers; the terminal is for the lines to paste."""


def main(args: Namespace) -> int:
    """Run until Ctrl-C or SIGTERM; 0 then, 1 if something could not start."""
    forget_consul(os.environ)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(demo(args.transport))
    except DemoError as error:
        print(f"lbgateway demo: {error}", file=sys.stderr)
        return 1
    print("\nStopped; nothing is left running.")
    return 0


class DemoError(Exception):
    """The demo cannot go on; the message is for its user."""


def forget_consul(environment: MutableMapping[str, str]) -> None:
    """Drop what would send this process or its children to somebody's real Consul."""
    for name in [name for name in environment if name.startswith("CONSUL_")]:
        del environment[name]


async def demo(transport: str = "native") -> None:
    """Start all, serve, stop all."""
    stop = stop_signals()
    secret = secrets.token_urlsafe(32)
    logging.configure(LOG_LEVEL, "console")
    with listen(GATEWAY_PORT) as listener:
        port = listener.getsockname()[1]
        say_if_moved("gateway", GATEWAY_PORT, port)
        async with registry_running() as registry:
            say_if_moved("registry", REGISTRY_PORT, registry.port)
            async with instances_running(registry.url) as children:
                greeting = asyncio.create_task(greet(f"http://{HOST}:{port}", registry.url, secret, children))
                serving = asyncio.create_task(serve(configuration(port, registry.url, secret, transport), sockets=[listener]))
                await ended(serving, stop)
                await settled(greeting)
                await serving  # an error of the gateway is not hidden


def stop_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, however often they come.

    The gateway puts handlers of its own over these while it serves.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


async def ended(serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait until the gateway has ended, which a signal makes it do."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    while not serving.done():
        # The signal came here: before the gateway listened for it, so that it needs another, or after, and then another does no harm.
        await asyncio.wait({serving}, timeout=REMIND_AFTER_S)
        if not serving.done():
            signal.raise_signal(signal.SIGTERM)


def listen(port: int) -> socket:
    """A listening socket on `port`, or on the next one that is free."""
    for candidate in range(port, port + PORTS_TRIED):
        with contextlib.suppress(OSError):
            return bind(HOST, candidate)
    raise DemoError(f"no free port from {port} to {port + PORTS_TRIED - 1}")


@contextlib.asynccontextmanager
async def registry_running() -> AsyncIterator[EmbeddedRegistry]:
    """The dev registry on its usual port, or on the next one that is free."""
    registry = EmbeddedRegistry()
    for port in range(REGISTRY_PORT, REGISTRY_PORT + PORTS_TRIED):
        try:
            await registry.start(HOST, port)
        except OSError:
            continue
        try:
            yield registry
        finally:
            await registry.aclose()
        return
    raise DemoError(f"no free port from {REGISTRY_PORT} to {REGISTRY_PORT + PORTS_TRIED - 1}")


@contextlib.asynccontextmanager
async def instances_running(registry: str) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """One process for each of `INSTANCES`; none of them is left when this ends, however it ends."""
    children: list[asyncio.subprocess.Process] = []
    try:
        for name in INSTANCES:
            command = [sys.executable, "-m", "lbgateway.cli.echo", "--name", name, "--registry", registry, "--until-stdin-closes"]
            # A session of their own: a Ctrl-C is for the demo, which then ends them in order. Their stdin is the
            # leash: it closes with this process, whatever kills it (docs/decisions.md, 7).
            children.append(await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True))
        yield children
    finally:
        await asyncio.gather(*(end(child) for child in children))


async def end(child: asyncio.subprocess.Process) -> None:
    """SIGTERM, so that it leaves the registry; SIGKILL if it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), LEAVE_WITHIN_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def settled(task: asyncio.Task[None]) -> None:
    """End `task` and let its error speak, if it has one."""
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def configuration(port: int, registry: str, secret: str, transport: str = "native") -> Settings:
    """What a file for ``lbgateway run`` would say. The environment has no part in it."""
    text = json.dumps(
        {
            "server": {"host": HOST, "port": port, "max_connections": 1000},
            "discovery": {"provider": "consul", "consul": {"url": registry}},
            # Visible turns; the default prefers whoever answered fastest, and among equals on one machine that is chance.
            "services": {SERVICE: {"balancer": "round_robin", "transport": transport}},
            "auth": {"jwt": {"algorithms": ["HS256"], "secret": secret}},
            "admin": {"allow_loopback": True},
            "logging": {"level": LOG_LEVEL, "format": "console", "access_log": False},
        }
    )
    return load_text(text, "demo", {})


async def greet(gateway: str, registry: str, secret: str, children: list[asyncio.subprocess.Process]) -> None:
    """Tell how to use it, once a request would reach each of the instances."""
    # Found ready by asking as anybody would: through the gateway's own admin API.
    async with httpx.AsyncClient(base_url=gateway, trust_env=False, timeout=2) as client:
        end_s = time.monotonic() + READY_WITHIN_S
        while await ready(client) < len(INSTANCES):
            gone = [name for name, child in zip(INSTANCES, children, strict=True) if child.returncode is not None]
            if gone or time.monotonic() > end_s:
                missing = f"{', '.join(gone)} ended" if gone else f"the instances are not registered after {READY_WITHIN_S:g} s"
                print(f"lbgateway demo: {missing}; see above. Ctrl-C stops the rest.", file=sys.stderr)
                return
            await asyncio.sleep(0.05)
    pids = {name: child.pid for name, child in zip(INSTANCES, children, strict=True)}
    print(welcome(gateway, registry, dev_token(secret, time.time()), pids), flush=True)


async def ready(client: httpx.AsyncClient) -> int:
    """How many instances the gateway would send requests to."""
    try:
        answer = await client.get(f"/admin/upstreams/{SERVICE}")
    except httpx.TransportError:
        return 0
    if answer.status_code != httpx.codes.OK:
        return 0
    told = answer.json()
    services = told.get("services", [told])
    return sum(instance["state"] == "ready" for service in services for instance in service["instances"])


def dev_token(secret: str, now_s: float) -> str:
    """A token for one day; `now_s` in Unix seconds."""
    return jwt.encode({"sub": "demo", "iat": int(now_s), "exp": int(now_s) + TOKEN_TTL_S}, secret, algorithm="HS256")


def say_if_moved(what: str, wanted: int, got: int) -> None:
    if wanted != got:
        print(f"Port {wanted} is taken, so the {what} listens on {got}.", flush=True)


def own_command() -> str:
    """How another terminal of the same folder may call this program."""
    program = Path(sys.executable).with_name("lbgateway")
    if not program.exists():
        return "lbgateway"
    return shlex.quote(str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program))


def welcome(gateway: str, registry: str, token: str, pids: dict[str, int]) -> str:
    """What to paste next."""
    victim, pid = next(iter(pids.items()))
    return f"""
The gateway is up at {gateway}, and {len(pids)} instances of the service "{SERVICE}" have registered themselves.

In another terminal, in this folder:
  TOKEN={token}

Ask a few times, and see the instances take turns:
  for i in 1 2 3 4 5 6; do curl -s -H "Authorization: Bearer $TOKEN" {gateway}/api/{SERVICE}/hello | grep instance; done

Without the token, 401:
  curl -i {gateway}/api/{SERVICE}/hello

What the gateway sees, as a table and for programs:
  {own_command()} upstreams --admin {gateway}
  curl -s {gateway}/admin/upstreams
  curl -s {gateway}/health
  curl -s {gateway}/metrics

Take an instance away ({victim} is process {pid}), and ask again:
  kill {pid}

Admin:     {gateway}/admin
Registry:  {registry} (Consul's API: a service of your own that registers there with the tag lbgateway.enable=true is served at once)
Ctrl-C stops all of it.
"""
