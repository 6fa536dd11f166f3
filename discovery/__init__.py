"""Who exists: services and their instances, as a registry reports them.

`ConsulSource`, `DnsSource`, `FileSource` and `StaticSource` are watched for snapshots; `Registry` decides which services are
exposed; `register` lets a service announce itself.

    from discovery import register

Names are loaded on first use: a service that registers itself has no need of a watcher's libraries,
and the other way round.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discovery.consul import ConsulSource
    from discovery.dns import DnsSource
    from discovery.errors import DiscoveryError
    from discovery.file import FileSource
    from discovery.instance import (
        NOTHING,
        Catalog,
        Instance,
        InstanceKey,
        InstanceState,
        Remembered,
        Snapshot,
        SnapshotState,
        SourceStatus,
    )
    from discovery.registrar import register
    from discovery.registry import Registry
    from discovery.snapshot_store import SnapshotStore
    from discovery.source import Source
    from discovery.static import StaticSource, static_instance

_HOMES = {
    "Catalog": "instance",
    "ConsulSource": "consul",
    "DiscoveryError": "errors",
    "DnsSource": "dns",
    "FileSource": "file",
    "Instance": "instance",
    "InstanceKey": "instance",
    "InstanceState": "instance",
    "NOTHING": "instance",
    "Registry": "registry",
    "Remembered": "instance",
    "Snapshot": "instance",
    "SnapshotState": "instance",
    "SnapshotStore": "snapshot_store",
    "Source": "source",
    "SourceStatus": "instance",
    "StaticSource": "static",
    "register": "registrar",
    "static_instance": "static",
}

__all__ = [
    "Catalog",
    "ConsulSource",
    "DiscoveryError",
    "DnsSource",
    "FileSource",
    "Instance",
    "InstanceKey",
    "InstanceState",
    "NOTHING",
    "Registry",
    "Remembered",
    "Snapshot",
    "SnapshotState",
    "SnapshotStore",
    "Source",
    "SourceStatus",
    "StaticSource",
    "register",
    "static_instance",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


if TYPE_CHECKING:
    from discovery.announcement import HttpCheck, Ttl
    from discovery.consul_agent import RegistrationRefused

_HOMES |= {"HttpCheck": "announcement", "RegistrationRefused": "consul_agent", "Ttl": "announcement"}
__all__ += ["HttpCheck", "RegistrationRefused", "Ttl"]
