"""What the control plane may see of the gateway: data out, a few verbs in. No data-plane types cross.

The composition root implements `GatewayPort`; the FastAPI application knows nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lbgateway.controlplane.route_views import ConfigKeyView, RouteView
    from lbgateway.telemetry.events import Events
    from lbgateway.telemetry.exposition import MetricsView

InstanceOrder = tuple[str, str]
"""What instances are sorted by: id, then node."""


VERBS = ("drain", "undrain", "eject", "uneject", "weight")
"""What an operator may order of one instance."""


@dataclass(frozen=True, slots=True)
class Command:
    """One action of an operator: `verb` is one of `VERBS`, `by` says who for the log and for `explain`.

    `weight` belongs to ``weight``, where None gives it back to the registry; `for_s` to ``eject``, where None means until ``uneject``.
    """

    verb: str
    by: str
    weight: int | None = None
    for_s: float | None = None


def command_facts(command: Command) -> dict[str, Any]:
    """What was ordered, for the log and the stream of events."""
    given = {"weight": command.weight} if command.verb == "weight" else {"for_seconds": command.for_s} if command.for_s else {}
    return {"action": command.verb, **given}


class DiscoveryView(TypedDict):
    provider: str
    state: str | None
    age_seconds: float | None
    last_error: str | None


class KeysView(TypedDict):
    """Published keys (``auth.jwt.jwks_url``). `state`: ``fresh``, or ``stale`` while their source is away."""

    state: str
    known: int


class AuthorityView(TypedDict):
    """Whoever is asked about credentials. `state`: ``up``, ``down``, or ``unknown`` before the first question."""

    store: str
    """``redis`` or ``service``."""
    state: str
    last_error: str | None


class ConnectionsView(TypedDict):
    idle: int
    active: int


class InstanceView(TypedDict):
    """One instance as `/admin/upstreams` shows it (the contract, section 6); `limit`: requests that it may have at once."""

    id: str
    node: str
    address: str
    port: int
    scheme: str
    weight: float
    tags: list[str]
    meta: dict[str, str]
    zone: str | None
    state: str
    reason: str | None
    since: str
    consul_status: str
    active_requests: int
    requests_total: int
    failures_total: int
    latency_ewma_ms: float | None
    latency_ms: dict[str, float | None]
    connections: ConnectionsView
    limit: int | None
    ejections_total: int
    ejected_until: str | None
    last_error: str | None


class OrderView(TypedDict):
    """What operators want of an instance, and who; null where they want nothing."""

    drained_by: str | None
    ejected_by: str | None
    ejected_until: str | None
    weight: int | None
    weighed_by: str | None


class ChangeView(TypedDict("ChangeView", {"from": str})):
    """One change of state."""

    at: str
    to: str
    reason: str | None


class CandidateView(TypedDict):
    """One that could have been picked; `cost` is None where the balancer did not compare it."""

    instance: str
    node: str
    cost: float | None
    active: int


class PickView(TypedDict):
    """One pick of an instance: among so many, of which the chosen one comes first, then the cheapest others."""

    at: str
    reason: str
    of: int
    candidates: list[CandidateView]


class ExplainedView(InstanceView):
    """`cost` as the balancer compares it; None for an instance that is not compared.

    The newest of `changes` and `picks` come first, 20 of each at most; of a busy service's picks a sample is kept.
    """

    pickable: bool
    why: str
    check_output: str | None
    """The registry's check that is not passing: its name, and what it says. In `reason` of the list there is the name alone."""
    cost: float | None
    order: OrderView | None
    adaptive: dict[str, float | None] | None
    """What a request takes when there are few, ``baseline_ms``; None where the limit is a configured one."""
    changes: list[ChangeView]
    picks: list[PickView]


class ServiceHead(TypedDict):
    """One service without its instances, of which there may be 20,000."""

    name: str
    balancer: str
    discovery_state: str | None
    discovery_index: int | None
    panic: bool
    breaker: dict[str, Any]
    requests_per_second: float
    retry_budget: dict[str, Any]
    hedge: dict[str, Any] | None
    """``after_ms`` (None until enough is known) and ``hedges_total``; None for a service that is not hedged."""


class ServiceSummary(ServiceHead):
    """One service with what its instances come to: for those who look every other second."""

    states: dict[str, int]
    """State -> how many instances."""
    active_requests: int
    requests_total: int
    failures_total: int
    """Of exchanges, after retries: what clients have seen."""
    ejections_total: int
    latency_ms: dict[str, float | None]
    """Of the attempts of the last 30 to 60 seconds, over all instances."""


class ServiceView(ServiceHead):
    instances: list[InstanceView]


class RedisView(TypedDict):
    """The store of limits. `state`: ``up`` or ``down``."""

    state: str
    on_store_failure: str
    last_error: str | None


class GatewayPort(Protocol):
    """The gateway as seen by its operators. All of it answers from memory, at once."""

    version: str
    id: str
    """Of this run of the gateway, all workers together: another one after each start."""

    def uptime_s(self) -> float: ...

    def workers(self) -> int: ...

    def draining(self) -> bool: ...

    def discovery(self) -> DiscoveryView: ...

    def redis(self) -> RedisView | None:
        """None where nothing is kept in a Redis."""

    def published_keys(self) -> KeysView | None:
        """None where no keys are fetched."""

    def authorities(self) -> dict[str, AuthorityView]:
        """By name: ``session``, ``introspection``."""

    def service_names(self) -> list[str]:
        """All services that have an upstream, sorted."""

    def service(self, name: str) -> ServiceHead | None:
        """The service without its instances; None if it has no upstream."""

    def summary(self, name: str) -> ServiceSummary | None:
        """The service and what its instances come to; None if it has no upstream."""

    def state_counts(self, name: str) -> Mapping[str, int]:
        """How many endpoints are in each state (`EndpointState` values); empty for an unknown service.

        Asked for every service with every health check, so it must not build views.
        """

    def instances(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[InstanceView]:
        """The instances sorted by `InstanceOrder`, built one by one as they are asked for.

        Only those in `state`, those that come after `after`, and with `only` those with this ``id`` or
        ``node:id``. The iterator works on a copy
        of the endpoints: others run between two of its steps, and may add or remove some.
        """

    def explain(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[ExplainedView]:
        """As `instances`, and why each of them may be picked now, or not."""

    def act(self, name: str, instance: str, command: Command) -> ExplainedView | list[str]:
        """Have `command` done to the instance with this ``id`` or ``node:id``; returns it as it is then.

        A list instead names the candidates as ``node:id``: none if nothing is called so, several if the id is not unique.
        """

    def events(self) -> Events:
        """What happens, from now on and of late."""

    def unexposed(self) -> list[str]:
        """Registered services that no route may reach, sorted."""

    def routes(self) -> list[RouteView]:
        """Those in force, then those that are not."""

    def config_key(self) -> ConfigKeyView | None:
        """None where no key is watched."""

    def config(self) -> dict[str, Any]:
        """The effective configuration, secrets masked."""

    def metrics(self) -> MetricsView:
        """The numbers behind ``/metrics``."""

    def required_services(self) -> list[str]:
        """``health.required``."""
