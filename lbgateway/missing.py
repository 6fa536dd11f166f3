"""What is said of a service that the gateway does not know: to its client, and to the operator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from discovery.registry import NEVER
from lbgateway.errors import NoEndpoint, NoRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery import Registry
    from lbgateway.composition.composer import Composer
    from lbgateway.errors import GatewayError

log = structlog.get_logger("lbgateway")

HINT_EVERY_S = 10.0
"""How often the log says that a service is registered but not exposed; a scanner must not fill it."""


class Missing:
    """Unknown and unexposed look alike to a client; the operator is told the difference."""

    def __init__(self, registry: Registry, composer: Composer, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._composer = composer
        self._clock = clock
        self._hinted_at_s: dict[str, float] = {}

    def error_for(self, name: str) -> GatewayError:
        """The answer to a request for the service `name`."""
        registry = self._registry
        if not registry.heard() or self._composer.lingers(name):
            return NoEndpoint()  # nobody knows yet what there is, or a route has outlived the last instance
        now_s = self._clock()
        if registry.registered(name) and name not in NEVER and now_s - self._hinted_at_s.get(name, -HINT_EVERY_S) >= HINT_EVERY_S:
            self._hinted_at_s[name] = now_s
            log.warning(
                "a client asked for a service that is registered, but not exposed: it got 404",
                service=name,
                what_to_do="give the service the tag lbgateway.enable=true, or name it under `services`",
            )
        return NoRoute()
