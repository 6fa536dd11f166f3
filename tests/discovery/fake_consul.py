"""A Consul inside the test: blocking queries in virtual time, faults on request, every read on record."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import httpx


def entry(
    number: int,
    *,
    service: str = "orders",
    node: str = "n1",
    status: str = "passing",
    serf: str = "passing",
    tags: tuple[str, ...] = (),
    create_index: int = 0,
) -> dict[str, Any]:
    """One element of ``/v1/health/service/…``."""
    return {
        "Node": {"Node": node, "Address": "10.0.0.1", "Datacenter": "dc1", "Meta": None},
        "Service": {
            "ID": f"{service}-{number}",
            "Service": service,
            "Port": 9000 + number,
            "Tags": list(tags),
            "CreateIndex": create_index,
        },
        "Checks": [
            {"CheckID": "serfHealth", "Status": serf, "Name": "Serf Health Status"},
            {"CheckID": f"service:{service}-{number}", "Status": status, "Name": "check", "Output": "as told"},
        ],
    }


class FakeConsul(httpx.AsyncBaseTransport):
    """``services`` and ``catalog`` are what it knows; `put` changes them and wakes those who wait."""

    def __init__(self) -> None:
        self.services: dict[str, list[dict[str, Any]]] = {}
        self.keys: dict[str, bytes] = {}
        self.index = 10
        self.indexes: dict[str, int] = {}
        self.nodes = ["n1"]
        # faults
        self.down = False
        self.status: int | None = None
        self.text = ""
        self.headers: dict[str, str] = {}
        self.error: Exception | None = None
        self.refused_modes: frozenset[str] = frozenset()
        self.silent_host: str | None = None
        self.cut_paths: set[str] = set()
        # what was seen
        self.reads: list[tuple[float, str, dict[str, str]]] = []
        self.hosts: list[str] = []
        self.blocked = 0
        self._changed = asyncio.Event()

    def put(self, service: str, *entries: dict[str, Any], index: int | None = None) -> None:
        """Replace the instances of a service; no entries take its name out of the catalog."""
        self.index = self.index + 1 if index is None else index
        self.services[service] = list(entries)
        self.indexes[f"/v1/health/service/{service}"] = self.index
        self.indexes["/v1/catalog/services"] = self.index
        self.indexes["/v1/health/state/any"] = self.index
        self.wake()

    def put_key(self, key: str, value: bytes | None) -> None:
        """Set a key of the store, or delete it."""
        self.index += 1
        self.keys.pop(key, None)
        if value is not None:
            self.keys[key] = value
        self.indexes[f"/v1/kv/{key}"] = self.index
        self.wake()

    def check(self, service: str, *entries: dict[str, Any]) -> None:
        """Replace entries that differ by the state of their checks only: the catalog does not notice."""
        catalog = self.index_of("/v1/catalog/services")
        self.put(service, *entries)
        self.indexes["/v1/catalog/services"] = catalog

    def edit(self, service: str, *entries: dict[str, Any]) -> None:
        """Replace entries that differ by what no check shows: weights, Meta, addresses."""
        checks = self.index_of("/v1/health/state/any")
        self.put(service, *entries)
        self.indexes["/v1/health/state/any"] = checks

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def kill(self) -> None:
        """End all blocked reads, refuse new ones."""
        self.down = True
        self.wake()

    def index_of(self, path: str) -> int:
        return self.indexes.get(path, self.index)

    def reads_of(self, service: str) -> list[tuple[float, dict[str, str]]]:
        return [(at_s, query) for at_s, path, query in self.reads if path == f"/v1/health/service/{service}"]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, dict(request.url.params)
        self.reads.append((asyncio.get_running_loop().time(), path, query))
        self.hosts.append(request.url.host)
        self._refuse(request.url.host)
        if path in self.cut_paths:
            raise httpx.ReadError("cut")
        if self.refused_modes & query.keys() or ("default" in self.refused_modes and "stale" not in query):
            return httpx.Response(500, text="No cluster leader", headers={"X-Consul-Index": "1"})
        if self.status is None and "index" in query:
            await self._block(path, int(query["index"]), float(query["wait"].removesuffix("ms")) / 1000)
            if self.down:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        if self.status is not None:
            return httpx.Response(self.status, text=self.text, headers={"X-Consul-Index": "1", **self.headers})
        content = self._body(path)
        if path.startswith("/v1/kv/") and not content:
            return httpx.Response(404, headers={"X-Consul-Index": str(self.index_of(path))})
        body = gzip.compress(json.dumps(content).encode())
        headers = {"X-Consul-Index": str(self.index_of(path)), "Content-Encoding": "gzip", **self.headers}
        return httpx.Response(200, content=body, headers=headers)

    def _refuse(self, host: str) -> None:
        if host == self.silent_host:
            raise httpx.ReadTimeout("silence")
        if self.down:
            raise httpx.ConnectError("All connection attempts failed")
        if self.error is not None:
            raise self.error

    async def _block(self, path: str, index: int, wait_s: float) -> None:
        self.blocked += 1
        try:
            async with asyncio.timeout(wait_s):
                while self.index_of(path) <= index and not self.down and self.status is None:
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.blocked -= 1

    def _body(self, path: str) -> Any:
        if path == "/v1/catalog/services":
            return {"consul": []} | {
                name: sorted({tag for e in entries for tag in e["Service"]["Tags"]}) for name, entries in self.services.items() if entries
            }
        if path.startswith("/v1/kv/"):
            value = self.keys.get(path.removeprefix("/v1/kv/"))
            return [] if value is None else [{"Value": base64.b64encode(value).decode() or None}]
        if path == "/v1/health/state/any":
            return self._checks()
        if path == "/v1/catalog/nodes":
            return [{"Node": node, "Address": "10.0.0.1"} for node in self.nodes]
        return self.services.get(path.rpartition("/")[2], [])

    def _checks(self) -> list[dict[str, Any]]:
        """As Consul lists them: each node's own once, a service's with its name."""
        found = {}
        for entries in self.services.values():
            for one in entries:
                node, service = one["Node"]["Node"], one["Service"]
                for check in one["Checks"]:
                    own = check["CheckID"] == "serfHealth"
                    names = {} if own else {"ServiceName": service["Service"], "ServiceID": service["ID"]}
                    found[node, check["CheckID"]] = {"Node": node, **check, **names}
        return list(found.values())
