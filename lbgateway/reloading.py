"""SIGHUP: new settings are put in force whole, or refused with what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from lbgateway.composition.changes import tell_of, tell_refused
from lbgateway.config import ConfigErrors
from lbgateway.open_files import fit_to_open_files
from lbgateway.tls import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from lbgateway.config import Settings
    from lbgateway.runtime import Gateway
    from lbgateway.systemd import ServiceManager

log = structlog.get_logger("lbgateway")


class Reloadable(Protocol):
    """What serves: one process, or the parent of several."""

    gateway: Gateway
    manager: ServiceManager
    started: bool

    def greet(self, tls: ssl.SSLContext | None) -> None:
        """The gateway has its new settings: those who come from now on are met as they say."""


def reload_settings(server: Reloadable, reload: Callable[[], Settings]) -> None:
    """Take over the file as it is now; if it is bad, say why and keep the old one."""
    if server.started:
        server.manager.reloading()
    _reload_settings(server, reload)
    if server.started:
        server.manager.ready()


def _reload_settings(server: Reloadable, reload: Callable[[], Settings]) -> None:
    gateway, before = server.gateway, server.gateway.composition
    try:
        settings = fit_to_open_files(reload())
        tls = server_context(settings.server.tls)
        gateway.reload(settings)
        server.greet(tls)
    except ConfigErrors as bad:
        told = [str(error) for error in bad.errors]
        log.error("reload refused, the old configuration stays", errors=told)  # noqa: TRY400 the errors say it all
        tell_refused(gateway.plane.events, "file", told)
        return
    except Exception:
        log.exception("reload failed, the old configuration stays")
        tell_refused(gateway.plane.events, "file", ["the reload failed: see the log"])
        return
    for warning in settings.warnings:
        log.warning("configuration", warning=warning)
    log.info("reloaded", **gateway.summary())
    tell_of(gateway.plane.events, before, gateway.composition, "file")
