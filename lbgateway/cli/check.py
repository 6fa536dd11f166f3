"""``lbgateway check FILE``: is this configuration usable, and if not, every reason at once."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from lbgateway.cli import FINE, NO
from lbgateway.config import ConfigErrors, load
from lbgateway.config.errors import spell

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lbgateway.config import Settings
    from lbgateway.config.errors import Finding


def main(args: Namespace) -> int:
    """Check ``args.file`` in the environment of this process."""
    return run(args.file, sys.stdout, as_json=args.json)


def run(path: str | Path, out: TextIO, environ: Mapping[str, str] | None = None, *, as_json: bool = False) -> int:
    """Write one line if the file is fine, or each error (and warning) on its own. Returns the exit code."""
    try:
        settings = load(path, os.environ if environ is None else environ)
    except ConfigErrors as problem:
        errors = [finding_of(error) for error in problem.errors]
        for line in [_document(path, errors=errors)] if as_json else problem.errors:
            print(line, file=out)
        return NO
    if as_json:
        print(_document(path, warnings=settings.warnings), file=out)
        return FINE
    for warning in settings.warnings:
        print(f"{warning} (a warning)", file=out)
    print(f"{path} is fine: {summary(settings)}", file=out)
    return FINE


def finding_of(error: Finding) -> dict[str, Any]:
    """Of one error, for programs: ``line`` is null for what came from the environment."""
    return {"source": error.origin.source, "line": error.origin.line, "key": spell(error.path), "message": error.message}


def _document(path: str | Path, *, errors: Sequence[dict[str, Any]] = (), warnings: Sequence[str] = ()) -> str:
    return json.dumps({"file": str(path), "ok": not errors, "errors": errors, "warnings": warnings}, indent=2, ensure_ascii=False)


def summary(settings: Settings) -> str:
    """What a person checks first: is it as much as I wrote?"""
    routes = "the built-in route /api/{service}" if settings.has_default_route else _count(len(settings.routes), "route")
    return f"{_count(len(settings.named_services()), 'service')}, {routes}, instances from {settings.discovery.provider}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
