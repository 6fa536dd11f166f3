"""Is the gateway well? Decided from what is in memory: asking never waits and never makes it worse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from balancers.endpoint import EndpointState

if TYPE_CHECKING:
    from lbgateway.controlplane.port import DiscoveryView, GatewayPort

USABLE = (EndpointState.READY, EndpointState.WARMING, EndpointState.SUSPECT)
"""The states that take traffic."""

# Anyone may read /health; where the registry lives is for operators only.
_ADDRESS = re.compile(r"\w+://\S+|\[[0-9a-fA-F:.]+\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?|\b(?:[0-9a-fA-F]{1,4})?::[0-9a-fA-F:.]+|[\w.-]+:\d{2,5}\b")


def health_of(port: GatewayPort) -> tuple[int, dict[str, Any]]:
    """Status and body of ``/health``.

    *failing* (503): nothing was ever heard of the registry, or a required service has no usable instance.
    *degraded* (200): the gateway forwards by what it heard last. *ok* (200) otherwise.
    """
    discovery = port.discovery()
    required = port.required_services()
    services = {name: _service(port, name) for name in sorted({*port.service_names(), *required})}
    if discovery["state"] is None or any(not services[name]["healthy"] for name in required):
        status = "failing"
    elif discovery["state"] != "fresh":
        status = "degraded"
    else:
        status = "ok"
    return 503 if status == "failing" else 200, {
        "status": status,
        "version": port.version,
        "uptime_seconds": round(port.uptime_s(), 3),
        "checks": {"discovery": _public(discovery), "services": services},
    }


def _service(port: GatewayPort, name: str) -> dict[str, int]:
    counts = port.state_counts(name)
    total = sum(count for state, count in counts.items() if state != EndpointState.GONE)
    return {"healthy": sum(counts.get(state, 0) for state in USABLE), "total": total}


def _public(discovery: DiscoveryView) -> dict[str, Any]:
    error = discovery["last_error"]
    return {**discovery, "last_error": error and without_addresses(error)}


def without_addresses(text: str) -> str:
    """The text with URLs, IP addresses and host:port pairs replaced."""
    return _ADDRESS.sub("[address]", text)


def readiness_of(port: GatewayPort) -> tuple[int, dict[str, str]]:
    """Status and body of ``/health/ready``: may a load balancer in front send clients here?"""
    if port.draining():
        return 503, {"status": "draining"}
    if port.discovery()["state"] is None:
        return 503, {"status": "starting"}
    return 200, {"status": "ready"}
