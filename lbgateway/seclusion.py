"""Which services are followed only because the gateway itself asks them; no route by name, and no tag of theirs, opens a way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.policies.secluded import Secluded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from discovery import Registry
    from lbgateway.config import Settings
    from lbgateway.dataplane.route import Route
    from lbgateway.errors import GatewayError


class Seclusion:
    """As the configuration in force has it; `registry` knows who has opted in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._asked: frozenset[str] = frozenset()
        self._named: frozenset[str] = frozenset()

    def follow(self, settings: Settings, named: Iterable[str]) -> frozenset[str]:
        """`named`: what operators name elsewhere. Returns what is to be watched, whatever the registry says of it."""
        self._asked, self._named = frozenset(settings.auth.asked_services), frozenset(named)
        return self.followed

    @property
    def followed(self) -> frozenset[str]:
        """What is to be watched now."""
        return self._asked | self._named

    def hides(self, name: str, tags: Iterable[str] = ()) -> bool:
        """Whether a service is there for the gateway alone; `tags` of its instances, where they may be newer than the catalog."""
        return name in self._asked and name not in self._named and not self._registry.opted_in(name, tags)

    def visible(self) -> list[str]:
        """The exposed services that routes and tags may reach."""
        return [name for name in self._registry.services() if not self.hides(name)]

    def policies(self, route: Route, settings: Settings, missing: Callable[[str], GatewayError]) -> tuple[Secluded, ...]:
        """What keeps clients away: on routes by name only, and only where there may be such a service."""
        asked = set(settings.auth.asked_services).difference(settings.named_services())
        return (Secluded(self.hides, missing),) if asked and route.by_name else ()
