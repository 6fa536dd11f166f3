"""Something that can be watched for snapshots: the one protocol between a registry and its users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from discovery.instance import Catalog, KeyValue, Snapshot, SourceStatus

SnapshotListener = Callable[[Snapshot], None]
"""Called on the event loop's thread, synchronously, with every change of instances or of ``state``."""

CatalogListener = Callable[[Catalog], None]
"""Called like a `SnapshotListener`, whenever names or tags of registered services change."""

KeyListener = Callable[[KeyValue], None]
"""Called like a `SnapshotListener`, whenever a watched key's value changes, comes, goes, or can no longer be read."""


class Source(Protocol):
    """Where instances come from.

    A listener gets complete snapshots, never deltas and never errors: what was known stays known,
    marked stale. It is called at once if something is known already. Requests never wait for a source.
    """

    provider: str

    async def start(self) -> None:
        """Begin to watch; returns at once, whether or not the registry answers."""

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service. Watching a service twice replaces its listener."""

    def unwatch(self, service: str) -> None:
        """Stop following; unknown names are ignored."""

    def watch_catalog(self, listener: CatalogListener) -> None:
        """Follow the names of all services."""

    def snapshot(self, service: str) -> Snapshot | None:
        """The newest snapshot of a watched service, confirmations that changed nothing included."""

    def status(self) -> SourceStatus:
        """State, age of the oldest confirmation and last error over all watches."""

    async def aclose(self) -> None:
        """End all watches and close all sockets, at once; may be called twice."""


@runtime_checkable
class KeySource(Protocol):
    """A source whose registry also stores values."""

    def watch_key(self, key: str, listener: KeyListener) -> None:
        """Follow one key."""
