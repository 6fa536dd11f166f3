"""Self-registration: a service announces itself in Consul, keeps saying that it lives, and signs off.

    with register("orders", 9001):                                # any program
        serve()

    async with register("orders", 9001, check=HttpCheck("/health")):
        await serve()

    app = FastAPI(lifespan=register("orders", 9001).lifespan)     # any ASGI application

Consul being away is not the service's problem: it is logged, tried again, and when Consul comes back
without its memory the service registers anew. Only what no waiting can heal, a refused registration,
is raised, and only at the start.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from discovery.announcement import Announcement, HttpCheck, Ttl
from discovery.consul_access import ConsulAccess, access_from_environment
from discovery.registration import Registration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def register(  # noqa: PLR0913 one keyword per thing that can be said of an instance
    name: str,
    port: int,
    *,
    address: str | None = None,
    id: str | None = None,  # noqa: A002 Consul's word
    tags: Sequence[str] = (),
    meta: Mapping[str, str] | None = None,
    weights: tuple[int, int] | None = None,
    check: Ttl | HttpCheck | None = None,
    expose: bool = True,
    drain_s: float = 0.0,
    consul_url: str | None = None,
    token: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Registration:
    """Describe an instance that is registered while the returned context manager is open.

    `address`: None = that of the agent's node if the agent is on this machine, else ours on the way to it.
    `id`: None = ``name-host-port``, stable over restarts, so that a crash leaves no ghost beside its
    successor. `weights`: (passing, warning). `check`: None = ``Ttl()``. `expose`: let the gateway route to
    it (the opt-in tag). `drain_s`: seconds between closed to traffic and gone, in which the service should
    still answer. `consul_url`: None = ``CONSUL_HTTP_ADDR``, its token and its certificates of the environment,
    else the agent on this machine; a URL that is given turns the environment off, the token's too.
    """
    access = access_from_environment(os.environ) if consul_url is None else ConsulAccess(consul_url)
    access = replace(
        access,
        token=token or access.token,
        ca=tls_ca or access.ca,
        cert=tls_cert or access.cert,
        key=tls_key or access.key,
    )
    announcement = Announcement(
        name=name,
        port=port,
        id=id or default_id(name, address, port),
        check=check or Ttl(),
        address=address,
        tags=tuple(tags),
        meta=dict(meta or {}),
        weights=weights,
        expose=expose,
    )
    return Registration(announcement, access, drain_s)


def default_id(name: str, address: str | None, port: int) -> str:
    """The same after a restart, and another one for each instance."""
    return f"{name}-{address or socket.gethostname()}-{port}"
