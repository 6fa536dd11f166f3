"""What a new composition does otherwise than the one before it, in words for operators. Pure.

Names of keys only: a value may be a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.composition.compose import Composition, Source
    from lbgateway.config import RouteSettings, Settings
    from lbgateway.config.section import Section
    from lbgateway.telemetry.events import Events

MOST = 20
"""So many are named; hundreds of services may register at once."""


def changes(before: Composition, after: Composition) -> list[str]:
    """One for each route, service and section that is another one; empty if all is as it was."""
    found = [*_sections(before.settings, after.settings), *_services(before.settings, after.settings), *_routes(before, after)]
    found += [f"{_label(each.route, each.source)} refused: {each.error}" for each in after.refused if each not in before.refused]
    return found if len(found) <= MOST else [*found[:MOST], f"and {len(found) - MOST} more"]


def tell_of(events: Events, before: Composition, after: Composition, *sources: str) -> None:
    """Say what came from where: ``file``, ``kv``, ``tags``. What changes nothing is worth a word if somebody has reloaded the file."""
    told = changes(before, after)
    if told or "file" in sources:
        events.tell("reload", ok=True, errors=[], source=", ".join(sorted(sources)), changes=told)


def tell_refused(events: Events, source: str, errors: list[str]) -> None:
    """What came from there is not in force."""
    events.tell("reload", ok=False, errors=errors, source=source, changes=[])


def _sections(before: Settings, after: Settings) -> Iterator[str]:
    for name in _differing(before, after):
        if name not in ("routes", "services"):
            yield f"{name} changed"


def _services(before: Settings, after: Settings) -> Iterator[str]:
    usual = ServiceSettings()
    for name in sorted({*before.services, *after.services}):
        keys = _differing(before.services.get(name, usual), after.services.get(name, usual))
        if keys:
            yield f"service {name} changed: {', '.join(keys)}"


def _routes(before: Composition, after: Composition) -> Iterator[str]:
    known, now = _labelled(before), _labelled(after)
    for label in sorted(known.keys() - now.keys()):
        yield f"{label} gone"
    for label, route in now.items():
        if label not in known:
            yield f"{label} new"
        elif keys := _differing(known[label], route) if known[label] != route else []:
            yield f"{label} changed: {', '.join(keys)}"


def _labelled(composition: Composition) -> dict[str, RouteSettings]:
    return {_label(route, source): route for route, source in zip(composition.settings.routes, composition.sources, strict=True)}


def _label(route: RouteSettings, source: Source) -> str:
    narrowed = [*(route.methods or ()), *route.headers]
    where = " ".join((f"{route.host or ''}{route.prefix}", *narrowed))
    return f"route {where} ({source}{f', to {route.service}' if route.service else ''})"


def _differing(one: Section, other: Section) -> list[str]:
    """Names of the keys whose values differ."""
    return [name for name in type(other).model_fields if getattr(one, name) != getattr(other, name)]
