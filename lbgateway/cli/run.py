"""``lbgateway run``: serve until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from lbgateway.cli import FINE, NO, OPTIONS, WRONG_USAGE, overrides, signals_wait
from lbgateway.config import ConfigErrors, load
from lbgateway.dev_registry import RegistryNotStarted
from lbgateway.doors import NoDoor, open_doors
from lbgateway.server import STOP_SIGNALS, serve
from lbgateway.takeover import TakeoverFailed
from lbgateway.telemetry import logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

    from lbgateway.config import Settings
    from lbgateway.doors import Doors


def main(args: argparse.Namespace) -> int:
    """0 after an orderly stop, 1 if it could not start, 2 if an option is at fault; the reasons go to stderr."""
    try:
        settings = settings_of(args)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return WRONG_USAGE if any(error.origin.source in OPTIONS for error in errors.errors) else NO
    configure_logging(settings)
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    with signals_wait(*STOP_SIGNALS, signal.SIGHUP):  # from before the door is open: they would end us, clients and all
        try:
            doors = open_doors(settings.server, os.environ, takeover=args.takeover, admin=settings.admin.listen)
        except NoDoor as error:
            return _refuse(error)
        try:
            uvloop.run(_served(settings, doors, partial(reloaded, args)))
        except (RegistryNotStarted, TakeoverFailed) as error:
            doors.close()
            return _refuse(error)
    return FINE


def _served(settings: Settings, doors: Doors, reload: Callable[[], Settings]) -> Coroutine[Any, Any, None]:
    if settings.server.processes > 1:
        from lbgateway.workers.parent import serve_together

        return serve_together(settings, doors, reload)
    return serve(settings, sockets=doors.sockets, admin=doors.admin, reload=reload, predecessor=doors.predecessor, meeting=doors.meeting)


def _refuse(error: Exception) -> int:
    print(f"lbgateway run: {error}", file=sys.stderr)
    return NO


def reloaded(args: argparse.Namespace) -> Settings:
    """What the file says now."""
    return configure_logging(settings_of(args))


def settings_of(args: argparse.Namespace) -> Settings:
    """The file, with what the command line says over it."""
    return load(args.config, os.environ, overrides(args))


def configure_logging(settings: Settings) -> Settings:
    """Let events look as the file says, from the start and after a reload."""
    logging.configure(settings.logging.level, settings.logging.format)
    return settings
