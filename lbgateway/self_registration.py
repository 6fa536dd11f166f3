"""The gateway's own entry in Consul (``discovery.consul.register``), kept by a thread of its own: nothing here makes the loop wait."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from discovery.announcement import Announcement, HttpCheck
from discovery.consul_access import ConsulAccess
from discovery.registrar import default_id
from discovery.registration import Registration
from lbgateway import __version__
from lbgateway.config.fields import split_host_port

if TYPE_CHECKING:
    from lbgateway.config import Settings
    from lbgateway.config.discovery import ConsulSettings, RegisterSettings

LIVE = "/health/live"


class SelfRegistration:
    """Registered as the settings say, from the moment the port is open until the gateway has drained."""

    def __init__(self) -> None:
        self._registration: Registration | None = None
        self._started: tuple[Settings, int] | None = None
        self._drain_pause_s = 0.0
        self._farewells: set[asyncio.Future[None]] = set()

    def open(self, settings: Settings, port: int) -> None:
        """Register, if it is wished for: `port` accepts connections now."""
        self._started = (settings, port)
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Be registered as `settings` say, from now on. What did not change is left in peace.

        Only ``register`` is followed: where we listen and who Consul is, a running process cannot change.
        """
        if self._started is None:
            return
        register, before = settings.discovery.consul.register_, self._registration
        wanted = registration_of(register, *self._started) if register is not None else None
        if wanted is not None and before is not None and wanted.announcement == before.announcement:
            wanted = before
        self._registration, self._drain_pause_s = wanted, register.drain_pause if register is not None else 0.0
        if wanted is before:
            return
        if wanted is not None and before is not None and wanted.id == before.id:
            wanted.take_over(before)
            return
        if wanted is not None:
            wanted.begin()
        if before is not None:
            self._close(before)

    def pass_on(self, id: str | None) -> None:  # noqa: A002 Consul's word
        """Another process serves on our port, and keeps the entry `id` if it has one: ours, if it is the same, is left to it."""
        registration = self._registration
        if registration is None:
            return
        if registration.id == id:
            self._registration = self._started = None
            registration.pass_on()
        else:
            registration.leave()

    def leave(self) -> float:
        """Close to traffic in the registry. Returns for how many seconds the port should stay open for those who have not heard."""
        if self._registration is None:
            return 0.0
        self._registration.leave()
        return self._drain_pause_s

    async def aclose(self) -> None:
        """Sign off for good; takes three seconds at most, if the registry does not answer."""
        self._started = None
        registration, self._registration = self._registration, None
        if registration is not None:
            self._close(registration)
        await asyncio.gather(*self._farewells, return_exceptions=True)

    def _close(self, registration: Registration) -> None:
        registration.leave()
        farewell = asyncio.get_running_loop().run_in_executor(None, registration.close)
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)


def registration_id(settings: Settings, port: int) -> str | None:
    """What our entry is called, or will be; None if we shall have none."""
    register = settings.discovery.consul.register_
    return None if register is None else registration_of(register, settings, port).id


def registration_of(register: RegisterSettings, settings: Settings, port: int) -> Registration:
    """The registration that is asked for, not begun; `port` is the one that listens."""
    address = register.address or listening_address(settings.server.host)
    access = access_of(settings.discovery.consul)
    announcement = Announcement(
        name=register.name,
        port=register.port or port,
        id=default_id(register.name, address, register.port or port),
        check=check_of(settings, port, same_machine=access.on_this_machine),
        address=address,
        tags=register.tags,
        meta={"version": __version__, "scheme": scheme_of(settings), **register.meta},
        expose=False,  # a gateway that can be reached through itself is a loop
    )
    # Deregistered when the gateway ends, and at the latest when its time to drain is over.
    return Registration(announcement, access, register.drain_pause + settings.server.drain_timeout)


def access_of(consul: ConsulSettings) -> ConsulAccess:
    """The agent, as the settings name it."""
    tls = consul.tls
    return ConsulAccess(
        url=consul.agents[0],
        token=consul.token.reveal() if consul.token is not None else None,
        ca=tls.ca if tls else None,
        cert=tls.cert if tls else None,
        key=tls.key if tls else None,
    )


def scheme_of(settings: Settings) -> str:
    return "https" if settings.server.tls is not None else "http"


def listening_address(host: str) -> str | None:
    """The address that a listener on `host` can be reached at; None if it listens on all of the machine's."""
    try:
        return None if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        return host


def check_of(settings: Settings, port: int, *, same_machine: bool) -> HttpCheck:
    """A check on our own ``/health/live``: an agent of this machine asks where we listen, another one what was announced.

    The certificate is not looked at: it is made out to the name that clients use, and the agent asks an address.
    """
    scheme, host = scheme_of(settings), settings.server.host
    if settings.admin.listen is not None:
        scheme = "http"
        host, port = split_host_port(settings.admin.listen)
    elif not same_machine:
        return HttpCheck(LIVE, scheme=scheme, verify=False)
    return HttpCheck(f"{scheme}://{_in_url(host)}:{port}{LIVE}", verify=False)


def _in_url(host: str) -> str:
    """Where to ask a listener on `host` from its own machine."""
    if listening_address(host) is None:
        return "[::1]" if ":" in host else "127.0.0.1"
    return f"[{host}]" if ":" in host else host
