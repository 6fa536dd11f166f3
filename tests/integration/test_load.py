"""Long and wide: 200,000 requests without a failure and without growing, ten thousand connections that cost little."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lbgateway.open_files import SPARE_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.load import running

pytestmark = pytest.mark.alone

REQUESTS = 200_000
CONNECTIONS = 32
PART = 10_000
MOST_PARTS = 40
AT_REST = 4
"""Parts in a row in which the process has hardly grown."""
PART_GROWTH_BYTES = PART * 10
"""What leaks ten bytes a request never comes to rest."""
GROWTH_BYTES = 16 << 20
IDLE_CONNECTIONS = 10_000
IDLE_BYTES = 20 << 10


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    """Over three instances, with everything that is on by default."""
    with running("serve") as one, running("serve") as two, running("serve") as three:
        config: dict[str, Any] = {
            "auth": {"default": "none"},
            "discovery": {"provider": "static"},
            "server": {"max_connections": fitting() + 10},
            "services": {"orders": {"instances": [f"127.0.0.1:{port}" for port in (one, two, three)]}},
        }
        with GatewayProcess(config) as process:
            yield process


def fitting() -> int:
    """As many idle connections as this machine's limit of open files lets a gateway take."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(IDLE_CONNECTIONS, (hard - SPARE_FILES) // 2 - 10) if hard != resource.RLIM_INFINITY else IDLE_CONNECTIONS


def test_200_000_requests_fail_not_once_and_leave_nothing_behind(gateway):
    """Over 32 kept connections; after the first half, the process comes to rest: what more it serves finds its memory in what is there.

    What leaks grows with every part. A heap may take one more piece in one of them, by chance, so some parts more may be played.
    """
    asked = 0

    def ask(requests: int) -> int:
        nonlocal asked
        with running("ask", gateway.port, CONNECTIONS, requests) as part:
            assert (part["ok"], part["failed"]) == (requests, {})
        asked += requests
        return gateway.rss_bytes()

    resident = [ask(REQUESTS // 2)]
    while asked < REQUESTS or not at_rest(resident):
        assert len(resident) <= MOST_PARTS, f"the process grew by {[f'{growth >> 10} KiB' for growth in growths(resident)]}"
        resident.append(ask(PART))
    assert resident[-1] - resident[0] < GROWTH_BYTES
    told = gateway.json("/admin/upstreams/orders")
    assert sum(instance["requests_total"] for instance in told["instances"]) == asked
    assert [instance["active_requests"] for instance in told["instances"]] == [0, 0, 0]
    assert [instance["failures_total"] for instance in told["instances"]] == [0, 0, 0]
    assert all(instance["connections"]["active"] == 0 for instance in told["instances"])


def at_rest(resident: list[int]) -> bool:
    latest = growths(resident)[-AT_REST:]
    return len(latest) == AT_REST and max(latest) < PART_GROWTH_BYTES


def growths(resident: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(resident)]


def test_ten_thousand_idle_connections_cost_little(gateway):
    """Each has made a request and waits for its next; others are served meanwhile, and all are gone with their clients."""
    connections = fitting()
    with running("ask", gateway.port, CONNECTIONS, 5_000) as warm:
        assert warm["failed"] == {}
    files, before_bytes = open_files(gateway), gateway.rss_bytes()
    with running("hold", gateway.port, connections) as held:
        assert (held["ok"], held["failed"]) == (connections, {})
        time.sleep(0.5)
        each_bytes = (gateway.rss_bytes() - before_bytes) / connections
        print(f"{connections} idle connections cost {each_bytes / 1024:.1f} KiB each")
        assert open_files(gateway) >= files + connections
        assert gateway.get("/api/orders/")[0] == 200
        assert each_bytes <= IDLE_BYTES
    wait_until(lambda: open_files(gateway) <= files + CONNECTIONS, 10, gateway.story)


def open_files(gateway: GatewayProcess) -> int:
    return sum(1 for _ in Path(f"/proc/{gateway.pid}/fd").iterdir())
