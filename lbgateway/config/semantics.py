"""Checks that need more than one key: routes against each other, against services and auth. Pure.

A check about a part that is already wrong stays silent: one mistake, one error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from discovery.consul_access import is_loopback
from lbgateway.config.certificates import server_tls_errors
from lbgateway.config.errors import Finding, did_you_mean, spell
from lbgateway.config.fields import split_host_port
from lbgateway.config.jwt_rules import check_jwt
from lbgateway.config.limit_rules import check_limits
from lbgateway.config.origin_rules import check_origins
from lbgateway.config.service import HttpxSettings
from lbgateway.config.session_rules import check_client, check_cookies, check_introspection, check_session
from lbgateway.config.settings import EVERY_SERVICE, is_under, mask_header
from lbgateway.config.tls import tls_errors
from lbgateway.config.twice import same_instances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lbgateway.config.document import Document
    from lbgateway.config.errors import KeyPath
    from lbgateway.config.route import RouteSettings
    from lbgateway.config.settings import Settings

    Whole = Callable[[KeyPath], bool]
    """True if nothing at or below a path has been found wrong."""
    Fits = Callable[[Settings, dict[int, RouteSettings], Document, Whole], Iterable[Finding]]
    """`check`, or a part of it."""

TAKEN = ("/health", "/health/live", "/health/ready", *(f"/admin{name}" for name in ("", "/upstreams", "/routes", "/config", "/events")))
ADVICE = "set auth.jwt (for example {secret: ${JWT_SECRET}}), or auth.default: none to let everybody in"


def check(settings: Settings, routes: dict[int, RouteSettings], document: Document, sound: Whole) -> Iterator[Finding]:
    """Errors between keys. `routes` are those that could be read, by their place in the file."""

    def finding(path: KeyPath, message: str) -> Finding:
        return Finding(document.origin(path), path, message)

    if sound(("auth",)):
        yield from (finding(*one) for one in _auth(settings))
        yield from (finding(*one) for one in _verifiable(settings, routes, default=sound(("routes",))))
    yield from check_parts(settings, routes, document, sound)
    yield from (finding(*one) for one in _unknown_names(settings, routes, sound))
    if sound(("services",)) and sound(("discovery",)):
        yield from (finding(*one) for one in _fallbacks(settings))
    if sound(("discovery",)):
        yield from (finding(*one) for one in _source(settings))
    if sound(("admin",)) and sound(("server",)):
        yield from (finding(*one) for one in _admin_door(settings))
    if sound(("metrics",)):
        yield from (finding(*one) for one in _metrics(settings))
    if settings.server.proxy_protocol and not settings.server.trusted_proxies and sound(("server",)):
        yield finding(("server", "proxy_protocol"), "lets in nobody but server.trusted_proxies, and there are none: name your proxies")


def check_parts(settings: Settings, routes: dict[int, RouteSettings], document: Document, sound: Whole) -> Iterator[Finding]:
    """What `routes` and `services` can have wrong between them, whatever the rest of the configuration says."""

    def finding(path: KeyPath, message: str) -> Finding:
        return Finding(document.origin(path), path, message)

    for name in settings.services:
        if sound(("services", name)):
            yield from (finding(("services", name, *path), message) for path, message in _reach(settings, name))
    for index, route in routes.items():
        yield from (finding(("routes", index, *path), message) for path, message in _destination(route))
    yield from (finding(*one) for one in _scopes(settings, routes))
    if sound(("cors",)):
        yield from (finding(*one) for one in _cors(settings, routes))
    if sound(("rate_limit",)):
        yield from (finding(*one) for one in check_limits(settings, routes))
    yield from (finding(*one) for one in _ties(routes, document))
    if settings.server.tls is not None and sound(("server", "tls")):
        yield from (finding(*one) for one in server_tls_errors(settings.server.tls))
    if sound(("oauth",)):
        yield from (finding(*one) for one in _oauth(settings, routes))
    if sound(("services",)) and settings.services.get(EVERY_SERVICE) and settings.services[EVERY_SERVICE].instances:
        yield finding(("services", EVERY_SERVICE, "instances"), "instances belong to a service with a name")


def _source(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """What the source in use cannot do without. The URL of Consul is where the embedded registry is to listen."""
    discovery, url = settings.discovery, urlsplit(settings.discovery.consul.agents[0])
    if discovery.provider == "file" and discovery.file is None:
        yield ("discovery", "provider"), "needs the file that lists the instances: file: {path: instances.yaml}"
    if discovery.provider == "dns" and discovery.dns is None:
        yield ("discovery", "provider"), "needs to know whom to ask: dns: {nameservers: [127.0.0.1:8600]}"
    at_home = url.scheme == "http" and is_loopback(url.hostname or "") and not url.path.strip("/")
    if discovery.provider == "embedded" and not at_home:
        text = "the embedded registry listens here, on this machine and without TLS: such as http://127.0.0.1:8500"
        yield ("discovery", "consul", "url"), text


def _admin_door(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """A port can have one door: an unspecified host takes it on all addresses."""
    if settings.admin.listen is None:
        return
    host, port = split_host_port(settings.admin.listen)
    public = settings.server.host
    if port == settings.server.port and (host == public or {host, public} & {"0.0.0.0", "::"}):  # noqa: S104 compared, not bound
        yield ("admin", "listen"), f"is where server.port already listens ({public}:{port}): give it another port"


def _metrics(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if settings.metrics.enabled and settings.metrics.path in TAKEN:
        yield ("metrics", "path"), "is where the gateway answers something else"


def _reach(settings: Settings, name: str) -> Iterator[tuple[KeyPath, str]]:
    """What does not fit together of a service's instances and how they are reached; said where it is written."""
    service, written = settings.service(name), settings.services[name].model_fields_set
    if service.transport == "native" and service.httpx != HttpxSettings() and "httpx" in written:
        yield ("httpx",), "is for transport: httpx, and this service's is native"
    yield from same_instances(settings.services[name])
    if service.tls is not None and "tls" in written:
        if service.scheme != "https":
            yield ("tls",), "is for scheme: https, and this service's is http"
        yield from ((("tls", *path), message) for path, message in tls_errors(service.tls))


def _auth(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if settings.auth.jwt is not None:
        yield from check_jwt(settings.auth.jwt)
    if settings.auth.session is not None:
        yield from check_session(settings.auth.session)
        yield from check_cookies(settings.auth)
    if settings.auth.introspection is not None:
        yield from check_client(settings.auth.introspection)
    headers: dict[str, str] = {}
    for claim, header in settings.auth.forward_claims.items():
        # Services that put fields into variables take X-A, X_A and X.A for one.
        other = headers.setdefault(re.sub("[^a-z0-9]", "-", header.lower()), claim)
        if other != claim:
            yield ("auth", "forward_claims", claim), f"{header} already carries the claim `{other}`"


def _scopes(settings: Settings, routes: dict[int, RouteSettings]) -> Iterator[tuple[KeyPath, str]]:
    for index, route in routes.items():
        auth = settings.route_auth(route)
        if route.scopes and auth != "required":
            yield ("routes", index, "scopes"), f"are asked of nobody, because the route's auth is {auth}: set auth: required"


def misfits(settings: Settings, route: RouteSettings) -> Iterator[str]:
    """What a route from elsewhere than the file has wrong together with the rest of the configuration.

    Also what nobody could pass (the contract, section 3).
    """
    if not settings.auth.verifies and settings.route_auth(route) == "required":
        yield _nothing_checks(route)
    for path, message in (*_scopes(settings, {0: route}), *_cors(settings, {0: route})):
        if path[0] == "routes":
            yield f"{spell(path[2:])}: {message}"


def _nothing_checks(route: RouteSettings) -> str:
    said = "auth: required" if route.auth else "auth.default is required"
    return f"requires a token ({said}), but nothing can check one: {ADVICE}"


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
            yield ("routes", index), _nothing_checks(route)


def _cors(settings: Settings, routes: dict[int, RouteSettings]) -> Iterator[tuple[KeyPath, str]]:
    if settings.cors is not None:
        yield from check_origins(settings.cors, settings.cors, ("cors",))
    for index, route in routes.items():
        cors = settings.route_cors(route)
        if cors is not None and route.cors is not None:
            yield from check_origins(cors, route.cors, ("routes", index, "cors"))


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
        others = groups.setdefault(rank_of(route), [])
        for first, other in others:
            if both := in_common(other, route):
                line = document.origin(("routes", first)).line
                place = f"the route in line {line}" if line else f"routes[{first}]"
                yield ("routes", index), f"matches the same requests as {place} ({both}); neither is more specific"
                break
        others.append((index, route))


def _oauth(settings: Settings, routes: dict[int, RouteSettings]) -> Iterator[tuple[KeyPath, str]]:
    oauth = settings.oauth_route
    if oauth is None:
        return
    own = next((path for path in settings.own_paths if is_under(oauth.prefix, path)), None)
    if own is not None and settings.admin.listen is None:
        yield ("oauth", "prefix"), f"is never reached: {own} belongs to the gateway itself"
    for index, route in routes.items():
        if rank_of(route) == rank_of(oauth) and in_common(route, oauth):
            yield ("routes", index), f"matches the same requests as `oauth` ({oauth.prefix}); neither is more specific"


def rank_of(route: RouteSettings) -> tuple[object, ...]:
    """Only routes of equal rank can tie: see `dataplane.routing` for the order."""
    return (route.host, route.prefix, route.methods is None, len(route.headers))


def in_common(one: RouteSettings, other: RouteSettings) -> str:
    """A request that two routes of equal rank would both take, in words; empty if there is none."""
    methods = sorted(set(one.methods or ()) & set(other.methods or ()))
    if one.methods is not None and not methods:
        return ""
    mine = {name.lower(): value for name, value in one.headers.items()}
    theirs = {name.lower(): value for name, value in other.headers.items()}
    if any(theirs.get(name, value) != value for name, value in mine.items()):
        return ""
    fields = sorted(f"{name}: {mask_header(name, value)}" for name, value in {**one.headers, **other.headers}.items())
    return " ".join([one.host or "any host", one.prefix, *methods[:1]]) + (f" with {', '.join(fields)}" if fields else "")


def _fallbacks(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Who stands in for a service must be somebody else, and known."""
    known = settings.named_services()
    for name in settings.services:
        breaker = settings.services[name].breaker
        other = breaker.fallback.service if breaker is not None and breaker.fallback is not None else None
        path: KeyPath = ("services", name, "breaker", "fallback", "service")
        if other == name:
            yield path, "a service cannot stand in for itself"
        elif other is not None and settings.discovery.provider == "static" and other not in known:
            yield path, f"no service has the name `{other}`{did_you_mean(other, known)}"


def _unknown_names(settings: Settings, routes: dict[int, RouteSettings], sound: Whole) -> Iterator[tuple[KeyPath, str]]:
    """With the static provider the file knows every service; elsewhere the registry does."""
    if settings.discovery.provider != "static" or not sound(("services",)) or not sound(("discovery",)):
        return
    known = settings.named_services()
    if sound(("auth",)):
        yield from check_introspection(settings.auth, known)
    for index, route in routes.items():
        if route.service and route.service not in known:
            text = f"no service has the name `{route.service}`{did_you_mean(route.service, known)}"
            yield ("routes", index, "service"), text
    if settings.oauth is not None and settings.oauth.service not in known:
        yield ("oauth", "service"), f"no service has the name `{settings.oauth.service}`{did_you_mean(settings.oauth.service, known)}"
    for index, name in enumerate(settings.health.required):
        if name not in (*known, "redis"):
            yield ("health", "required", index), f"no service has the name `{name}`{did_you_mean(name, known)}"
