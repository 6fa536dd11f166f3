"""The development registry as one object: start it in a running event loop, and close it."""

from __future__ import annotations

import ipaddress
import random as random_module
import time
import uuid
from typing import TYPE_CHECKING

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.health_runner import TIDY_INTERVAL_S, HealthRunner
from discovery.embedded.http_api import Api
from discovery.embedded.http_server import HttpServer
from discovery.embedded.key_values import KeyValues
from discovery.embedded.records import Node
from discovery.embedded.saved_state import last_index, restore, save
from discovery.embedded.state_file import StateFile
from discovery.embedded.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from discovery.embedded.catalog import Scope


class EmbeddedRegistry:
    """A registry for development that speaks enough of Consul's HTTP API for services and gateway alike.

    It listens on a loopback address only, keeps everything in memory, and forgets it with the object:
    `aclose` followed by `start` goes on where it was, a new object starts empty, unless `file` names a
    file that keeps what there is (see `saved_state`). `first_index` is for tests that need a registry
    whose indexes begin low; the default, the wall clock in milliseconds, is higher than anything a former
    one gave out.

    Raises:
        Unusable: `file` is there, and is not what was written to it.
        OSError: it cannot be read.

    """

    def __init__(
        self,
        *,
        node_name: str = "embedded",
        first_index: int | None = None,
        file: str | Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        tidy_interval_s: float = TIDY_INTERVAL_S,
    ) -> None:
        # for life
        random = random or random_module.Random()
        self._file = None if file is None else StateFile(file, lambda: save(self._agent, self._keys))
        content = None if self._file is None else self._file.read()
        first_index = int(time.time() * 1000) if first_index is None else first_index
        changes = Changes(max(first_index, 0 if content is None else last_index(content)))
        self._catalog = Catalog(own_node(node_name), changes)
        self._keys = KeyValues(changes)
        self._agent = LocalAgent(self._catalog)
        self._watches = Watches(self._index_of)
        self._checks = HealthRunner(self._agent, clock, random, tidy_interval_s)
        self._server = HttpServer(Api(self._agent, self._keys, self._watches, clock, random).handle)
        if content is not None:
            restore(content, self._agent, self._keys, clock())
        changes.on_change = self._changed
        self._agent.on_checks_changed = self._checks_changed
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
        if self._file is not None:
            self._file.start()

    async def aclose(self) -> None:
        """Cut all clients, end all checks, free the port; may be called twice."""
        self._port = 0
        await self._server.aclose()
        await self._checks.aclose()
        if self._file is not None:
            await self._file.aclose()

    def _changed(self) -> None:
        self._watches.wake()
        if self._file is not None:
            self._file.touch()

    def _checks_changed(self) -> None:
        self._checks.refresh()
        if self._file is not None:
            self._file.touch()

    def _index_of(self, scope: Scope) -> int:
        return self._keys.index_of(scope) if scope.kind in ("key", "tree") else self._catalog.index_of(scope)


def own_node(name: str) -> Node:
    """The node that the registry itself is, with an id of its own and what Consul's agents tell of theirs."""
    addresses = dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1")
    return Node(str(uuid.uuid4()), name, tagged_addresses=addresses, meta={"consul-network-segment": ""})
