"""``server``: the port towards clients and its limits."""

import os
from typing import Annotated

from pydantic import AfterValidator, Field

from lbgateway.config.fields import (
    Count,
    Duration,
    File,
    FreeHeader,
    HeadSize,
    Network,
    Port,
    PositiveDuration,
    Size,
    Text,
    Workers,
)
from lbgateway.config.section import Section


def _host(value: str) -> str:
    if not value:
        raise ValueError("is empty, which would be every address of this machine: write 0.0.0.0 for that, or leave the key out")
    if not value.isprintable() or " " in value:
        raise ValueError("is no address and no name of one: it holds a space or a control character")
    return value


class ServerTls(Section):
    cert: File
    key: File
    client_ca: File | None = None


class ServerSettings(Section):
    """Durations in seconds, sizes in bytes; ``port`` 0 lets the system choose."""

    host: Annotated[Text, AfterValidator(_host)] = "127.0.0.1"
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
    deadline_header: FreeHeader | None = None

    @property
    def processes(self) -> int:
        """`workers` as a number: one for each core that this process may use, where it is ``auto``."""
        return self.workers if isinstance(self.workers, int) else len(os.sched_getaffinity(0))
