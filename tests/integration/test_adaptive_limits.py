"""``limits.adaptive`` with real processes: instances of two workers each, and more clients than they can serve."""

from __future__ import annotations

from typing import Any

from tests.support.gateway_process import GatewayProcess
from tests.support.instance_process import InstanceProcess
from tests.support.launch import wait_until
from tests.support.traffic import Traffic

WORKERS, CLIENTS = 2, 40
LEARNT_WITHIN_S = 40.0
"""The first measurement comes after five to ten seconds, the other instance's later."""


def test_an_overloaded_service_finds_its_limits():
    """Nobody has said how many workers there are; what is too much is told so at once, and what gets in does not wait for long."""
    with InstanceProcess(0.02, WORKERS) as one, InstanceProcess(0.02, WORKERS) as other:
        service = {"instances": [f"127.0.0.1:{each.port}" for each in (one, other)], "limits": {"adaptive": True}}
        config = {"auth": {"default": "none"}, "discovery": {"provider": "static"}, "services": {"orders": service}}
        with GatewayProcess({**config, "logging": {"access_log": False}}) as gateway:

            def instances(what: str = "") -> list[dict[str, Any]]:
                return list(gateway.json(f"/admin/upstreams/orders{what}")["instances"])

            wait_until(lambda: len(instances()) == 2, 5, gateway.story)
            with Traffic(gateway.port, "/api/orders/x", clients=CLIENTS, pause_s=0.01) as traffic:
                wait_until(lambda: all(WORKERS <= each["limit"] <= 5 * WORKERS for each in instances()), LEARNT_WITHIN_S, gateway.story)
                told = instances("/explain")
            assert all(each["adaptive"]["baseline_ms"] >= 20 for each in told)
            assert traffic.bad((200, 503)) == []
            assert traffic.outcomes()[503] > 0
            assert traffic.outcomes()[200] > 100
