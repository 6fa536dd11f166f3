"""The agent: owns registrations and check results, and tells the catalogue what others may see. Pure.

`now_s` is any monotonic clock in seconds, the same one in all calls.

An output that changes while the status stays is not passed on at once: a heartbeat with a new note
would otherwise wake every watcher. It follows with the next change of status, or after five minutes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from discovery.embedded.records import CRITICAL, Check, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.embedded.catalog import Catalog
    from discovery.embedded.records import CheckDefinition, Registration, Service

OUTPUT_DELAY_S = 300.0
MAX_OUTPUT = 4096
"""Bytes, as Consul counts them."""
MAX_SERVICES = 1000
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"


class LocalCheck:
    """One check with what it needs to be carried out; maintenance checks have no definition."""

    __slots__ = ("check", "critical_since_s", "definition", "heard", "output_since_s", "ttl_deadline_s")

    def __init__(self, check: Check, definition: CheckDefinition | None, now_s: float) -> None:
        self.check = check
        self.definition = definition
        self.ttl_deadline_s = now_s + definition.ttl_s if definition is not None and definition.kind == "ttl" else None
        self.critical_since_s = now_s if check.status == CRITICAL else None
        self.output_since_s: float | None = None
        self.heard = False
        """Whether a heartbeat has come; until then its status is only what was claimed at its registration."""

    def __repr__(self) -> str:
        return f"<LocalCheck {self.check.id} {self.check.status}>"


class LocalAgent:
    """Everything that may be done through ``/v1/agent/…``, and the passing of time."""

    def __init__(self, catalog: Catalog) -> None:
        # for life
        self.catalog = catalog
        self.on_checks_changed: Callable[[], None] = lambda: None
        # content
        self.services: dict[str, Service] = {}
        self.checks: dict[str, LocalCheck] = {}

    def register(self, registration: Registration, now_s: float, *, replace_checks: bool = False) -> None:
        """Add or replace an instance. Its checks keep their status if they were known by the same id.

        Raises:
            Refusal: 500, too many instances.

        """
        service = registration.service
        if service.id not in self.services and len(self.services) >= MAX_SERVICES:
            raise Refusal(500, f"The development registry holds {MAX_SERVICES} services at most")
        self.services[service.id] = service
        checks = [self._adopt(one, service, now_s) for one in registration.checks]
        self.catalog.put(service, checks)
        if replace_checks:
            wanted = {one.id for one in registration.checks}
            self._drop_checks(lambda one: one.check.service_id == service.id and one.check.id not in wanted)
        self.on_checks_changed()

    def register_check(self, definition: CheckDefinition, now_s: float) -> None:
        """Add or replace one check, of an instance or of the node.

        Raises:
            Refusal: 500, there is no such instance.

        """
        service = self.services.get(definition.service_id)
        if definition.service_id and service is None:
            raise Refusal(500, f'ServiceID "{definition.service_id}" does not exist')
        self.catalog.put(None, [self._adopt(definition, service, now_s)])
        self.on_checks_changed()

    def deregister(self, service_id: str) -> None:
        """Take out an instance with its checks; an unknown one is gone already, which is what was asked for."""
        self.services.pop(service_id, None)
        self.checks = {key: one for key, one in self.checks.items() if one.check.service_id != service_id}
        self.catalog.remove_service(service_id)
        self.on_checks_changed()

    def deregister_check(self, check_id: str) -> None:
        """Take out one check; unknown ones are ignored."""
        self._drop_checks(lambda one: one.check.id == check_id)
        self.on_checks_changed()

    def heartbeat(self, check_id: str, status: str, output: str, now_s: float) -> None:
        """Set the status of a TTL check and wind its clock up again.

        Raises:
            Refusal: 500, there is no such check, or it is not one with a TTL.

        """
        local = self.checks.get(check_id)
        if local is None or local.definition is None or local.definition.kind != "ttl":
            raise Refusal(500, f'CheckID "{check_id}" does not have associated TTL')
        local.ttl_deadline_s = now_s + local.definition.ttl_s
        self.report(check_id, status, output, now_s)
        if not local.heard:
            local.heard = True
            self.on_checks_changed()

    def report(self, check_id: str, status: str, output: str, now_s: float) -> None:
        """Take over the result of a check; it may have been deregistered meanwhile."""
        local = self.checks.get(check_id)
        if local is None:
            return
        changed = status != local.check.status
        output = _shortened(output)
        if output != local.check.output and local.output_since_s is None:
            local.output_since_s = now_s
        local.check = replace(local.check, status=status, output=output)
        if changed:
            local.critical_since_s = now_s if status == CRITICAL else None
            self._publish(local)

    def set_maintenance(self, service_id: str, reason: str, now_s: float, *, enable: bool) -> None:
        """Close an instance, or with an empty `service_id` the whole node, to traffic, or open it again.

        Raises:
            Refusal: 404, there is no such instance.

        """
        service = self.services.get(service_id)
        if service_id and service is None:
            raise Refusal(404, f'No service registered with ID "{service_id}"')
        check = _maintenance_check(service, reason)
        if not enable:
            self.deregister_check(check.id)
        elif check.id not in self.checks:  # the first reason stays
            self.checks[check.id] = LocalCheck(check, None, now_s)
            self._publish(self.checks[check.id])

    def next_deadline_s(self) -> float | None:
        """The moment when `expire_ttls` has something to do."""
        deadlines = [one.ttl_deadline_s for one in self.checks.values() if one.ttl_deadline_s is not None]
        return min(deadlines, default=None)

    def expire_ttls(self, now_s: float) -> None:
        """Turn the checks critical that were not heard of within their time."""
        for check_id, local in self.checks.items():
            if local.ttl_deadline_s is not None and local.ttl_deadline_s <= now_s:
                local.ttl_deadline_s = None
                last = local.check.output
                said = f"TTL expired (last output before timeout follows): {last}" if last else "TTL expired"
                self.report(check_id, CRITICAL, said, now_s)

    def tidy(self, now_s: float) -> list[str]:
        """Publish outputs that have waited long enough; take out instances critical for too long and return their ids."""
        for local in self.checks.values():
            if local.output_since_s is not None and now_s - local.output_since_s >= OUTPUT_DELAY_S:
                self._publish(local)
        overdue = [one.check.service_id for one in self.checks.values() if one.check.service_id and _overdue(one, now_s)]
        for service_id in overdue:
            self.deregister(service_id)
        return overdue

    def _adopt(self, definition: CheckDefinition, service: Service | None, now_s: float) -> Check:
        known = self.checks.get(definition.id)
        check = Check(
            id=definition.id,
            name=definition.name,
            status=known.check.status if known else definition.status,
            notes=definition.notes,
            output=known.check.output if known else "",
            service_id=service.id if service else "",
            service_name=service.name if service else "",
            service_tags=service.tags if service else (),
            type=definition.kind,
        )
        local = self.checks[definition.id] = LocalCheck(check, definition, now_s)
        local.heard = known is not None and known.heard
        if known is not None and known.critical_since_s is not None:
            # An instance that registers again and again, but never works, is still taken out in the end.
            local.critical_since_s = known.critical_since_s
        return check

    def _publish(self, local: LocalCheck) -> None:
        local.output_since_s = None
        self.catalog.put(None, [local.check])

    def _drop_checks(self, unwanted: Callable[[LocalCheck], bool]) -> None:
        for check_id in [key for key, one in self.checks.items() if unwanted(one)]:
            del self.checks[check_id]
            self.catalog.remove_check(check_id)


def _overdue(local: LocalCheck, now_s: float) -> bool:
    limit_s = local.definition.deregister_after_s if local.definition is not None else 0.0
    return limit_s > 0 and local.critical_since_s is not None and now_s - local.critical_since_s > limit_s


def _maintenance_check(service: Service | None, reason: str) -> Check:
    kind = "service" if service else "node"
    return Check(
        id=SERVICE_MAINTENANCE + service.id if service else NODE_MAINTENANCE,
        name=f"{kind.title()} Maintenance Mode",
        status=CRITICAL,
        notes=reason or f"Maintenance mode is enabled for this {kind}, but no reason was provided. This is a default message.",
        service_id=service.id if service else "",
        service_name=service.name if service else "",
        service_tags=service.tags if service else (),
        type="maintenance",
    )


def _shortened(output: str) -> str:
    content = output.encode(errors="replace")  # JSON may escape halves of characters
    if len(content) <= MAX_OUTPUT:
        return output
    return f"{content[:MAX_OUTPUT].decode(errors='replace')} ... (captured {MAX_OUTPUT} of {len(content)} bytes)"
