"""``server``: the port towards clients and its limits."""

from typing import Annotated

from pydantic import Field

from lbgateway.config.fields import (
    Count,
    Duration,
    File,
    HeaderName,
    HeadSize,
    Network,
    Port,
    PositiveDuration,
    Size,
    Text,
    Workers,
)
from lbgateway.config.section import Section


class ServerTls(Section):
    cert: File
    key: File
    client_ca: File | None = None


class ServerSettings(Section):
    """Durations in seconds, sizes in bytes; ``port`` 0 lets the system choose."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    workers: Workers = 1
    tls: ServerTls | None = None
    keep_alive: PositiveDuration = 75.0
    header_timeout: PositiveDuration = 10.0
    body_timeout: PositiveDuration = 30.0
    max_head: HeadSize = 64 * 1024
    max_headers: Annotated[Count, Field(le=10_000)] = 128
    max_body: Size | None = None
    max_connections: Count = 10_000
    trusted_proxies: tuple[Network, ...] = ()
    drain_timeout: Duration = 30.0
    proxy_protocol: bool = False
    deadline_header: HeaderName | None = None
