"""Checks that need more than one key: routes against each other, against services and auth. Pure.

A check about a part that is already wrong stays silent: one mistake, one error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config.errors import Finding, did_you_mean
from lbgateway.config.settings import EVERY_SERVICE, mask_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lbgateway.config.document import Document
    from lbgateway.config.errors import KeyPath
    from lbgateway.config.route import RouteSettings
    from lbgateway.config.settings import Settings

    Whole = Callable[[KeyPath], bool]
    """True if nothing at or below a path has been found wrong."""

HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A key is at least as long as the hash (RFC 7518, section 3.2)."""
ADVICE = "set auth.jwt (for example {secret: ${JWT_SECRET}}), or auth.default: none to let everybody in"


def check(settings: Settings, routes: dict[int, RouteSettings], document: Document, sound: Whole) -> Iterator[Finding]:
    """Errors between keys. `routes` are those that could be read, by their place in the file."""

    def finding(path: KeyPath, message: str) -> Finding:
        return Finding(document.origin(path), path, message)

    if sound(("auth",)):
        yield from (finding(*one) for one in _auth(settings))
        yield from (finding(*one) for one in _verifiable(settings, routes, default=sound(("routes",))))
    for index, route in routes.items():
        yield from (finding(("routes", index, *path), message) for path, message in _destination(route))
    yield from (finding(*one) for one in _ties(routes, document))
    yield from (finding(*one) for one in _unknown_names(settings, routes, sound))
    if sound(("services",)) and settings.services.get(EVERY_SERVICE) and settings.services[EVERY_SERVICE].instances:
        yield finding(("services", EVERY_SERVICE, "instances"), "instances belong to a service with a name")


def warn(settings: Settings, document: Document) -> Iterator[Finding]:
    """What is allowed but probably not meant."""
    if settings.discovery.provider == "static":
        for name in settings.named_services():
            if not settings.services[name].instances:
                path: KeyPath = ("services", name)
                yield Finding(document.origin(path), path, "has no instances: every request to it will be answered 503")
    elif any(service.instances for service in settings.services.values()):
        for name in settings.named_services():
            if settings.services[name].instances:
                path = ("services", name, "instances")
                text = f"is not used: discovery.provider is {settings.discovery.provider}, not static"
                yield Finding(document.origin(path), path, text)
    for index, route in enumerate(settings.routes):
        own = next((one for one in _own_paths(settings) if _under(route.prefix, one)), None)
        if own is not None and route.prefix != "/":
            path = ("routes", index, "prefix")
            yield Finding(document.origin(path), path, f"is never reached: {own} belongs to the gateway itself")


def _own_paths(settings: Settings) -> tuple[str, ...]:
    return ("/health", "/admin", settings.metrics.path) if settings.metrics.enabled else ("/health", "/admin")


def _under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _auth(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    jwt = settings.auth.jwt
    if jwt is not None:
        if jwt.secret is None:
            yield ("auth", "jwt"), "needs a `secret` to check tokens with, such as secret: ${JWT_SECRET}"
        elif short := [name for name in jwt.algorithms if len(jwt.secret.reveal().encode()) < HMAC_BYTES.get(name, 0)]:
            needed = max(HMAC_BYTES[name] for name in short)
            yield ("auth", "jwt", "secret"), f"too short: {'/'.join(short)} needs at least {needed} bytes"
        if not jwt.algorithms:
            yield ("auth", "jwt", "algorithms"), "must name at least one algorithm"
    headers: dict[str, str] = {}
    for claim, header in settings.auth.forward_claims.items():
        other = headers.setdefault(header.lower(), claim)
        if other != claim:
            yield ("auth", "forward_claims", claim), f"{header} already carries the claim `{other}`"


def _verifiable(settings: Settings, routes: dict[int, RouteSettings], *, default: bool) -> Iterator[tuple[KeyPath, str]]:
    if settings.auth.verifies:
        return
    if settings.has_default_route:
        if not default or settings.auth.default != "required":
            return
        yield ("routes",), f"the built-in route /api/{{service}} requires a token, but nothing can check one: {ADVICE}"
        return
    for index, route in routes.items():
        if settings.route_auth(route) == "required":
            said = "auth: required" if route.auth else "auth.default is required"
            yield ("routes", index), f"requires a token ({said}), but nothing can check one: {ADVICE}"


def _destination(route: RouteSettings) -> Iterator[tuple[KeyPath, str]]:
    if route.redirect is not None and (route.service or route.by_name):
        yield ("redirect",), "a route has a redirect or a service, not both"
    elif route.redirect is None and route.service is None and not route.by_name:
        yield (), "leads nowhere: give it `service`, `redirect`, or a prefix ending in /{service}"
    elif route.service and route.by_name:
        yield ("service",), "the prefix already takes the service from the path ({service})"


def _ties(routes: dict[int, RouteSettings], document: Document) -> Iterator[tuple[KeyPath, str]]:
    groups: dict[tuple[object, ...], list[tuple[int, RouteSettings]]] = {}
    for index, route in routes.items():
        # Only routes of equal rank can tie: see `dataplane.routing` for the order.
        rank = (route.host, route.prefix, route.methods is None, len(route.headers))
        others = groups.setdefault(rank, [])
        for first, other in others:
            if both := _in_common(other, route):
                line = document.origin(("routes", first)).line
                place = f"the route in line {line}" if line else f"routes[{first}]"
                yield ("routes", index), f"matches the same requests as {place} ({both}); neither is more specific"
                break
        others.append((index, route))


def _in_common(one: RouteSettings, other: RouteSettings) -> str:
    """A request that both would take, in words; empty if there is none."""
    methods = sorted(set(one.methods or ()) & set(other.methods or ()))
    if one.methods is not None and not methods:
        return ""
    mine = {name.lower(): value for name, value in one.headers.items()}
    theirs = {name.lower(): value for name, value in other.headers.items()}
    if any(theirs.get(name, value) != value for name, value in mine.items()):
        return ""
    fields = sorted(f"{name}: {mask_header(name, value)}" for name, value in {**one.headers, **other.headers}.items())
    return " ".join([one.host or "any host", one.prefix, *methods[:1]]) + (f" with {', '.join(fields)}" if fields else "")


def _unknown_names(settings: Settings, routes: dict[int, RouteSettings], sound: Whole) -> Iterator[tuple[KeyPath, str]]:
    """With the static provider the file knows every service; elsewhere the registry does."""
    if settings.discovery.provider != "static" or not sound(("services",)) or not sound(("discovery",)):
        return
    known = settings.named_services()
    for index, route in routes.items():
        if route.service and route.service not in known:
            text = f"no service has the name `{route.service}`{did_you_mean(route.service, known)}"
            yield ("routes", index, "service"), text
    for index, name in enumerate(settings.health.required):
        if name not in (*known, "redis"):
            yield ("health", "required", index), f"no service has the name `{name}`{did_you_mean(name, known)}"
