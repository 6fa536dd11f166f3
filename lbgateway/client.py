"""`BalancedTransport`: the gateway's engine inside of a Python program, behind an `httpx.AsyncClient`.

The host of a URL is the name of a service. A request runs through the same data plane as in the gateway (`calls`).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

import httpx

from lbgateway.calls import PREFIX, Call
from lbgateway.config import load_text
from lbgateway.config.auth import AuthSettings
from lbgateway.config.route import RouteSettings
from lbgateway.runtime import Gateway

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lbgateway.config import Settings

ROUTE = RouteSettings.model_validate({"prefix": PREFIX + "/{service}", "strip_prefix": True, "auth": "none"})

OURS = {"routes": (ROUTE,), "auth": AuthSettings(default="none"), "security_headers": None, "cors": None, "oauth": None, "spa": None}
"""What a configuration says to clients in front of a gateway is nothing to a program that is its own client."""
SETTLED_WITHIN_S = 5.0


class BalancedTransport(httpx.AsyncBaseTransport):
    """Discovery, balancing, retries, breaker and limits as in the gateway; one for each program, for as long as it runs.

    It begins with the first request, in that request's event loop, and `aclose` ends it, which the client does.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.model_copy(update=OURS)
        self._gateway: Gateway | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """With a configuration of the gateway, as `lbgateway.config.load` reads it; its routes and auth are for others."""
        return cls(settings)

    @classmethod
    def from_consul(cls, url: str, *, token: str | None = None, datacenter: str | None = None, **defaults: Any) -> Self:
        """With the services of a Consul, all of them. `defaults`: settings of every service, such as ``balancer="p2c"``."""
        consul = {"url": url, "token": token, "datacenter": datacenter, "expose": "all"}
        discovery = {"provider": "consul", "consul": {key: value for key, value in consul.items() if value is not None}}
        return cls(_settings(discovery, {}, defaults))

    @classmethod
    def from_static(cls, services: Mapping[str, Sequence[str]], **defaults: Any) -> Self:
        """With instances that are known: name -> ``["10.0.0.7:9001", …]``. `defaults` as in `from_consul`."""
        return cls(_settings({"provider": "static"}, {name: {"instances": list(each)} for name, each in services.items()}, defaults))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call((await self._running()).plane, request)
        call.begin()
        return await call.response()

    async def _running(self) -> Gateway:
        async with self._starting:
            if self._closed:
                raise RuntimeError("this BalancedTransport has been closed")
            if self._gateway is None:
                gateway = Gateway(self._settings, asyncio.get_running_loop())
                await gateway.start()
                await gateway.settle(SETTLED_WITHIN_S)
                self._gateway = gateway
            return self._gateway

    async def aclose(self) -> None:
        self._closed = True
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            for protocol in tuple(gateway.plane.connections):
                protocol.transport.abort()
            await gateway.aclose()


def _settings(discovery: dict[str, Any], services: dict[str, Any], defaults: dict[str, Any]) -> Settings:
    """Raises `lbgateway.config.ConfigErrors`."""
    quiet = {"auth": {"default": "none"}, "logging": {"access_log": False}}
    config = {"discovery": discovery, "services": {"*": defaults, **services}, **quiet}
    return load_text(json.dumps(config), "BalancedTransport", {})
