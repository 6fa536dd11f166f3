"""``lbgateway check FILE``: is this configuration usable, and if not, every reason at once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from lbgateway.cli import FINE, NO
from lbgateway.config import ConfigErrors, load

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from pathlib import Path

    from lbgateway.config import Settings


def main(args: Namespace) -> int:
    """Check ``args.file`` in the environment of this process."""
    return run(args.file, sys.stdout)


def run(path: str | Path, out: TextIO, environ: Mapping[str, str] | None = None) -> int:
    """Write one line if the file is fine, or each error (and warning) on its own. Returns the exit code."""
    try:
        settings = load(path, os.environ if environ is None else environ)
    except ConfigErrors as problem:
        for error in problem.errors:
            print(error, file=out)
        return NO
    for warning in settings.warnings:
        print(f"{warning} (a warning)", file=out)
    print(f"{path} is fine: {summary(settings)}", file=out)
    return FINE


def summary(settings: Settings) -> str:
    """What a person checks first: is it as much as I wrote?"""
    routes = "the built-in route /api/{service}" if settings.has_default_route else _count(len(settings.routes), "route")
    return f"{_count(len(settings.named_services()), 'service')}, {routes}, instances from {settings.discovery.provider}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
