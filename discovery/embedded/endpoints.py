"""What each path does: reads of the catalogue, questions to the agent, orders to both.

A read tells its scope and how to render it, and leaves waiting to others. An order to the agent returns
nothing, because Consul answers it with an empty body; one to the catalogue returns True.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from discovery.embedded import views
from discovery.embedded.catalog import Scope, service_scope
from discovery.embedded.catalog_bodies import parse_entry, parse_removal
from discovery.embedded.definitions import parse_check, parse_service, parse_update
from discovery.embedded.entering import enter
from discovery.embedded.go_json import parse_bool
from discovery.embedded.http_server import Response
from discovery.embedded.records import CRITICAL, PASSING, WARNING, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.embedded.agent import LocalAgent
    from discovery.embedded.catalog import Row
    from discovery.embedded.records import Check, Service

_AGENT_HEALTH_STATUS = {PASSING: 200, WARNING: 429}


class Call(NamedTuple):
    """What an endpoint gets: the rest of the path, the query, the body."""

    tail: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def text(self, name: str) -> str:
        """The first value of a parameter, "" if it is missing or empty."""
        return next((value for key, value in self.query if key == name), "")

    def has(self, name: str) -> bool:
        """Whether a parameter is there, with or without a value."""
        return any(key == name for key, _ in self.query)


class Read(NamedTuple):
    """A read that may block: what it waits for, and what it answers at the time it answers, as JSON or ready."""

    scope: Scope
    render: Callable[[], Any]


class Reads:
    """``/v1/catalog`` and ``/v1/health``."""

    def __init__(self, agent: LocalAgent) -> None:
        self._catalog = agent.catalog
        self.routes: dict[str, Callable[[Call], Read]] = {
            "/v1/catalog/nodes": self._nodes,
            "/v1/catalog/node/": self._node,
            "/v1/catalog/services": self._names,
            "/v1/catalog/service/": self._service,
            "/v1/health/service/": self._health,
            "/v1/health/checks/": self._checks_of_service,
            "/v1/health/state/": self._checks_by_state,
            "/v1/health/node/": self._checks_of_node,
        }

    def _nodes(self, _call: Call) -> Read:
        return Read(Scope("nodes"), lambda: [views.node_view(row) for _, row in sorted(self._catalog.nodes.items())])

    def _node(self, call: Call) -> Read:
        return Read(Scope("node"), lambda: views.node_services_view(self._catalog, call.tail))

    def _names(self, _call: Call) -> Read:
        return Read(Scope("services"), lambda: views.names_view(row.record for row in self._catalog.services.values()))

    def _service(self, call: Call) -> Read:
        return Read(_named(call), lambda: [views.catalog_view(self._catalog, row) for row in self._instances(call)])

    def _health(self, call: Call) -> Read:
        scope = _named(call)
        passing = _passing_only(call)

        def render() -> list[dict[str, Any]]:
            rows = self._instances(call)
            return [views.health_view(self._catalog, row) for row in rows if not passing or self._passes(row)]

        return Read(scope, render)

    def _checks_of_service(self, call: Call) -> Read:
        scope = _named(call)
        return Read(scope, lambda: self._checks(lambda row: row.record.service_name.lower() == scope.name))

    def _checks_by_state(self, call: Call) -> Read:
        return Read(Scope("checks"), lambda: self._checks(lambda row: call.tail in ("any", row.record.status)))

    def _checks_of_node(self, call: Call) -> Read:
        return Read(Scope("checks"), lambda: self._checks(lambda row: row.node.lower() == call.tail.lower()))

    def _instances(self, call: Call) -> list[Row[Service]]:
        wanted = {value.lower() for key, value in call.query if key == "tag"}
        return [row for row in self._catalog.instances(call.tail) if wanted <= {tag.lower() for tag in row.record.tags}]

    def _passes(self, row: Row[Service]) -> bool:
        return all(check.record.status == PASSING for check in self._catalog.checks_of(row))

    def _checks(self, wanted: Callable[[Row[Check]], bool]) -> list[dict[str, Any]]:
        return views.check_rows(row for _, row in sorted(self._catalog.checks.items()) if wanted(row))


class Questions:
    """``/v1/agent`` and ``/v1/status``, as far as they only ask."""

    def __init__(self, agent: LocalAgent) -> None:
        self._agent = agent
        self._leader = f"{agent.catalog.node.address}:8300"
        self.routes: dict[str, Callable[[Call], Any]] = {
            "/v1/status/leader": lambda _call: self._leader,
            "/v1/status/peers": lambda _call: [self._leader],
            "/v1/catalog/datacenters": lambda _call: [agent.catalog.node.datacenter],
            "/v1/agent/self": lambda _call: views.self_view(agent),
            "/v1/agent/members": lambda _call: [views.member_view(agent.catalog.node)],
            "/v1/agent/services": self._services,
            "/v1/agent/checks": self._checks,
            "/v1/agent/service/": self._service,
            "/v1/agent/health/service/id/": self._health_by_id,
            "/v1/agent/health/service/name/": self._health_by_name,
        }

    def _services(self, _call: Call) -> Any:
        return {key: views.service_view(one) for key, one in sorted(self._agent.services.items())}

    def _checks(self, _call: Call) -> Any:
        node = self._agent.catalog.node.name
        return {key: views.check_view(node, one.check) for key, one in sorted(self._agent.checks.items())}

    def _service(self, call: Call) -> Response:
        service = self._agent.services.get(call.tail)
        if service is None:
            raise Refusal(404, f"unknown service ID: {call.tail}")
        view = views.service_with_hash(service)
        return Response(200, views.to_json(view, pretty=call.has("pretty")), (("X-Consul-Contenthash", view["ContentHash"]),))

    def _health_by_id(self, call: Call) -> Response:
        service = self._agent.services.get(call.tail)
        if service is None:
            return _agent_health(404, f"ServiceId {call.tail} not found", None, call)
        view = views.agent_health_view(self._agent, service)
        status = view["AggregatedStatus"]
        return _agent_health(_AGENT_HEALTH_STATUS.get(status, 503), status, view, call)

    def _health_by_name(self, call: Call) -> Response:
        named = [service for service in self._agent.services.values() if service.name == call.tail]
        if not named:
            return _agent_health(404, f"ServiceName {call.tail} Not Found", [], call)
        found = [views.agent_health_view(self._agent, service) for service in sorted(named, key=lambda one: one.id)]
        worst = views.worst_status([view["AggregatedStatus"] for view in found])
        return _agent_health(_AGENT_HEALTH_STATUS.get(worst, 503), worst, found, call)


class Orders:
    """``/v1/agent`` and ``/v1/catalog``, as far as they change something."""

    def __init__(self, agent: LocalAgent, clock: Callable[[], float]) -> None:
        self._agent = agent
        self._catalog = agent.catalog
        self._clock = clock
        self.routes: dict[str, Callable[[Call], bool | None]] = {
            "/v1/agent/service/register": self._register,
            "/v1/agent/service/deregister/": self._deregister,
            "/v1/agent/service/maintenance/": self._maintain_service,
            "/v1/agent/maintenance": self._maintain_node,
            "/v1/agent/check/register": lambda call: agent.register_check(parse_check(call.body), clock()),
            "/v1/agent/check/deregister/": lambda call: agent.deregister_check(call.tail),
            "/v1/agent/check/pass/": lambda call: agent.heartbeat(call.tail, PASSING, call.text("note"), clock()),
            "/v1/agent/check/warn/": lambda call: agent.heartbeat(call.tail, WARNING, call.text("note"), clock()),
            "/v1/agent/check/fail/": lambda call: agent.heartbeat(call.tail, CRITICAL, call.text("note"), clock()),
            "/v1/agent/check/update/": lambda call: agent.heartbeat(call.tail, *parse_update(call.body), clock()),
            "/v1/catalog/register": self._enter,
            "/v1/catalog/deregister": self._strike,
        }

    def _register(self, call: Call) -> None:
        replace = call.has("replace-existing-checks") and call.text("replace-existing-checks") in ("", "true")
        self._agent.register(parse_service(call.body), self._clock(), replace_checks=replace)

    def _deregister(self, call: Call) -> None:
        if not call.tail:
            raise Refusal(500, "ServiceID missing")
        self._agent.deregister(call.tail)

    def _maintain_service(self, call: Call) -> None:
        if not call.tail:
            raise Refusal(400, "Missing service ID")
        self._agent.set_maintenance(call.tail, call.text("reason"), self._clock(), enable=_enable(call))

    def _maintain_node(self, call: Call) -> None:
        self._agent.set_maintenance("", call.text("reason"), self._clock(), enable=_enable(call))

    def _enter(self, call: Call) -> bool:
        enter(self._catalog, parse_entry(call.body, self._catalog.node.datacenter))
        return True

    def _strike(self, call: Call) -> bool:
        removal = parse_removal(call.body, self._catalog.node.datacenter)
        if removal.service_id:
            self._catalog.remove_service(removal.service_id, removal.node)
        elif removal.check_id:
            self._catalog.remove_check(removal.check_id, removal.node)
        else:
            self._catalog.remove_node(removal.node)
        return True


def _named(call: Call) -> Scope:
    if not call.tail:
        raise Refusal(400, "Missing service name")
    return service_scope(call.tail)


def _passing_only(call: Call) -> bool:
    if not call.has("passing"):
        return False
    try:
        return not call.text("passing") or parse_bool(call.text("passing"))
    except ValueError:
        raise Refusal(400, "Invalid value for ?passing") from None


def _enable(call: Call) -> bool:
    if not call.text("enable"):
        raise Refusal(400, "Missing value for enable")
    try:
        return parse_bool(call.text("enable"))
    except ValueError:
        raise Refusal(400, f'Invalid value for enable: "{call.text("enable")}"') from None


def _agent_health(status: int, reason: str, view: Any, call: Call) -> Response:
    return Response(status, views.to_json(view, pretty=call.has("pretty")), (("X-Consul-Reason", reason),))
