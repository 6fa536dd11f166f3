"""The route table: swapped whole on every change, asked once by every request. `compiling` makes it from settings.

Most specific wins, in this order: host (exact, then the longest ``*.`` wildcard, then none), longest
prefix (at equal length a literal segment before ``{service}``), a list of methods before none, more
headers before fewer. That is the order of the Kubernetes Gateway API (HTTPRouteRule, "precedence"). What
is still equal and could match one request is refused as a tie when the file is read.

A lookup costs one dict access for each segment of the path that any prefix could cover, however many
routes there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.dataplane.route import HeaderEdits, Redirect, Retries, Route, Timeouts
from lbgateway.errors import GatewayError, MethodNotAllowed, NoRoute
from lbgateway.policies.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lbgateway.controlplane.route_views import RouteView

    Match = Callable[[bytes | None, bytes, bytes, list[bytes]], Route | None]

API = b"/api/"
"""Where services are by default: no page of a single-page application, whatever the routes are."""

KNOWN, KNOWN_BYTES = 1024, 128
"""How many paths, and how many request targets, are remembered; and how long one may be."""

__all__ = ["HeaderEdits", "Redirect", "Retries", "Route", "RouteTable", "Timeouts"]


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


def _remembering(find: Match) -> Match:
    """Where the path alone decides: `find`, asked once for each path. Clients choose paths, so the memory is bounded."""
    known: Memory[Route] = Memory(KNOWN)

    def match(host: bytes | None, path: bytes, method: bytes, lines: list[bytes]) -> Route | None:
        route = known.get(path)
        if route is None:
            route = find(host, path, method, lines)
            if route is not None and len(path) <= KNOWN_BYTES:
                known.remember(path, route)
        return route

    return match


class RouteTable:
    """Immutable, apart from what policies and counters hang on its routes."""

    __slots__ = ("_any", "_exact", "_wildcards", "heads", "match", "routes")

    match: Match
    """The route of a request, or None: then `refusal` says why. Without routes for hosts it is the one table's own lookup.

    ``match(host, path, method, lines)``: `host` is the Host field or the target's authority, in any case, with or
    without a port; `path` comes from `target.normalise`; `lines` are the header fields, flattened from slot 1 on as
    `head.RequestHead` keeps them.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        """In the order of the file."""
        self.heads = tuple({API, *(route.head for route in self.routes)} - {b"/"})
        """Each with a slash at its end. Below them an unknown path is nobody's; a route for everything has no head."""
        by_host: dict[str | None, list[Route]] = {}
        for route in self.routes:
            by_host.setdefault(route.host, []).append(route)
        self._any = _Host(by_host.pop(None, []))
        tables = {host.encode(): _Host(found) for host, found in by_host.items() if host is not None}
        self._exact = {host: table for host, table in tables.items() if not host.startswith(b"*")}
        self._wildcards = {host[1:]: table for host, table in tables.items() if host.startswith(b"*")}
        conditional = any(route.methods is not None or route.headers for route in self.routes)
        self.match = self._match_host if tables else self._any.find if conditional else _remembering(self._any.find)

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
