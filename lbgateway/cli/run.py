"""``lbgateway run``: serve until told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import uvloop

from lbgateway.config import ConfigErrors, load
from lbgateway.server import bind, serve
from lbgateway.telemetry import logging

if TYPE_CHECKING:
    import argparse

    from lbgateway.config import Settings


def main(args: argparse.Namespace) -> int:
    """0 after an orderly stop, 1 if it could not start; the reasons go to stderr."""
    try:
        settings = settings_of(args)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    logging.configure(settings.logging.level, settings.logging.format)
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        listener = bind(settings.server.host, settings.server.port)
    except OSError as error:
        print(f"lbgateway run: {error.strerror}", file=sys.stderr)
        return 1
    uvloop.run(serve(settings, sockets=[listener], reload=lambda: settings_of(args)))
    return 0


def settings_of(args: argparse.Namespace) -> Settings:
    """The file, with what the command line says over it."""
    settings = load(args.config, os.environ)
    changes = {name: value for name in ("host", "port") if (value := getattr(args, name)) is not None}
    return settings.model_copy(update={"server": settings.server.model_copy(update=changes)}) if changes else settings
