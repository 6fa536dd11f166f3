"""What the parent of several workers is put together from."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from discovery.instance import KeyValue
from lbgateway.workers.parent_parts import Gathered, IdleLimiter
from tests.support.worker_gateways import Together


async def test_whoever_comes_is_told_everything():
    """The catalog, the key's value, each service, and what is in force; of what has come nothing is left out."""
    async with Together() as gateways:
        listener = gateways.parts.key_listener(gateways.parent.composer)
        listener(KeyValue("any", b"{}", 1))
        gateways.orders("drain", "127.0.0.1:1")
        kinds = [kind for kind, *_ in gateways.parts.everything()]
        assert kinds == ["catalog", "value", "snapshot", "order"]


async def test_news_go_to_all_workers():
    """A service that is told, and one that may be reached no longer."""
    async with Together() as gateways:
        snapshot = gateways.parent.registry.snapshot("orders")
        gateways.told.clear()
        gateways.parts.on_snapshot(snapshot)
        gateways.parts.on_gone("orders")
        assert [(kind, facts["service"]) for kind, facts in gateways.told] == [("snapshot", "orders"), ("gone", "orders")]
        assert list(gateways.parts._teller.whole(0.0)) == []


async def test_the_parent_serves_no_client():
    """No access log, and no limit is counted: the workers have both."""
    async with Together() as gateways:
        assert gateways.parts.access_log(gateways.settings.logging) is None
        limiter = gateways.parts.limiter(gateways.parent)
        assert isinstance(limiter, IdleLimiter)
        limiter.start()


class Told:
    """An application that answers, and what happened in which order."""

    def __init__(self) -> None:
        self.order: list[str] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.order.append("done")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def gathered(self) -> None:
        self.order.append("gathered")
        await asyncio.sleep(0)

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.order.append("answered")


@pytest.mark.parametrize(
    ("method", "path", "order"),
    [
        ("GET", "/metrics", ["gathered", "done", "answered"]),
        ("GET", "/admin/upstreams/orders", ["gathered", "done", "answered"]),
        ("GET", "/health", ["done", "answered"]),
        ("HEAD", "/admin/routes", ["done", "answered"]),
        ("POST", "/admin/upstreams/orders/a/drain", ["done", "gathered", "answered"]),
    ],
)
async def test_numbers_are_gathered_first_and_orders_are_answered_when_all_obey(method, path, order):
    """What needs nobody's numbers waits for nobody."""
    told = Told()
    await Gathered(told, "/metrics", told.gathered)({"path": path, "method": method}, None, told.send)
    assert told.order == order
