"""What a gateway is put together from."""

from __future__ import annotations

import asyncio

from discovery import StaticSource
from lbgateway.parts import Parts
from lbgateway.runtime import Gateway
from tests.lbgateway.config.reading import settings_of

STATIC = """
auth: {default: none}
discovery: {provider: static}
logging: {access_log: false}
services: {orders: {instances: [127.0.0.1:1]}}
"""


class Listening(Parts):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_upstream(self, upstream):
        self.heard.append(f"upstream {upstream.name}")

    def on_catalog(self, catalog):
        self.heard.append(f"catalog {sorted(catalog.services)}")

    def on_snapshot(self, snapshot):
        self.heard.append(f"snapshot {snapshot.service} {len(snapshot.instances)}")


async def test_a_gateway_is_made_of_other_parts_if_it_is_given_them():
    """And they hear what other processes would have to know."""
    parts = Listening()
    gateway = Gateway(settings_of(STATIC), asyncio.get_running_loop(), parts)
    await gateway.start()
    await gateway.settle(1.0)

    assert sorted(parts.heard) == ["catalog ['orders']", "snapshot orders 1", "upstream orders"]
    await gateway.aclose()


def test_one_process_asks_the_registry_itself():
    """And keeps no access log that is not wanted."""
    settings = settings_of(STATIC)
    assert isinstance(Parts().source(settings, None, lambda _kind: None, lambda _service: None), StaticSource)
    assert Parts().store(settings, lambda _kind: None) is None
    assert Parts().access_log(settings.logging) is None
