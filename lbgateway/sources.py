"""Where instances, and a part of the configuration, come from: settings to the objects that follow them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from discovery import NOTHING, ConsulSource, FileSource, SnapshotStore, StaticSource
from discovery.token_file import TokenFile
from lbgateway.composition.stored import StoredConfig
from lbgateway.config.fields import split_host_port
from lbgateway.derived import listed_services, static_services

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.source import Source
    from lbgateway.config import Settings
    from lbgateway.config.secret import Secret

    OnError = Callable[[str], None]
    """Gets the kind of each failure."""
    OnUpdate = Callable[[str], None]
    """Gets the name of each service whose instances changed."""


def make_store(settings: Settings, on_error: OnError) -> SnapshotStore | None:
    """The snapshots on disk; None where none are kept."""
    discovery = settings.discovery
    if discovery.provider != "consul" or discovery.consul.snapshot is None:
        return None
    return SnapshotStore(discovery.consul.snapshot, datacenter=discovery.consul.datacenter, on_error=on_error)


def make_source(settings: Settings, store: SnapshotStore | None, *, on_error: OnError, on_update: OnUpdate) -> Source:
    """What `discovery.provider` names; the embedded registry is a Consul like any other."""
    if settings.discovery.provider == "static":
        return StaticSource(static_services(settings), on_update=on_update)
    if settings.discovery.provider == "file" and settings.discovery.file is not None:
        return FileSource(settings.discovery.file.path, listed_services, on_error=on_error, on_update=on_update)
    if settings.discovery.provider == "dns" and settings.discovery.dns is not None:
        from discovery import DnsSource  # noqa: PLC0415 only those who ask name servers pay for reading their answers

        dns = settings.discovery.dns
        servers = [split_host_port(server) for server in dns.nameservers]
        return DnsSource(servers, name=dns.name, interval_s=dns.interval, on_error=on_error, on_update=on_update)
    return _consul(settings, store, on_error, on_update)


def _consul(settings: Settings, store: SnapshotStore | None, on_error: OnError, on_update: OnUpdate) -> ConsulSource:
    consul = settings.discovery.consul
    tls = consul.tls
    return ConsulSource(
        consul.agents,
        token=consul_token(consul.token),
        datacenter=consul.datacenter,
        consistency=consul.consistency,
        wait_s=consul.wait,
        max_age_s=consul.max_age,
        passing_only=consul.passing_only,
        tags=consul.tags,
        empty_hold_s=consul.empty_hold,
        tls_ca=tls.ca if tls else None,
        tls_cert=tls.cert if tls else None,
        tls_key=tls.key if tls else None,
        remembered=store.load() if store is not None else NOTHING,
        random=Random(),  # noqa: S311 jitter is no secret
        on_error=on_error,
        on_update=on_update,
    )


def consul_token(token: Secret | None) -> str | TokenFile | None:
    """As `ConsulSource` takes it; a file is followed."""
    if token is None or token.path is None:
        return None if token is None else token.reveal()
    return TokenFile(token.path, token.reveal())


def make_stored(settings: Settings, on_error: OnError) -> StoredConfig | None:
    """What a key of Consul's store says; None where none is followed."""
    discovery = settings.discovery
    if discovery.provider not in ("consul", "embedded") or discovery.consul.config_key is None:
        return None
    return StoredConfig(discovery.consul.config_key, on_error)
