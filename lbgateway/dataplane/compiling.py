"""From settings to the route table. What has not changed since the last time stays the same object.

Routes come and go with the tags of services, and a deploy of one service must not cost the policies and the
counters of others, nor the time to compile them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from lbgateway.config.settings import masked_route
from lbgateway.dataplane.route import PublicPaths, Redirect, Retries, Route, Timeouts, make_edits
from lbgateway.dataplane.routing import RouteTable
from lbgateway.policies.cors import CORS_FIELDS, Cors
from lbgateway.policies.gcra import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lbgateway.config import RouteSettings, ServiceSettings, Settings
    from lbgateway.config.edge import CorsSettings
    from lbgateway.controlplane.route_views import LimitView, RouteView
    from lbgateway.dataplane.route import Admit

    Policies = Callable[[Route], tuple[Admit, ...]]
    """The admit functions of a route, in their order."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A compiled route and what it was made of: the route and its service; for a route by name all services with settings."""

    parts: tuple[RouteSettings, ServiceSettings]
    services: Mapping[str, ServiceSettings]
    compiled: Route


class RouteCompiler:
    """Compiles tables for one configuration file: `policies`, `auth`, `server` stay as they are between two calls."""

    def __init__(self, policies: Policies = lambda _route: ()) -> None:
        self._policies = policies
        self._made: dict[object, _Made] = {}
        """By what tells a route from others."""

    def compile(self, settings: Settings, sources: Sequence[str] | None = None) -> RouteTable:
        """Work out everything about every route beforehand. `sources`: where each route of `settings` was written."""
        if sources is None:
            sources = ["built-in" if settings.has_default_route else "file"] * len(settings.routes)
        made: dict[object, _Made] = {}
        for route, source in zip(settings.routes, sources, strict=True):
            name = (source, route.host, route.prefix, route.service, route.methods, tuple(sorted(route.headers.items())))
            made[name] = self._make(settings, route, source, self._made.get(name))
        self._made = made
        return RouteTable(each.compiled for each in made.values())

    def _make(self, settings: Settings, route: RouteSettings, source: str, before: _Made | None) -> _Made:
        names = settings.named_services() if route.by_name else []
        parts = (route, settings.service(route.service or "*"))
        services = {name: settings.service(name) for name in names}
        if before is not None and (before.parts, before.services) == (parts, services):
            return before
        if before is not None and before.parts != parts:
            before = None
        view = route_view(settings, route, source)
        compiled = self._compile(settings, route, view, settings.route_service(route, route.service or "*"))
        for name, service in services.items():
            if before is not None and before.services.get(name) == service:
                variant = before.compiled.variants.get(name.encode())
            else:
                variant = self._variant(settings, route, {**view, "service": name}, compiled)
            if variant is not None:
                compiled.variants[name.encode()] = variant
        return _Made(parts, services, compiled)

    def _variant(self, settings: Settings, route: RouteSettings, view: RouteView, template: Route) -> Route | None:
        """The route by name as one service needs it; None where that is no different."""
        service = settings.route_service(route, view["service"] or "*")
        if (_timeouts(service), _retries(service)) == (template.timeout, template.retry):
            return None
        return self._compile(settings, route, view, service)

    def _compile(self, settings: Settings, route: RouteSettings, view: RouteView, service: ServiceSettings) -> Route:
        compiled = _route(settings, route, view, service)
        # A redirect answers after all policies.
        compiled.admit = self._policies(compiled) + compiled.admit
        return compiled


def compile_routes(settings: Settings, policies: Policies = lambda _route: ()) -> RouteTable:
    """The table of one file and nothing else."""
    return RouteCompiler(policies).compile(settings)


def _route(settings: Settings, route: RouteSettings, view: RouteView, service: ServiceSettings) -> Route:
    request, response, redirect = route.request_headers, route.response_headers, route.redirect
    cors = settings.route_cors(route)
    unwanted = response.remove if cors is None else (*response.remove, *CORS_FIELDS)
    return Route(
        view=view,
        methods=None if route.methods is None else frozenset(method.encode() for method in route.methods),
        headers=tuple((name.lower().encode(), value.encode("latin-1")) for name, value in route.headers.items()),
        by_name=route.by_name,
        timeout=_timeouts(service),
        retry=_retries(service),
        max_body=settings.route_max_body(route),
        options_public=settings.auth.options_public,
        public=_public_below(settings, route),
        request_edits=make_edits(request.set, request.add, request.remove),
        response_edits=make_edits(response.set, response.add, unwanted),
        cors=None if cors is None else Cors(cors),
        limit=limit_of(settings, route),
        redirect=None if redirect is None else Redirect(redirect.to.encode(), redirect.status),
    )


def limit_of(settings: Settings, route: RouteSettings) -> Limit | None:
    """How often who may use the route. Routes that say nothing share one limit, any other has one of its own."""
    given = settings.route_limit(route)
    if given is None or given.requests is None:
        return None
    conditions = (*(route.methods or ()), *(f"{name}={value}" for name, value in sorted(route.headers.items())))
    scope = "" if route.rate_limit is None else " ".join((route.host or "*", route.prefix, *conditions))
    return Limit(given.requests, given.per, given.burst or given.requests, given.key, scope)


def _timeouts(service: ServiceSettings) -> Timeouts:
    given, per_try = service.timeout, service.retry.per_try_timeout or inf
    connect, response = min(given.connect, per_try), min(given.response, per_try)
    return Timeouts(connect, response, given.total, given.idle, given.tunnel_idle, given.pool_idle)


def _retries(service: ServiceSettings) -> Retries:
    given = service.retry
    return Retries(given.attempts, frozenset(given.on), given.budget, float(given.min_per_second), given.backoff, given.replay_body_up_to)


def _public_below(settings: Settings, route: RouteSettings) -> PublicPaths | None:
    """The public paths that may concern a route; most routes have none and never look."""
    head = route.prefix.rpartition("/")[0] if route.by_name else route.prefix.rstrip("/")
    exact = [path for path in settings.auth.public_paths.exact if _meets(head, path)]
    prefixes = [prefix.rstrip("/") for prefix in settings.auth.public_paths.prefixes]
    prefixes = [prefix for prefix in prefixes if _meets(head, prefix) or _meets(prefix, head)]
    if not exact and not prefixes:
        return None
    return PublicPaths(frozenset(path.encode() for path in exact), tuple(prefix.encode() for prefix in prefixes))


def _meets(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def route_view(settings: Settings, route: RouteSettings, source: str, error: str | None = None, tag: str | None = None) -> RouteView:
    """A route as operators see it. Masked: a header condition may be a credential."""
    shown: dict[str, Any] = masked_route(route)
    return {
        "host": route.host,
        "prefix": route.prefix,
        "methods": shown["methods"],
        "headers": shown["headers"],
        "service": route.service,
        "strip_prefix": route.strip_prefix,
        "add_prefix": route.add_prefix,
        "redirect": shown["redirect"],
        "auth": settings.route_auth(route),
        "scopes": shown["scopes"],
        "limit": _limit_view(limit_of(settings, route)),
        "cors": _origins(settings.route_cors(route)),
        "source": source,
        "error": error,
        "tag": tag,
    }


def _limit_view(limit: Limit | None) -> LimitView | None:
    if limit is None:
        return None
    return {
        "requests": limit.requests, "per_seconds": limit.per_s, "burst": limit.burst, "key": limit.key, "shared": not limit.scope,
    }  # fmt: skip


def _origins(cors: CorsSettings | None) -> list[str] | None:
    return None if cors is None else [*cors.allow_origins, *([f"/{cors.allow_origin_regex}/"] if cors.allow_origin_regex else ())]
