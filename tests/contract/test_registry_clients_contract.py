"""Ordinary client libraries live a service's life on the development registry and on a real Consul alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pyconsul import interpreter
from tests.support.registry_client import RegistryClient

SCRIPT = Path(__file__).parents[1] / "support" / "consul_client.py"


@pytest.mark.parametrize("library", ["python-consul2", "py-consul"])
def test_a_client_library_registers_heartbeats_and_deregisters(registry: RegistryClient, name: str, library: str) -> None:
    """Every step is answered as the library expects, and shows what it should."""
    python = sys.executable if library == "python-consul2" else interpreter()
    told = run(python, registry, name)
    unknown = f"service:{name}-1"

    assert unknown in told.pop("heartbeat of nobody")
    assert told == {
        "registered": True,
        "at first": [[f"{name}-1", "passing", "critical"]],
        "heartbeat": True,
        "alive": [[f"{name}-1", "passing", "passing"]],
        "passing": [["127.0.0.1", 9001, ["a"]]],
        "index is a number": True,
        "wait": True,
        "maintained": True,
        "in maintenance": [[f"{name}-1", "passing", "critical", "passing"]],
        "failed": True,
        "listed": True,
        "stored": True,
        "read": "value",
        "created twice": False,
        "keys": [f"{name}/key"],
        "deleted": True,
        "gone": True,
        "deregistered": True,
        "at last": [],
    }


def run(python: str, registry: RegistryClient, name: str) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CONSUL_", "PYTHON"))}
    command = [python, str(SCRIPT), registry.http.base_url.host, str(registry.http.base_url.port), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
