"""What the failure scenarios of discovery have in common: a gateway process, and what it says of the service ``orders``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, config_for
from tests.support.upstream_server import Handler, UpstreamServer, UpstreamThread


class Scene(GatewayProcess):
    """A gateway over the registry at `url`; `consul` are keys of ``discovery.consul``, `more` those of the top."""

    def __init__(self, url: str | list[str], *, consul: dict[str, Any] | None = None, **more: Any) -> None:
        given = {"logging": {"access_log": False}, **more, "discovery": {"consul": {"url": url, **(consul or {})}}}
        super().__init__(config_for("", **given))

    def discovery(self) -> dict[str, Any]:
        """``{"state": …, "age_seconds": …, "last_error": …}``."""
        return dict(self.json("/admin/upstreams")["discovery"])

    def instances(self, service: str = "orders") -> list[dict[str, Any]]:
        return list(self.json(f"/admin/upstreams/{service}").get("instances", ()))

    def states(self, service: str = "orders") -> dict[str, str]:
        """``{"orders-9001": "ready"}``."""
        return {each["id"]: each["state"] for each in self.instances(service)}

    def errors(self) -> dict[str, float]:
        """How often each kind of discovery error was counted; those that never were are left out."""
        name = 'lbgateway_discovery_errors_total{kind="'
        lines = [line.removeprefix(name).split('"} ') for line in self.metrics() if line.startswith(name)]
        return {kind: float(count) for kind, count in lines if float(count)}

    def metrics(self) -> list[str]:
        return self.get("/metrics")[1].decode().splitlines()

    def eventually(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait until it is true; the failure tells what the gateway knows."""
        wait_until(lambda: bool(condition()), seconds, lambda: f"{self.states()} {self.discovery()}\n{self.story()}")

    def all_ready(self, count: int, seconds: float = 10) -> None:
        self.eventually(lambda: list(self.states().values()) == ["ready"] * count, seconds)

    def fresh(self, seconds: float = 10) -> None:
        self.eventually(lambda: self.discovery()["state"] == "fresh", seconds)

    def sockets(self, port: int) -> int:
        """Connections of this process to `port` of 127.0.0.1 that are open."""
        return len(connections_to(self.pid, port))


def connections_to(pid: int, port: int) -> list[str]:
    """Inodes of the established TCP connections of a process to a port of 127.0.0.1."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(entry.readlink()))
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    wanted = f"0100007F:{port:04X}"
    return [row[9] for row in rows if row[2] == wanted and row[3] == "01" and row[9] in mine]


@contextlib.contextmanager
def upstreams(count: int, make: Callable[[str], Handler] = Instance) -> Iterator[list[UpstreamServer]]:
    """So many servers, each with a handler of its own, named by its number."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(UpstreamThread(make(str(number)))) for number in range(count)]
