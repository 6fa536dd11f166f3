"""The file, the key-value store and the tags as one configuration: file over store over tags. Pure.

Settings of a service are merged key by key: of ``"*"`` the file's over the store's, of the service itself the
file's over the store's over its tags'; and the service's own over ``"*"``, as ever. Routes stand side by side. Where two
match the same requests, the file's stays, or the store's, or that of the service that came first; the other one is
disabled, and shown with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lbgateway.composition.claims import Refusal, Taken, claim
from lbgateway.config import RouteSettings, ServiceSettings
from lbgateway.config.fragment import Fragment
from lbgateway.config.section import merged
from lbgateway.config.semantics import in_common, misfits, rank_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from lbgateway.composition.declaration import Declaration
    from lbgateway.config import Settings

Source = Literal["built-in", "file", "kv", "tags"]

NOTHING = Fragment()


@dataclass(frozen=True, slots=True)
class Refused:
    """A route that is disabled; or, with ``tag``, a word of a service that is not in force."""

    route: RouteSettings
    source: Source
    error: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """What is in force. ``settings`` has the routes and services of all; ``sources`` says where each of its routes came from."""

    settings: Settings
    sources: tuple[Source, ...]
    refused: tuple[Refused, ...] = ()
    named: frozenset[str] = frozenset()
    """Services that an operator names under `services`: they are exposed."""
    led_to: frozenset[str] = frozenset()
    """Services that an operator uses otherwise, by a route or as a stand-in: they are there for that, and for nothing else."""


def compose(
    base: Settings,
    stored: Fragment = NOTHING,
    declarations: Iterable[Declaration] = (),
    *,
    exposed: Container[str] = frozenset(),
    before: Settings | None = None,
) -> Composition:
    """`base` is the file's. `declarations` come in the order in which their services did; `before`: the last settings composed."""
    routes = _Routes(base)
    routes.add_stored(stored)
    named = frozenset((*base.named_services(), *(set(stored.services) - {"*"})))
    led_to = frozenset((*routes.services(), *_stand_ins(base.services, stored.services)))
    declarations = list(declarations)
    routes.add_declared(declarations, exposed)
    services = _services(base.services, stored.services, {each.service: each.settings for each in declarations})
    settings = base.composed(tuple(routes.routes), services, before)
    return Composition(settings, tuple(routes.sources), tuple(routes.refused), named, led_to)


def _stand_ins(*written: Mapping[str, ServiceSettings]) -> Iterator[str]:
    """The services that answer while the breaker of another one is open."""
    for service in (service for services in written for service in services.values()):
        if service.breaker is not None and service.breaker.fallback is not None and service.breaker.fallback.service is not None:
            yield service.breaker.fallback.service


class _Routes:
    """The routes in force so far, and those that are not."""

    def __init__(self, base: Settings) -> None:
        self._base = base
        self.routes: list[RouteSettings] = list(base.routes)
        self.sources: list[Source] = ["built-in" if base.has_default_route else "file"] * len(self.routes)
        if base.oauth_route is not None:
            self._add(base.oauth_route, "file")
        self.refused: list[Refused] = []

    def services(self) -> Iterator[str]:
        """Those that the routes lead to by name."""
        return (route.service for route in self.routes if route.service is not None)

    def add_stored(self, stored: Fragment) -> None:
        for route, place in zip(stored.routes, stored.places, strict=True):
            error = self._unfit(route) or self._tied(route)
            if error is None:
                self._replace_built_in(route)
                self._add(route, "kv")
            else:
                self.refused.append(Refused(route, "kv", f"{place}: {error}"))

    def add_declared(self, declarations: Iterable[Declaration], exposed: Container[str]) -> None:
        consul, operators, taken = self._base.discovery.consul, list(self.routes), Taken()
        for each in declarations:
            for wish in each.wishes:
                try:
                    granted = consul.tag_prefixes.get(each.service, ())
                    route = claim(wish, operators, taken, granted=granted, exposed=exposed)
                    self._require(route)
                except Refusal as refusal:
                    self.refused.append(Refused(wish.route, "tags", str(refusal)))
                    continue
                taken.add(route)
                self._add(route, "tags")
            about = each.wishes[0].route if each.wishes else _route_of(each.service)
            self.refused += [Refused(about, "tags", problem.message, problem.spelled) for problem in each.problems]

    def _require(self, route: RouteSettings) -> None:
        error = self._unfit(route)
        if error is not None:
            raise Refusal(error)

    def _replace_built_in(self, route: RouteSettings) -> None:
        if self.sources[:1] == ["built-in"] and _tie(self.routes[0], route):
            del self.routes[0], self.sources[0]

    def _add(self, route: RouteSettings, source: Source) -> None:
        self.routes.append(route)
        self.sources.append(source)

    def _unfit(self, route: RouteSettings) -> str | None:
        return next(misfits(self._base, route), None)

    def _tied(self, route: RouteSettings) -> str | None:
        given = zip(self.routes, self.sources, strict=True)
        other = next((other for other, source in given if source != "built-in" and _tie(other, route)), None)
        return None if other is None else f"matches the same requests as a route of the file ({in_common(other, route)}), which wins"


def _route_of(service: str) -> RouteSettings:
    """Where a service is reached by default. Unchecked: a registry's names may be stranger than a route's."""
    return RouteSettings().model_copy(update={"prefix": f"/api/{service}", "service": service})


def _tie(one: RouteSettings, other: RouteSettings) -> bool:
    return rank_of(one) == rank_of(other) and bool(in_common(one, other))


def _services(*layers: Mapping[str, ServiceSettings]) -> dict[str, ServiceSettings]:
    """The strongest layer first."""
    strongest, *weaker = layers
    found = dict(strongest)
    for layer in weaker:
        for name, settings in layer.items():
            found[name] = merged(settings, found[name]) if name in found else settings
    return found
