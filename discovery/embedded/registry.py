"""The development registry as one object: start it in a running event loop, and close it."""

from __future__ import annotations

import ipaddress
import random as random_module
import time
import uuid
from typing import TYPE_CHECKING

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.health_runner import TIDY_INTERVAL_S, HealthRunner
from discovery.embedded.http_api import Api
from discovery.embedded.http_server import HttpServer
from discovery.embedded.records import Node
from discovery.embedded.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class EmbeddedRegistry:
    """A registry for development that speaks enough of Consul's HTTP API for services and gateway alike.

    It listens on a loopback address only, keeps everything in memory, and forgets it with the object:
    `aclose` followed by `start` goes on where it was, a new object starts empty. `first_index` is for
    tests that need a registry whose indexes begin low; the default, the wall clock in milliseconds, is
    higher than anything a former one gave out.
    """

    def __init__(
        self,
        *,
        node_name: str = "embedded",
        first_index: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        tidy_interval_s: float = TIDY_INTERVAL_S,
    ) -> None:
        # for life
        random = random or random_module.Random()
        node = Node(id=str(uuid.uuid4()), name=node_name)
        self._catalog = Catalog(node, int(time.time() * 1000) if first_index is None else first_index)
        self._agent = LocalAgent(self._catalog)
        self._watches = Watches(self._catalog)
        self._checks = HealthRunner(self._agent, clock, random, tidy_interval_s)
        self._server = HttpServer(Api(self._agent, self._watches, clock, random).handle)
        self._catalog.on_change = self._watches.wake
        self._agent.on_checks_changed = self._checks.refresh
        # while running
        self._host = ""
        self._port = 0

    def __repr__(self) -> str:
        where = self.url if self._port else "stopped"
        return f"<EmbeddedRegistry {where} services={len(self._agent.services)} blocked={len(self._watches)}>"

    @property
    def port(self) -> int:
        """Where it listens; 0 while it does not."""
        return self._port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:8500``, without a slash at the end."""
        return f"http://[{self._host}]:{self._port}" if ":" in self._host else f"http://{self._host}:{self._port}"

    async def start(self, host: str = "127.0.0.1", port: int = 8500) -> None:
        """Listen; with `port` 0 the system chooses.

        Raises:
            OSError: the port is taken; the caller may try another.
            ValueError: `host` is not a loopback address. Anyone who can reach this registry can make it
                send requests (HTTP checks), so it is not for networks.

        """
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the development registry listens on a loopback address only, not on {host}")
        self._port = await self._server.start(host, port)
        self._host = host
        self._checks.start()

    async def aclose(self) -> None:
        """Cut all clients, end all checks, free the port; may be called twice."""
        self._port = 0
        await self._server.aclose()
        await self._checks.aclose()
