"""What the contract tests ask a registry, in short words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

VOLATILE = ("CreateIndex", "ModifyIndex", "Output", "ContentHash")


class RegistryClient:
    """One registry behind an URL. `get`/`put` give the bare response, the others its meaning."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(f"/v1/{path}", **options)

    def put(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """PUT a body, given as bytes or as something for JSON."""
        if body is not None:
            options["content" if isinstance(body, bytes) else "json"] = body
        return self.http.put(f"/v1/{path}", **options)

    def register(self, **definition: Any) -> None:
        answer = self.put("agent/service/register", definition)
        assert (answer.status_code, answer.content) == (200, b""), answer.text

    def health(self, name: str, query: str = "") -> list[dict[str, Any]]:
        """The entries of ``health/service``, without what differs from run to run."""
        return list(normal(self.get(f"health/service/{name}?{query}").json()))

    def statuses(self, name: str) -> dict[str, str]:
        """Check id -> status of a service's own checks."""
        return {check["CheckID"]: check["Status"] for check in self.get(f"health/checks/{name}").json()}

    def index(self, path: str) -> int:
        return int(self.get(path).headers["X-Consul-Index"])

    def forget(self, name: str) -> None:
        for row in self.get(f"catalog/service/{name}").json():
            self.put(f"agent/service/deregister/{row['ServiceID']}")


def normal(value: Any) -> Any:
    """JSON without indexes, outputs and the node's random id: what two registries must agree on."""
    if isinstance(value, list):
        return [normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: normal(item) for key, item in value.items() if key not in VOLATILE and not (key == "ID" and "Datacenter" in value)}


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what a registry does by itself, such as carrying out a check."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


async def until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    """The same inside an event loop."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 the code under test has no event for a test to wait on
            await asyncio.sleep(0.01)
