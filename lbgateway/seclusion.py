"""Which services are there for what an operator uses them for, and for nothing else.

To write a route to a service, to name it as the one that inspects tokens, that stands in for another one or that health depends on,
says where *that* leads. It does not put the service under ``/api/{service}`` as well, past the scopes and limits of its route, and no
tag of the service does so: a service opts in by `lbgateway.enable`, or by being named under ``services``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discovery.registry import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from discovery import Registry
    from discovery.instance import Snapshot
    from lbgateway.composition.compose import Composition


class Seclusion:
    """As the configuration in force has it; `registry` knows who has opted in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._led_to: frozenset[str] = frozenset()
        self._named: frozenset[str] = frozenset()

    def follow(self, composition: Composition) -> frozenset[str]:
        """Take over what operators say. Returns what is to be watched, whatever the registry says of it."""
        settings = composition.settings
        needed = {name for name in settings.health.required if name != "redis"}
        self._named = composition.named - NEVER
        self._led_to = frozenset((*composition.led_to, *settings.auth.asked_services, *needed)) - NEVER
        return self.followed

    @property
    def followed(self) -> frozenset[str]:
        """What is to be watched now."""
        return self._led_to | self._named

    @property
    def led_to(self) -> frozenset[str]:
        """The services that may be hidden: that depends on the registry alone."""
        return self._led_to - self._named

    def hides(self, name: str, tags: Iterable[str] = ()) -> bool:
        """Whether a service is out of reach by its name; `tags` of its instances, where they may be newer than the catalog."""
        return name in self._led_to and name not in self._named and not self._registry.opted_in(name, tags)

    def look_again(self, weigh: Callable[[Snapshot], None]) -> None:
        """`weigh` what is known of each service that may be hidden: the catalog has changed."""
        for name in self.led_to:
            if (snapshot := self._registry.snapshot(name)) is not None:
                weigh(snapshot)

    def visible(self) -> list[str]:
        """The exposed services that routes by name and tags may reach."""
        return [name for name in self._registry.services() if not self.hides(name)]
