"""The package's front door."""

from __future__ import annotations

import subprocess
import sys

import pytest

import discovery


def test_every_name_leads_somewhere() -> None:
    """What is listed can be imported, and is listed by dir()."""
    for name in discovery.__all__:
        assert getattr(discovery, name) is not None
        assert name in dir(discovery)


def test_an_unknown_name_is_an_ordinary_error() -> None:
    """So that hasattr works."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = discovery.nothing


def test_importing_an_instance_loads_no_http_client() -> None:
    """The request path imports instances, and must stay light."""
    code = "import sys, discovery.instance, discovery.diff; sys.exit('httpx' in sys.modules or 'consul' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
