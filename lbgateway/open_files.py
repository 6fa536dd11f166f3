"""How many files a process may have open, and how many connections fit into that."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from lbgateway.config import Settings

log = structlog.get_logger("lbgateway")

SPARE_FILES = 128
"""Open files that are neither a client's connection nor an upstream's."""


def fit_to_open_files(settings: Settings) -> Settings:
    """Raise the limit of open files to its hard bound; lower ``max_connections`` if two files each would not fit into the workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.server.max_connections
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    fitting = (soft - SPARE_FILES) // 2 * settings.server.processes if soft != resource.RLIM_INFINITY else wanted
    if fitting >= wanted:
        return settings
    log.warning("server.max_connections lowered to fit the open-files limit", wanted=wanted, max_connections=fitting, open_files=soft)
    server = settings.server.model_copy(update={"max_connections": max(settings.server.processes, fitting)})
    return settings.model_copy(update={"server": server})
