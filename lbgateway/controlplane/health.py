"""Is the gateway well? Decided from what is in memory: asking never waits and never makes it worse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from balancers.endpoint import EndpointState

if TYPE_CHECKING:
    from lbgateway.controlplane.port import AuthorityView, DiscoveryView, GatewayPort, RedisView

USABLE = (EndpointState.READY, EndpointState.WARMING, EndpointState.SUSPECT)
"""The states that take traffic."""

# Anyone may read /health; where the registry lives is for operators only. A file with its line is no host with its port.
_ADDRESS = re.compile(
    r"\w+://\S+"
    r"|\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\](:\d+)?"
    r"|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?"
    r"|\b(?:[0-9a-fA-F]{1,4})?::[0-9a-fA-F:.]+"
    r"|(?<![\w.-])(?![\w.-]*\.(?:ya?ml|json):)[\w.-]+:\d{2,5}\b"
)
_FOLDER = re.compile(r"(?<![\w./-])/(?:[\w.-]+/)+(?=[\w.-])")


def health_of(port: GatewayPort) -> tuple[int, dict[str, Any]]:
    """Status and body of ``/health``.

    *failing* (503): nothing was ever heard of the registry, what is required cannot be used, or limits refuse everybody because
    their store is down. *degraded* (200): the gateway forwards by what it heard last, of the registry or of an issuer's
    keys, limits are not shared, or of credentials only that is known which is remembered. *ok* (200) otherwise.
    """
    discovery, keys, redis, authorities = port.discovery(), port.published_keys(), port.redis(), port.authorities()
    required = [name for name in port.required_services() if name != "redis" or not _redis_states(port)]
    services = {name: _service(port, name) for name in sorted({*port.service_names(), *required})}
    if discovery["state"] is None or _redis_is_missed(port) or any(not services[name]["healthy"] for name in required):
        status = "failing"
    elif discovery["state"] != "fresh" or (keys is not None and keys["state"] != "fresh") or _somebody_is_down(port):
        status = "degraded"
    else:
        status = "ok"
    asked = {name: _public(each) for name, each in authorities.items()}
    given = {name: check for name, check in {"keys": keys, "redis": redis and _public(redis), **asked}.items() if check is not None}
    return 503 if status == "failing" else 200, {
        "status": status,
        "version": port.version,
        "uptime_seconds": round(port.uptime_s(), 3),
        "checks": {"discovery": _public(discovery), **given, "services": services},
    }


def _redis_states(port: GatewayPort) -> list[str]:
    """Of the stores in Redis; empty where none is used, and ``redis`` is a service like others."""
    limits = port.redis()
    return [each["state"] for each in port.authorities().values() if each["store"] == "redis"] + ([limits["state"]] if limits else [])


def _redis_is_missed(port: GatewayPort) -> bool:
    limits = port.redis()
    refusing = limits is not None and limits["state"] != "up" and limits["on_store_failure"] == "closed"
    return refusing or ("redis" in port.required_services() and any(state != "up" for state in _redis_states(port)))


def _somebody_is_down(port: GatewayPort) -> bool:
    limits = port.redis()
    return (limits is not None and limits["state"] != "up") or any(each["state"] == "down" for each in port.authorities().values())


def _service(port: GatewayPort, name: str) -> dict[str, int]:
    counts = port.state_counts(name)
    total = sum(count for state, count in counts.items() if state != EndpointState.GONE)
    return {"healthy": sum(counts.get(state, 0) for state in USABLE), "total": total}


def _public(check: DiscoveryView | RedisView | AuthorityView) -> dict[str, Any]:
    error = check["last_error"]
    return {**check, "last_error": error and without_addresses(error)}


def without_addresses(text: str) -> str:
    """The text with URLs, IP addresses and host:port pairs replaced, and of files only their names."""
    return _FOLDER.sub("", _ADDRESS.sub("[address]", text))


def readiness_of(port: GatewayPort) -> tuple[int, dict[str, str]]:
    """Status and body of ``/health/ready``: may a load balancer in front send clients here?"""
    if port.draining():
        return 503, {"status": "draining"}
    if port.discovery()["state"] is None:
        return 503, {"status": "starting"}
    return 200, {"status": "ready"}
