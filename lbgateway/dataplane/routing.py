"""The route table: compiled from settings, swapped whole on reload, asked once by every request.

Most specific wins, in this order: host (exact, then the longest ``*.`` wildcard, then none), longest
prefix (at equal length a literal segment before ``{service}``), a list of methods before none, more
headers before fewer. That is the order of the Kubernetes Gateway API (HTTPRouteRule, "precedence"). What
is still equal and could match one request is refused as a tie when the file is read.

A lookup costs one dict access for each segment of the path that any prefix could cover, however many
routes there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.dataplane.route import HeaderEdits, PublicPaths, Redirect, Retries, Route, Timeouts, make_edits
from lbgateway.errors import GatewayError, MethodNotAllowed, NoRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lbgateway.config import RouteSettings, ServiceSettings, Settings
    from lbgateway.controlplane.port import RouteView
    from lbgateway.dataplane.route import Admit

    Match = Callable[[bytes | None, bytes, bytes, list[bytes]], Route | None]

__all__ = ["HeaderEdits", "Redirect", "Retries", "Route", "RouteTable", "Timeouts", "compile_routes"]


class _Node:
    """One segment of the tree of prefixes: the routes that end here, and those that go on with a service's name."""

    __slots__ = ("by_name", "children", "routes")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.routes: tuple[Route, ...] = ()
        self.by_name: tuple[Route, ...] = ()


class _Host:
    """All routes of one host (or of any host), as a tree of segments."""

    __slots__ = ("_depth", "_root")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._depth = 0
        for route in sorted(routes, key=_rank):
            self._add(route)

    def _add(self, route: Route) -> None:
        segments = route.prefix.split(b"/")[1:]
        self._depth = max(self._depth, len(segments))
        node = self._root
        for segment in segments[:-1] if route.by_name else segments:
            node = node.children.setdefault(segment, _Node())
        if route.by_name:
            node.by_name += (route,)
        else:
            node.routes += (route,)

    def find(
        self,
        host: bytes | None,  # noqa: ARG002 the signature of `RouteTable.match`
        path: bytes,
        method: bytes,
        lines: list[bytes],
        allowed: set[bytes] | None = None,
    ) -> Route | None:
        """The most specific route; collects in `allowed` the methods of those that only differ in them."""
        parts = path.split(b"/", self._depth + 1)
        if parts[0]:
            return None  # An asterisk is no path: not even `/` covers it.
        node = self._root
        trail = [node]
        for part in parts[1:]:
            child = node.children.get(part)
            if child is None:
                break
            node = child
            trail.append(node)
        while trail:
            depth = len(trail)
            node = trail.pop()
            if node.by_name and depth < len(parts) and parts[depth]:
                for route in node.by_name:
                    if (route.methods is None or method in route.methods) and (not route.headers or route.meets_headers(lines)):
                        variants = route.variants
                        return variants.get(parts[depth].lower(), route) if variants else route
                    if allowed is not None:
                        _collect(route, lines, allowed)
            for route in node.routes:
                if (route.methods is None or method in route.methods) and (not route.headers or route.meets_headers(lines)):
                    return route
                if allowed is not None:
                    _collect(route, lines, allowed)
        return None


def _rank(route: Route) -> tuple[bool, int]:
    return route.methods is None, -len(route.headers)


def _collect(route: Route, lines: list[bytes], allowed: set[bytes]) -> None:
    if route.methods is not None and route.meets_headers(lines):
        allowed |= route.methods


class RouteTable:
    """Immutable, apart from what policies and counters hang on its routes."""

    __slots__ = ("_any", "_exact", "_wildcards", "match", "routes")

    match: Match
    """The route of a request, or None: then `refusal` says why. Without routes for hosts it is the one table's own lookup.

    ``match(host, path, method, lines)``: `host` is the Host field or the target's authority, in any case, with or
    without a port; `path` comes from `target.normalise`; `lines` are the header fields, flattened from slot 1 on as
    `head.RequestHead` keeps them.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        """In the order of the file."""
        by_host: dict[str | None, list[Route]] = {}
        for route in self.routes:
            by_host.setdefault(route.host, []).append(route)
        self._any = _Host(by_host.pop(None, []))
        tables = {host.encode(): _Host(found) for host, found in by_host.items() if host is not None}
        self._exact = {host: table for host, table in tables.items() if not host.startswith(b"*")}
        self._wildcards = {host[1:]: table for host, table in tables.items() if host.startswith(b"*")}
        self.match = self._match_host if tables else self._any.find

    def __repr__(self) -> str:
        return f"<RouteTable {len(self.routes)} routes, {len(self._exact) + len(self._wildcards)} hosts>"

    def __iter__(self) -> Iterator[Route]:
        """Every route that `match` may return: also the variants for services with settings of their own."""
        for route in self.routes:
            yield route
            yield from route.variants.values()

    def _match_host(self, host: bytes | None, path: bytes, method: bytes, lines: list[bytes]) -> Route | None:
        for table in self._tables(host or b""):
            route = table.find(host, path, method, lines)
            if route is not None:
                return route
        return None

    def refusal(self, host: bytes | None, path: bytes, method: bytes, lines: list[bytes]) -> GatewayError:
        """Why `match` found nothing: `NoRoute`, or `MethodNotAllowed` with its ``Allow``. Looks once more, off the warm path."""
        allowed: set[bytes] = set()
        for table in self._tables(host or b""):
            table.find(host, path, method, lines, allowed)
        if not allowed:
            return NoRoute()
        return MethodNotAllowed(headers=b"Allow: %b\r\n" % b", ".join(sorted(allowed)))

    def _tables(self, host: bytes) -> Iterator[_Host]:
        """The tables to ask for a host, the most specific first."""
        name = bare_host(host)
        if name in self._exact:
            yield self._exact[name]
        dot = name.find(b".")
        while dot >= 0 and self._wildcards:
            if name[dot:] in self._wildcards:
                yield self._wildcards[name[dot:]]
            dot = name.find(b".", dot + 1)
        yield self._any

    def describe(self) -> list[RouteView]:
        """All routes for `/admin/routes`, in the order of the file."""
        return [route.view for route in self.routes]


def bare_host(host: bytes) -> bytes:
    """A Host field without port and trailing dot, in lower case; an IPv6 address keeps its brackets."""
    if host[:1] == b"[":
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()


def compile_routes(settings: Settings, policies: Callable[[Route], tuple[Admit, ...]] | None = None) -> RouteTable:
    """Work out everything about every route beforehand.

    `policies` gives the admit functions of a route, in their order; a redirect answers after all of them.
    """
    views = _views(settings)
    table = RouteTable(_compile(settings, route, view) for route, view in zip(settings.routes, views, strict=True))
    if policies is not None:
        for route in table:
            route.admit = policies(route) + route.admit
    return table


def _compile(settings: Settings, route: RouteSettings, view: RouteView) -> Route:
    if not route.by_name:
        service = settings.route_service(route, route.service or "")
        return _route(settings, route, view, service)
    compiled = _route(settings, route, view, settings.route_service(route, "*"))
    for name in settings.named_services():
        service = settings.route_service(route, name)
        variant = _route(settings, route, {**view, "service": name}, service)
        if (variant.timeout, variant.retry) != (compiled.timeout, compiled.retry):
            compiled.variants[name.encode()] = variant
    return compiled


def _route(settings: Settings, route: RouteSettings, view: RouteView, service: ServiceSettings) -> Route:
    request, response, redirect = route.request_headers, route.response_headers, route.redirect
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
        response_edits=make_edits(response.set, response.add, response.remove),
        redirect=None if redirect is None else Redirect(redirect.to.encode(), redirect.status),
    )


def _timeouts(service: ServiceSettings) -> Timeouts:
    given = service.timeout
    return Timeouts(given.connect, given.response, given.total, given.idle, given.tunnel_idle, given.pool_idle)


def _retries(service: ServiceSettings) -> Retries:
    return Retries(service.retry.attempts, frozenset(service.retry.on), service.retry.replay_body_up_to)


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


def _views(settings: Settings) -> list[RouteView]:
    """The routes as operators see them. From the masked settings: a header condition may be a credential."""
    source = "built-in" if settings.has_default_route else "file"
    shown: list[dict[str, Any]] = settings.masked()["routes"]
    return [
        {
            "host": route["host"],
            "prefix": route["prefix"],
            "methods": route["methods"],
            "headers": route["headers"],
            "service": route["service"],
            "strip_prefix": route["strip_prefix"],
            "add_prefix": route["add_prefix"],
            "redirect": route["redirect"],
            "auth": route["auth"] or settings.auth.default,
            "source": source,
            "error": None,
        }
        for route in shown
    ]
