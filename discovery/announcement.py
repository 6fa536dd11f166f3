"""What is said of an instance when it announces itself: its data, its check, and to whom. Pure but for the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPT_IN_TAG = "lbgateway.enable=true"
DEFAULT_URL = "http://127.0.0.1:8500"


@dataclass(frozen=True, slots=True)
class Ttl:
    """The service says itself that it lives; silent for `ttl_s` seconds, it is critical.

    `deregister_after_s`: an instance critical for that long is taken out (Consul's minimum is 60).
    """

    ttl_s: float = 15.0
    heartbeat_s: float = 5.0
    deregister_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_s < self.ttl_s:
            raise ValueError(f"a heartbeat every {self.heartbeat_s:g} s cannot keep a TTL of {self.ttl_s:g} s alive")

    def definition(self, _host: str, _port: int) -> dict[str, Any]:
        return {"TTL": f"{self.ttl_s:g}s", "DeregisterCriticalServiceAfter": f"{self.deregister_after_s:g}s"}


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """Consul's agent asks the service: 2xx is passing, 429 a warning, anything else critical.

    `path` may also be a whole URL, if the check is not at the service's own address and port.
    `heartbeat_s` is how often we look whether the agent still knows us.
    """

    path: str = "/health"
    interval_s: float = 5.0
    timeout_s: float = 2.0
    deregister_after_s: float = 60.0
    heartbeat_s: float = 5.0

    def definition(self, host: str, port: int) -> dict[str, Any]:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return {
            "HTTP": self.path if "://" in self.path else f"http://{place}{self.path}",
            "Interval": f"{self.interval_s:g}s",
            "Timeout": f"{self.timeout_s:g}s",
            "DeregisterCriticalServiceAfter": f"{self.deregister_after_s:g}s",
        }


def payload_of(  # noqa: PLR0913 one keyword per thing that can be said of an instance
    name: str,
    port: int,
    check: Ttl | HttpCheck,
    *,
    address: str | None,
    id: str,  # noqa: A002 Consul's word
    tags: Sequence[str],
    meta: Mapping[str, str] | None,
    weights: tuple[int, int] | None,
    expose: bool,
) -> dict[str, Any]:
    """Build the body of ``agent/service/register``."""
    payload = {
        "Name": name,
        "ID": id,
        "Address": address or "",
        "Port": port,
        "Tags": list(dict.fromkeys([*tags, *([OPT_IN_TAG] if expose else [])])),
        "Meta": dict(meta or {}),
        "Check": check.definition(address or "127.0.0.1", port),
    }
    if weights is not None:
        payload["Weights"] = {"Passing": weights[0], "Warning": weights[1]}
    return payload


def url_from_environment(environment: Mapping[str, str]) -> str:
    """``CONSUL_HTTP_ADDR``, with or without a scheme, or the agent on this machine.

    Raises:
        ValueError: it names a Unix socket, which python-consul2 cannot use.

    """
    given = environment.get("CONSUL_HTTP_ADDR", "")
    if not given:
        return DEFAULT_URL
    if given.startswith("unix:"):
        raise ValueError(f"CONSUL_HTTP_ADDR={given}: a Unix socket cannot be used here; give register() a consul_url")
    if "://" in given:
        return given
    return f"{'https' if environment.get('CONSUL_HTTP_SSL') == 'true' else 'http'}://{given}"
