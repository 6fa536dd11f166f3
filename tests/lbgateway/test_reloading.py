"""SIGHUP: all of a new file, or none of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from structlog.testing import capture_logs

from lbgateway.config import Settings
from lbgateway.reloading import reload_settings
from lbgateway.runtime import Gateway
from lbgateway.systemd import ServiceManager
from tests.lbgateway.config.reading import settings_of

BASE = "server: {max_connections: 9}\nauth: {default: none}\nlogging: {access_log: false}\ndiscovery: {provider: static}\n"
GOOD = BASE + "services: {orders: {instances: ['h:1']}}\nroutes: [{prefix: /shop, service: orders}]\n"


class Serving:
    """Implements `reloading.Reloadable`, with a gateway that is a real one."""

    started = True

    def __init__(self) -> None:
        self.gateway = Gateway(settings_of(BASE), asyncio.get_running_loop())
        self.manager = ServiceManager({})
        self.greeted: list[ssl.SSLContext | None] = []

    def greet(self, tls: ssl.SSLContext | None) -> None:
        self.greeted.append(tls)

    def reloads(self, settings: Callable[[], Settings]) -> list[str]:
        """What is logged of it."""
        with capture_logs() as logs:
            reload_settings(self, settings)
        return [each["event"] for each in logs]

    def prefixes(self) -> list[str]:
        return [route.label for route in self.gateway.plane.routes.routes]

    def told(self) -> list[str]:
        return [event.kind for event in self.gateway.plane.events.since(0).events]


async def test_a_good_file_is_in_force_and_whoever_comes_is_met_by_it():
    """It is logged, and told to those who watch."""
    serving = Serving()
    assert serving.reloads(lambda: settings_of(GOOD)) == ["reloaded"]
    assert "/shop" in serving.prefixes()
    assert serving.greeted == [None]
    assert len(serving.told()) == 1


async def test_of_a_bad_file_nothing_is_taken():
    """Every mistake is named, and the old one stays."""
    serving = Serving()
    serving.reloads(lambda: settings_of(GOOD))
    assert serving.reloads(lambda: settings_of(GOOD + "nonsense: 1\n")) == ["reload refused, the old configuration stays"]
    assert "/shop" in serving.prefixes()
    assert len(serving.greeted) == 1


async def test_a_file_that_cannot_be_put_in_force_changes_nothing():
    """A certificate that has gone, or a bug: it is logged with its trace."""
    serving = Serving()

    def broken() -> Settings:
        raise ZeroDivisionError

    assert serving.reloads(broken) == ["reload failed, the old configuration stays"]
    assert serving.greeted == []
