"""What the registry holds: frozen values, compared by content, so that "identical" is ``==``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSING, WARNING, CRITICAL = "passing", "warning", "critical"
STATUSES = (PASSING, WARNING, CRITICAL)


class Refusal(Exception):
    """A request answered with `status` and one line of plain text, in Consul's own words where it has some."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: the registry's own one, or one that was told of through ``catalog/register``, which may have no id."""

    id: str
    name: str
    address: str = "127.0.0.1"
    datacenter: str = "dc1"
    tagged_addresses: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """One registered instance. ``tagged_addresses`` maps ``lan``, ``wan_ipv4`` … to (address, port)."""

    id: str
    name: str
    tags: tuple[str, ...] = ()
    address: str = ""
    port: int = 0
    tagged_addresses: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    weight_passing: int = 1
    weight_warning: int = 1
    enable_tag_override: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one check, as it is shown. Checks of the node itself have an empty ``service_id``."""

    id: str
    name: str
    status: str = CRITICAL
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class CheckDefinition:
    """How a check is to be done. Times in seconds; which of them count depends on `kind`."""

    kind: Literal["ttl", "http", "tcp"]
    id: str = ""
    name: str = ""
    status: str = CRITICAL
    notes: str = ""
    service_id: str = ""
    ttl_s: float = 0.0
    interval_s: float = 0.0
    timeout_s: float = 10.0
    http: str = ""
    method: str = "GET"
    header: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: str = ""
    tcp: str = ""
    tls_skip_verify: bool = False
    success_before_passing: int = 0
    failures_before_critical: int = 0
    deregister_after_s: float = 0.0
    """0 = an instance stays, however long it is critical."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The body of a registration: an instance, and its checks in the order given."""

    service: Service
    checks: tuple[CheckDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """The body of ``catalog/register``: a node, and perhaps an instance and checks, which nobody here carries out."""

    node: Node
    service: Service | None = None
    checks: tuple[Check, ...] = ()
    skip_node_update: bool = False


@dataclass(frozen=True, slots=True)
class CatalogRemoval:
    """The body of ``catalog/deregister``: one instance, else one check, else the node with all that is on it."""

    node: str
    service_id: str = ""
    check_id: str = ""
