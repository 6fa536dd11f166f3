"""What the package gives away by its own name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lbgateway


def test_the_client_is_loaded_when_it_is_asked_for() -> None:
    """A command that needs no gateway does not wait for one."""
    program = "import lbgateway, sys; print('httpx' in sys.modules); print(lbgateway.BalancedTransport.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip().split() == ["False", "BalancedTransport"]


def test_other_names_are_missing_as_usual() -> None:
    """With the words of Python."""
    with pytest.raises(AttributeError, match="module 'lbgateway' has no attribute 'Nothing'"):
        lbgateway.Nothing  # noqa: B018 looking is the test
