"""The gateway of such an hour: how it is configured, and what it says of itself."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until

SECRET = "a secret of thirty-two bytes or more, for an hour"
SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


def config_of(consul_url: str, redis_url: str) -> dict[str, Any]:
    """As much of the gateway as can be at work at once, and short of patience."""
    return {
        "discovery": {"consul": {"url": consul_url}},
        "auth": {"default": "none", "jwt": {"algorithms": ["HS256"], "secret": SECRET}},
        "rate_limit": {"store": redis_url},
        "services": {
            "*": {"timeout": {"connect": "1s", "response": "2s", "total": "10s", "idle": "5s", "tunnel_idle": "10s"}},
            "orders": {"hedge": {"after": "p95", "at_most": 0.05}, "health_check": {"path": "/healthz", "interval": "1s"}},
            "parcels": {"transport": "httpx", "balancer": "p2c"},
            "letters": {"balancer": "least_connections", "limits": {"max_active": 2, "max_pending": 4}},
        },
        "routes": [
            {"prefix": "/api/{service}", "strip_prefix": True},
            {"prefix": "/private", "service": "orders", "auth": "required", "strip_prefix": True},
            {
                "prefix": "/limited",
                "service": "orders",
                "strip_prefix": True,
                "rate_limit": {"requests": 5, "per": "10s", "burst": 5, "key": "header:X-Caller"},
            },
        ],
    }


class ObservedGateway(GatewayProcess):
    """A gateway that can be asked what it holds."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config, module="tests.support.observed_gateway")
        self.told = self.folder / "census"
        self.environment["CENSUS"] = str(self.told)

    def census(self) -> dict[str, int]:
        """How many objects of each class it holds now; ``tasks`` and ``timers`` are those that are not over."""
        self.told.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        wait_until(self.told.exists, 20, self.story)
        counts: dict[str, int] = json.loads(self.told.read_text())
        return counts

    def numbers(self) -> list[tuple[str, str, float]]:
        """``/metrics``: name, labels as they stand there, value."""
        text = self.get("/metrics", seconds=20)[1].decode()
        return [(name, labels, float(value)) for name, labels, value in SAMPLE.findall(text)]

    def requests_total(self) -> dict[str, int]:
        """By status."""
        found: dict[str, int] = {}
        for name, labels, value in self.numbers():
            if name == "lbgateway_requests_total":
                status = re.findall(r'status="(\d+)"', labels)[0]
                found[status] = found.get(status, 0) + int(value)
        return found

    def unbalanced(self) -> list[str]:
        """Every gauge of something that is under way, and is not 0."""
        left = [
            f"{name}{labels} {value:g}"
            for name, labels, value in self.numbers()
            if value
            and (
                name in ("lbgateway_requests_active", "lbgateway_upstream_active")
                or (name == "lbgateway_upstream_connections" and 'state="active"' in labels)
            )
        ]
        for service in self.json("/admin/upstreams")["services"]:
            left += [f"{each['id']} {each}" for each in service["instances"] if each["active_requests"] or each["connections"]["active"]]
        return left
