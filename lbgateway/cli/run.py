"""``lbgateway run``: serve until told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import uvloop

from lbgateway.cli import FINE, NO, overrides
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
        return NO
    configure_logging(settings)
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        listener = bind(settings.server.host, settings.server.port)
    except OSError as error:
        print(f"lbgateway run: {error.strerror}", file=sys.stderr)
        return NO
    uvloop.run(serve(settings, sockets=[listener], reload=lambda: configure_logging(settings_of(args))))
    return FINE


def settings_of(args: argparse.Namespace) -> Settings:
    """The file, with what the command line says over it."""
    return load(args.config, os.environ, overrides(args))


def configure_logging(settings: Settings) -> Settings:
    """Let events look as the file says, from the start and after a reload."""
    logging.configure(settings.logging.level, settings.logging.format)
    return settings
