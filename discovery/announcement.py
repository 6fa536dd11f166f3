"""What is said of an instance when it announces itself: its data and its check. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OPT_IN_TAG = "lbgateway.enable=true"


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

    `path` may also be a whole URL, if the check is not at the service's own address and port; `verify`
    says whether an https one must have a certificate that the agent trusts. `heartbeat_s` is how often we
    look whether the agent still knows us.
    """

    path: str = "/health"
    interval_s: float = 5.0
    timeout_s: float = 2.0
    deregister_after_s: float = 60.0
    heartbeat_s: float = 5.0
    scheme: str = "http"
    verify: bool = True

    def definition(self, host: str, port: int) -> dict[str, Any]:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return {
            "HTTP": self.path if "://" in self.path else f"{self.scheme}://{place}{self.path}",
            "Interval": f"{self.interval_s:g}s",
            "Timeout": f"{self.timeout_s:g}s",
            "DeregisterCriticalServiceAfter": f"{self.deregister_after_s:g}s",
            **({} if self.verify else {"TLSSkipVerify": True}),
        }


@dataclass(frozen=True, slots=True)
class Announcement:
    """One instance in its own words. `address` None: wherever it turns out to be, see `payload`. `weights`: (passing, warning)."""

    name: str
    port: int
    id: str
    check: Ttl | HttpCheck
    address: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[int, int] | None = None
    expose: bool = True

    def payload(self, own_address: str | None = None) -> dict[str, Any]:
        """The body of ``agent/service/register``.

        `own_address` stands in where no address was given; None leaves it to the agent, which then takes its node's.
        """
        address = self.address or own_address or ""
        payload = {
            "Name": self.name,
            "ID": self.id,
            "Address": address,
            "Port": self.port,
            "Tags": list(dict.fromkeys([*self.tags, *([OPT_IN_TAG] if self.expose else [])])),
            "Meta": dict(self.meta),
            "Check": self.check.definition(address or "127.0.0.1", self.port),
        }
        if self.weights is not None:
            payload["Weights"] = {"Passing": self.weights[0], "Warning": self.weights[1]}
        return payload
