"""The limit of open files, and what fits into it."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from lbgateway.config import Settings, load_text
from lbgateway.open_files import fit_to_open_files

FEW = "server: {max_connections: 10}\n"


def settings_of(text: str) -> Settings:
    return load_text("auth: {default: none}\n" + text, "gateway.yaml", {})


@pytest.fixture
def open_files() -> Iterator[int]:
    """The soft limit is lowered below the hard one, and put back afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_to_its_bound(open_files):
    """And what fits is left as it is."""
    settings = settings_of(FEW)
    assert fit_to_open_files(settings) is settings
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == open_files


def test_more_connections_than_files_are_lowered_aloud(open_files):
    """Two files for each, one to the client and one to the upstream."""
    settings = settings_of(f"server: {{max_connections: {open_files}}}\n")
    with capture_logs() as logs:
        fitted = fit_to_open_files(settings)
    assert fitted.server.max_connections == (open_files - 128) // 2
    [event] = logs
    assert (event["wanted"], event["max_connections"], event["open_files"]) == (open_files, fitted.server.max_connections, open_files)
