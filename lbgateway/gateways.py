"""How many gateways there are: those that have registered under the name that this one uses (``discovery.consul.register``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discovery.instance import InstanceState

if TYPE_CHECKING:
    from discovery.source import Source
    from lbgateway.config import Settings

SERVING = (InstanceState.PASSING, InstanceState.WARNING, InstanceState.SUSPECT)


class Gateways:
    """Counts them in the registry's last word; 1 where they do not register, or nothing is known."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._name: str | None = None

    def follow(self, settings: Settings) -> None:
        """Watch the name that `settings` register, if it is not watched anyway, and if somebody wants to know."""
        register, limit = settings.discovery.consul.register_, settings.rate_limit
        wanted = register is not None and settings.discovery.provider in ("consul", "embedded")
        shared = limit.enabled and limit.store != "memory" and limit.on_store_failure == "local"
        self._name = register.name if register is not None and wanted and shared else None
        if self._name is not None and self._source.snapshot(self._name) is None:
            self._source.watch(self._name, lambda _snapshot: None)

    def count(self) -> int:
        snapshot = self._source.snapshot(self._name) if self._name is not None else None
        return 1 if snapshot is None else max(1, sum(each.state in SERVING for each in snapshot.instances))
