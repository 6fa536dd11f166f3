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
GROWTH_BYTES = 6 << 20
PART_GROWTH_BYTES = 256 << 10
"""A leak of ten bytes a request would show."""
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
    """Over 32 kept connections; the second half finds the memory it needs in that of the first.

    What leaks grows with every part of the second half. A heap may take one more piece in one of them, by chance.
    """
    parts = [REQUESTS // 2, *[REQUESTS // 8] * 4]
    resident = []
    for requests in parts:
        with running("ask", gateway.port, CONNECTIONS, requests) as part:
            assert (part["ok"], part["failed"]) == (requests, {})
        resident.append(gateway.rss_bytes())
    growths = sorted(after - before for before, after in pairwise(resident))
    print("the parts of the second half grew the process by", [f"{growth >> 10} KiB" for growth in growths])
    assert growths[1] < PART_GROWTH_BYTES
    assert sum(growths) < GROWTH_BYTES
    told = gateway.json("/admin/upstreams/orders")
    assert sum(instance["requests_total"] for instance in told["instances"]) == REQUESTS
    assert [instance["active_requests"] for instance in told["instances"]] == [0, 0, 0]
    assert [instance["failures_total"] for instance in told["instances"]] == [0, 0, 0]
    assert all(instance["connections"]["active"] == 0 for instance in told["instances"])


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
