"""Gateways of several processes: how they are started and asked, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Received, UpstreamServer, answer


def children(pid: int) -> list[int]:
    """The direct children of a process that are no zombies, of all its threads."""
    found = (int(child) for each in Path(f"/proc/{pid}/task").iterdir() for child in (each / "children").read_text().split())
    return sorted(child for child in found if alive(child))


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def cpu_ticks(pid: int) -> int:
    """How much it has worked so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def connections_of(pid: int, port: int) -> int:
    """How many established connections on the local `port` the process has."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if is_established_at(line, port)}
    links = (link for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
    return sum(name(link).removeprefix("socket:[").removesuffix("]") in inodes for link in links)


def is_established_at(line: str, port: int) -> bool:
    _, local, _, state, *_ = line.split()
    return state == "01" and int(local.rpartition(":")[2], 16) == port


def name(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def instances(gateway: GatewayProcess, service: str = "orders") -> dict[str, Any]:
    """What ``/admin/upstreams`` says of the instances, by id."""
    return {each["id"]: each for each in gateway.json(f"/admin/upstreams/{service}")["instances"]}


def samples(gateway: GatewayProcess, metric: str) -> dict[str, float]:
    """The samples of one metric: labels as they are written, value."""
    lines = (line for line in gateway.get("/metrics")[1].decode().splitlines() if line.startswith((f"{metric}{{", f"{metric} ")))
    return {line.rpartition(" ")[0].removeprefix(metric): float(line.rpartition(" ")[2]) for line in lines}


def serves(gateway: GatewayProcess, workers: int) -> bool:
    """Whether so many processes serve that have said so, and not one more."""
    said = {each["pid"] for each in gateway.events() if each["event"] == "a worker serves"}
    there = children(gateway.pid)
    return len(there) == workers and set(there) <= said


async def quick(_: Received, connection: Connection) -> bool:
    await connection.send(answer(b"quick"))
    return True


def config_of(upstreams: list[UpstreamServer], **more: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {"orders": {"balancer": "round_robin", "instances": [each.address for each in upstreams]}},
        "logging": {"access_log": False},
        **more,
        "server": {"workers": 2, "max_connections": 500, "drain_timeout": "4s", **more.get("server", {})},
    }


@contextlib.contextmanager
def running(config: dict[str, Any], *arguments: str, workers: int = 2) -> Iterator[GatewayProcess]:
    """A gateway all of whose workers serve."""
    with GatewayProcess(config, arguments=arguments) as gateway:
        wait_until(lambda: serves(gateway, workers), 20, gateway.story)
        yield gateway
        assert "Traceback" not in gateway.log(), gateway.story()
        assert "Warning" not in gateway.log(), gateway.story()


@contextlib.contextmanager
def kept_connections(gateway: GatewayProcess, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """Connections that stay; dealt out evenly, each worker has some of them."""
    connections = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10) for _ in range(count)]
    try:
        for each in connections:
            each.connect()
        yield connections
    finally:
        for each in connections:
            each.close()


def asked(connection: http.client.HTTPConnection, path: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    return response.status, response.read()
