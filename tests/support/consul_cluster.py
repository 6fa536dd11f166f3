"""Real Consul servers with a leader among them, and agents in front: what stands in a data centre, on one loopback address."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterable
from typing import Self

from tests.support.consul_server import ConsulServer
from tests.support.launch import wait_until

ELECTED_WITHIN_S = 20.0


class ConsulCluster:
    """`servers` servers, and one client agent for each name in `agents`; all keep their data over restarts."""

    def __init__(self, servers: int = 3, agents: Iterable[str] = ("gateway-node",)) -> None:
        self.servers = [ConsulServer(persistent=True, node=f"server-{number}", expect=servers) for number in range(servers)]
        ports = tuple(server.serf_port for server in self.servers)
        for server in self.servers:
            server.join = tuple(port for port in ports if port != server.serf_port)
        self.agents = {node: ConsulServer(client=True, node=node, join=ports) for node in agents}

    def __enter__(self) -> Self:
        try:
            self.heal()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def agent(self) -> ConsulServer:
        """The first of the agents: the gateway's own."""
        return next(iter(self.agents.values()))

    def heal(self) -> None:
        """Start whoever is down, and wait until all of them know a leader."""
        members = [*self.servers, *self.agents.values()]
        for member in members:
            if not member.running():
                member.launch()
        for member in members:
            member.await_ready()

    def leader(self) -> ConsulServer:
        """The server that leads now, as the first one tells that is alive; waits for an election to end."""
        found: list[ConsulServer] = []

        def elected() -> bool:
            found[:] = [server for server in self.servers if server.running() and server.server_port == self._leading_port()]
            return bool(found)

        wait_until(elected, ELECTED_WITHIN_S, lambda: f"no leader after {ELECTED_WITHIN_S:g} s")
        return found[0]

    def close(self) -> None:
        """End them all, and remove their folders."""
        for member in [*self.agents.values(), *self.servers]:
            member.close()

    def _leading_port(self) -> int:
        for server in self.servers:
            try:
                if server.running():
                    return int(server.request("GET", "/v1/status/leader").rpartition(":")[2] or 0)
            except (OSError, urllib.error.URLError):
                continue
        return 0
